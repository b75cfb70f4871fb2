package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.nit.core.cli.Cli;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import io.nit.exporter.cli.Export;
import io.nit.testing.Golden;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** Bundles of small models, exported by {@code nit-export}. */
final class Bundles {
  /** Labels of {@link #pictures}. */
  static final String LABELS = "[\"cat\", \"dog\", \"fish, the\", \"zebra\"]";

  private Bundles() {}

  /** The golden model: latents only, released position order. */
  static Path golden(Path folder) throws IOException {
    return golden(folder, "golden", 1);
  }

  /** The golden model with every weight multiplied, for guidance by another model. */
  static Path golden(Path folder, String bundle, float factor) throws IOException {
    Path checkpoint = folder.resolve(bundle + ".safetensors");
    SafetensorsWriter writer =
        new SafetensorsWriter().metadata("config", Golden.nitTinyConfig().toJson());
    try (TensorSource golden = Golden.nitTiny()) {
      for (String name : golden.specs().keySet()) {
        if (name.startsWith("state.")) {
          float[] values = golden.tensor(name).toFloats();
          for (int i = 0; i < values.length; i++) {
            values[i] *= factor;
          }
          long[] dims = golden.specs().get(name).shape().dims();
          writer.add(HostTensor.of(name.substring("state.".length()), values, dims));
        }
      }
      writer.write(checkpoint);
    }
    return export(checkpoint, folder.resolve(bundle));
  }

  /** Shape of the model of {@link #pictures}: 4 classes, pictures in multiples of 4 pixels. */
  static NitConfig pictureConfig() {
    return NitConfig.s()
        .with(
            Map.of(
                "in_channels", 48,
                "hidden_size", 32,
                "depth", 2,
                "num_heads", 2,
                "num_classes", 4,
                "encoder_depth", 1,
                "projector_dim", 16,
                "z_dim", 16));
  }

  /**
   * A model of random weights that makes pictures.
   *
   * @param seed of the weights
   */
  static Path pictures(Path folder, long seed) throws IOException {
    NitConfig config = pictureConfig();
    Path checkpoint = folder.resolve("pictures-" + seed + ".safetensors");
    SafetensorsWriter writer =
        new SafetensorsWriter()
            .metadata("config", config.toJson())
            .metadata("codec", new SpaceToDepthCodec(4).toNode().toString())
            .metadata("labels", LABELS);
    int stream = 0;
    for (TensorSpec spec : NitTensors.of(config, false).values()) {
      double[] normals =
          new Philox(seed, stream++).normals(Math.toIntExact(spec.shape().elements()));
      float[] values = new float[normals.length];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (0.15 * normals[i]);
      }
      writer.add(HostTensor.of(spec.name(), values, spec.shape().dims()));
    }
    writer.write(checkpoint);
    return export(checkpoint, folder.resolve("pictures-" + seed));
  }

  private static Path export(Path checkpoint, Path bundle) {
    int code =
        Cli.run(
            new Export(),
            "--quiet",
            "--checkpoint",
            checkpoint.toString(),
            "--output",
            bundle.toString());
    assertEquals(0, code, "nit-export of " + checkpoint);
    return bundle;
  }
}
