package io.nit.runtime.engine;

import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.core.io.Closing;
import java.io.IOException;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * Chooses a backend and opens a model on it. The choice is made once, at {@link #open}, and logged,
 * after a line for each backend that {@link #AUTO} passed over, with the reason: it refused, or
 * could not open the model, which is a warning. A backend asked for by name is used or fails, and
 * never replaced by another.
 */
public final class Engines {
  /** The name that leaves the choice to {@link EngineProvider#preference}. */
  public static final String AUTO = "auto";

  private static final Logger LOG = LoggerFactory.getLogger(Engines.class);

  private Engines() {}

  /**
   * A bundle's model that was opened.
   *
   * @param engine the model, which the caller closes
   * @param asked the backend that was asked for: its name, or {@link #AUTO}
   * @param passedOver why those that were preferred do not run it, by their names and in their
   *     order
   */
  public record OpenedModel(VelocityEngine engine, String asked, Map<String, String> passedOver) {
    /** Keeps the order. */
    public OpenedModel {
      passedOver = Collections.unmodifiableMap(new LinkedHashMap<>(passedOver));
    }
  }

  /** What a backend opened, after those that refuse and those among them that failed. */
  private record Opened<T>(
      T opened, EngineProvider provider, Map<String, String> passedOver, Set<String> failed) {
    /** Says why those before it were passed over, unless that is in the log already. */
    void log(String what, Map<String, String> logged) {
      passedOver.forEach(
          (passed, reason) -> {
            if (!reason.equals(logged.get(passed))) {
              LOG.atLevel(failed.contains(passed) ? Level.WARN : Level.INFO)
                  .log("{}{} passed over: {}", what, passed, reason);
            }
          });
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
   * Whether a backend says that it computes on a GPU.
   *
   * @param backend a backend's name, as {@link VelocityEngine#backend} tells it
   * @return false also for a name that no backend has
   */
  public static boolean runsOnGpu(String backend) {
    return providers().stream()
        .anyMatch(provider -> provider.name().equals(backend) && provider.runsOnGpu());
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
    return openModel(bundle, backend, options).engine();
  }

  /**
   * {@link #open}, with what {@link #openCodecAfterModel} wants to know.
   *
   * @throws IllegalArgumentException as {@link #open}
   * @throws EngineException as {@link #open}
   * @throws IOException as {@link #open}
   */
  public static OpenedModel openModel(Bundle bundle, String backend, EngineOptions options)
      throws IOException, EngineException {
    return openModel(bundle, backend, options, providers());
  }

  static OpenedModel openModel(
      Bundle bundle, String backend, EngineOptions options, List<EngineProvider> providers)
      throws IOException, EngineException {
    Opened<VelocityEngine> opened =
        first(
            bundle,
            backend,
            providers,
            provider -> provider.refusal(bundle, options),
            provider -> provider.open(bundle, options));
    opened.log("", Map.of());
    VelocityEngine engine = opened.opened;
    LOG.info("backend {} ({}): {}", engine.backend(), kind(backend), engine.description());
    return new OpenedModel(engine, backend, opened.passedOver);
  }

  private static String kind(String asked) {
    return asked.equals(AUTO) ? AUTO : "asked for";
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
   * @param model which the codec's backend is asked for likewise
   * @return the codec, which the caller closes; empty if the bundle has none
   * @throws EngineException if the backend cannot run the autoencoder
   * @throws IOException if a file of the bundle cannot be read
   */
  public static Optional<LatentCodec> openCodecAfterModel(
      Bundle bundle, OpenedModel model, EngineOptions options) throws IOException, EngineException {
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
    Opened<LatentCodec> opened = openLearned(bundle, backend, options, providers, logged);
    boolean encodes = bundle.autoencoder().flatMap(AutoencoderFiles::encoder).isPresent();
    if (!encodes || !backend.equals(AUTO)) {
      return Optional.of(opened.opened);
    }
    try {
      return Optional.of(encodingToo(opened, bundle, options, providers));
    } catch (RuntimeException | Error e) {
      Closing.after(e, opened.opened::close);
      throw e;
    }
  }

  /** The codec that was opened, or with the encoder of another backend where it only decodes. */
  private static LatentCodec encodingToo(
      Opened<LatentCodec> opened,
      Bundle bundle,
      EngineOptions options,
      List<EngineProvider> providers) {
    Optional<String> refusal = opened.provider.encoderRefusal(bundle, options);
    Optional<EngineProvider> other =
        refusal.isEmpty() ? Optional.empty() : encodingProvider(bundle, options, providers);
    if (other.isEmpty()) {
      return opened.opened;
    }
    return new SplitCodec(
        opened.opened,
        () -> {
          LOG.info(
              "autoencoder: encoder on backend {} (auto: {} ({}))",
              other.get().name(),
              opened.provider.name(),
              refusal.get());
          return other.get().openCodec(bundle, options);
        });
  }

  private static Optional<EngineProvider> encodingProvider(
      Bundle bundle, EngineOptions options, List<EngineProvider> providers) {
    return providers.stream()
        .filter(EngineProvider::runsCodecs)
        .filter(next -> next.preference() != EngineProvider.BY_NAME_ONLY)
        .filter(next -> next.encoderRefusal(bundle, options).isEmpty())
        .findFirst();
  }

  private static Opened<LatentCodec> openLearned(
      Bundle bundle,
      String backend,
      EngineOptions options,
      List<EngineProvider> providers,
      Map<String, String> logged)
      throws IOException, EngineException {
    Refusals refusals = provider -> provider.codecRefusal(bundle, options);
    Opening<LatentCodec> opening = provider -> provider.openCodec(bundle, options);
    List<EngineProvider> able = providers.stream().filter(EngineProvider::runsCodecs).toList();
    if (backend.equals(AUTO) || named(backend, providers).runsCodecs() || able.isEmpty()) {
      List<EngineProvider> among = able.isEmpty() ? providers : able;
      Opened<LatentCodec> opened = first(bundle, backend, among, refusals, opening);
      opened.log("autoencoder: ", logged);
      LOG.info("autoencoder: backend {} ({})", opened.provider.name(), kind(backend));
      return opened;
    }
    Opened<LatentCodec> other = first(bundle, AUTO, able, refusals, opening);
    LOG.info("autoencoder: backend {} runs none, {} does", backend, other.provider.name());
    return other;
  }

  /** Why a backend cannot do what it is chosen for. */
  private interface Refusals {
    Optional<String> of(EngineProvider provider);
  }

  private interface Opening<T> {
    T by(EngineProvider provider) throws IOException, EngineException;
  }

  /** Opens on the backend asked for, or on the first that neither refuses nor fails. */
  private static <T> Opened<T> first(
      Bundle bundle,
      String backend,
      List<EngineProvider> providers,
      Refusals refusals,
      Opening<T> opening)
      throws IOException, EngineException {
    if (!backend.equals(AUTO)) {
      EngineProvider named = named(backend, providers);
      Optional<String> refusal = refusals.of(named);
      if (refusal.isPresent()) {
        throw new EngineException(
            "backend " + backend + " cannot run " + bundle.folder() + ": " + refusal.get());
      }
      return new Opened<>(opening.by(named), named, Map.of(), Set.of());
    }
    Map<String, String> passedOver = new LinkedHashMap<>();
    Map<String, Exception> failures = new LinkedHashMap<>();
    for (EngineProvider provider : providers) {
      if (provider.preference() == EngineProvider.BY_NAME_ONLY) {
        continue;
      }
      Optional<String> refusal = refusals.of(provider);
      if (refusal.isPresent()) {
        passedOver.put(provider.name(), refusal.get());
        continue;
      }
      try {
        return new Opened<>(opening.by(provider), provider, passedOver, failures.keySet());
      } catch (EngineException | IOException e) {
        failures.put(provider.name(), e);
        passedOver.put(provider.name(), "it could not be opened: " + e.getMessage());
      }
    }
    if (failures.size() == 1) { // the others were never meant to run it: this is what is wrong
      Exception only = failures.values().iterator().next();
      if (only instanceof IOException unread) {
        throw unread;
      }
      throw (EngineException) only;
    }
    EngineException none = new EngineException(reasons(bundle, passedOver));
    failures.values().forEach(none::addSuppressed);
    throw none;
  }

  private static String reasons(Bundle bundle, Map<String, String> passedOver) {
    return "no backend can run "
        + bundle.folder()
        + ": "
        + (passedOver.isEmpty()
            ? "none on the class path"
            : passedOver.entrySet().stream()
                .map(passed -> passed.getKey() + " (" + passed.getValue() + ")")
                .collect(Collectors.joining("; ")));
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
