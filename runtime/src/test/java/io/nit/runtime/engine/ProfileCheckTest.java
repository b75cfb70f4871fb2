package io.nit.runtime.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.EngineOfSizes;
import io.nit.testing.SyntheticWeights;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ProfileCheckTest {
  private static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 16,
                  "depth", 1,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 3,
                  "encoder_depth", 1));

  private static final PackLayout SMALL = PackLayout.of(new int[] {2, 1, 3}, new int[] {3, 1, 1});

  private static ForwardInputs small() {
    FloatBuffer x = FloatBuffer.allocate(1 + SMALL.tokens() * TINY.tokenSize());
    for (int i = 0; i < x.capacity(); i++) {
      x.put(i, (float) Math.sin(i));
    }
    x.position(1); // not all buffers begin at 0
    return new ForwardInputs(
        SMALL,
        x,
        new float[] {0, 0.5f, 1},
        new long[] {3, 2, 1},
        new Rope2d().tables(RopeSpec.of(TINY), SMALL));
  }

  private static List<ProfileCheck.Result> run(float off) throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      ForwardInputs small = small();
      FloatBuffer expected = FloatBuffer.allocate(small.x().remaining());
      reference.forward(small, expected);
      return ProfileCheck.run(
          EngineOfSizes.ofProfiles(
              reference,
              new EngineOfSizes.Size(reference, 48, 48),
              new EngineOfSizes.Size(
                  new EngineOfSizes.Off(reference, off, EngineOfSizes.Wrong.LAST), 160, 20)),
          small,
          expected.array());
    }
  }

  @Test
  void theProfilesOfAnExactEngineAreEqualToTheSmallPackAndToEachOther() throws Exception {
    List<ProfileCheck.Result> all = run(0);
    assertEquals(List.of(48, 48, 160, 160), all.stream().map(ProfileCheck.Result::tokens).toList());
    assertEquals(
        List.of(
            ProfileCheck.SMALL_PACK,
            "that image alone",
            ProfileCheck.SMALL_PACK,
            "profile of 48 tokens"),
        all.stream().map(ProfileCheck.Result::against).toList());
    for (ProfileCheck.Result one : all) {
      assertTrue(one.parity().relative() < 1e-6, one.toString());
    }
    assertTrue(all.get(0).pack().contains("repeats of 2x3 1x1 3x1"), all.get(0).pack());
  }

  @Test
  void aProfileThatIsWrongBehindItsFirstTokensIsFound() throws Exception {
    List<ProfileCheck.Result> all = run(0.5f);
    assertTrue(all.get(2).parity().relative() < 1e-6, all.get(2).toString());
    assertTrue(all.get(3).parity().relative() > 0.1, all.get(3).toString());
  }

  @Test
  void packsFillTheirProfileAndStayWithinIt() {
    for (int[] one :
        new int[][] {
          // tokens, images, the most tokens of a large image
          {512, 512, 256},
          {2048, 1024, 512},
          {8192, 1024, 2048},
          {16_384, 1024, 8192},
          {16_384, 256, 512},
          {16_384, 1, 512},
          {64, 64, 1},
          {1, 1, 1},
          {7, 2, 3},
          {3, 3, 2}
        }) {
      VelocityEngine profile = new EngineOfSizes.Size(null, one[0], one[1]);
      ProfileCheck.Filled pack = ProfileCheck.Filled.of(profile, SMALL, one[2]);
      int tokens = pack.repeatedTokens(SMALL) + pack.count() * pack.h() * pack.w();
      int images = pack.repeated().length + pack.count();
      String name = one[0] + " tokens in " + one[1] + " images: " + tokens + " in " + images;
      assertTrue(tokens <= one[0] && images <= one[1], name);
      assertTrue(pack.count() >= 1 && pack.h() * pack.w() <= one[2], name);
      if (one[1] >= 256) {
        assertTrue(tokens >= 0.97 * one[0] && pack.repeated().length > 64, name);
      }
    }
  }

  @Test
  void anEngineWithoutProfilesGivesNothing() throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      float[] expected = new float[small().x().remaining()];
      assertEquals(List.of(), ProfileCheck.run(reference, small(), expected));
    }
  }

  @Test
  void everyPrecisionHasItsBound() {
    assertEquals(1e-4, ProfileCheck.bound(DType.F32));
    assertTrue(ProfileCheck.bound(DType.F16) < ProfileCheck.bound(DType.BF16));
  }
}
