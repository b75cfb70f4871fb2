package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.flow.Philox;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LatentPreparerTest {
  private static final int PICTURES = 24;
  private static final DataType NATIVE = DataType.NATIVE_RESOLUTION;

  @TempDir Path folder;
  private Path pictures;

  @BeforeEach
  void makePictures() throws IOException {
    pictures = Pictures.folder(folder.resolve("pictures"), PICTURES);
  }

  private PrepareOptions options(String output, int rank, int worldSize, DataType... types) {
    return new PrepareOptions(
        pictures,
        folder.resolve(output),
        2,
        1,
        List.of(types),
        2048,
        16_384,
        false,
        DType.F32,
        10_000,
        2,
        rank,
        worldSize);
  }

  private LatentPreparer.Report prepare(PrepareOptions options) throws IOException {
    return prepare(options, StopSignal.none());
  }

  private static LatentPreparer.Report prepare(PrepareOptions options, StopSignal stop)
      throws IOException {
    SpaceToDepthCodec codec = new SpaceToDepthCodec(options.factor());
    return LatentPreparer.prepare(options, codec, "test", stop, true);
  }

  /** Every file below a folder by its path; the parts of several processes aside. */
  private TreeMap<String, byte[]> files(String output) throws IOException {
    Path root = folder.resolve(output);
    TreeMap<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        String name = root.relativize(file).toString();
        if (!name.startsWith("parts/")) {
          files.put(name, Files.readAllBytes(file));
        }
      }
    }
    return files;
  }

  private void assertSame(TreeMap<String, byte[]> expected, TreeMap<String, byte[]> found) {
    assertEquals(expected.keySet(), found.keySet());
    expected.forEach((name, bytes) -> assertArrayEquals(bytes, found.get(name), name));
  }

  @Test
  void thePreparedSetTrainsAsThePicturesDo() throws IOException {
    LatentPreparer.Report report = prepare(options("set", 0, 1, NATIVE));
    assertEquals(PICTURES, report.written());
    assertTrue(report.complete());
    DataOptions options = DataOptions.defaults().withCodecFactor(2).withQuiet(true).withWorkers(2);
    try (TrainingData fromPictures = TrainingDataSets.open(pictures, options);
        TrainingData prepared = TrainingDataSets.open(folder.resolve("set"), options)) {
      assertEquals(fromPictures.labels(), prepared.labels());
      assertEquals(fromPictures.codec(), prepared.codec());
      assertEquals(fromPictures.packs(), prepared.packs());
      for (int p = 0; p < prepared.packs(); p++) {
        TrainingPack expected = fromPictures.load(p, new Philox(2, p));
        TrainingPack found = prepared.load(p, new Philox(2, p));
        assertEquals(expected.layout(), found.layout());
        assertArrayEquals(expected.latents(), found.latents());
        assertArrayEquals(expected.labels(), found.labels());
      }
    }
  }

  @Test
  void rowsHoldTheAuthorsKeysAndBothSizes() throws IOException {
    Pictures.png(pictures.resolve("ant/large.png"), 45, 31, 1);
    prepare(options("set", 0, 1, NATIVE));
    String line =
        Files.readAllLines(folder.resolve("set/data_meta.jsonl")).stream()
            .filter(row -> row.contains("large"))
            .findFirst()
            .orElseThrow();
    assertEquals(
        "{\"image_file\":\"ant/large.png\",\"latent_file\":\"ant/large.safetensors\",\"ori_w\":45,"
            + "\"ori_h\":31,\"latent_h\":15,\"latent_w\":22,\"image_h\":30,\"image_w\":44,"
            + "\"type\":\"native-resolution\"}",
        line);
  }

  @Test
  void preparingTwiceGivesTheSameBytes() throws IOException {
    prepare(options("one", 0, 1, NATIVE));
    prepare(options("two", 0, 1, NATIVE));
    TreeMap<String, byte[]> one = files("one");
    assertEquals(PICTURES + 4, one.size()); // prepare, sampler meta, dataset, data meta
    assertSame(one, files("two"));
  }

  @Test
  void aFinishedRunIsNotDoneAgain() throws IOException {
    prepare(options("set", 0, 1, NATIVE));
    TreeMap<String, byte[]> before = files("set");
    Path latent = folder.resolve("set/latents/native-resolution/ant/0.safetensors");
    Object key = Files.readAttributes(latent, "unix:ino").get("ino");
    LatentPreparer.Report again = prepare(options("set", 0, 1, NATIVE));
    assertEquals(0, again.written());
    assertEquals(PICTURES, again.found());
    assertEquals(key, Files.readAttributes(latent, "unix:ino").get("ino"), "not even renamed over");
    assertSame(before, files("set"));
  }

  @Test
  void anInterruptedRunResumesToTheSameFiles() throws IOException {
    prepare(options("whole", 0, 1, NATIVE));
    TreeMap<String, byte[]> whole = files("whole");
    // As a kill leaves it: the settings, some latents, one of them cut short, one not renamed, no
    // data meta.
    int n = 0;
    for (var file : whole.entrySet()) {
      boolean latent = file.getKey().startsWith("latents/");
      if (file.getKey().equals("prepare.json") || (latent && n++ < PICTURES / 2)) {
        Path copy = folder.resolve("resumed").resolve(file.getKey());
        Files.createDirectories(copy.getParent());
        byte[] bytes = file.getValue();
        Files.write(copy, n == 3 ? Arrays.copyOf(bytes, bytes.length - 1) : bytes);
      }
    }
    Files.createFile(
        folder.resolve("resumed/latents/native-resolution/ant/.9.safetensors.tmp-77-3"));
    LatentPreparer.Report report = prepare(options("resumed", 0, 1, NATIVE));
    assertEquals(PICTURES / 2 - 1, report.found());
    assertEquals(PICTURES / 2 + 1, report.written());
    assertSame(whole, files("resumed"));
  }

  @Test
  void aStoppedRunLeavesNothingHalfWritten() throws IOException {
    StopSignal stop = StopSignal.none();
    stop.request();
    CancellationException e =
        assertThrows(
            CancellationException.class, () -> prepare(options("set", 0, 1, NATIVE), stop));
    assertTrue(e.getMessage().contains("goes on"), e.getMessage());
    assertEquals(List.of("prepare.json"), List.copyOf(files("set").keySet()));
  }

  @Test
  void severalProcessesMakeTheSameSetAsOne() throws IOException {
    Files.writeString(pictures.resolve("bee/broken.png"), "no picture");
    prepare(options("one", 0, 1, NATIVE, DataType.FIXED_256));
    for (int rank : new int[] {2, 0}) {
      assertFalse(prepare(options("three", rank, 3, NATIVE, DataType.FIXED_256)).complete());
      assertFalse(Files.exists(folder.resolve("three/data_meta.jsonl")));
    }
    assertTrue(prepare(options("three", 1, 3, NATIVE, DataType.FIXED_256)).complete());
    assertSame(files("one"), files("three"));
  }

  @Test
  void fixedSizesAreSquaresAndMirroredLatentsAreMirrored() throws IOException {
    prepare(options("set", 0, 1, DataType.FIXED_256));
    Path latent = folder.resolve("set/latents/fixed-256x256/ant/0.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(latent)) {
      HostTensor tensor = file.tensor("latent");
      assertEquals(Shape.of(2, 12, 128, 128), tensor.shape());
      float[] values = tensor.toFloats();
      int half = values.length / 2;
      // Channel 0 is a block's upper left pixel, channel 1 its upper right one.
      for (int x = 0; x < 128; x++) {
        assertEquals(values[x], values[half + 128 * 128 + 127 - x]);
      }
    }
  }

  @Test
  void unreadablePicturesAreSkippedAndListed() throws IOException {
    Files.createFile(pictures.resolve("ant/empty.png"));
    Files.writeString(pictures.resolve("cat/text.jpg"), "Linked Image Not Found");
    Pictures.png(pictures.resolve("cat/huge.png"), 101, 100, 1); // over 10,000 pixels
    LatentPreparer.Report report = prepare(options("set", 0, 1, NATIVE));
    assertEquals(3, report.skipped());
    assertEquals(PICTURES, report.rows());
    ObjectMapper json = new ObjectMapper();
    List<String> lines = Files.readAllLines(folder.resolve("set/skipped.jsonl"));
    assertEquals(3, lines.size());
    JsonNode huge = json.readTree(lines.get(1));
    assertEquals("cat/huge.png", huge.get("image_file").asText());
    assertTrue(huge.get("reason").asText().contains("101x100"), huge.toString());
    assertFalse(huge.get("reason").asText().contains(folder.toString()), "the same anywhere");
    JsonNode manifest = json.readTree(folder.resolve("set/dataset.json").toFile());
    assertEquals(3, manifest.get("skipped").asInt());
    assertEquals(PICTURES + 3, manifest.get("pictures").asInt());
    assertEquals("space-to-depth", manifest.get("codec").get("type").asText());
    assertEquals(
        List.of("ant", "bee", "cat"),
        List.of(json.convertValue(manifest.get("labels"), String[].class)));
  }

  @Test
  void picturesThatDifferInTheirEndingOnlyBothGetAFile() throws IOException {
    Files.copy(pictures.resolve("ant/0.png"), pictures.resolve("ant/0.gif"));
    prepare(options("set", 0, 1, NATIVE));
    assertEquals(
        PICTURES + 1,
        DataMeta.read(folder.resolve("set/data_meta.jsonl")).stream()
            .map(DataMeta.Row::latentFile)
            .distinct()
            .count());
  }

  @Test
  void aChangedPictureIsEncodedAgainAndPacksOfBeforeAreRemoved() throws IOException {
    prepare(options("set", 0, 1, NATIVE));
    Path other = folder.resolve("set/sampler_meta_99.json");
    Files.writeString(other, "[[0]]");
    prepare(options("set", 0, 1, NATIVE));
    assertTrue(Files.exists(other), "the rows are the same");
    Pictures.png(pictures.resolve("ant/0.png"), 40, 40, 7);
    assertEquals(1, prepare(options("set", 0, 1, NATIVE)).written());
    assertFalse(Files.exists(other), "it packs other sizes");
  }

  @Test
  void otherSettingsInTheSameFolderAreRefused() throws IOException {
    prepare(options("set", 0, 1, NATIVE));
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> prepare(options("set", 0, 1, DataType.FIXED_256)))
            .getMessage();
    assertTrue(message.contains("--output") && message.contains("fixed-256x256"), message);
  }

  @Test
  void halfPrecisionLatentsAreRoundedOnes() throws IOException {
    PrepareOptions half =
        new PrepareOptions(
            pictures,
            folder.resolve("half"),
            2,
            1,
            List.of(NATIVE),
            2048,
            16_384,
            false,
            DType.F16,
            10_000,
            1,
            0,
            1);
    prepare(half);
    prepare(options("single", 0, 1, NATIVE));
    String name = "latents/native-resolution/bee/1.safetensors";
    try (SafetensorsFile a = SafetensorsFile.open(folder.resolve("half").resolve(name));
        SafetensorsFile b = SafetensorsFile.open(folder.resolve("single").resolve(name))) {
      assertEquals(DType.F16, a.tensor("latent").dtype());
      assertArrayEquals(b.tensor("latent").toFloats(), a.tensor("latent").toFloats(), 5e-4f);
    }
  }

  @Test
  void aSizeThatDoesNotFitNamesItsFlag() {
    for (Object[] bad :
        new Object[][] {{3, 16_384, "--types fixed-256x256"}, {4, 4095, "--max-tokens"}}) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      new PrepareOptions(
                          pictures,
                          folder,
                          (int) bad[0],
                          1,
                          List.of(DataType.FIXED_256),
                          2048,
                          (int) bad[1],
                          false,
                          DType.F32,
                          1000,
                          1,
                          0,
                          1))
              .getMessage();
      assertTrue(message.contains((String) bad[2]), message);
    }
  }
}
