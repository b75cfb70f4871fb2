package io.nit.runtime.engine;

import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import java.io.IOException;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Chooses a backend and opens a model on it. The choice is made once, at {@link #open}, and logged,
 * after a line for each backend that {@link #AUTO} passed over, with the reason; a backend asked
 * for by name is used or fails, and never replaced by another.
 */
public final class Engines {
  /** The name that leaves the choice to {@link EngineProvider#preference}. */
  public static final String AUTO = "auto";

  private static final Logger LOG = LoggerFactory.getLogger(Engines.class);

  private Engines() {}

  /**
   * The backend that was chosen for a bundle's model.
   *
   * @param asked what was asked for: its name, or {@link #AUTO}
   * @param passedOver why those that were preferred refuse, by their names and in their order
   */
  public record Choice(String asked, EngineProvider provider, Map<String, String> passedOver) {
    /** Keeps the order. */
    public Choice {
      passedOver = Collections.unmodifiableMap(new LinkedHashMap<>(passedOver));
    }

    private String kind() {
      return asked.equals(AUTO) ? AUTO : "asked for";
    }
  }

  /** Every backend on the class path, the preferred first. */
  public static List<EngineProvider> providers() {
    return ServiceLoader.load(EngineProvider.class, Engines.class.getClassLoader()).stream()
        .map(ServiceLoader.Provider::get)
        .sorted(Comparator.comparingInt(EngineProvider::preference).reversed())
        .collect(Collectors.toUnmodifiableList());
  }

  /**
   * Opens a bundle's model.
   *
   * @param backend a backend's name, or {@link #AUTO}
   * @return the engine, which the caller closes
   * @throws IllegalArgumentException if no backend has that name; lists the known ones
   * @throws EngineException if the backend cannot run the bundle; with {@link #AUTO}, if none can,
   *     with each one's reason
   * @throws IOException if a file of the bundle cannot be read
   */
  public static VelocityEngine open(Bundle bundle, String backend, EngineOptions options)
      throws IOException, EngineException {
    return open(bundle, choose(bundle, backend, options), options);
  }

  /**
   * Chooses the backend of a bundle's model, for {@link #open(Bundle, Choice, EngineOptions)} and
   * {@link #openCodecAfterModel}; loads and logs nothing.
   *
   * @param backend a backend's name, or {@link #AUTO}
   * @throws IllegalArgumentException if no backend has that name; lists the known ones
   * @throws EngineException if the backend cannot run the bundle; with {@link #AUTO}, if none can,
   *     with each one's reason
   */
  public static Choice choose(Bundle bundle, String backend, EngineOptions options)
      throws EngineException {
    return choose(bundle, backend, options, providers());
  }

  /**
   * Opens a bundle's model on the backend that was chosen for it with the same options.
   *
   * @return the engine, which the caller closes
   * @throws EngineException if the backend does not take the model
   * @throws IOException if a file of the bundle cannot be read
   */
  public static VelocityEngine open(Bundle bundle, Choice choice, EngineOptions options)
      throws IOException, EngineException {
    VelocityEngine engine = choice.provider.open(bundle, options);
    choice.passedOver.forEach((passed, reason) -> LOG.info("{} passed over: {}", passed, reason));
    LOG.info("backend {} ({}): {}", engine.backend(), choice.kind(), engine.description());
    return engine;
  }

  /**
   * Opens a bundle's codec: a plain one as it is, a learned one on the backend that was asked for,
   * or, where that one runs none, on the preferred of those that do, which is logged. With {@link
   * #AUTO} the two halves may run on two backends, where the preferred only decodes.
   *
   * @param backend a backend's name, or {@link #AUTO}
   * @return the codec, which the caller closes; empty if the bundle has none
   * @throws IllegalArgumentException if no backend has that name
   * @throws EngineException if the backend cannot run the autoencoder
   * @throws IOException if a file of the bundle cannot be read
   */
  public static Optional<LatentCodec> openCodec(
      Bundle bundle, String backend, EngineOptions options) throws IOException, EngineException {
    return openCodec(bundle, backend, options, providers(), Map.of());
  }

  /**
   * {@link #openCodec} once the bundle's model was opened with the same options: why a backend was
   * passed over is logged only where the reason is not the model's.
   *
   * @param model what was chosen for the model; the codec's backend is asked for likewise
   * @return the codec, which the caller closes; empty if the bundle has none
   * @throws EngineException if the backend cannot run the autoencoder
   * @throws IOException if a file of the bundle cannot be read
   */
  public static Optional<LatentCodec> openCodecAfterModel(
      Bundle bundle, Choice model, EngineOptions options) throws IOException, EngineException {
    return openCodec(bundle, model.asked, options, providers(), model.passedOver);
  }

  /** With {@code logged}, the reasons that are in the log, by the backends' names. */
  static Optional<LatentCodec> openCodec(
      Bundle bundle,
      String backend,
      EngineOptions options,
      List<EngineProvider> providers,
      Map<String, String> logged)
      throws IOException, EngineException {
    if (bundle.codec().isEmpty()) {
      return Optional.empty();
    }
    Optional<LatentCodec> plain = bundle.codec().get().plain();
    if (plain.isPresent()) {
      return plain;
    }
    EngineProvider provider = codecProvider(bundle, backend, options, providers, logged);
    boolean encodes = bundle.autoencoder().flatMap(AutoencoderFiles::encoder).isPresent();
    // All are asked before one is opened, which nobody would close if a question failed.
    Optional<String> refusal =
        encodes && backend.equals(AUTO)
            ? provider.encoderRefusal(bundle, options)
            : Optional.empty();
    Optional<EngineProvider> other =
        refusal.isEmpty() ? Optional.empty() : encodingProvider(bundle, options, providers);
    LatentCodec codec = provider.openCodec(bundle, options);
    if (other.isEmpty()) {
      return Optional.of(codec);
    }
    return Optional.of(
        new SplitCodec(
            codec,
            () -> {
              LOG.info(
                  "autoencoder: encoder on backend {} (auto: {} ({}))",
                  other.get().name(),
                  provider.name(),
                  refusal.get());
              return other.get().openCodec(bundle, options);
            }));
  }

  private static Optional<EngineProvider> encodingProvider(
      Bundle bundle, EngineOptions options, List<EngineProvider> providers) {
    return providers.stream()
        .filter(EngineProvider::runsCodecs)
        .filter(next -> next.preference() != EngineProvider.BY_NAME_ONLY)
        .filter(next -> next.encoderRefusal(bundle, options).isEmpty())
        .findFirst();
  }

  static EngineProvider codecProvider(
      Bundle bundle,
      String backend,
      EngineOptions options,
      List<EngineProvider> providers,
      Map<String, String> logged)
      throws EngineException {
    Refusals refusals = provider -> provider.codecRefusal(bundle, options);
    List<EngineProvider> able = providers.stream().filter(EngineProvider::runsCodecs).toList();
    if (backend.equals(AUTO) || named(backend, providers).runsCodecs() || able.isEmpty()) {
      Choice choice = chosen(bundle, backend, able.isEmpty() ? providers : able, refusals);
      choice.passedOver.forEach(
          (passed, reason) -> {
            if (!reason.equals(logged.get(passed))) {
              LOG.info("autoencoder: {} passed over: {}", passed, reason);
            }
          });
      LOG.info("autoencoder: backend {} ({})", choice.provider.name(), choice.kind());
      return choice.provider;
    }
    EngineProvider other = chosen(bundle, AUTO, able, refusals).provider;
    LOG.info("autoencoder: backend {} runs none, {} does", backend, other.name());
    return other;
  }

  static Choice choose(
      Bundle bundle, String backend, EngineOptions options, List<EngineProvider> providers)
      throws EngineException {
    return chosen(bundle, backend, providers, provider -> provider.refusal(bundle, options));
  }

  /** Why a backend cannot do what it is chosen for. */
  private interface Refusals {
    Optional<String> of(EngineProvider provider);
  }

  private static Choice chosen(
      Bundle bundle, String backend, List<EngineProvider> providers, Refusals refusals)
      throws EngineException {
    if (!backend.equals(AUTO)) {
      EngineProvider named = named(backend, providers);
      Optional<String> refusal = refusals.of(named);
      if (refusal.isPresent()) {
        throw new EngineException(
            "backend " + backend + " cannot run " + bundle.folder() + ": " + refusal.get());
      }
      return new Choice(backend, named, Map.of());
    }
    Map<String, String> passedOver = new LinkedHashMap<>();
    for (EngineProvider provider : providers) {
      if (provider.preference() == EngineProvider.BY_NAME_ONLY) {
        continue;
      }
      Optional<String> refusal = refusals.of(provider);
      if (refusal.isEmpty()) {
        return new Choice(AUTO, provider, passedOver);
      }
      passedOver.put(provider.name(), refusal.get());
    }
    throw new EngineException(
        "no backend can run "
            + bundle.folder()
            + ": "
            + (passedOver.isEmpty()
                ? "none on the class path"
                : passedOver.entrySet().stream()
                    .map(passed -> passed.getKey() + " (" + passed.getValue() + ")")
                    .collect(Collectors.joining("; "))));
  }

  private static EngineProvider named(String backend, List<EngineProvider> providers) {
    for (EngineProvider provider : providers) {
      if (provider.name().equals(backend)) {
        return provider;
      }
    }
    throw new IllegalArgumentException(
        "backend: expected auto or one of "
            + providers.stream().map(EngineProvider::name).collect(Collectors.joining(", "))
            + "; found '"
            + backend
            + "'");
  }
}
