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
    for (int at = 0; at < latent.length; at++) {
      tokens[tokenIndex(at, channels, h, w, patch)] = latent[at];
    }
    return tokens;
  }

  /** [h·w, C, p, p], from {@code offset}, to [C, h·p, w·p]. */
  public static float[] unpatchify(
      double[] tokens, int offset, int channels, int h, int w, int patch) {
    float[] latent = new float[channels * h * w * patch * patch];
    for (int at = 0; at < latent.length; at++) {
      latent[at] = (float) tokens[offset + tokenIndex(at, channels, h, w, patch)];
    }
    return latent;
  }

  private static int tokenIndex(int at, int channels, int h, int w, int patch) {
    int width = w * patch;
    int x = at % width;
    int y = at / width % (h * patch);
    int c = at / width / (h * patch);
    int token = y / patch * w + x / patch;
    return ((token * channels + c) * patch + y % patch) * patch + x % patch;
  }
}
