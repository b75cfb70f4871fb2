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

  /**
   * What a decode takes grows with the picture's pixels, so that a small one tells of a large one:
   * below 4 KiB a pixel, one of 1024x1024 takes 4 GiB beside the weights, of which it is to leave 6
   * GiB in all.
   */
  @Test
  void theReleasedShapeTakesBelowFourKibibytesAPixelBesideItsWeights() throws Exception {
    Path exported =
        DecodeMemory.export(DcAeConfig.preset("f32c32-sana-1.1"), folder.resolve("f32c32"));
    Processes.Finished run =
        Processes.start(DecodeMemory.class, folder, "measure", "256x256", 1, exported, 0, 1)
            .await(10);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("256x256 alone"), run.out());
    String[] opened = run.out().split("\n", 2); // the codec opened, then its decodes
    double loaded = largest("resident ([0-9.]+) GiB", opened[0]);
    assertTrue(loaded > 0.6 && loaded < 1.5, run.out()); // 0.6 GiB are the weights
    double taken = largest("peak ([0-9.]+) GiB", opened[1]) - loaded;
    assertTrue(taken > 0 && taken < 256.0 * 256 * 4096 / (1 << 30), run.out());
  }

  private static double largest(String number, String text) {
    Matcher matcher = Pattern.compile(number).matcher(text);
    double most = 0;
    while (matcher.find()) {
      most = Math.max(most, Double.parseDouble(matcher.group(1)));
    }
    return most;
  }
}
