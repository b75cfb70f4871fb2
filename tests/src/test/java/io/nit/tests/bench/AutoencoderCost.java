package io.nit.tests.bench;

import io.nit.core.config.DcAeConfig;
import io.nit.core.config.DcAeConfig.Block;
import io.nit.core.config.DcAeConfig.Stage;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.TensorSpec;
import java.util.List;
import java.util.Map;

/**
 * Multiplications that convolutions and attention of a DC-AE need for one picture; norms,
 * activations and shortcuts are not counted.
 *
 * @param encode of the encoder
 * @param decode of the decoder
 */
record AutoencoderCost(double encode, double decode) {

  static AutoencoderCost of(DcAeConfig config, int height, int width) {
    double pixels = (double) height * width;
    return new AutoencoderCost(
        convolutions(config, DcAeTensors.encoder(config), pixels)
            + attention(config, config.encoder(), pixels),
        convolutions(config, DcAeTensors.decoder(config), pixels)
            + attention(config, config.decoder(), pixels));
  }

  /** Every weight of a convolution is used once for every pixel that it gives. */
  private static double convolutions(
      DcAeConfig config, Map<String, TensorSpec> tensors, double pixels) {
    double sum = 0;
    for (TensorSpec spec : tensors.values()) {
      if (spec.shape().rank() >= 2) {
        sum += spec.shape().elements() * pixels / Math.pow(4, halvings(config, spec.name()));
      }
    }
    return sum;
  }

  /** How often the picture's size was halved where a convolution's output lies. */
  private static int halvings(DcAeConfig config, String name) {
    int coarsest = config.encoder().size() - 1;
    String[] parts = name.split("\\.");
    switch (parts[0] + "." + parts[1]) {
      case "encoder.conv_out", "decoder.conv_in":
        return coarsest;
      case "encoder.conv_in":
        return parts[2].equals("conv") && !config.pixelUnshuffle() ? 1 : 0;
      case "decoder.conv_out":
        return parts[2].equals("conv") && !config.interpolate() ? 1 : 0;
      case "encoder.down_blocks":
        boolean down = parts[4].equals("conv");
        return Integer.parseInt(parts[2]) + (down && !config.pixelUnshuffle() ? 1 : 0);
      default:
        boolean up = parts[4].equals("conv");
        return Integer.parseInt(parts[2]) + (up && !config.interpolate() ? 1 : 0);
    }
  }

  /** Two products of d×d for each of a head's N pixels, and the d of its denominator. */
  private static double attention(DcAeConfig config, List<Stage> stages, double pixels) {
    double sum = 0;
    double d = config.attentionHeadDim();
    for (int i = 0; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      if (stage.block() == Block.EFFICIENT_VIT) {
        double heads = (1 + stage.multiscales().size()) * stage.channels() / d;
        sum += stage.layers() * heads * (2 * d * d + d) * pixels / Math.pow(4, i);
      }
    }
    return sum;
  }
}
