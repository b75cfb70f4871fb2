package io.nit.testing;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Signals of processes that a test starts. */
public final class Signals {
  private static final List<String> NAMES = List.of("HUP", "INT");

  private Signals() {}

  /**
   * Skips a test where the process it starts would not hear of a signal: what a process ignores its
   * children ignore too, as everything under {@code nohup} ignores HUP.
   *
   * @param signal HUP, INT or TERM
   */
  public static void requireHeard(String signal) throws IOException {
    int number = NAMES.indexOf(signal) + 1;
    Path status = Path.of("/proc/self/status");
    if (number == 0 || !Files.exists(status)) {
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
