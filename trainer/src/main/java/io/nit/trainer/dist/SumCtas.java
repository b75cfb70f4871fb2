package io.nit.trainer.dist;

import java.util.Map;
import java.util.OptionalInt;

/**
 * How many of a GPU's multiprocessors NCCL may take for sums that run beside a backward. A block of
 * threads of NCCL (a CTA) has a multiprocessor for itself; each moves some 30 GB/s between GPUs of
 * one host, and a backward leaves the sums ten times the time that all of them together need.
 */
final class SumCtas {
  /** In the environment: how many; 0 leaves it to NCCL. */
  static final String NAME = "NIT_SUM_CTAS";

  /** On one host, where nothing else is asked for. */
  static final int OF_A_HOST = 4;

  private static final int MOST = 32; // NCCL's own bound

  private SumCtas() {}

  /**
   * What the environment asks for: ours, else NCCL's own variables, which NCCL obeys anyhow.
   *
   * @throws IllegalArgumentException if ours is no number within 0..32
   */
  static OptionalInt of(Map<String, String> environment) {
    String ours = environment.get(NAME);
    if (ours != null) {
      OptionalInt value = number(ours);
      if (value.isEmpty() || value.getAsInt() > MOST) {
        throw new IllegalArgumentException(
            NAME + ": expected 0.." + MOST + ", found '" + ours + "'");
      }
      return value;
    }
    for (String name : new String[] {"NCCL_MAX_CTAS", "NCCL_MAX_NCHANNELS"}) {
      OptionalInt value = number(environment.getOrDefault(name, ""));
      if (value.isPresent()) {
        return OptionalInt.of(Math.min(MOST, value.getAsInt()));
      }
    }
    return OptionalInt.empty();
  }

  private static OptionalInt number(String text) {
    try {
      int value = Integer.parseInt(text.strip());
      return value >= 0 ? OptionalInt.of(value) : OptionalInt.empty();
    } catch (NumberFormatException e) {
      return OptionalInt.empty();
    }
  }
}
