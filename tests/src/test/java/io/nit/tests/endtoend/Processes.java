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
      return await(2);
    }

    /** Waits for its end, at most so many minutes. */
    Finished await(int minutes) throws IOException, InterruptedException {
      if (!process.waitFor(minutes, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        throw new AssertionError(
            "still running after " + minutes + " minutes: " + Files.readString(err));
      }
      return new Finished(process.exitValue(), Files.readString(out), Files.readString(err));
    }
  }

  private Processes() {}

  /** Starts {@code java MAIN ARGUMENTS}. */
  static Running start(Class<?> main, Path scratch, Object... arguments) throws IOException {
    return start(System.getProperty("java.class.path"), main, scratch, arguments);
  }

  /** Starts {@code java MAIN ARGUMENTS} on a class path. */
  static Running start(String classPath, Class<?> main, Path scratch, Object... arguments)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            // A heap of one size, touched at the start: what a process grows by is native memory.
            "-Xms256m",
            "-Xmx256m",
            "-XX:+AlwaysPreTouch",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            main.getName()));
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    Path out = Files.createTempFile(scratch, "out-", ".txt");
    Path err = Files.createTempFile(scratch, "err-", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectOutput(out.toFile()).redirectError(err.toFile());
    // As the launchers do: ONNX Runtime does not stand long command lines.
    builder.environment().put("CLASSPATH", classPath);
    Process process = builder.start();
    return new Running(process, out, err);
  }

  /** Runs {@code java MAIN ARGUMENTS} to its end. */
  static Finished run(Class<?> main, Path scratch, Object... arguments)
      throws IOException, InterruptedException {
    return start(main, scratch, arguments).await();
  }
}
