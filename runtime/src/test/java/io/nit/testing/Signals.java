package io.nit.testing;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Signals of processes that a test starts. */
public final class Signals {
  private static final Map<String, Integer> NUMBERS = Map.of("HUP", 1, "INT", 2, "TERM", 15);

  private Signals() {}

  /**
   * Skips a test where the process it starts would not hear of a signal: what a process ignores its
   * children ignore too, as everything under {@code nohup} ignores HUP.
   *
   * @param signal HUP, INT or TERM
   */
  public static void requireHeard(String signal) throws IOException {
    int number = NUMBERS.get(signal);
    Path status = Path.of("/proc/self/status");
    if (!Files.exists(status)) {
      return;
    }
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("SigIgn:")) {
        long ignored = Long.parseUnsignedLong(line.substring(7).strip(), 16);
        boolean unheard = (ignored >> (number - 1) & 1) != 0;
        if (unheard) {
          System.out.println("skipped: this process ignores SIG" + signal + ", so its children do");
        }
        assumeFalse(unheard, "SIG" + signal + " is ignored here");
      }
    }
  }
}
