package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cli.Cli;
import io.nit.core.packing.SamplerMeta;
import io.nit.testing.CapturedRun;
import io.nit.trainer.data.Pictures;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PreparePackTest {
  @TempDir Path folder;

  private String out;
  private String err;

  private int run(Object command, String... args) {
    CapturedRun run = CapturedRun.of(command, (Object[]) args);
    out = run.out();
    err = run.err();
    return run.code();
  }

  private int prepare(String... more) throws IOException {
    Path pictures = folder.resolve("pictures");
    if (!Files.exists(pictures)) {
      Pictures.folder(pictures, 30);
    }
    String[] args = new String[5 + more.length];
    args[0] = "--data=" + pictures;
    args[1] = "--output=" + folder.resolve("set");
    args[2] = "--quiet";
    args[3] = "--factor=2";
    args[4] = "--max-tokens=256";
    System.arraycopy(more, 0, args, 5, more.length);
    return run(new Prepare(), args);
  }

  @Test
  void preparesAndPacksAgain() throws IOException {
    assertEquals(Cli.DONE, prepare(), err);
    assertTrue(out.contains("30 pictures: 30 latents written, 0 there already"), out);
    assertTrue(Files.exists(folder.resolve("set/sampler_meta_256.json")));

    Path packs = folder.resolve("packs.json");
    int code =
        run(
            new Pack(),
            "--data=" + folder.resolve("set"),
            "--max-tokens=160",
            "--max-images=2",
            "--output=" + packs);
    assertEquals(Cli.DONE, code, err);
    List<int[]> written = SamplerMeta.read(packs, 30);
    assertEquals(30, written.stream().mapToInt(pack -> pack.length).sum());
    assertTrue(written.stream().allMatch(pack -> pack.length <= 2));
    assertTrue(out.startsWith("30 images in " + written.size() + " packs of 160 tokens"), out);
    assertTrue(out.contains("2 images") && out.contains("packs  #"), out);
  }

  @Test
  void packsOfTheDataMetaFileLandBesideIt() throws IOException {
    assertEquals(Cli.DONE, prepare(), err);
    int code =
        run(new Pack(), "--data=" + folder.resolve("set/data_meta.jsonl"), "--max-tokens=300");
    assertEquals(Cli.DONE, code, err);
    assertEquals(
        30,
        SamplerMeta.read(folder.resolve("set/sampler_meta_300.json"), 30).stream()
            .mapToInt(pack -> pack.length)
            .sum());
  }

  @Test
  void badUsageNamesTheFlagAndExitsWithTwo() throws IOException {
    String[][] bad = {
      {"--types=fixed-999", "--types"},
      {"--dtype=i64", "--dtype"},
      {"--codec=dc-ae", "--codec"},
      {"--rank=1", "--rank"},
      {"--max-side=1", "--max-side"},
      {"--types=fixed-512x512", "--max-tokens"},
    };
    for (String[] one : bad) {
      assertEquals(Cli.BAD_USAGE, prepare(one[0]), one[0]);
      assertTrue(err.contains(one[1]), err);
      assertFalse(err.contains("\tat "), "no stack trace");
    }
    assertEquals(Cli.BAD_USAGE, run(new Pack(), "--data=" + folder), "no data set");
    prepare();
    assertEquals(
        Cli.BAD_USAGE, run(new Pack(), "--data=" + folder.resolve("set"), "--max-tokens=1"));
    assertTrue(err.contains("--max-tokens") && err.contains("data_meta.jsonl"), err);
  }

  @Test
  void latentsOfOtherSettingsAreKeptAndTheDifferenceIsTold() throws IOException {
    assertEquals(Cli.DONE, prepare(), err);
    assertEquals(Cli.BAD_USAGE, prepare("--dtype=f16"));
    assertTrue(err.contains("other settings: dtype: expected \"F16\", found \"F32\"; "), err);
    assertFalse(err.contains("codec"), err);
  }

  @Test
  void aFileInPlaceOfTheOutputFolderIsBadUsage() throws IOException {
    Files.createFile(folder.resolve("set"));
    assertEquals(Cli.BAD_USAGE, prepare());
    assertTrue(err.contains("--output: expected a folder, found a file: "), err);
  }

  @Test
  void anEmptyFolderIsBadUsageWithAReason() throws IOException {
    Files.createDirectories(folder.resolve("pictures"));
    assertEquals(Cli.BAD_USAGE, prepare());
    assertTrue(err.contains("class folders"), err);
  }

  @Test
  void helpShowsDefaultsAndExamples() {
    assertEquals(Cli.DONE, run(new Prepare(), "--help"));
    assertTrue(out.contains("native-resolution") && out.contains("178956970"), out);
    assertTrue(out.contains("Examples:"), out);
    assertEquals(Cli.DONE, run(new Pack(), "--help"));
    assertTrue(out.contains("16384") && out.contains("Examples:"), out);
  }
}
