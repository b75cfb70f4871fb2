package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.io.AtomicFile;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.tensor.Parity;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
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
          + " and tells how far each is from the first of them to compare with.",
      "Fails if a backend's relative error is above --bound."
    },
    footer = {
      "",
      "Examples:",
      "  nit-run compare --bundle bundle",
      "  nit-run compare --bundle bundle --steps 20 --json --output parity.json"
    })
final class Compare implements Callable<Integer> {
  private static final long SEED = 20250603;

  @Mixin private CommonOptions common;

  @Option(names = "--bundle", paramLabel = "DIR", description = "The model. Required.")
  private Path folder;

  @Option(
      names = "--against",
      paramLabel = "NAME",
      defaultValue = "ort-cpu",
      description = "The backend to compare with (default: ${DEFAULT-VALUE}).")
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
      defaultValue = "0.05",
      description = "Largest relative error of a forward (default: ${DEFAULT-VALUE}).")
  private double bound;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description = "CPU threads; 0 for every core (default: ${DEFAULT-VALUE}).")
  private int threads;

  @Option(names = "--json", description = "As one JSON object.")
  private boolean json;

  @Option(names = "--output", paramLabel = "FILE", description = "Also write the JSON to a file.")
  private Path output;

  Compare() {}

  /** What a backend made of the inputs, and why no picture where it cannot. */
  private record Made(
      float[] velocities,
      double millis,
      Optional<ImageResult> sampled,
      Optional<String> noPicture) {}

  @Override
  public Integer call() throws Exception {
    if (steps < 0) {
      throw new IllegalArgumentException("--steps: expected 0 or more, found " + steps);
    }
    if (!(bound > 0)) {
      throw new IllegalArgumentException("--bound: expected more than 0, found " + bound);
    }
    Bundle bundle = Bundle.open(Flags.required("--bundle", folder));
    EngineOptions options = Flags.parsed("--threads", () -> new EngineOptions(threads));
    List<EngineProvider> providers = Engines.providers();
    ForwardInputs in = inputs(bundle);
    Made expected = make(bundle, against, options, in);
    ObjectNode all = JsonNodeFactory.instance.objectNode();
    all.put("bundle", bundle.folder().toString()).put("against", against);
    all.put("pack", in.layout().toString()).put("steps", steps).put("bound", bound);
    ArrayNode rows = all.putArray("backends");
    boolean within = true;
    for (EngineProvider provider : providers) {
      ObjectNode row = rows.addObject().put("name", provider.name());
      Optional<String> refusal = provider.refusal(bundle);
      if (refusal.isPresent()) {
        row.put("refusal", refusal.get());
        continue;
      }
      Made found =
          provider.name().equals(against) ? expected : make(bundle, provider.name(), options, in);
      within &= compare(row, found, expected);
      found.noPicture.ifPresent(reason -> row.put("no_picture", reason));
    }
    if (output != null) {
      AtomicFile.writeString(output, all.toPrettyString() + "\n");
    }
    System.out.print(json ? all.toPrettyString() + "\n" : text(all));
    return within ? Cli.DONE : Cli.FAILED;
  }

  private boolean compare(ObjectNode row, Made found, Made expected) {
    Parity parity = Parity.of(found.velocities, expected.velocities);
    row.put("relative", parity.relative())
        .put("max_abs", parity.maxAbs())
        .put("forward_ms", Math.round(found.millis * 1000) / 1000.0)
        .put("passed", parity.relative() <= bound);
    if (found.sampled.isPresent() && expected.sampled.isPresent()) {
      ImageResult picture = found.sampled.get();
      ImageResult other = expected.sampled.orElseThrow();
      row.put("latent_relative", Parity.of(picture.latent(), other.latent()).relative());
      if (picture.image().isPresent()) {
        double psnr = Parity.psnr(picture.image().get().rgb(), other.image().orElseThrow().rgb());
        if (Double.isInfinite(psnr)) {
          row.put("psnr_db", "equal");
        } else {
          row.put("psnr_db", Math.round(psnr * 100) / 100.0);
        }
      }
    }
    return parity.relative() <= bound;
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

  private Made make(Bundle bundle, String backend, EngineOptions options, ForwardInputs in)
      throws IOException, EngineException, InterruptedException {
    float[] velocities = new float[in.x().remaining()];
    double millis = Double.POSITIVE_INFINITY;
    try (VelocityEngine engine = Engines.open(bundle, backend, options)) {
      for (int round = 0; round < 4; round++) { // the first ones also warm up
        long start = System.nanoTime();
        engine.forward(in, FloatBuffer.wrap(velocities));
        millis = Math.min(millis, (System.nanoTime() - start) / 1e6);
      }
    }
    Optional<String> noPicture = noPicture(bundle, backend);
    boolean sampled = steps > 0 && noPicture.isEmpty();
    return new Made(
        velocities, millis, sampled ? sample(bundle, backend) : Optional.empty(), noPicture);
  }

  /** Why a backend that runs the model does not run its autoencoder, or empty if it does. */
  private static Optional<String> noPicture(Bundle bundle, String backend) {
    return Engines.providers().stream()
        .filter(provider -> provider.name().equals(backend))
        .filter(provider -> bundle.autoencoder().isPresent() && provider.runsCodecs())
        .findFirst()
        .flatMap(provider -> provider.codecRefusal(bundle, EngineOptions.DEFAULT));
  }

  private Optional<ImageResult> sample(Bundle bundle, String backend)
      throws IOException, EngineException, InterruptedException {
    try (NitPipeline pipeline =
        NitPipeline.builder(bundle.folder()).backend(backend).threads(threads).open()) {
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

  private static String text(ObjectNode all) {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "against %s, a forward of %s and %d steps of sampling:%n",
            all.get("against").asText(),
            all.get("pack").asText(),
            all.get("steps").asInt()));
    all.get("backends")
        .forEach(
            row ->
                text.append(
                    row.has("refusal")
                        ? String.format(
                            "%s: %s%n", row.get("name").asText(), row.get("refusal").asText())
                        : String.format(
                            Locale.ROOT,
                            "%s: relative error %.2e, largest difference %.2e, %.2f ms a forward%s%s%n",
                            row.get("name").asText(),
                            row.get("relative").asDouble(),
                            row.get("max_abs").asDouble(),
                            row.get("forward_ms").asDouble(),
                            row.has("psnr_db") ? ", PSNR " + row.get("psnr_db").asText() : "",
                            row.get("passed").asBoolean() ? "" : "  ABOVE THE BOUND")));
    return text.toString();
  }
}
