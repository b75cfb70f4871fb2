package io.nit.core.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.testing.Signals;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Signals to a process of their own. */
@Timeout(120)
class StopSignalTest {
  /** A command that ends when it is asked to, or that never takes the signals over. */
  @Command(name = "job")
  static final class Job implements Callable<Integer> {
    @Option(names = "--asked")
    boolean asked;

    @Option(names = "--broken")
    boolean broken;

    @Override
    public Integer call() throws InterruptedException, IOException {
      if (broken) {
        breakUnderTheSignal();
      }
      StopSignal stop = asked ? StopSignal.install() : StopSignal.none();
      System.out.println("ready");
      while (!stop.requested()) {
        Thread.sleep(1);
      }
      throw new CancellationException("stopped on the way");
    }

    /** Fails while a signal that ends the process is under way, which takes a second here. */
    private static void breakUnderTheSignal() throws InterruptedException, IOException {
      CountDownLatch begun = new CountDownLatch(1);
      System.setErr(
          new PrintStream(System.err) {
            @Override
            public void println(String line) {
              begun.countDown();
              try {
                Thread.sleep(1000);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            }
          });
      System.out.println("ready");
      begun.await();
      throw new IOException("another process is gone");
    }
  }

  /** Says what it was told, and goes on all the same. */
  static final class Deaf {
    public static void main(String[] args) throws InterruptedException {
      if (args[0].startsWith("command")) {
        Cli.main(new Job(), Arrays.copyOfRange(args, 1, args.length));
      }
      if (args[0].equals("at-once")) {
        StopSignal.endAtOnce(() -> System.out.println("last"));
        System.out.println("ready");
        Thread.sleep(Long.MAX_VALUE);
      }
      StopSignal stop = StopSignal.install();
      System.out.println("ready");
      while (!stop.requested()) {
        Thread.sleep(1);
      }
      System.out.println("asked to stop");
      Thread.sleep(Long.MAX_VALUE);
    }
  }

  /** Sends signals, each once the process has said a line, and tells the exit code. */
  private static int ended(String mode, List<String> signals, List<String> lines) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx64m",
            Deaf.class.getName());
    builder.command().addAll(List.of(mode.split(" ")));
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    builder.redirectError(ProcessBuilder.Redirect.INHERIT);
    Process process = builder.start();
    try (BufferedReader out = process.inputReader()) {
      for (int i = 0; i < signals.size(); i++) {
        assertEquals(lines.get(i), out.readLine());
        send(signals.get(i), process);
      }
      for (String line : lines.subList(signals.size(), lines.size())) {
        assertEquals(line, out.readLine());
      }
      assertTrue(process.waitFor(60, TimeUnit.SECONDS));
      return process.exitValue();
    } finally {
      process.destroyForcibly();
    }
  }

  private static void send(String signal, Process to) throws IOException, InterruptedException {
    Process kill = new ProcessBuilder("kill", "-" + signal, String.valueOf(to.pid())).start();
    assertEquals(0, kill.waitFor());
  }

  @Test
  void theSecondSignalEndsTheProcessAsItDoesWhereNobodyHandlesIt() throws Exception {
    List<String> lines = List.of("ready", "asked to stop");
    assertEquals(130, ended("install", List.of("TERM", "INT"), lines));
  }

  @ParameterizedTest
  @CsvSource({"INT, 130", "TERM, 143", "HUP, 129"})
  void aCommandThatWasStoppedEndsAsShellsCountItsFirstSignal(String signal, int code)
      throws Exception {
    Signals.requireHeard(signal);
    assertEquals(code, ended("command --asked", List.of(signal), List.of("ready")));
    assertEquals(code, ended("command", List.of(signal), List.of("ready")), "at once");
    assertTrue(StopSignal.isExitCode(code));
  }

  @Test
  void whatFailsUnderASignalDoesNotTakeItsPlace() throws Exception {
    Signals.requireHeard("TERM");
    assertEquals(143, ended("command --broken", List.of("TERM"), List.of("ready")));
  }

  @Test
  void otherCodesTellOfNoStop() {
    for (int code : new int[] {0, 1, 2, 15, 128, 134, 137, 139}) {
      assertFalse(StopSignal.isExitCode(code), "" + code);
    }
  }

  @Test
  void theFirstEndsAProcessThatCannotBeAsked() throws Exception {
    assertEquals(143, ended("at-once", List.of("TERM"), List.of("ready", "last")));
  }
}
