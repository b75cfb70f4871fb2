package io.nit.exporter.verify;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.DcAeConfig;
import io.nit.testing.GeneratedDcAe;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class AutoencoderEngineVerifierTest {
  private static String sizes(DcAeConfig config, Integer... sides) {
    List<PictureProfile> profiles =
        Arrays.stream(sides).map(side -> new PictureProfile(side, 1)).toList();
    return AutoencoderEngineVerifier.sizes(new DcAeSpec(config, Optional.empty()), profiles)
        .stream()
        .map(size -> size[0] + "x" + size[1])
        .collect(Collectors.joining(" "));
  }

  @Test
  void everyProfileRunsAtLeastOnceAndAFullSizeAutoencodersPicturesStaySmall() {
    assertEquals("1x1 3x2 12x12 2x33", sizes(GeneratedDcAe.small(), 256, 512));
    assertEquals(
        "1x1 3x2 6x6 2x17 2x37", sizes(DcAeConfig.preset("f32c32-sana-1.1"), 512, 1152, 2048));
    assertEquals("1x1 1x1 1x1", sizes(GeneratedDcAe.small(), 8));
  }
}
