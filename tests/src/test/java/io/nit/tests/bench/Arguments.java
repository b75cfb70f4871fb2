package io.nit.tests.bench;

import java.util.Arrays;

/** The words of a benchmark's command line, each of which may be left out with those behind it. */
final class Arguments {
  private Arguments() {}

  /** The word at {@code index}, or another where it was left out. */
  static String argument(String[] args, int index, String otherwise) {
    return args.length > index ? args[index] : otherwise;
  }

  /** Whole numbers with commas between. */
  static int[] numbers(String list) {
    return Arrays.stream(list.split(",")).mapToInt(Integer::parseInt).toArray();
  }
}
