package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.StopSignal;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BatchEncoderTest {
  private static final int PICTURES = 24; // three chunks of 8
  private static final int MAX_SIDE = 4096; // of which 8 fit into a chunk
  private static final DataType NATIVE = DataType.NATIVE_RESOLUTION;
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;
  private Path pictures;

  @BeforeEach
  void makePictures() throws IOException {
    pictures = folder.resolve("pictures");
    String[] classes = {"ant", "bee", "cat"};
    for (int i = 0; i < PICTURES; i++) {
      // A cell or two wide, four of a kind in a chunk; and one that is less than a cell.
      int width = i == 7 ? 5 : 8 + 8 * (i / 3 % 2);
      Path file = pictures.resolve(classes[i % 3]).resolve(i + ".png");
      Pictures.png(file, width, 9, i + 1);
    }
  }

  private PrepareOptions options(String output, int rank, int worldSize, DataType... types) {
    return new PrepareOptions(
            pictures,
            folder.resolve(output),
            8,
            1,
            List.of(types),
            MAX_SIDE,
            16_384,
            false,
            DType.F32,
            10_000,
            3,
            rank,
            worldSize)
        .withLearned(new PrepareOptions.Learned(folder.resolve("ae"), "f32", 1));
  }

  private LatentPreparer.Report prepare(PrepareOptions options, BatchCodec codec)
      throws IOException {
    return LatentPreparer.prepare(options, codec, "test", StopSignal.none(), true);
  }

  private LatentPreparer.Report prepare(String output) throws IOException {
    return prepare(options(output, 0, 1, NATIVE), new BatchCodec());
  }

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

  private static Path latent(Path set, String name) {
    return set.resolve("latents/native-resolution").resolve(name + ".safetensors");
  }

  @Test
  void picturesOfOneSizeAreEncodedTogetherByOneThread() throws IOException {
    BatchCodec codec = new BatchCodec();
    LatentPreparer.Report report = prepare(options("set", 0, 1, NATIVE), codec);
    assertEquals(PICTURES, report.written());
    assertEquals(2 * PICTURES, codec.batches.stream().mapToInt(i -> i).sum(), "plain, mirrored");
    // Two sizes in each chunk, four pictures of each.
    assertEquals(List.of(8, 8, 8, 8, 8, 8), codec.batches);
    assertEquals(Set.of(Thread.currentThread().getName()), codec.threads);
    try (SafetensorsFile file = SafetensorsFile.open(latent(folder.resolve("set"), "bee/7"))) {
      assertEquals(Shape.of(2, 8, 1, 1), file.tensor("latent").shape(), "5 pixels become a cell");
    }
    try (SafetensorsFile file = SafetensorsFile.open(latent(folder.resolve("set"), "cat/5"))) {
      assertEquals(Shape.of(2, 8, 1, 2), file.tensor("latent").shape());
      assertEquals(2, file.tensor("label").toLongs()[0]);
    }
  }

  @Test
  void batchesHoldThePixelsThatTheyAreAllowed() throws IOException {
    PrepareOptions options = options("set", 0, 1, NATIVE);
    assertEquals(1, options.batch(new Resize.Size(512, 512)));
    assertEquals(2, options.rows(new Resize.Size(512, 512)));
    assertEquals(4, options.batch(new Resize.Size(256, 256)));
    assertEquals(1, options.batch(new Resize.Size(1024, 512)));
    assertEquals(1, options.rows(new Resize.Size(1024, 1024)), "plain and mirrored one by one");
    assertEquals(8, options.chunk());
    try (Stream<Path> all = Files.walk(pictures)) {
      for (Path file : all.filter(f -> f.toString().matches(".*/\\d\\d\\.png")).toList()) {
        Files.delete(file);
      }
    }
    BatchCodec codec = new BatchCodec();
    prepare(options("few", 0, 1, DataType.FIXED_512), codec);
    assertEquals(Collections.nCopies(10, 2), codec.batches);
  }

  @Test
  void aTypeOfOneSizeIsEncodedInFewShapesWhateverTheSizesOfTheGroups() throws IOException {
    Set<Integer> counts = new TreeSet<>();
    for (int pictures = 1; pictures <= 200; pictures++) {
      int left = pictures;
      while (left > 0) {
        int count = BatchEncoder.together(DataType.FIXED_256, left, 20);
        assertTrue(count >= 1 && count <= left, count + " of " + left);
        counts.add(count);
        left -= count;
      }
    }
    assertEquals(Set.of(1, 2, 4, 8, 16, 20), counts);

    Files.delete(pictures.resolve("ant/0.png"));
    BatchCodec codec = new BatchCodec();
    prepare(options("set", 0, 1, DataType.FIXED_256), codec);
    assertEquals(List.of(8, 8, 8, 8, 8, 4, 2), codec.batches);
  }

  @Test
  void aTypeOfManySizesIsEncodedInWholeGroups() throws IOException {
    assertEquals(20, BatchEncoder.together(NATIVE, 21, 20));
    assertEquals(19, BatchEncoder.together(NATIVE, 19, 20));
    Files.delete(pictures.resolve("ant/0.png"));
    BatchCodec codec = new BatchCodec();
    prepare(options("set", 0, 1, NATIVE), codec);
    assertEquals(2 * (PICTURES - 1), codec.batches.stream().mapToInt(i -> i).sum());
    assertTrue(codec.batches.contains(6), codec.batches.toString());
  }

  @Test
  void typesOfManySizesAreEncodedWithoutCudnnAndThoseOfOneSizeWithIt() throws IOException {
    BatchCodec codec = new BatchCodec();
    prepare(options("set", 0, 1, NATIVE, DataType.FIXED_256, DataType.FIXED_512), codec);
    assertEquals(
        Set.of(
            "8x8 without cuDNN", "16x8 without cuDNN", "256x256 with cuDNN", "512x512 with cuDNN"),
        codec.kernels);
    assertTrue(torch.globalContext().userEnabledCuDNN(), "as it was");
  }

  @Test
  void cudnnIsAsItWasAfterAFailure() throws IOException {
    BatchCodec broken =
        new BatchCodec()
            .before(
                () -> {
                  throw new IllegalStateException("an illegal memory access");
                });
    assertThrows(IllegalStateException.class, () -> prepare(options("set", 0, 1, NATIVE), broken));
    assertTrue(torch.globalContext().userEnabledCuDNN());
    torch.globalContext().setUserEnabledCuDNN(false);
    try {
      BatchCodec codec = new BatchCodec();
      prepare(options("off", 0, 1, NATIVE, DataType.FIXED_256), codec);
      assertTrue(codec.kernels.contains("256x256 without cuDNN"), "what is off stays off");
      assertFalse(torch.globalContext().userEnabledCuDNN());
    } finally {
      torch.globalContext().setUserEnabledCuDNN(true);
    }
  }

  @Test
  void aPictureThatOwnKernelsNeedTooMuchMemoryForIsLeftToCudnn() throws IOException {
    BatchCodec codec = new BatchCodec().cudnnOnly();
    assertEquals(PICTURES, prepare(options("set", 0, 1, NATIVE), codec).written());
    assertEquals(Collections.nCopies(2 * PICTURES, 1), codec.batches);
    assertTrue(torch.globalContext().userEnabledCuDNN());
  }

  @Test
  void preparingTwiceGivesTheSameBytes() throws IOException {
    prepare("one");
    prepare("two");
    TreeMap<String, byte[]> one = files("one");
    assertEquals(PICTURES + 4, one.size()); // prepare, sampler meta, dataset, data meta
    assertSame(one, files("two"));
  }

  @Test
  void anotherBatchIsAnotherLatentOfThisCodec() throws IOException {
    prepare("set");
    Files.delete(pictures.resolve("ant/0.png"));
    prepare("other");
    assertNotEquals(
        -1,
        Files.mismatch(
            latent(folder.resolve("set"), "ant/6"), latent(folder.resolve("other"), "ant/6")),
        "or the tests of resuming could not fail");
  }

  @Test
  void anInterruptedRunResumesToTheSameFiles() throws IOException {
    prepare(options("whole", 0, 1, NATIVE, DataType.FIXED_256), new BatchCodec());
    TreeMap<String, byte[]> whole = files("whole");
    // As a kill leaves it, in the middle of every batch.
    int n = 0;
    int kept = 0;
    for (var file : whole.entrySet()) {
      boolean latent = file.getKey().startsWith("latents/");
      if (file.getKey().equals("prepare.json") || latent && n++ % 3 == 0) {
        Path copy = folder.resolve("resumed").resolve(file.getKey());
        Files.createDirectories(copy.getParent());
        byte[] bytes = file.getValue();
        boolean torn = n == 4;
        Files.write(copy, torn ? Arrays.copyOf(bytes, bytes.length - 1) : bytes);
        kept += latent && !torn ? 1 : 0;
      }
    }
    LatentPreparer.Report report =
        prepare(options("resumed", 0, 1, NATIVE, DataType.FIXED_256), new BatchCodec());
    assertEquals(kept, report.found());
    assertEquals(2 * PICTURES - kept, report.written());
    assertSame(whole, files("resumed"));
  }

  @Test
  void aRunThatIsStoppedBetweenBatchesResumesToTheSameFiles() throws IOException {
    prepare("whole");
    StopSignal stop = StopSignal.none();
    AtomicInteger batch = new AtomicInteger();
    BatchCodec codec =
        new BatchCodec()
            .before(
                () -> {
                  if (batch.incrementAndGet() == 3) {
                    stop.request();
                  }
                });
    CancellationException e =
        assertThrows(
            CancellationException.class,
            () -> LatentPreparer.prepare(options("set", 0, 1, NATIVE), codec, "test", stop, true));
    assertTrue(e.getMessage().contains(" of " + PICTURES + " images; the same"), e.getMessage());
    assertEquals(3, codec.batches.size(), "the one under way is finished");
    TreeMap<String, byte[]> stopped = files("set");
    assertEquals(3 * 4 + 1, stopped.size(), "three batches of four, and prepare.json");
    assertEquals(stopped.size() - 1, prepare("set").found());
    assertSame(files("whole"), files("set"));
  }

  @Test
  void aFinishedRunIsNotEncodedAgainAndFeaturesStay() throws IOException {
    prepare("set");
    Path file = latent(folder.resolve("set"), "ant/3");
    addFeature(file);
    byte[] featured = Files.readAllBytes(file);
    BatchCodec again = new BatchCodec();
    assertEquals(PICTURES, prepare(options("set", 0, 1, NATIVE), again).found());
    assertEquals(List.of(), again.batches);
    // Its batch is encoded again for another's sake, and it stays as it is.
    Files.delete(latent(folder.resolve("set"), "ant/9")); // as wide as ant/3
    assertEquals(1, prepare(options("set", 0, 1, NATIVE), again).written());
    assertEquals(1, again.batches.size());
    assertArrayEquals(featured, Files.readAllBytes(file));
  }

  private static void addFeature(Path file) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    try (SafetensorsFile old = SafetensorsFile.open(file)) {
      old.metadata().forEach(writer::metadata);
      HostTensor latent = old.tensor("latent");
      int tokens = (int) (latent.shape().dim(2) * latent.shape().dim(3));
      writer.add(latent).add(old.tensor("label"));
      writer.add(HostTensor.of("feature", new float[2 * tokens * 6], 2, tokens, 6)).write(file);
    }
  }

  @Test
  void severalProcessesMakeTheSameSetAsOne() throws IOException {
    Files.writeString(pictures.resolve("bee/broken.png"), "no picture");
    prepare(options("one", 0, 1, NATIVE), new BatchCodec());
    assertFalse(prepare(options("two", 1, 2, NATIVE), new BatchCodec()).complete());
    assertTrue(prepare(options("two", 0, 2, NATIVE), new BatchCodec()).complete());
    assertSame(files("one"), files("two"));
    // More processes than chunks, of which there are four now: one has nothing to do.
    assertEquals(0, prepare(options("five", 4, 5, NATIVE), new BatchCodec()).pictures());
  }

  @Test
  void aLatentOfNaNsIsListedAndNeverWritten() throws IOException {
    BufferedImage red = new BufferedImage(16, 16, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 256; i++) {
      red.setRGB(i % 16, i / 16, 0xff0000);
    }
    ImageIO.write(red, "png", pictures.resolve("cat/red.png").toFile());
    List<BatchCodec> codecs = List.of(new BatchCodec(), new BatchCodec().refusing());
    for (int i = 0; i < codecs.size(); i++) {
      LatentPreparer.Report report = prepare(options("set" + i, 0, 1, NATIVE), codecs.get(i));
      Path set = folder.resolve("set" + i);
      assertEquals(PICTURES, report.written());
      assertEquals(1, report.skipped());
      assertFalse(Files.exists(latent(set, "cat/red")));
      JsonNode row = JSON.readTree(Files.readString(set.resolve("skipped.jsonl")));
      assertEquals("cat/red.png", row.get("image_file").asText());
      assertEquals(
          "the latent of native-resolution holds NaN or infinity", row.get("reason").asText());
    }
  }

  @Test
  void halfOfABatchIsTriedWhereTheWholeDoesNotFitIntoMemory() throws IOException {
    BatchCodec small = new BatchCodec('a', 3);
    assertEquals(PICTURES, prepare(options("set", 0, 1, NATIVE), small).written());
    assertTrue(small.batches.stream().allMatch(rows -> rows <= 3), small.batches.toString());
    prepare(options("again", 0, 1, NATIVE), new BatchCodec('a', 3));
    assertSame(files("set"), files("again"));
    IOException e =
        assertThrows(
            IOException.class,
            () -> prepare(options("none", 0, 1, NATIVE), new BatchCodec('a', 0)));
    assertTrue(e.getMessage().contains("--max-side"), e.getMessage());
  }

  @Test
  void anotherAutoencoderPrecisionOrBatchIsRefusedByItsKey() throws IOException {
    prepare("set");
    assertRefused("codec", options("set", 0, 1, NATIVE), new BatchCodec('b', 9));
    PrepareOptions half =
        options("set", 0, 1, NATIVE)
            .withLearned(new PrepareOptions.Learned(folder.resolve("ae"), "bf16", 1));
    assertRefused("precision: expected \"bf16\", found \"f32\"", half, new BatchCodec());
    PrepareOptions more =
        options("set", 0, 1, NATIVE)
            .withLearned(new PrepareOptions.Learned(folder.resolve("ae"), "f32", 2));
    assertRefused("batch: expected 2, found 1", more, new BatchCodec());
  }

  private void assertRefused(String key, PrepareOptions options, BatchCodec codec) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> prepare(options, codec)).getMessage();
    assertTrue(message.contains("other settings: " + key), message);
  }

  @Test
  void theSetSaysWhichAutoencoderMadeIt() throws IOException {
    prepare("set");
    DataOptions options = DataOptions.defaults().withQuiet(true);
    try (TrainingData data = TrainingDataSets.open(folder.resolve("set"), options)) {
      assertEquals(new BatchCodec().spec(), data.codec().orElseThrow());
      assertEquals(folder.resolve("ae").toAbsolutePath(), data.autoencoder().orElseThrow());
      assertEquals(8, data.channels());
    }
  }
}
