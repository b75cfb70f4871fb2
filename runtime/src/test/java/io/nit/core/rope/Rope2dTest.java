package io.nit.core.rope;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.CustomFreqs;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class Rope2dTest {
  private static final RopeSpec PLAIN =
      new RopeSpec(24, CustomFreqs.NORMAL, 10_000, 0, 0, false, 0, PositionOrder.AXIAL);

  @Test
  void tablesOfThePackEqualTheAuthors() throws IOException {
    try (TensorSource golden = Golden.nitTiny()) {
      PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
      RopeTables tables = new Rope2d().tables(RopeSpec.of(Golden.nitTinyConfig()), layout);
      assertTrue(Errors.relative(tables.cos(), golden.tensor("out.rope_cos").toFloats()) <= 2e-5);
      assertTrue(Errors.relative(tables.sin(), golden.tensor("out.rope_sin").toFloats()) <= 2e-5);
    }
  }

  @ParameterizedTest
  @EnumSource(CustomFreqs.class)
  void everyModeEqualsThePublishedFormula(CustomFreqs mode) throws IOException {
    try (TensorSource golden = SafetensorsFile.open(Golden.file("golden/rope-modes.safetensors"))) {
      for (PositionOrder order : PositionOrder.values()) {
        for (boolean decouple : new boolean[] {false, true}) {
          String key = mode.key() + "." + order.key() + "." + (decouple ? 1 : 0);
          RopeSpec own = new RopeSpec(16, mode, 10_000, 0, 0, decouple, 4, order);
          assertTables(golden, key + ".own", Rope2d.image(own, 3, 11));
          RopeSpec set = new RopeSpec(72, mode, 10_000, 96, 200, decouple, 64, order);
          assertTables(golden, key + ".set", Rope2d.image(set, 2, 3));
        }
      }
    }
  }

  @Test
  void everyRotaryKeyOfAConfigReachesItsSpec() {
    NitConfig config =
        NitConfig.s()
            .with(
                Map.of(
                    "hidden_size", 144,
                    "num_heads", 2,
                    "custom_freqs", "ntk-by-parts",
                    "theta", 5000,
                    "max_pe_len_h", 96,
                    "max_pe_len_w", 200,
                    "decouple", true,
                    "ori_max_pe_len", 64,
                    "position_order", "released"));
    assertEquals(
        new RopeSpec(72, CustomFreqs.NTK_BY_PARTS, 5000, 96, 200, true, 64, PositionOrder.RELEASED),
        RopeSpec.of(config));
  }

  private static void assertTables(TensorSource golden, String key, RopeTables tables)
      throws IOException {
    float[] expected = golden.tensor(key).toFloats();
    float[] found = new float[expected.length];
    int half = found.length / 2;
    for (int i = 0; i < half; i++) {
      assertEquals(tables.cos()[2 * i], tables.cos()[2 * i + 1], "pairs are adjacent");
      assertEquals(tables.sin()[2 * i], tables.sin()[2 * i + 1], "pairs are adjacent");
      found[i] = tables.cos()[2 * i];
      found[half + i] = tables.sin()[2 * i];
    }
    double error = Errors.relative(found, expected);
    assertTrue(error <= 1e-6, key + ": relative error " + error);
  }

  @Test
  void positionsFollowTheOrderForEverySizeUpTo8x8() {
    for (int h = 1; h <= 8; h++) {
      for (int w = 1; w <= 8; w++) {
        RopeTables axial = Rope2d.image(PLAIN, h, w);
        RopeTables released = Rope2d.image(withOrder(PLAIN, PositionOrder.RELEASED), h, w);
        for (int k = 0; k < h * w; k++) {
          assertToken(axial, k, k / w, k % w);
          assertToken(released, k, k % h, k / h);
        }
      }
    }
  }

  /** Frequency 0 is 1, so a half's first value is the cosine of its position. */
  private static void assertToken(RopeTables tables, int token, int first, int second) {
    assertEquals(Math.cos(first), tables.cos()[token * 24], 1e-6);
    assertEquals(Math.sin(first), tables.sin()[token * 24], 1e-6);
    assertEquals(Math.cos(second), tables.cos()[token * 24 + 12], 1e-6);
    assertEquals(Math.sin(second), tables.sin()[token * 24 + 12], 1e-6);
  }

  @Test
  void specsMixedInOnePackEqualTablesComputedAlone() {
    List<RopeSpec> specs =
        List.of(
            PLAIN,
            PLAIN.withMode(CustomFreqs.YARN, 4),
            withOrder(PLAIN.withMode(CustomFreqs.NTK_AWARE_PRO2, 3), PositionOrder.RELEASED));
    PackLayout layout = PackLayout.of(new int[] {3, 9, 5}, new int[] {7, 2, 6});
    RopeTables pack = new Rope2d().tables(specs, layout);
    for (int i = 0; i < 3; i++) {
      RopeTables alone = Rope2d.image(specs.get(i), layout.h(i), layout.w(i));
      int from = layout.start(i) * 24;
      int to = from + layout.tokens(i) * 24;
      assertArrayEquals(alone.cos(), Arrays.copyOfRange(pack.cos(), from, to));
      assertArrayEquals(alone.sin(), Arrays.copyOfRange(pack.sin(), from, to));
    }
  }

  @Test
  void theCacheChangesNoResult() {
    Rope2d rope = new Rope2d();
    for (int round = 0; round < 2; round++) {
      for (int h = 1; h <= 70; h++) { // more sizes than the cache holds
        int w = 1 + 37 * h % 50; // axes longer and shorter than those before
        for (RopeSpec spec : List.of(PLAIN, PLAIN.withMode(CustomFreqs.LINEAR, 2 + h % 3))) {
          RopeTables found = rope.tables(spec, PackLayout.of(new int[] {h}, new int[] {w}));
          RopeTables fresh = Rope2d.image(spec, h, w);
          assertArrayEquals(fresh.cos(), found.cos());
          assertArrayEquals(fresh.sin(), found.sin());
        }
      }
    }
  }

  @Test
  void writingToTablesDoesNotReachTheCache() {
    Rope2d rope = new Rope2d();
    PackLayout layout = PackLayout.of(new int[] {2}, new int[] {2});
    RopeTables first = rope.tables(PLAIN, layout);
    Arrays.fill(first.cos(), 9);
    assertEquals(1, rope.tables(PLAIN, layout).cos()[0]);
  }

  @Test
  void modesLeaveImagesUpToTheReferenceLengthAlone() {
    for (CustomFreqs mode :
        List.of(
            CustomFreqs.LINEAR,
            CustomFreqs.NTK_AWARE,
            CustomFreqs.NTK_BY_PARTS,
            CustomFreqs.YARN)) {
      RopeTables stretched = Rope2d.image(PLAIN.withMode(mode, 16), 16, 9);
      assertTrue(
          Errors.relative(stretched.cos(), Rope2d.image(PLAIN, 16, 9).cos()) < 1e-6, mode.key());
    }
  }

  @Test
  void aSetLengthStretchesEveryImageAlike() {
    RopeSpec set =
        new RopeSpec(24, CustomFreqs.LINEAR, 10_000, 32, 32, false, 8, PositionOrder.AXIAL);
    RopeTables small = Rope2d.image(set, 2, 3);
    assertEquals((float) Math.cos(1 / 4.0), small.cos()[3 * 24], 1e-6f); // token at row 1
    RopeTables own = Rope2d.image(PLAIN.withMode(CustomFreqs.LINEAR, 8), 2, 3);
    assertNotEquals(own.cos()[3 * 24], small.cos()[3 * 24]);
  }

  @Test
  void aModeWithoutItsReferenceLengthIsRefused() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> PLAIN.withMode(CustomFreqs.YARN, 0))
            .getMessage();
    assertTrue(message.contains("yarn") && message.contains("ori_max_pe_len"), message);
    assertThrows(
        IllegalArgumentException.class,
        () -> new RopeSpec(6, CustomFreqs.NORMAL, 1e4, 0, 0, false, 0, PositionOrder.AXIAL));
  }

  @Test
  void headDimsOfOnePackMustAgree() {
    RopeSpec other = new RopeSpec(72, CustomFreqs.NORMAL, 1e4, 0, 0, false, 0, PositionOrder.AXIAL);
    PackLayout two = PackLayout.of(new int[] {1, 1}, new int[] {1, 1});
    assertThrows(
        IllegalArgumentException.class, () -> new Rope2d().tables(List.of(PLAIN, other), two));
  }

  private static RopeSpec withOrder(RopeSpec s, PositionOrder order) {
    return new RopeSpec(
        s.headDim(),
        s.customFreqs(),
        s.theta(),
        s.maxPeLenH(),
        s.maxPeLenW(),
        s.decouple(),
        s.oriMaxPeLen(),
        order);
  }
}
