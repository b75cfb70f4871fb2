package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.core.packing.SamplerMeta;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LatentDataTest {
  private static final int CHANNELS = 3;
  private static final DataOptions OPTIONS =
      DataOptions.defaults().withPacks(16, 0).withQuiet(true);

  @TempDir Path folder;

  private static float[] values(int count, int from) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = from + i;
    }
    return values;
  }

  private static HostTensor latent(int h, int w, int from) {
    return HostTensor.of("latent", values(2 * CHANNELS * h * w, from), 2, CHANNELS, h, w);
  }

  private static String row(String file, int h, int w, String type) {
    return String.format(
        "{\"image_file\": \"%1$s.JPEG\", \"latent_file\": \"%1$s.safetensors\", \"ori_w\": 1,"
            + " \"ori_h\": 1, \"latent_h\": %2$d, \"latent_w\": %3$d, \"image_h\": 32,"
            + " \"image_w\": 32, \"type\": \"%4$s\"}\n",
        file, h, w, type);
  }

  private void write(String path, HostTensor... tensors) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (HostTensor tensor : tensors) {
      writer.add(tensor);
    }
    writer.write(folder.resolve(path));
  }

  private void meta(String... rows) throws IOException {
    Files.writeString(folder.resolve("data_meta.jsonl"), String.join("", rows));
  }

  private void one(HostTensor... tensors) throws IOException {
    meta(row("c/a", 2, 3, "native-resolution"));
    write("latents/native-resolution/c/a.safetensors", tensors);
  }

  private static HostTensor label(long value) {
    return HostTensor.of("label", new long[] {value});
  }

  private static Philox choosing(boolean mirrored) {
    for (long stream = 0; ; stream++) {
      Philox choice = new Philox(1, stream);
      if (choice.uniform(0) < 0.5 == mirrored) {
        return choice;
      }
    }
  }

  private TrainingPack first(DataOptions options, boolean mirrored) throws IOException {
    try (TrainingData data = TrainingDataSets.open(folder, options)) {
      return data.load(0, choosing(mirrored));
    }
  }

  private String refusal(Class<? extends Exception> kind, DataOptions options) {
    return assertThrows(kind, () -> first(options, false)).getMessage();
  }

  @Test
  void theAuthorsLayoutWorksAsItIs() throws IOException {
    // Their folder names, a float label without extents, no dataset.json, several types in a pack.
    Files.createDirectories(folder.resolve("data_meta"));
    Files.writeString(folder.resolve("data_meta/dc-ae_nr_meta.jsonl"), "not read");
    Files.writeString(
        folder.resolve("data_meta/dc-ae_merge_meta.jsonl"),
        row("n01/x", 2, 3, "native-resolution") + "\n" + row("n01/x", 2, 2, "fixed-256x256"));
    HostTensor label = HostTensor.of("label", new float[] {917}, new long[0]);
    write("dc-ae-native-resolution/n01/x.safetensors", latent(2, 3, 0), label);
    write("dc-ae-256x256/n01/x.safetensors", latent(2, 2, 100).to(DType.F16), label);
    Path packs = folder.resolve("sampler_meta/merge_LPFHP_16.json");
    SamplerMeta.write(packs, List.of(new int[] {1, 0}));
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS.withSamplerMeta(packs))) {
      assertEquals(1, data.packs());
      assertEquals(CHANNELS, data.channels());
      assertTrue(data.codec().isEmpty());
      assertTrue(data.labels().isEmpty());
      TrainingPack pack = data.load(0, new Philox(0, 0));
      assertEquals(PackLayout.of(new int[] {2, 2}, new int[] {2, 3}), pack.layout());
      assertArrayEquals(new long[] {917, 917}, pack.labels());
      assertArrayEquals(new int[] {1, 0}, pack.rows());
    }
  }

  @Test
  void theMirroredLatentIsTheSecondOfTheFile() throws IOException {
    one(latent(2, 3, 0), label(4));
    // Token k, channel c of [C, 2, 3] is value c*6 + k.
    float[] plain = first(OPTIONS, false).latents();
    float[] mirrored = first(OPTIONS, true).latents();
    for (int token = 0; token < 6; token++) {
      for (int c = 0; c < CHANNELS; c++) {
        assertEquals(c * 6 + token, plain[token * CHANNELS + c]);
        assertEquals(18 + c * 6 + token, mirrored[token * CHANNELS + c]);
      }
    }
  }

  @Test
  void everyRowIsInExactlyOnePack() throws IOException {
    StringBuilder rows = new StringBuilder();
    for (int i = 0; i < 40; i++) {
      int h = 1 + i % 4;
      int w = 1 + i % 3;
      rows.append(row("c/" + i, h, w, "native-resolution"));
      write("latents/native-resolution/c/" + i + ".safetensors", latent(h, w, i), label(i % 2));
    }
    meta(rows.toString());
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS)) {
      Set<Integer> seen = new HashSet<>();
      for (int p = 0; p < data.packs(); p++) {
        TrainingPack pack = data.load(p, new Philox(0, p));
        assertTrue(pack.layout().tokens() <= 16);
        for (int i = 0; i < pack.rows().length; i++) {
          assertTrue(seen.add(pack.rows()[i]));
          assertEquals(pack.rows()[i] % 2, pack.labels()[i]);
          assertEquals(1 + pack.rows()[i] % 4, pack.layout().h(i));
        }
      }
      assertEquals(40, seen.size());
    }
  }

  @Test
  void featuresComeWithTheirTokens() throws IOException {
    one(latent(2, 3, 0), label(0), HostTensor.of("feature", values(2 * 6 * 4, 0), 2, 6, 4));
    assertArrayEquals(
        values(24, 0), first(OPTIONS.withFeatures(4), false).features().orElseThrow());
    assertArrayEquals(
        values(24, 24), first(OPTIONS.withFeatures(4), true).features().orElseThrow());
    assertTrue(first(OPTIONS, false).features().isEmpty());
  }

  @Test
  void featuresOfThePlainPictureKeepItFromBeingMirrored() throws IOException {
    one(latent(2, 3, 0), label(0), HostTensor.of("feature", values(6 * 4, 0), 6, 4));
    TrainingPack pack = first(OPTIONS.withFeatures(4), true);
    assertEquals(0, pack.latents()[0]);
    assertArrayEquals(values(24, 0), pack.features().orElseThrow());
    assertEquals(18, first(OPTIONS, true).latents()[0]); // without features it may be
  }

  @Test
  void wrongTensorsAreNamedWithExpectedAndFound() throws IOException {
    one(latent(3, 2, 0), label(0));
    String message = refusal(IOException.class, OPTIONS);
    assertTrue(message.startsWith("latent: expected [2, 3, 2, 3], found [2, 3, 3, 2]"), message);
    assertTrue(message.contains("c/a.safetensors"), message);

    one(HostTensor.of("latent", new long[36], 2, 3, 2, 3), label(0));
    message = refusal(IOException.class, OPTIONS);
    assertTrue(message.contains("latent: expected a float type, found I64"), message);

    one(latent(2, 3, 0));
    message = refusal(IOException.class, OPTIONS);
    assertTrue(
        message.contains("label: expected a tensor") && message.contains("[latent]"), message);

    one(latent(2, 3, 0), HostTensor.of("label", new float[] {1.5f}, 1));
    message = refusal(IOException.class, OPTIONS);
    assertTrue(message.contains("label: expected a whole number"), message);

    one(latent(2, 3, 0), label(0), HostTensor.of("feature", new float[6 * 5], 6, 5));
    message = refusal(IOException.class, OPTIONS.withFeatures(4));
    assertTrue(message.contains("[6, 4] or [2, 6, 4], found [6, 5]"), message);
  }

  @Test
  void labelsOutOfTheKnownRangeAreRefused() throws IOException {
    one(latent(2, 3, 0), label(2));
    Files.writeString(
        folder.resolve("dataset.json"), "{\"format\": 1, \"labels\": [\"cat\", \"dog\"]}");
    String message = refusal(IOException.class, OPTIONS);
    assertTrue(message.contains("label: expected 0..1, found 2"), message);
  }

  @Test
  void aTruncatedLatentFileIsNamed() throws IOException {
    one(latent(2, 3, 0), label(0));
    Path file = folder.resolve("latents/native-resolution/c/a.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    Files.write(file, java.util.Arrays.copyOf(bytes, bytes.length - 5));
    assertTrue(refusal(IOException.class, OPTIONS).contains("a.safetensors"));
  }

  @Test
  void pathsThatLeaveTheFolderAreRefused() throws IOException {
    write("outside.safetensors", latent(2, 3, 0), label(0));
    Files.createDirectories(folder.resolve("latents/native-resolution/c"));
    for (String path : new String[] {"../../outside", "/etc/passwd", "c/../../../outside"}) {
      meta(row(path, 2, 3, "native-resolution"));
      String message = refusal(IllegalArgumentException.class, OPTIONS);
      assertTrue(message.contains("latent_file") && message.contains(path), message);
    }
    Files.createSymbolicLink(
        folder.resolve("latents/native-resolution/c/a.safetensors"),
        folder.resolve("outside.safetensors"));
    meta(row("c/a", 2, 3, "native-resolution"));
    assertTrue(refusal(IOException.class, OPTIONS).contains("leads out"));
  }

  @Test
  void aLatentFolderOutsideTheDataSetIsRefused() throws IOException {
    one(latent(2, 3, 0), label(0));
    Files.writeString(
        folder.resolve("dataset.json"),
        "{\"format\": 1, \"latent_dirs\": {\"native-resolution\": \"../x\"}}");
    assertTrue(refusal(IllegalArgumentException.class, OPTIONS).contains("latent_dirs"));
  }

  @Test
  void malformedRowsAreNamedByFileAndLine() throws IOException {
    String good = row("c/a", 2, 3, "native-resolution");
    String[][] bad = {
      {
        good.replace("\"latent_h\": 2", "\"latent_h\": -2"), "latent_h: expected 1..65536, found -2"
      },
      {good.replace("\"latent_w\": 3", "\"latent_w\": \"3\""), "latent_w"},
      {
        good.replace("\"latent_file\"", "\"file\""), "latent_file: expected a string, found nothing"
      },
      {good.replace("native-resolution", "fixed-1x1"), "fixed-256x256"},
      {good.substring(0, 40) + "\n", "JSON"},
      {"[1]\n", "expected a JSON object"},
    };
    write("latents/native-resolution/c/a.safetensors", latent(2, 3, 0), label(0));
    for (String[] one : bad) {
      meta(good, one[0]);
      String message = refusal(IllegalArgumentException.class, OPTIONS);
      assertTrue(message.contains("data_meta.jsonl:2") && message.contains(one[1]), message);
    }
    meta("\n");
    assertTrue(refusal(IllegalArgumentException.class, OPTIONS).contains("found none"));
  }

  @Test
  void packsOverTheBudgetAndOddPatchesAreRefused() throws IOException {
    one(latent(2, 3, 0), label(0));
    Path packs = folder.resolve("packs.json");
    SamplerMeta.write(packs, List.of(new int[] {0}));
    String message =
        refusal(IllegalArgumentException.class, OPTIONS.withPacks(5, 0).withSamplerMeta(packs));
    assertTrue(message.contains("pack 0: expected at most 5 tokens"), message);
    message = refusal(IllegalArgumentException.class, OPTIONS.withPacks(5, 0));
    assertTrue(message.contains("6"), message);
    message = refusal(IllegalArgumentException.class, OPTIONS.withPatchSize(2));
    assertTrue(message.contains("patch size 2, found 2x3"), message);
  }

  @Test
  void missingLatentFoldersAndFilesAreNamed() throws IOException {
    meta(row("c/a", 2, 3, "fixed-512x512"));
    String message = refusal(IllegalArgumentException.class, OPTIONS);
    assertTrue(message.contains("latents/fixed-512x512"), message);
    Files.createDirectories(folder.resolve("latents/fixed-512x512"));
    message = refusal(IOException.class, OPTIONS);
    assertTrue(message.contains("c/a.safetensors"), message);
  }
}
