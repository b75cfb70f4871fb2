package io.nit.trainer.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ConvolutionKernelsTest {
  private static boolean cudnn() {
    return torch.globalContext().userEnabledCuDNN();
  }

  @AfterEach
  void on() {
    torch.globalContext().setUserEnabledCuDNN(true);
  }

  @Test
  void thoseOfBeforeComeBackAlsoFromWithin() {
    for (boolean before : new boolean[] {true, false}) {
      torch.globalContext().setUserEnabledCuDNN(before);
      try (ConvolutionKernels own = ConvolutionKernels.own()) {
        assertFalse(cudnn());
        try (ConvolutionKernels within = ConvolutionKernels.cudnn()) {
          assertTrue(cudnn());
        }
        assertFalse(cudnn());
      }
      assertEquals(before, cudnn());
    }
  }

  @Test
  void aSecondCloseChangesNothing() {
    ConvolutionKernels own = ConvolutionKernels.own();
    own.close();
    torch.globalContext().setUserEnabledCuDNN(false);
    own.close();
    assertFalse(cudnn());
  }
}
