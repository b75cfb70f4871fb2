package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class SmallPackKernelsTest {
  private static final List<Integer> BUCKETS = List.of(512, 16384);

  private static Optional<String> refusal(NitConfig config, DType precision, Traits traits) {
    return SmallPackKernels.refusal(config, precision, traits, BUCKETS);
  }

  @Test
  void everyPresetHasThePlanInSixteenBits() {
    for (String preset : List.of("s", "b", "l", "xl", "xxl")) {
      for (DType precision : List.of(DType.BF16, DType.F16)) {
        for (Weights weights : Weights.values()) {
          assertEquals(
              Optional.empty(),
              refusal(NitConfig.preset(preset), precision, Traits.NONE.with(weights)),
              preset);
        }
      }
    }
  }

  @Test
  void whatThePlanCannotBeHadWithIsNamed() {
    NitConfig xl = NitConfig.preset("xl");
    assertEquals(
        Optional.of("expected bf16 or f16, found f32"), refusal(xl, DType.F32, Traits.NONE));
    assertEquals(
        Optional.of(
            "expected an engine for compute capability 9.0 alone, found --hardware-compatible"),
        refusal(xl, DType.BF16, new Traits(false, Hardware.AMPERE_PLUS, Weights.FIXED)));
    assertEquals(
        Optional.of("expected an engine for one version, found --version-compatible"),
        refusal(xl, DType.BF16, new Traits(true, Hardware.SAME, Weights.FIXED)));
    assertEquals(
        Optional.of("expected a bucket of at most 512 tokens, found [4096]"),
        SmallPackKernels.refusal(xl, DType.BF16, Traits.NONE, List.of(4096)));
    NitConfig odd = xl.with(Map.of("hidden_size", 36, "num_heads", 3));
    assertEquals(
        Optional.of("expected layers of a multiple of 8 columns, found 36"),
        refusal(odd, DType.BF16, Traits.NONE));
    NitConfig narrow = xl.with(Map.of("hidden_size", 40, "num_heads", 2, "mlp_ratio", 2.1));
    assertEquals(
        Optional.of("expected layers of a multiple of 8 columns, found 84"),
        refusal(narrow, DType.BF16, Traits.NONE));
  }

  @Test
  void onlyHopperHasTheKernels() {
    assertEquals(
        Optional.empty(), SmallPackKernels.refusalOn("9.0", MadeUpLibrary.of("sm_80", "sm_90a")));
    assertEquals(
        Optional.of("expected a GPU of compute capability 9.0, found 8.9"),
        SmallPackKernels.refusalOn("8.9", MadeUpLibrary.of("sm_80", "sm_90a")));
    assertEquals(
        Optional.of("expected our kernels for sm_90a, found sm_90 in lib.so"),
        SmallPackKernels.refusalOn("9.0", MadeUpLibrary.of("sm_90")));
  }

  @Test
  void theWordsOfTheOptionAreRead() {
    for (SmallPackKernels one : SmallPackKernels.values()) {
      assertEquals(one, SmallPackKernels.parse(one.key()));
    }
    assertEquals(
        "--small-pack-kernels: expected auto, on or off, found 'yes'",
        assertThrows(IllegalArgumentException.class, () -> SmallPackKernels.parse("yes"))
            .getMessage());
  }
}
