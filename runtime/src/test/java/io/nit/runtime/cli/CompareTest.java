package io.nit.runtime.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.runtime.engine.ProfileCheck;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class CompareTest {
  private static Compare.Made made(DType precision, float error, double ofProfile) {
    return new Compare.Made(
        new float[] {1 + error, -1},
        2.5,
        Optional.of(precision),
        List.of(
            new ProfileCheck.Result(
                16_384, "4 images", "profile of 8192 tokens", new Parity(ofProfile, 0.5))),
        Optional.empty(),
        Optional.of("no decoder"));
  }

  private static boolean within(
      ObjectNode row, DType precision, float error, double ofProfile, Double bound) {
    Compare.Made expected = made(DType.F32, 0, 0);
    return Compare.compare(
        row, made(precision, error, ofProfile), expected, Optional.ofNullable(bound));
  }

  private static boolean within(DType precision, float error, double ofProfile, Double bound) {
    return within(JsonNodeFactory.instance.objectNode(), precision, error, ofProfile, bound);
  }

  @Test
  void theBoundIsThePrecisionsOrTheOneThatIsAskedFor() {
    assertTrue(within(DType.BF16, 2e-2f, 0, null));
    assertFalse(within(DType.F16, 2e-2f, 0, null));
    assertFalse(within(DType.F32, 1e-3f, 0, null));
    assertTrue(within(DType.F32, 1e-3f, 0, 1e-2));
    assertFalse(within(DType.BF16, 2e-2f, 0, 1e-3));
  }

  @Test
  void aProfileThatIsOffFailsTheBackend() {
    assertFalse(within(DType.BF16, 0, 0.2, null));
    assertFalse(within(DType.BF16, 0, Double.POSITIVE_INFINITY, null));
  }

  @Test
  void everyRowIsToldWithItsErrorsAndAFailedOneWithItsReason() {
    ObjectNode all = JsonNodeFactory.instance.objectNode();
    all.put("against", "reference").put("pack", "a pack").put("steps", 4);
    ObjectNode row = all.putArray("backends").addObject().put("name", "tensorrt");
    within(row, DType.BF16, 1e-2f, 0.2, null);
    all.withArray("backends").addObject().put("name", "ort-cuda").put("error", "out of memory");
    all.withArray("backends").addObject().put("name", "other").put("refusal", "no GPU");
    assertEquals(
        """
        against reference, a forward of a pack and 4 steps of sampling:
        tensorrt: relative error 7.07e-03 (bound 5e-02 in bf16), largest difference 1.00e-02; 2.50\
         ms a forward; no picture: no decoder
          profile of 16384 tokens: 4 images, against profile of 8192 tokens: relative error\
         2.00e-01, largest difference 5.00e-01  ABOVE THE BOUND
        ort-cuda: FAILED: out of memory
        other: no GPU
        """,
        Compare.text(all));
  }
}
