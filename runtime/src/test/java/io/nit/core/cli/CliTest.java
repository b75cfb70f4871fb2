package io.nit.core.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.api.parallel.Resources;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@ResourceLock(Resources.SYSTEM_ERR)
class CliTest {
  private final PrintStream stdout = System.out;
  private final PrintStream stderr = System.err;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @Command(name = "nit-test", mixinStandardHelpOptions = true)
  private static final class Work implements Callable<Integer> {
    @Mixin CommonOptions common;

    @Option(names = "--steps", defaultValue = "50", description = "Default: ${DEFAULT-VALUE}.")
    int steps;

    private final Callable<Integer> body;

    Work(Callable<Integer> body) {
      this.body = body;
    }

    @Override
    public Integer call() throws Exception {
      return body.call();
    }
  }

  @BeforeEach
  void capture() {
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
  }

  @AfterEach
  void release() {
    System.setOut(stdout);
    System.setErr(stderr);
  }

  @Test
  void aCommandsOwnCodeIsTheExitCode() {
    assertEquals(Cli.DONE, Cli.run(new Work(() -> 0)));
    assertEquals(1, Cli.run(new Work(() -> 1)));
    assertEquals("", err.toString());
  }

  @Test
  void unknownOptionsAndUnreadableValuesAreBadUsage() {
    assertEquals(2, Cli.run(new Work(() -> 0), "--stepz", "3"));
    assertTrue(err.toString().contains("error: Unknown option"), err.toString());
    assertTrue(err.toString().contains("--steps"), err.toString());
    assertTrue(err.toString().contains("Try 'nit-test --help'."));
    err.reset();
    assertEquals(2, Cli.run(new Work(() -> 0), "--steps", "many"));
    String expected = "error: --steps: expected a whole number";
    assertTrue(err.toString().startsWith(expected + ", found 'many'"), err.toString());
    err.reset();
    assertEquals(2, Cli.run(new Work(() -> 0), "--steps", "3000000000"));
    assertTrue(
        err.toString().startsWith(expected + " of -2147483648..2147483647, found '3000000000'"),
        err.toString());
  }

  @Test
  void aValueThatDoesNotFitIsBadUsage() {
    assertFails(
        2,
        "--size: expected a multiple of 32",
        new IllegalArgumentException("--size: expected a multiple of 32"));
  }

  @Test
  void failuresExitWithOneAndReadWell() {
    assertFails(1, "no such file or folder: x.json", new NoSuchFileException("x.json"));
    assertFails(1, "no permission: x.json", new AccessDeniedException("x.json"));
    assertFails(1, "x: there is a file of that name", new FileAlreadyExistsException("x"));
    assertFails(1, "expected a folder, found a file: x.png", new NotDirectoryException("x.png"));
    assertFails(
        1, "x.json: Is a directory", new FileSystemException("x.json", null, "Is a directory"));
    assertFails(
        1, "cannot write x: No space left", new IOException("cannot write x: No space left"));
    assertFails(1, "java.lang.IllegalStateException: closed", new IllegalStateException("closed"));
  }

  @Test
  void cancellationExitsAsShellsCountCtrlC() {
    assertFails(130, "stopped at step 7", new CancellationException("stopped at step 7"));
  }

  @Test
  void stackTracesAreShownWithDebugOnly() {
    Work work =
        new Work(
            () -> {
              throw new IOException("broken");
            });
    assertEquals(1, Cli.run(work));
    assertEquals("error: broken", err.toString().strip());
    err.reset();
    assertEquals(1, Cli.run(work, "--debug"));
    assertTrue(err.toString().contains("at io.nit.core.cli.CliTest"), err.toString());
    assertTrue(err.toString().contains("error: broken"));
  }

  @Command(name = "below")
  private static final class Below implements Callable<Integer> {
    @Mixin CommonOptions common;

    @Override
    public Integer call() {
      return common.quiet() ? 7 : 8;
    }
  }

  @Command(name = "nit-test", mixinStandardHelpOptions = true, subcommands = Below.class)
  private static final class Above implements Callable<Integer> {
    @Mixin CommonOptions common;

    @Option(names = "--steps", defaultValue = "50")
    int steps;

    @Override
    public Integer call() {
      return 9;
    }
  }

  @Test
  void optionsBeforeASubcommandCountForItOrAreRefused() {
    assertEquals(9, Cli.run(new Above(), "--steps", "3"));
    assertEquals(8, Cli.run(new Above(), "below"));
    assertEquals(7, Cli.run(new Above(), "below", "-q"));
    assertEquals(7, Cli.run(new Above(), "-q", "below"));
    assertEquals("", err.toString());
    assertEquals(2, Cli.run(new Above(), "--steps", "3", "below"));
    assertEquals(
        "error: --steps: expected after the command 'below', found before it",
        err.toString().lines().findFirst().orElseThrow());
    assertEquals(0, Cli.run(new Above(), "--help", "below"));
  }

  @Test
  void helpGoesToStdoutAndShowsDefaults() {
    assertEquals(0, Cli.run(new Work(() -> 1), "--help"));
    assertTrue(out.toString().contains("Default: 50."), out.toString());
    assertEquals("", err.toString());
  }

  @Test
  void logsGoToStderrAtTheAskedLevel() {
    String quiet = logged("--quiet");
    assertFalse(quiet.contains("plain news"), quiet);
    assertTrue(quiet.contains("a warning"), quiet);
    String normal = logged();
    assertFalse(normal.contains("fine detail"), normal);
    assertTrue(normal.contains("plain news"), normal);
    String verbose = logged("--verbose");
    assertTrue(verbose.contains("fine detail"), verbose);
    assertEquals("", out.toString());
    logged("--quiet"); // the level that other tests run at
  }

  private String logged(String... args) {
    err.reset();
    Work work =
        new Work(
            () -> {
              LoggerFactory.getLogger("io.nit.test").debug("fine detail");
              LoggerFactory.getLogger("io.nit.test").info("plain news");
              LoggerFactory.getLogger("io.nit.test").warn("a warning");
              return 0;
            });
    assertEquals(0, Cli.run(work, args));
    return err.toString();
  }

  @Test
  void progressIsQuietWhenAskedAndSafeToCloseTwice() {
    Progress progress = Progress.start("sampling", 10, 0, " images", true);
    progress.step(3);
    progress.note("loss 1");
    progress.close();
    progress.close();
    assertEquals("", err.toString());
  }

  @Test
  void aLineOfProgressIsLoggedOnce() {
    List<String> logged = new ArrayList<>();
    Consumer<String> lines = Progress.changes(logged::add);
    List.of("0 %", "100 %", "100 %", "0 %").forEach(lines);
    assertEquals(List.of("0 %", "100 %", "0 %"), logged);
  }

  @Test
  void aStopIsNotedWhenRequested() {
    StopSignal stop = StopSignal.none();
    assertFalse(stop.requested());
    assertEquals(0, stop.signal());
    stop.request(15);
    stop.request(); // comes later
    assertTrue(stop.requested());
    assertEquals(143, stop.exitCode());
    assertFalse(StopSignal.none().requested());
  }

  private void assertFails(int code, String message, Exception failure) {
    err.reset();
    Work work =
        new Work(
            () -> {
              throw failure;
            });
    assertEquals(code, Cli.run(work));
    assertEquals("error: " + message, err.toString().strip());
  }
}
