package io.nit.core.tensor;

import static java.util.stream.Collectors.joining;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Compares the tensors that a file holds with those that a config asks for. */
public final class TensorDifferences {
  private static final int SHOWN = 20;

  private TensorDifferences() {}

  /**
   * One line for every missing, unexpected, misshapen or wrongly typed tensor; empty if all is
   * well. Where a float type is expected, any will do.
   *
   * @param expected what the config asks for, by name
   * @param found the file's tensors by name
   * @param where the file's name, for messages
   */
  public static List<String> of(
      Map<String, TensorSpec> expected, Map<String, TensorSpec> found, String where) {
    List<String> lines = new ArrayList<>();
    for (TensorSpec want : expected.values()) {
      TensorSpec have = found.get(want.name());
      if (have == null) {
        lines.add(want.name() + ": expected " + want.shape() + ", found nothing in " + where);
      } else if (!have.shape().equals(want.shape())) {
        lines.add(
            want.name()
                + ": expected "
                + want.shape()
                + ", found "
                + have.shape()
                + " in "
                + where);
      } else if (have.dtype().isFloat() != want.dtype().isFloat()) {
        String type = want.dtype().isFloat() ? "a float type" : want.dtype().toString();
        lines.add(want.name() + ": expected " + type + ", found " + have.dtype() + " in " + where);
      }
    }
    for (TensorSpec have : found.values()) {
      if (!expected.containsKey(have.name())) {
        lines.add(
            have.name() + ": expected no such tensor, found " + have.shape() + " in " + where);
      }
    }
    return lines;
  }

  /**
   * Throws the lines of {@link #of}, if there are any.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit, the first twenty with
   *     what was expected and found
   */
  public static void require(List<String> lines, String where) {
    if (lines.isEmpty()) {
      return;
    }
    int shown = Math.min(SHOWN, lines.size());
    List<String> more = lines.subList(shown, lines.size());
    String names =
        more.stream().map(line -> line.substring(0, line.indexOf(": "))).collect(joining(", "));
    throw new IllegalArgumentException(
        where
            + " does not fit the config ("
            + lines.size()
            + (lines.size() == 1 ? " difference):\n  " : " differences):\n  ")
            + String.join("\n  ", lines.subList(0, shown))
            + (more.isEmpty() ? "" : "\n  and " + more.size() + " more: " + names));
  }
}
