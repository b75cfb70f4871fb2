package io.nit.tests.endtoend;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Command lines in processes of their own, on the tests' class path. */
final class Processes {
  /** What a process left. */
  record Finished(int code, String out, String err) {}

  /** A process under way; its output goes to files. */
  record Running(Process process, Path out, Path err) {
    /** Waits for its end, at most two minutes. */
    Finished await() throws IOException, InterruptedException {
      if (!process.waitFor(2, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        throw new AssertionError("still running after two minutes: " + Files.readString(err));
      }
      return new Finished(process.exitValue(), Files.readString(out), Files.readString(err));
    }
  }

  private Processes() {}

  /** Starts {@code java MAIN ARGUMENTS}. */
  static Running start(Class<?> main, Path scratch, Object... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-Xmx512m",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-cp",
            System.getProperty("java.class.path"),
            main.getName()));
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    Path out = Files.createTempFile(scratch, "out-", ".txt");
    Path err = Files.createTempFile(scratch, "err-", ".txt");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    return new Running(process, out, err);
  }

  /** Runs {@code java MAIN ARGUMENTS} to its end. */
  static Finished run(Class<?> main, Path scratch, Object... arguments)
      throws IOException, InterruptedException {
    return start(main, scratch, arguments).await();
  }
}
