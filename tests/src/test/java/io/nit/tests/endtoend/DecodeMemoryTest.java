package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.DcAeConfig;
import io.nit.testing.TinyAutoencoder;
import io.nit.testing.TinyAutoencoder.Decoder;
import io.nit.tests.bench.DecodeMemory;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What decoding holds of the machine's memory, measured in processes of their own. */
class DecodeMemoryTest {
  @TempDir Path folder;

  @Test
  void twoHundredDecodesLeaveNativeMemoryAsItWas() throws Exception {
    TinyAutoencoder.bundle(folder, Decoder.F16, Optional.of(Decoder.F32), true);
    Processes.Finished probe = Processes.run(DecodeProbe.class, folder, folder);
    assertEquals(0, probe.code(), probe.err());
    // A picture that were kept at every decode would add 90 MiB.
    long grown = Long.parseLong(probe.out().strip());
    assertTrue(grown < 24 * 1024, grown + " KiB of native memory");
  }

  @Test
  void theReleasedShapeDecodesAQuarterMegapixelWithinTwoAndAHalfGibibytes() throws Exception {
    Path exported =
        DecodeMemory.export(DcAeConfig.preset("f32c32-sana-1.1"), folder.resolve("f32c32"));
    Processes.Finished run =
        Processes.start(DecodeMemory.class, folder, "measure", "512x512", 1, exported, 0).await(10);
    assertEquals(0, run.code(), run.err());
    Matcher peak = Pattern.compile("peak ([0-9.]+) GiB").matcher(run.out());
    double most = 0;
    while (peak.find()) {
      most = Math.max(most, Double.parseDouble(peak.group(1)));
    }
    assertTrue(most > 0.6 && most < 2.5, run.out()); // 0.6 GiB are the weights
    assertTrue(run.out().contains("512x512 alone"), run.out());
  }
}
