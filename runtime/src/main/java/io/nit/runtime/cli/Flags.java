package io.nit.runtime.cli;

import io.nit.core.flow.Guidance;

/** What option values have in common. */
final class Flags {
  private Flags() {}

  /** The value of a flag that must be there. */
  static <T> T required(String flag, T value) {
    if (value == null) {
      throw new IllegalArgumentException("missing " + flag + "; see --help");
    }
    return value;
  }

  /** {@code LOW,HIGH} as the interval of a guidance scale. */
  static Guidance interval(String flag, String value, double scale) {
    String[] ends = value.split(",", -1);
    try {
      if (ends.length == 2) {
        return new Guidance(scale, Double.parseDouble(ends[0]), Double.parseDouble(ends[1]));
      }
    } catch (NumberFormatException e) {
      // Told below, as for any other number of values.
    }
    throw new IllegalArgumentException(
        flag + ": expected LOW,HIGH such as 0,0.7; found '" + value + "'");
  }
}
