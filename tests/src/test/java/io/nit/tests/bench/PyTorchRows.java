package io.nit.tests.bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * PyTorch's training step as rows of {@link TrainBenchmark}'s table: a script of the user's as a
 * process of its own on the same GPU, which prints a line for each pack, {@code train mixed: 16104
 * tokens 155.1 ms 103831 tokens/s peak 30.9 GiB}.
 */
final class PyTorchRows {
  /** Names the command that the words {@code train PACK...} are put behind. */
  static final String COMMAND = "NIT_PYTORCH_BASELINE";

  private static final Pattern LINE =
      Pattern.compile(
          "train (\\S+): (\\d+) tokens ([0-9.]+) ms (\\d+) tokens/s peak ([0-9.]+) GiB.*");

  private static final List<String> PACKS = List.of("mixed", "256px", "512px", "1024px", "2048px");

  private PyTorchRows() {}

  /** A pack's measured step. */
  record Row(String pack, int tokens, double ms, double tokensPerSecond, double peakGiB) {
    /** What a line of the script says; empty if it is another line. */
    static Optional<Row> of(String line) {
      Matcher found = LINE.matcher(line);
      return found.matches()
          ? Optional.of(
              new Row(
                  found.group(1),
                  Integer.parseInt(found.group(2)),
                  Double.parseDouble(found.group(3)),
                  Double.parseDouble(found.group(4)),
                  Double.parseDouble(found.group(5))))
          : Optional.empty();
    }
  }

  /**
   * Runs the script.
   *
   * @param command a line of the shell, such as {@code python3 pytorch_baseline.py}
   * @param packs those that change from step to step are left out, as PyTorch compiles for one
   * @return a row for each pack that it measured
   * @throws IOException if it fails or measures nothing; with its last lines
   */
  static List<Row> measure(String command, List<String> packs)
      throws IOException, InterruptedException {
    List<String> wanted = packs.stream().filter(PACKS::contains).toList();
    if (wanted.isEmpty()) {
      return List.of();
    }
    List<String> words = new ArrayList<>(List.of("bash", "-c", command + " train \"$@\"", "bench"));
    words.addAll(wanted);
    Process process = new ProcessBuilder(words).redirectErrorStream(true).start();
    List<String> lines;
    try (InputStream out = process.getInputStream()) {
      lines = new String(out.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
    } finally {
      process.destroy();
    }
    List<Row> rows = lines.stream().flatMap(line -> Row.of(line).stream()).toList();
    int code = process.waitFor();
    if (code != 0 || rows.isEmpty()) {
      throw new IOException(
          command
              + ": expected exit code 0 and a line a pack, found "
              + code
              + ": "
              + String.join(" | ", lines.subList(Math.max(0, lines.size() - 3), lines.size())));
    }
    return rows;
  }
}
