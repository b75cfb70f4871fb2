package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cli.Cli;
import io.nit.core.config.NitConfig;
import io.nit.testing.CapturedRun;
import io.nit.trainer.data.DataOptions;
import io.nit.trainer.data.Pictures;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingDataSets;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class TrainUsageTest {
  @TempDir Path folder;
  private String errors;

  @BeforeEach
  void makeConfig() throws IOException {
    Files.writeString(
        folder.resolve("tiny.json"),
        "{\"hidden_size\": 16, \"depth\": 1, \"num_heads\": 2, \"in_channels\": 48, "
            + "\"num_classes\": 2, \"encoder_depth\": 1}");
  }

  private int run(String... more) {
    List<String> args = new ArrayList<>(List.of("--quiet"));
    args.addAll(List.of("--data", folder.resolve("data").toString()));
    args.addAll(List.of("--output", folder.resolve("run").toString()));
    args.addAll(List.of(more));
    return exit(args.toArray(String[]::new));
  }

  private int exit(String... args) {
    CapturedRun run = CapturedRun.of(new Train(), (Object[]) args);
    errors = run.err();
    return run.code();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          --steps 0             | --steps: expected 1 or more, found 0
          --lr 0                | --lr: expected above 0, found 0.0
          --betas 0.9,1         | --betas: expected two values in [0, 1)
          --betas 0.9           | --betas: expected two values, found 1
          --eps 0               | --eps: expected in (0, 1)
          --weight-decay -1     | --weight-decay: expected in [0, 1)
          --clip NaN            | --clip: expected 0 or more
          --ema 1               | --ema: expected in [0, 1)
          --accumulate 0        | --accumulate: expected 1..65536, found 0
          --label-dropout 1     | --label-dropout: expected in [0, 1)
          --p-std 0             | --p-std: expected above 0
          --proj-coeff -1       | --proj-coeff: expected 0 or more
          --keep 0              | --keep: expected 1 or more
          --checkpoint-every 0  | --checkpoint-every: expected 1 or more
          --milestone-every 1500 | --milestone-every: expected 0 or a multiple of --checkpoint-every 1000, found 1500
          --max-hours -1        | --max-hours: expected 0 or more
          --max-hours 1 --max-minutes 5 | --max-hours: expected no --max-minutes beside it, found 5.0
          --device tpu          | --device: expected one of auto, cpu, cuda; found 'tpu'
          --threads -1          | --threads: expected 0..1024, found -1
          --max-tokens 0        | --max-tokens: expected 1..
          --lr-schedule square  | square
          """)
  void badValuesEndWithTwoAndNameTheFlag(String flag, String message) {
    List<String> args = new ArrayList<>(List.of(flag.split(" ")));
    args.addAll(List.of("--config", folder.resolve("tiny.json").toString()));
    assertEquals(Cli.BAD_USAGE, run(args.toArray(String[]::new)), errors);
    assertTrue(errors.contains(message), errors);
  }

  @Test
  void whatIsMissingIsNamed() {
    assertEquals(Cli.BAD_USAGE, exit("--preset", "s"));
    assertTrue(errors.contains("--data: expected a folder, found nothing"), errors);
    assertEquals(Cli.BAD_USAGE, run());
    assertTrue(errors.contains("expected --config FILE or --preset SIZE"), errors);
    assertEquals(Cli.BAD_USAGE, run("--preset", "huge"));
    assertTrue(
        errors.contains("error: --preset: expected one of s, b, l, xl, xxl; found 'huge'"), errors);
  }

  @Test
  void aConfigThatDoesNotFitTheDataIsRefused() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    assertEquals(Cli.BAD_USAGE, run("--config", folder.resolve("tiny.json").toString()));
    assertTrue(errors.contains("does not fit the data set: expected {num_classes=3}"), errors);
  }

  @Test
  void aFileInPlaceOfTheOutputFolderIsToldBeforeTheDataIsRead() throws IOException {
    Path file = Files.createFile(folder.resolve("run"));
    assertEquals(Cli.BAD_USAGE, run("--config", folder.resolve("tiny.json").toString()));
    assertTrue(errors.contains("--output: expected a folder, found a file: " + file), errors);
  }

  @Test
  void dataThatIsNotThereIsTold() {
    assertEquals(Cli.FAILED, run("--config", folder.resolve("tiny.json").toString()));
    assertTrue(errors.contains("found nothing at " + folder.resolve("data")), errors);
  }

  @Test
  void aRunThatIsBeyondItsStepsIsDoneAndNoMore() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    Path tiny = folder.resolve("tiny.json");
    Files.writeString(tiny, Files.readString(tiny).replace("classes\": 2", "classes\": 3"));
    List<String> words =
        new ArrayList<>(List.of("--config", tiny.toString(), "--factor", "4", "--threads", "1"));
    words.addAll(List.of("--data", folder.resolve("data").toString(), "--device", "cpu"));
    words.addAll(List.of("--output", folder.resolve("run").toString(), "--steps"));
    words.add("2");
    assertEquals(Cli.DONE, exit(words.toArray(String[]::new)), () -> errors);
    words.set(words.size() - 1, "1");
    assertEquals(Cli.DONE, exit(words.toArray(String[]::new)), () -> errors);
    assertTrue(errors.contains("2/2 steps") && !errors.contains("2/1 steps"), errors);
    words.addAll(List.of("--max-tokens", "64"));
    assertEquals(Cli.DONE, exit(words.toArray(String[]::new)), () -> errors);
    // Both tell what is asked for first, and then what the checkpoint had.
    assertTrue(errors.contains(" packs of at most 64 tokens"), errors);
    String packs = errors.replaceAll("(?s).* images in (\\d+) packs of at most.*", "$1");
    assertTrue(errors.contains(": expected " + packs + " packs, found "), errors);
  }

  @Test
  void packsOfLatentsAreNotTakenForPictures() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    String config = folder.resolve("tiny.json").toString();
    assertEquals(Cli.BAD_USAGE, run("--config", config, "--sampler-meta", "packs.json"));
    assertTrue(errors.contains("--sampler-meta: expected prepared latents"), errors);
  }

  @Test
  void aFolderOfUnreadablePicturesIsRefusedWithTheFirstOfThem() throws IOException {
    Path broken = folder.resolve("data/cat/broken.png");
    Files.createDirectories(broken.getParent());
    Files.createFile(broken);
    assertEquals(Cli.BAD_USAGE, run("--config", folder.resolve("tiny.json").toString()));
    assertTrue(errors.contains("found none; the first: " + broken + ": expected"), errors);
  }

  @Test
  void whatIsNoCheckpointIsNotResumedFrom() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    Files.writeString(
        folder.resolve("three.json"),
        Files.readString(folder.resolve("tiny.json")).replace("classes\": 2", "classes\": 3"));
    String config = folder.resolve("three.json").toString();
    assertEquals(Cli.FAILED, run("--config", config, "--resume", "elsewhere"), errors);
    assertTrue(errors.contains("--resume: expected auto, none or a checkpoint's folder"), errors);
    assertTrue(errors.contains("found nothing at elsewhere"), errors);
    String data = folder.resolve("data").toString();
    assertEquals(Cli.BAD_USAGE, run("--config", config, "--resume", data), errors);
    assertTrue(errors.contains("found " + data), errors);
  }

  @Test
  void aPresetTakesChannelsAndClassesFromTheData() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    Train train = parsed("--preset", "s", "--codec-factor", "2");
    DataOptions options = train.dataFlags.options(NitConfig.s(), false, true);
    try (TrainingData data = TrainingDataSets.open(folder.resolve("data"), options)) {
      NitConfig fitted = train.fitted(NitConfig.s(), data);
      assertEquals(NitConfig.s().with(Map.of("in_channels", 12, "num_classes", 3)), fitted);
    }
  }

  @Test
  void theRunFolderIsWholeAndIsNotBegunAnewByMistake() throws IOException {
    Pictures.folder(folder.resolve("data"), 6);
    Files.writeString(
        folder.resolve("three.json"),
        Files.readString(folder.resolve("tiny.json")).replace("classes\": 2", "classes\": 3"));
    String config = folder.resolve("three.json").toString();
    int code =
        run(
            "--config",
            config,
            "--steps",
            "2",
            "--log-every",
            "1",
            "--sample-every",
            "1",
            "--sample-steps",
            "1");
    assertEquals(Cli.DONE, code, errors);
    for (String file :
        List.of(
            "config.json",
            "train.json",
            "dataset.json",
            "metrics.jsonl",
            "loss.png",
            "model.safetensors",
            "samples/step-0000001.png",
            "checkpoints/step-0000002/state.json")) {
      assertTrue(Files.size(folder.resolve("run").resolve(file)) > 0, file);
    }
    assertEquals(Cli.BAD_USAGE, run("--config", config, "--resume", "none"), errors);
    assertTrue(errors.contains("--resume none: expected an --output without checkpoints"), errors);
  }

  @Test
  void theOptimizerIsShardedOnGpusUnlessTheCommandSaysSo() {
    Device cpu = new Device("cpu");
    Device gpu = new Device("cuda:0");
    assertFalse(parsed().sharded(cpu));
    assertTrue(parsed().sharded(gpu));
    assertTrue(parsed("--shard-optimizer").sharded(cpu));
    assertFalse(parsed("--no-shard-optimizer").sharded(gpu));
  }

  @Test
  void theProcessesOfNprocTakeTheCommandsOtherArguments() throws IOException {
    assertEquals(
        List.of("--preset", "s", "--no-shard-optimizer"),
        parsed("--preset", "s", "--nproc", "2", "--no-shard-optimizer").argumentsOfRanks());
    assertEquals(List.of("--steps=3"), parsed("--nproc=2", "--steps=3").argumentsOfRanks());
    Path file = folder.resolve("arguments");
    Files.writeString(file, "--nproc 2\n--no-shard-optimizer\n--sample-every 5\n");
    assertEquals(
        List.of("--no-shard-optimizer", "--sample-every", "5", "--steps", "3"),
        parsed("@" + file, "--steps", "3").argumentsOfRanks());
  }

  @Test
  void theDirectionalTermCountsUnlessLeftOut() {
    assertTrue(parsed().optimizer.directional);
    assertTrue(parsed("--directional").optimizer.directional);
    assertFalse(parsed("--no-directional").optimizer.directional);
  }

  private static Train parsed(String... args) {
    Train train = new Train();
    new CommandLine(train).setCaseInsensitiveEnumValuesAllowed(true).parseArgs(args);
    return train;
  }
}
