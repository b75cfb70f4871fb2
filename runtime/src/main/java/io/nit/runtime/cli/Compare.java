package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.io.AtomicFile;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ProfileCheck;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run compare}: the same forward and the same picture on every backend. */
@Command(
    name = "compare",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Runs one packed forward and a short sampling on every backend that can run the bundle here,"
          + " and fills each profile of its TensorRT engine; tells how far each is from one of them"
          + " and keeps the numbers.",
      "Fails if a backend fails, or if an error of velocities is above its bound."
    },
    footer = {
      "",
      "Examples:",
      "  nit-run compare --bundle bundle",
      "  nit-run compare --bundle bundle --steps 20 --json --output parity.json",
      "  nit-run compare --bundle bundle --against reference --device 1"
    })
final class Compare implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(Compare.class);
  private static final long SEED = 20250603;
  private static final double SLOW_MILLIS = 2000;
  private static final String KEPT = "compare.json";

  @Mixin private CommonOptions common;

  @Option(names = "--bundle", paramLabel = "DIR", description = "The model. Required.")
  private Path folder;

  @Option(
      names = "--against",
      paramLabel = "NAME",
      defaultValue = "ort-cpu",
      description =
          "The backend to compare with; reference is a plain Java forward of the bundle's weights,"
              + " which takes minutes for large models (default: ${DEFAULT-VALUE}).")
  private String against;

  @Option(
      names = "--steps",
      paramLabel = "N",
      defaultValue = "4",
      description = "Steps of the sampling; 0 for the forward alone (default: ${DEFAULT-VALUE}).")
  private int steps;

  @Option(
      names = "--bound",
      paramLabel = "X",
      description =
          "Largest relative error of velocities. Default: 1e-4 for backends in single precision,"
              + " 1e-2 for f16 engines and 5e-2 for bf16 engines.")
  private Double bound;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description = "CPU threads; 0 for every core (default: ${DEFAULT-VALUE}).")
  private int threads;

  @Option(
      names = "--device",
      paramLabel = "N",
      defaultValue = "0",
      description = "The GPU of backends that run on one (default: ${DEFAULT-VALUE}).")
  private int device;

  @Option(names = "--json", description = "As one JSON object.")
  private boolean json;

  @Option(
      names = "--output",
      paramLabel = "FILE",
      description = "Where the JSON is kept. Default: " + KEPT + " in the bundle.")
  private Path output;

  Compare() {}

  /** What a backend made of the inputs, and why no picture where it cannot. */
  record Made(
      float[] velocities,
      double millis,
      Optional<DType> precision,
      List<ProfileCheck.Result> profiles,
      Optional<ImageResult> sampled,
      Optional<String> noPicture) {}

  @Override
  public Integer call() throws Exception {
    if (steps < 0) {
      throw new IllegalArgumentException("--steps: expected 0 or more, found " + steps);
    }
    if (bound != null && !(bound > 0)) {
      throw new IllegalArgumentException("--bound: expected more than 0, found " + bound);
    }
    Bundle bundle = Bundle.open(Flags.required("--bundle", folder));
    EngineOptions options = Flags.engine(threads, device, EngineOptions.DecodeOptions.STANDARD);
    requireName(against);
    ForwardInputs in = inputs(bundle);
    Made expected = make(bundle, against, options, in, Optional.empty());
    ObjectNode all = JsonNodeFactory.instance.objectNode();
    all.put("bundle", bundle.folder().toString());
    EngineManifest.modelHash(bundle).ifPresent(hash -> all.put("model_sha256", hash));
    all.put("against", against);
    all.put("pack", in.layout().toString()).put("steps", steps).put("device", device);
    ArrayNode rows = all.putArray("backends");
    boolean within = true;
    for (EngineProvider provider : Engines.providers()) {
      boolean itself = provider.name().equals(against);
      if (!itself && provider.preference() == EngineProvider.BY_NAME_ONLY) {
        continue;
      }
      ObjectNode row = rows.addObject().put("name", provider.name());
      Optional<String> refusal = provider.refusal(bundle, options);
      if (refusal.isPresent()) {
        row.put("refusal", refusal.get());
        continue;
      }
      try {
        Made found =
            itself
                ? expected
                : make(bundle, provider.name(), options, in, Optional.of(expected.velocities));
        within &= compare(row, found, expected, Optional.ofNullable(bound));
      } catch (EngineException | IOException | RuntimeException | LinkageError e) {
        LOG.debug("{} failed", provider.name(), e);
        row.put("error", String.valueOf(e.getMessage())).put("passed", false);
        within = false;
      }
    }
    String numbers = all.toPrettyString() + "\n";
    System.out.print(json ? numbers : text(all));
    keep(numbers, bundle.folder());
    return within ? Cli.DONE : Cli.FAILED;
  }

  /** A bundle that cannot be written to is no failure of what was compared. */
  private void keep(String numbers, Path bundle) throws IOException {
    if (output != null) {
      AtomicFile.writeString(output, numbers);
      return;
    }
    Path file = bundle.resolve(KEPT);
    try {
      AtomicFile.writeString(file, numbers);
      LOG.info("the numbers are kept in {}", file);
    } catch (IOException e) {
      LOG.warn("the numbers are not kept, --output FILE names another place: {}", e.toString());
    }
  }

  /** What is compared with is one backend; whatever {@code auto} takes would not be told. */
  private static void requireName(String against) {
    List<String> names = Engines.providers().stream().map(EngineProvider::name).toList();
    if (!names.contains(against)) {
      throw new IllegalArgumentException(
          "--against: expected one of " + String.join(", ", names) + "; found '" + against + "'");
    }
  }

  /** Fills a backend's row; whether its errors are within the bound. */
  static boolean compare(ObjectNode row, Made found, Made expected, Optional<Double> bound) {
    // An engine that does not know is held to what is right for all.
    DType precision = found.precision.orElse(DType.F32);
    double most = bound.orElseGet(() -> ProfileCheck.bound(precision));
    row.put("precision", precision.name()).put("bound", most);
    boolean within = put(row, Parity.of(found.velocities, expected.velocities), most);
    row.put("forward_ms", Math.round(found.millis * 1000) / 1000.0);
    if (!found.profiles.isEmpty()) {
      ArrayNode profiles = row.putArray("profiles");
      for (ProfileCheck.Result one : found.profiles) {
        ObjectNode profile = profiles.addObject().put("tokens", one.tokens());
        profile.put("pack", one.pack()).put("against", one.against());
        within &= put(profile, one.parity(), one.most(most));
      }
    }
    if (found.sampled.isPresent() && expected.sampled.isPresent()) {
      sampled(row, found.sampled.get(), expected.sampled.get());
    }
    found.noPicture.ifPresent(reason -> row.put("no_picture", reason));
    return within;
  }

  private static boolean put(ObjectNode row, Parity parity, double most) {
    boolean within = parity.relative() <= most;
    row.put("relative", parity.relative()).put("max_abs", parity.maxAbs()).put("passed", within);
    return within;
  }

  private static void sampled(ObjectNode row, ImageResult found, ImageResult expected) {
    Parity latents = Parity.of(found.latent(), expected.latent());
    row.put("latent_relative", latents.relative()).put("latent_max_abs", latents.maxAbs());
    if (found.image().isPresent() && expected.image().isPresent()) {
      byte[] rgb = found.image().get().rgb();
      byte[] other = expected.image().get().rgb();
      double psnr = Parity.psnr(rgb, other);
      if (Double.isInfinite(psnr)) {
        row.put("psnr_db", "equal");
      } else {
        row.put("psnr_db", Math.round(psnr * 100) / 100.0);
      }
      int most = 0;
      for (int i = 0; i < rgb.length; i++) {
        most = Math.max(most, Math.abs((rgb[i] & 0xff) - (other[i] & 0xff)));
      }
      row.put("picture_max", most);
    }
  }

  /** A ragged pack within the bundle's budget: normal noise, times from 0 to 1, all labels. */
  private static ForwardInputs inputs(Bundle bundle) {
    NitConfig config = bundle.config();
    List<int[]> sizes = new ArrayList<>();
    int tokens = 0;
    for (int[] size : new int[][] {{1, 1}, {3, 5}, {8, 6}, {16, 16}}) {
      if (tokens + size[0] * size[1] <= bundle.maxTokens()) {
        sizes.add(size);
        tokens += size[0] * size[1];
      }
    }
    PackLayout layout =
        PackLayout.of(
            sizes.stream().mapToInt(size -> size[0]).toArray(),
            sizes.stream().mapToInt(size -> size[1]).toArray());
    double[] noise = new Philox(SEED, 0).normals(tokens * config.tokenSize());
    float[] x = new float[noise.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) noise[i];
    }
    float[] t = new float[layout.images()];
    long[] y = new long[t.length];
    for (int i = 0; i < t.length; i++) {
      t[i] = t.length == 1 ? 0.5f : (float) i / (t.length - 1);
      y[i] = i % config.labelRows();
    }
    return new ForwardInputs(
        layout, FloatBuffer.wrap(x), t, y, new Rope2d().tables(RopeSpec.of(config), layout));
  }

  /**
   * Runs a backend.
   *
   * @param known the velocities that repeats in large packs are compared with; the backend's own
   *     where there are no others
   */
  private Made make(
      Bundle bundle,
      String backend,
      EngineOptions options,
      ForwardInputs in,
      Optional<float[]> known)
      throws IOException, EngineException, InterruptedException {
    float[] velocities = new float[in.x().remaining()];
    double millis = Double.POSITIVE_INFINITY;
    Optional<DType> precision;
    List<ProfileCheck.Result> profiles;
    try (VelocityEngine engine = Engines.open(bundle, backend, options)) {
      // The first ones also warm up; a slow backend is not asked again.
      for (int round = 0; round < 4 && !(round > 0 && millis > SLOW_MILLIS); round++) {
        long start = System.nanoTime();
        engine.forward(in, FloatBuffer.wrap(velocities));
        millis = Math.min(millis, (System.nanoTime() - start) / 1e6);
      }
      precision = engine.precision();
      profiles = ProfileCheck.run(engine, in, known.orElse(velocities));
    }
    Optional<String> noPicture = noPicture(bundle, backend, options);
    boolean sampled = steps > 0 && noPicture.isEmpty();
    return new Made(
        velocities,
        millis,
        precision,
        profiles,
        sampled ? sample(bundle, backend) : Optional.empty(),
        noPicture);
  }

  /** Why a backend that runs the model does not run its autoencoder, or empty if it does. */
  private static Optional<String> noPicture(Bundle bundle, String backend, EngineOptions options) {
    return Engines.providers().stream()
        .filter(provider -> provider.name().equals(backend))
        .filter(provider -> bundle.autoencoder().isPresent() && provider.runsCodecs())
        .findFirst()
        .flatMap(provider -> provider.codecRefusal(bundle, options));
  }

  private Optional<ImageResult> sample(Bundle bundle, String backend)
      throws IOException, EngineException, InterruptedException {
    try (NitPipeline pipeline =
        NitPipeline.builder(bundle.folder())
            .backend(backend)
            .threads(threads)
            .device(device)
            .open()) {
      int budget = (int) Math.sqrt(pipeline.rules().maxTokens() / 2);
      int side = Math.min(16, Math.max(1, budget)) * pipeline.rules().sizeMultiple();
      ImageRequest request =
          pipeline.request().label(0).size(side, side).seed(1).steps(steps).build();
      return Optional.of(pipeline.submit(request).get());
    } catch (ExecutionException e) {
      throw new EngineException(
          "sampling on " + backend + " failed: " + e.getCause().getMessage(), e.getCause());
    }
  }

  static String text(ObjectNode all) {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "against %s, a forward of %s and %d steps of sampling:%n",
            all.get("against").asText(),
            all.get("pack").asText(),
            all.get("steps").asInt()));
    for (JsonNode row : all.get("backends")) {
      text.append(row.get("name").asText()).append(": ").append(text(row)).append('\n');
      for (JsonNode profile : row.path("profiles")) {
        text.append(
            String.format(
                Locale.ROOT,
                "  profile of %d tokens: %s, against %s: %s%n",
                profile.get("tokens").asInt(),
                profile.get("pack").asText(),
                profile.get("against").asText(),
                errors(profile, "")));
      }
    }
    return text.toString();
  }

  private static String text(JsonNode row) {
    if (row.has("refusal")) {
      return row.get("refusal").asText();
    }
    if (row.has("error")) {
      return "FAILED: " + row.get("error").asText();
    }
    StringBuilder text = new StringBuilder(errors(row, " (bound " + bound(row) + ")"));
    text.append(
        String.format(Locale.ROOT, "; %.2f ms a forward", row.get("forward_ms").asDouble()));
    if (row.has("latent_relative")) {
      text.append(
          String.format(
              Locale.ROOT,
              "; sampled latents: relative error %.2e, largest difference %.2e",
              row.get("latent_relative").asDouble(),
              row.get("latent_max_abs").asDouble()));
    }
    if (row.has("psnr_db")) {
      String psnr = row.get("psnr_db").asText();
      text.append("; picture: ");
      text.append(
          psnr.equals("equal")
              ? psnr
              : "PSNR "
                  + psnr
                  + " dB, largest difference "
                  + row.get("picture_max").asInt()
                  + " of 255");
    }
    if (row.has("no_picture")) {
      text.append("; no picture: ").append(row.get("no_picture").asText());
    }
    return text.toString();
  }

  private static String bound(JsonNode row) {
    return String.format(Locale.ROOT, "%.0e", row.get("bound").asDouble())
        + " in "
        + row.get("precision").asText().toLowerCase(Locale.ROOT);
  }

  private static String errors(JsonNode row, String more) {
    return String.format(
        Locale.ROOT,
        "relative error %.2e%s, largest difference %.2e%s",
        row.get("relative").asDouble(),
        more,
        row.get("max_abs").asDouble(),
        row.get("passed").asBoolean() ? "" : "  ABOVE THE BOUND");
  }
}
