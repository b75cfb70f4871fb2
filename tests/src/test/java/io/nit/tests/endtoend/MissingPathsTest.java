package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cli.Cli;
import io.nit.exporter.cli.Export;
import io.nit.runtime.cli.Run;
import io.nit.testing.CapturedRun;
import io.nit.trainer.cli.Train;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.api.parallel.Resources;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * One rule for all commands and all that they read: an option that is missing or malformed is bad
 * usage, a path where nothing is a failure that names it.
 */
@ResourceLock(Resources.SYSTEM_OUT)
class MissingPathsTest {
  @TempDir static Path folder;

  private static Map<String, Path> paths;

  @BeforeAll
  static void make() throws Exception {
    Path samples = Path.of("..", "samples");
    Path bundle = Bundles.pictures(folder, 1);
    paths =
        Map.of(
            "DATA", samples.resolve("data/fashion10"),
            "AE", samples.resolve("autoencoder/dc-ae-f8.json"),
            "BUNDLE", bundle,
            "CKPT", folder.resolve("pictures-1.safetensors"),
            "LATENTS", folder.resolve("latents"),
            "OUT", folder.resolve("out"),
            "MISSING", folder.resolve("missing"),
            "FILE", Files.writeString(folder.resolve("file"), "here"),
            "FOLDER", Files.createDirectories(folder.resolve("empty")));
    CapturedRun prepared = run("nit-train prepare --data DATA --output LATENTS");
    assertEquals(0, prepared.code(), prepared.err());
  }

  private static CapturedRun run(String line) {
    String[] words = line.split(" ");
    Object command =
        Map.of("nit-train", new Train(), "nit-run", new Run(), "nit-export", new Export())
            .get(words[0]);
    Stream<Object> arguments =
        Arrays.stream(words).skip(1).map(word -> paths.containsKey(word) ? paths.get(word) : word);
    return CapturedRun.of(command, arguments.toArray());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "nit-train --preset s --data MISSING --output OUT",
        "nit-train --preset s --data FILE --output OUT",
        "nit-train --config MISSING --data DATA --output OUT",
        "nit-train --config FOLDER --data DATA --output OUT",
        "nit-train --preset s --data DATA --output OUT --resume MISSING",
        "nit-train --preset s --data DATA --output OUT --autoencoder MISSING",
        "nit-train --preset s --data LATENTS --output OUT --sampler-meta MISSING",
        "nit-train prepare --data MISSING --output OUT",
        "nit-train prepare --data FILE --output OUT",
        "nit-train prepare --data DATA --output OUT --autoencoder MISSING",
        "nit-train prepare --data DATA --output OUT --autoencoder FILE",
        "nit-train pack --data MISSING --output OUT",
        "nit-train autoencoder --config AE --data MISSING --output OUT",
        "nit-train autoencoder --config AE --data FILE --output OUT",
        "nit-train autoencoder --config MISSING --data DATA --output OUT",
        "nit-train autoencoder --config FOLDER --data DATA --output OUT",
        "nit-train autoencoder --init MISSING --data DATA --output OUT",
        "nit-train autoencoder --config AE --data DATA --output OUT --resume MISSING",
        "nit-export --checkpoint MISSING --output OUT",
        "nit-export --checkpoint CKPT --config MISSING --output OUT",
        "nit-export --checkpoint CKPT --labels MISSING --output OUT",
        "nit-export --checkpoint CKPT --labels FOLDER --output OUT",
        "nit-export --checkpoint CKPT --autoencoder MISSING --output OUT",
        "nit-export autoencoder --autoencoder MISSING --output OUT",
        "nit-export engine MISSING",
        "nit-export engine FILE",
        "nit-export refit MISSING BUNDLE",
        "nit-export refit FILE MISSING",
        "nit-run --bundle MISSING --label 0 --size 8x8 --output OUT",
        "nit-run --bundle FILE --label 0 --size 8x8 --output OUT",
        "nit-run --bundle BUNDLE --requests MISSING --output OUT",
        "nit-run --bundle BUNDLE --requests FOLDER --output OUT",
        "nit-run --bundle BUNDLE --label 0 --size 8x8 --output OUT --auto-guidance MISSING",
        "nit-run encode --bundle MISSING --images DATA --output OUT",
        "nit-run encode --bundle BUNDLE --images MISSING --output OUT",
        "nit-run decode --bundle MISSING --inputs FILE --output OUT",
        "nit-run decode --bundle BUNDLE --inputs MISSING --output OUT",
        "nit-run forward --bundle MISSING --inputs FILE --output OUT",
        "nit-run forward --bundle BUNDLE --inputs MISSING --output OUT",
        "nit-run sample-latents --bundle MISSING --inputs FILE --output OUT",
        "nit-run sample-latents --bundle BUNDLE --inputs MISSING --output OUT",
        "nit-run compare --bundle MISSING",
        "nit-run info --bundle MISSING",
      })
  void aPathWhereNothingIsOrAnotherThingFailsAndIsNamed(String line) {
    CapturedRun run = run(line);
    assertEquals(Cli.FAILED, run.code(), run.err());
    String named =
        paths
            .get(Stream.of("MISSING", "FOLDER").filter(line::contains).findFirst().orElse("FILE"))
            .toString();
    String last = run.err().strip().lines().reduce((before, line1) -> line1).orElse("");
    assertTrue(last.startsWith("error: ") && last.contains(named), run.err());
    assertFalse(last.contains("java."), last);
    assertEquals("", run.out());
    assertFalse(Files.exists(paths.get("OUT")));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          nit-train                                      | --data
          nit-train --data DATA                          | --output
          nit-train --data DATA --output OUT             | --config FILE or --preset SIZE
          nit-train prepare --output OUT                 | --data
          nit-train pack                                 | --data
          nit-train autoencoder --config AE --output OUT | --data
          nit-train autoencoder --data DATA --output OUT | --config
          nit-export --output OUT                        | --checkpoint
          nit-export --checkpoint CKPT                   | --output
          nit-export autoencoder --output OUT            | --autoencoder
          nit-export engine                              | BUNDLE
          nit-export refit FILE                          | BUNDLE
          nit-run --label 0 --size 8x8 --output OUT      | --bundle
          nit-run --bundle BUNDLE --output OUT           | --requests
          nit-run encode --bundle BUNDLE --output OUT    | --images
          nit-run decode --bundle BUNDLE --output OUT    | --inputs
          nit-run forward --bundle BUNDLE --output OUT   | --inputs
          nit-run sample-latents --bundle BUNDLE         | --inputs
          nit-run compare                                | --bundle
          nit-run info                                   | --bundle
          """)
  void aMissingOptionIsBadUsageAndIsNamed(String line, String option) {
    CapturedRun run = run(line);
    assertEquals(Cli.BAD_USAGE, run.code(), run.err());
    assertTrue(run.err().contains(option), run.err());
    assertFalse(Files.exists(paths.get("OUT")));
  }
}
