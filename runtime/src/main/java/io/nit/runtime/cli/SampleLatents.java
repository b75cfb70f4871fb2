package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Seeds;
import io.nit.core.flow.Trajectory;
import io.nit.core.rope.RopeSpec;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.sample.PackedSampler;
import io.nit.runtime.sample.RopeChoice;
import io.nit.runtime.sample.SampledImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.function.IntToDoubleFunction;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run sample-latents}: a sampler from given noise, all images in one pack. */
@Command(
    name = "sample-latents",
    mixinStandardHelpOptions = true,
    description = {
      "Runs a sampler from given start noise, all images in one pack, so that samplers can be compared"
          + " number by number.",
      "Reads x [tokens, C, p, p], y [B], hw_list [B, 2] (h first), and for sde eps [steps-1, tokens, C,"
          + " p, p], without which the noise comes from --seed; writes latents [tokens, C, p, p], F64, and"
          + " hw_list again, which nit-run decode takes."
    },
    footer = {
      "",
      "Example:",
      "  nit-run sample-latents --bundle bundle --inputs in.safetensors \\",
      "      --output out.safetensors --sampler heun --steps 5 --guidance 1.8 \\",
      "      --guidance-interval 0.2,0.9"
    })
final class SampleLatents implements Callable<Integer> {
  @Mixin private CommonOptions common;
  @Mixin private ModelOptions model;
  @Mixin private SamplerOptions sampling;

  @Option(names = "--inputs", paramLabel = "FILE", description = "Start noise. Required.")
  private Path inputs;

  @Option(names = "--output", paramLabel = "FILE", description = "Where latents go. Required.")
  private Path output;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Seed of the sde's noise where the inputs hold none; image i has seed N + i"
              + " (default: ${DEFAULT-VALUE}).")
  private long seed;

  SampleLatents() {}

  @Override
  public Integer call() throws Exception {
    Path from = Flags.required("--inputs", inputs);
    Path to = Flags.outputFile(output, "--inputs", from);
    Bundle bundle = Bundle.open(model.folder());
    Guidance guidance = sampling.guidance(Guidance.NONE);
    if (guidance.scale() > 1
        && !bundle.config().hasNullClass()
        && sampling.autoGuidance().isEmpty()) {
      throw new IllegalArgumentException(
          "--guidance: expected 1 (none), as the model has no null class and there is no"
              + " --auto-guidance; found "
              + guidance.scale());
    }
    Optional<Bundle> guide = Optional.empty();
    if (sampling.autoGuidance().isPresent()) {
      guide = Optional.of(Bundle.open(sampling.autoGuidance().get()));
      PackedSampler.checkGuide(bundle.config(), guide.get().config());
    }
    try (TensorSource file = TensorSource.open(from)) {
      PackInputs pack = PackInputs.read(file, bundle.config());
      List<SampledImage> images = images(file, pack, bundle, guidance);
      try (VelocityEngine engine = model.open(bundle);
          VelocityEngine weaker = guide.isPresent() ? model.open(guide.get()) : null) {
        sample(new PackedSampler(engine, Optional.ofNullable(weaker)), images);
      }
      write(to, pack, images, bundle.config());
      System.out.println("latents of " + pack.layout() + ": " + to);
    }
    return Cli.DONE;
  }

  private List<SampledImage> images(
      TensorSource file, PackInputs pack, Bundle bundle, Guidance guidance) throws IOException {
    NitConfig config = bundle.config();
    SamplerKind kind = sampling.sampler(bundle.defaults().sampler());
    int steps = sampling.steps(bundle.defaults().steps());
    Flags.parsed("--steps", () -> kind.times(steps)); // before eps is compared with them
    sampling.checkRopeReference(config);
    RopeChoice rope = sampling.rope();
    rope.over(RopeSpec.of(config));
    Optional<IntToDoubleFunction> eps = Optional.empty();
    if (kind == SamplerKind.SDE && file.has("eps")) {
      HostTensor tensor =
          PackInputs.floats(file, "eps", PackInputs.tokenShape(pack.layout(), config, steps - 1));
      eps =
          Optional.of(
              tensor.dtype() == DType.F64
                  ? tensor.bytes().asDoubleBuffer()::get
                  : tensor.to(DType.F32).floats()::get);
    }
    double[] start = pack.x().toDoubles();
    List<SampledImage> images = new ArrayList<>();
    for (int i = 0; i < pack.layout().images(); i++) {
      int from = pack.layout().start(i) * config.tokenSize();
      int elements = pack.layout().tokens(i) * config.tokenSize();
      Trajectory.Noise noise = Seeds.sde(seed + i, elements);
      if (eps.isPresent()) {
        IntToDoubleFunction all = eps.get();
        noise = step -> slice(all, step * start.length + from, elements);
      }
      images.add(
          new SampledImage(
              pack.layout().h(i),
              pack.layout().w(i),
              pack.y()[i],
              rope,
              new Trajectory(
                  kind, steps, guidance, Arrays.copyOfRange(start, from, from + elements), noise)));
    }
    return images;
  }

  private void sample(PackedSampler sampler, List<SampledImage> images) throws EngineException {
    StopSignal stop = StopSignal.install();
    Trajectory first = images.get(0).trajectory(); // all have the same steps and sampler
    try (Progress progress =
        Progress.start("sampling", first.evaluations(), 0, " forwards", common.quiet())) {
      while (!first.done()) {
        if (stop.requested()) {
          throw new CancellationException(
              "stopped after step " + first.step() + " of " + first.steps() + "; nothing written");
        }
        sampler.advance(images);
        progress.step(1);
      }
    }
  }

  private static void write(Path to, PackInputs pack, List<SampledImage> images, NitConfig config)
      throws IOException {
    double[] latents = new double[Math.toIntExact(pack.x().shape().elements())];
    long[] sides = new long[2 * images.size()];
    for (int i = 0; i < images.size(); i++) {
      double[] x = images.get(i).trajectory().x();
      sides[2 * i] = pack.layout().h(i);
      sides[2 * i + 1] = pack.layout().w(i);
      System.arraycopy(x, 0, latents, pack.layout().start(i) * config.tokenSize(), x.length);
    }
    new SafetensorsWriter()
        .add(HostTensor.of("latents", latents, pack.x().shape().dims()))
        .add(HostTensor.of("hw_list", sides, pack.layout().images(), 2))
        .write(to);
  }

  private static double[] slice(IntToDoubleFunction all, int from, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = all.applyAsDouble(from + i);
    }
    return values;
  }
}
