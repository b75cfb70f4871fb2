package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.config.NitConfig;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run forward}: one packed forward from file to file. */
@Command(
    name = "forward",
    mixinStandardHelpOptions = true,
    description = {
      "Runs the model once over a pack.",
      "Reads x [tokens, C, p, p], t [B], y [B], hw_list [B, 2] (h first); writes v [tokens, C, p, p]."
    },
    footer = {
      "",
      "Example:",
      "  nit-run forward --bundle bundle --inputs in.safetensors \\",
      "      --output out.safetensors"
    })
final class Forward implements Callable<Integer> {
  @Mixin private CommonOptions common;
  @Mixin private ModelOptions model;

  @Option(names = "--inputs", paramLabel = "FILE", description = "The pack. Required.")
  private Path inputs;

  @Option(names = "--output", paramLabel = "FILE", description = "Where v goes. Required.")
  private Path output;

  Forward() {}

  @Override
  public Integer call() throws Exception {
    Path from = Flags.required("--inputs", inputs);
    Path to = Flags.outputFile(output, "--inputs", from);
    Bundle bundle = Bundle.open(model.folder());
    NitConfig config = bundle.config();
    try (TensorSource file = TensorSource.open(from)) {
      PackInputs pack = PackInputs.read(file, config);
      HostTensor t = PackInputs.floats(file, "t", Shape.of(pack.layout().images()));
      FloatBuffer v = FloatBuffer.allocate(pack.layout().tokens() * config.tokenSize());
      ForwardInputs in =
          new ForwardInputs(
              pack.layout(),
              FloatBuffer.wrap(pack.x().toFloats()),
              t.toFloats(),
              pack.y(),
              new Rope2d().tables(RopeSpec.of(config), pack.layout()));
      try (VelocityEngine engine = model.open(bundle)) {
        engine.forward(in, v);
        new SafetensorsWriter()
            .metadata("backend", engine.backend())
            .add(HostTensor.of("v", v.array(), pack.x().shape().dims()))
            .write(to);
      }
      System.out.println("v of " + pack.layout() + ": " + to);
    }
    return Cli.DONE;
  }
}
