package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.Cli;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DcAeTensors;
import io.nit.testing.CapturedRun;
import io.nit.trainer.reconstruction.Tiny;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code nit-train autoencoder}: its flags, its files, and a kill in the middle. */
class AutoencoderTest {
  private static final int STEPS = 8;

  @TempDir Path folder;
  private String errors;

  @BeforeEach
  void makeConfig() throws IOException {
    Files.writeString(folder.resolve("tiny.json"), Tiny.JSON);
  }

  private int run(String... more) {
    List<String> args = new ArrayList<>(List.of("autoencoder", "--quiet"));
    args.addAll(List.of("--data", folder.resolve("data").toString()));
    args.addAll(List.of("--output", folder.resolve("run").toString()));
    args.addAll(List.of(more));
    CapturedRun run = CapturedRun.of(new Train(), args.toArray());
    errors = run.err();
    return run.code();
  }

  private String config() {
    return folder.resolve("tiny.json").toString();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          --steps 0            | --steps: expected 1 or more, found 0
          --lr 0               | --lr: expected above 0, found 0.0
          --batch 0            | --batch: expected 1..65536, found 0
          --crop 8             | --crop: expected 16..4096, found 8
          --crop 18            | --crop: expected a multiple of 4, the config's factor, found 18
          --betas 0.9          | --betas: expected two values, found 1
          --ema 1              | --ema: expected in [0, 1)
          --clip -1            | --clip: expected 0 or more
          --l1 -1              | --l1: expected 0 or more
          --precision f8       | --precision: expected a precision of auto, f32, bf16
          --precision f16      | --precision: expected auto, f32 or bf16
          --device tpu         | --device: expected one of auto, cpu, cuda; found 'tpu'
          --threads -1         | --threads: expected 0..1024, found -1
          --workers -1         | --workers: expected 0..1024, found -1
          --memory-budget -1   | --memory-budget: expected 0 or more MiB, found -1
          --validation 6       | --validation: expected 0..5 of 6 pictures, found 6
          --keep 0             | --keep: expected 1 or more
          """)
  void aValueThatDoesNotFitNamesItsFlag(String flags, String message) throws IOException {
    Tiny.pictures(folder.resolve("data"), 6);
    List<String> args = new ArrayList<>(List.of("--config", config(), "--crop", "16"));
    if (flags.startsWith("--crop")) {
      args = new ArrayList<>(List.of("--config", config()));
    }
    args.addAll(List.of(flags.split(" ")));
    assertEquals(Cli.BAD_USAGE, run(args.toArray(String[]::new)), errors);
    assertTrue(errors.contains(message), errors);
    assertFalse(Files.exists(folder.resolve("run")), "nothing is written");
  }

  @ParameterizedTest
  @CsvSource({"8, 16, 4", "16, 32, 8", "32, 32, 12"})
  void theSampleConfigsAreOfTheirFactorAndSmall(int factor, int channels, int millions)
      throws IOException {
    DcAeConfig config =
        DcAeConfig.read(Path.of("../samples/autoencoder/dc-ae-f" + factor + ".json"));
    assertEquals(factor, config.factor());
    assertEquals(channels, config.latentChannels());
    long parameters = DcAeTensors.parameters(config);
    assertTrue(parameters < millions * 1_000_000L, parameters + " parameters");
  }

  @Test
  void oneNetworkMustBeNamedAndItMustBeKnown() {
    assertEquals(Cli.BAD_USAGE, run());
    assertTrue(errors.contains("--config"), errors);
    assertEquals(Cli.BAD_USAGE, run("--config", config(), "--preset", "f32c32-sana-1.1"));
    assertEquals(Cli.BAD_USAGE, run("--preset", "f8"));
    assertTrue(errors.contains("--preset: expected one of"), errors);
    assertEquals(Cli.BAD_USAGE, run("--preset", "f32c32-in-1.0"));
    assertTrue(errors.contains("statistics of a batch norm"), errors);
    assertEquals(Cli.FAILED, run("--init", folder.resolve("absent").toString()));
  }

  @Test
  void aDataFolderThatIsNotThereFailsNamingIt() {
    assertEquals(Cli.FAILED, run("--config", config(), "--crop", "16"));
    assertTrue(errors.contains(folder.resolve("data").toString()), errors);
  }

  @Test
  void aRunKilledOnTheWayReachesTheSameBytesAsAnUnbrokenOne()
      throws IOException, InterruptedException {
    Tiny.pictures(folder.resolve("data"), 24);
    Files.createFile(folder.resolve("data/empty.jpg"));
    Process victim = start("killed");
    Path checkpoint = folder.resolve("killed/checkpoints/step-0000002");
    while (victim.isAlive() && !Files.exists(checkpoint)) {
      Thread.sleep(5);
    }
    victim.destroyForcibly();
    victim.waitFor();
    assertTrue(Files.exists(checkpoint), Files.readString(folder.resolve("killed.log")));
    assertFalse(Files.exists(folder.resolve("killed/autoencoder")), "killed too late");
    for (String output : List.of("killed", "unbroken")) {
      String[] arguments = training(output).toArray(String[]::new);
      CapturedRun run = CapturedRun.of(new Train(), (Object[]) arguments);
      assertEquals(Cli.DONE, run.code(), run.err());
    }
    for (String file :
        List.of(
            "autoencoder/config.json",
            "autoencoder/" + DcAeFolder.WEIGHTS,
            "checkpoints/step-0000008/model.safetensors",
            "checkpoints/step-0000008/optimizer.safetensors",
            "skipped.jsonl")) {
      Path expected = folder.resolve("unbroken").resolve(file);
      assertEquals(-1, Files.mismatch(expected, folder.resolve("killed").resolve(file)), file);
    }
    DcAeFolder.open(folder.resolve("killed/autoencoder")).openWeights().close();
  }

  private List<String> training(String output) {
    List<String> arguments = new ArrayList<>(List.of("autoencoder", "--config", config()));
    arguments.addAll(List.of("--data", folder.resolve("data").toString()));
    arguments.addAll(List.of("--output", folder.resolve(output).toString()));
    arguments.addAll(List.of("--steps", String.valueOf(STEPS), "--crop", "16", "--batch", "4"));
    arguments.addAll(List.of("--checkpoint-every", "2", "--keep", "4", "--threads", "1"));
    arguments.addAll(List.of("--sample-every", "4", "--workers", "2", "--quiet"));
    arguments.addAll(List.of("--device", "cpu"));
    return arguments;
  }

  /** Trains in a process of its own, the only kind that can be killed. */
  private Process start(String output) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-Djava.awt.headless=true",
                "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
                Train.class.getName()));
    command.addAll(training(output));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    builder.redirectErrorStream(true);
    builder.redirectOutput(folder.resolve(output + ".log").toFile());
    return builder.start();
  }
}
