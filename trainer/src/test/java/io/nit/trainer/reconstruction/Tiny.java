package io.nit.trainer.reconstruction;

import io.nit.core.config.DcAeConfig;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.data.DataOptions;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;

/** An autoencoder that trains in a moment, and pictures that it can learn. */
public final class Tiny {
  /** Factor 4, with both kinds of blocks. */
  public static final String JSON =
      """
      {"_class_name": "AutoencoderDC", "in_channels": 3, "latent_channels": 8,
       "attention_head_dim": 8, "downsample_block_type": "Conv",
       "upsample_block_type": "interpolate", "scaling_factor": 1.0,
       "encoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
       "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
       "encoder_block_out_channels": [8, 16, 16], "decoder_block_out_channels": [8, 16, 16],
       "encoder_layers_per_block": [1, 1, 1], "decoder_layers_per_block": [1, 1, 1],
       "encoder_qkv_multiscales": [[], [], [5]], "decoder_qkv_multiscales": [[], [], [5]]}
      """;

  private Tiny() {}

  static DcAeConfig config() {
    return DcAeConfig.fromJson(JSON, "tiny");
  }

  /** Writes smooth pictures of 20 to 28 pixels a side into two class folders and beside them. */
  public static Path pictures(Path folder, int count) throws IOException {
    for (int n = 0; n < count; n++) {
      int width = 20 + n % 3 * 4;
      int height = 20 + n % 2 * 8;
      BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          int red = (int) (127.5 + 120 * Math.sin(0.2 * x + n));
          int green = (int) (127.5 + 120 * Math.sin(0.15 * y + 2 * n));
          int blue = (int) (127.5 + 120 * Math.cos(0.1 * (x + y) + 3 * n));
          image.setRGB(x, y, red << 16 | green << 8 | blue);
        }
      }
      String place = n % 3 == 0 ? n + ".png" : "class" + n % 3 + "/" + n + ".png";
      Path file = folder.resolve(place);
      Files.createDirectories(file.getParent());
      ImageIO.write(image, "png", file.toFile());
    }
    return folder;
  }

  static PictureSet set(Path folder, int crop) throws IOException {
    return PictureSet.open(
        folder, new PictureSet.Options(crop, DataOptions.MAX_PIXELS, 1 << 24, 2, true));
  }

  static ReconstructionOptions options(long steps, long checkpointEvery, long logEvery) {
    return options(steps, checkpointEvery, logEvery, Precision.F32);
  }

  static ReconstructionOptions options(
      long steps, long checkpointEvery, long logEvery, Precision precision) {
    return new ReconstructionOptions(
        new LearningRate(LearningRate.Schedule.COSINE, 5e-3, 2, steps),
        new AdamW.Options(0.9, 0.99, 1e-8, 0.01),
        1,
        0.9,
        4,
        16,
        new ReconstructionLoss(1, 0.5, 0.1),
        precision,
        7,
        new TrainOptions.Pace(checkpointEvery, 2, 0, logEvery, 0));
  }
}
