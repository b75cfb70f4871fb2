package io.nit.core.codec;

/**
 * Latents as tokens: a latent [C, H, W] is cut in p×p patches, token k at row {@code k div w},
 * column {@code k mod w}, its values in the order (c, p1, p2).
 */
public final class Tokens {
  private Tokens() {}

  /** [C, h·p, w·p] to [h·w, C, p, p]. */
  public static float[] patchify(float[] latent, int channels, int h, int w, int patch) {
    float[] tokens = new float[latent.length];
    int tokenSize = channels * patch * patch;
    int at = 0;
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < h * patch; y++) {
        int row = rowStart(c, y, channels, w, patch);
        for (int x = 0; x < w; x++) {
          for (int j = 0; j < patch; j++) {
            tokens[row + x * tokenSize + j] = latent[at++];
          }
        }
      }
    }
    return tokens;
  }

  /** [h·w, C, p, p], from {@code offset}, to [C, h·p, w·p]. */
  public static float[] unpatchify(
      double[] tokens, int offset, int channels, int h, int w, int patch) {
    float[] latent = new float[channels * h * w * patch * patch];
    int tokenSize = channels * patch * patch;
    int at = 0;
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < h * patch; y++) {
        int row = offset + rowStart(c, y, channels, w, patch);
        for (int x = 0; x < w; x++) {
          for (int j = 0; j < patch; j++) {
            latent[at++] = (float) tokens[row + x * tokenSize + j];
          }
        }
      }
    }
    return latent;
  }

  /** Where the first value of latent row (c, y) lies among the tokens. */
  private static int rowStart(int c, int y, int channels, int w, int patch) {
    int firstToken = y / patch * w;
    return ((firstToken * channels + c) * patch + y % patch) * patch;
  }
}
