package io.nit.testing;

import io.nit.core.cli.Cli;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.stream.Stream;

/**
 * What a command left that ran in the test's own process.
 *
 * @param code its exit code
 * @param out what it wrote to stdout
 * @param err what it wrote to stderr, its log included
 */
public record CapturedRun(int code, String out, String err) {
  /**
   * Runs a picocli command as {@link Cli} does; stdout and stderr are the test's own again after
   * it.
   *
   * @param arguments words, by their {@code toString}
   */
  public static CapturedRun of(Object command, Object... arguments) {
    PrintStream stdout = System.out;
    PrintStream stderr = System.err;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    try {
      String[] words = Stream.of(arguments).map(Object::toString).toArray(String[]::new);
      int code = Cli.run(command, words);
      return new CapturedRun(
          code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(stdout);
      System.setErr(stderr);
    }
  }
}
