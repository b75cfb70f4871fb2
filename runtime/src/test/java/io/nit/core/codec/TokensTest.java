package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.nit.testing.Errors;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class TokensTest {
  @Test
  void tokensAreRowMajorPatchesWithValuesInTheOrderCP1P2() {
    int channels = 5;
    for (int patch : new int[] {1, 2, 3}) {
      for (int[] size : new int[][] {{1, 1}, {2, 3}, {4, 1}}) {
        int h = size[0];
        int w = size[1];
        float[] latent = new float[channels * h * patch * w * patch];
        for (int i = 0; i < latent.length; i++) {
          latent[i] = i;
        }
        float[] tokens = Tokens.patchify(latent, channels, h, w, patch);
        int at = 0;
        for (int k = 0; k < h * w; k++) {
          for (int c = 0; c < channels; c++) {
            for (int p1 = 0; p1 < patch; p1++) {
              for (int p2 = 0; p2 < patch; p2++) {
                int y = k / w * patch + p1;
                int x = k % w * patch + p2;
                assertEquals(latent[(c * h * patch + y) * w * patch + x], tokens[at++]);
              }
            }
          }
        }
        double[] pack = new double[7 + tokens.length];
        Arrays.fill(pack, -1);
        System.arraycopy(Errors.widen(tokens), 0, pack, 7, tokens.length);
        assertArrayEquals(latent, Tokens.unpatchify(pack, 7, channels, h, w, patch));
      }
    }
  }
}
