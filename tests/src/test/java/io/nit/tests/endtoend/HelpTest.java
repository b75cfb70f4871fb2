package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.exporter.cli.Export;
import io.nit.runtime.cli.Run;
import io.nit.testing.CapturedRun;
import io.nit.trainer.cli.Train;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.api.parallel.Resources;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;

/** What the commands say of themselves. */
@ResourceLock(Resources.SYSTEM_OUT)
class HelpTest {
  private static final int TERMINAL = 80;

  static Stream<CommandLine> commands() {
    return Stream.of(new Run(), new Train(), new Export())
        .map(CommandLine::new)
        .flatMap(line -> Stream.concat(Stream.of(line), line.getSubcommands().values().stream()));
  }

  @ParameterizedTest
  @MethodSource("commands")
  void examplesAreThereAndFitATerminalSoThatTheyCanBeCopied(CommandLine command) {
    String[] footer = command.getCommandSpec().usageMessage().footer();
    String name = command.getCommandSpec().qualifiedName();
    assertTrue(
        Stream.of(footer).anyMatch(line -> line.contains(name + " ")), "no example of " + name);
    for (String line : footer) {
      assertTrue(line.length() < TERMINAL, line.length() + " characters: " + line);
    }
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandTellsItsVersion(CommandLine command) {
    List<String> words = List.of(command.getCommandSpec().qualifiedName().split(" "));
    Object top = command.getCommandSpec().root().userObject();
    CapturedRun run =
        CapturedRun.of(top, Stream.concat(words.stream().skip(1), Stream.of("-V")).toArray());
    assertEquals(0, run.code(), run.err());
    String told = run.out().strip();
    assertTrue(told.matches(words.get(0) + " \\S.*"), told);
  }
}
