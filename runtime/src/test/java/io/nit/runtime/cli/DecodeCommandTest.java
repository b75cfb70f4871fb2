package io.nit.runtime.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.CapturedRun;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.TinyAutoencoder;
import io.nit.testing.TinyAutoencoder.Decoder;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.api.parallel.Resources;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code nit-run} with a learned autoencoder, and {@code nit-run decode} and {@code encode}. */
@ResourceLock(Resources.SYSTEM_OUT)
@ResourceLock(Resources.SYSTEM_ERR)
class DecodeCommandTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;

  @Test
  void latentsOfAnyFloatTypeAndSizeBecomeThePicturesThatTheCodecMakes() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path file = folder.resolve("latents.safetensors");
    HostTensor wide = HostTensor.of("wide", GeneratedDcAe.latent(8, 2, 3), 8, 2, 3);
    new SafetensorsWriter()
        .add(wide)
        .add(HostTensor.of("tall.1", GeneratedDcAe.latent(8, 3, 1), 8, 3, 1).to(DType.F64))
        .add(wide.renamed("wide-2").to(DType.BF16))
        .write(file);
    Path out = folder.resolve("out");
    CapturedRun run = run("decode", "--bundle", bundle.folder(), "--inputs", file, "--output", out);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith("3 pictures in "), run.out());
    assertEquals(new TreeSet<>(Arrays.asList("tall.1.png", "wide-2.png", "wide.png")), names(out));
    try (LatentCodec codec =
        Engines.openCodec(bundle, "ort-cpu", EngineOptions.DEFAULT).orElseThrow()) {
      float[] planes = codec.decode(wide.toFloats(), 2, 3);
      assertArrayEquals(RgbImage.ofPlanes(planes, 16, 24).rgb(), pixels(out.resolve("wide.png")));
    }
    BufferedImage tall = ImageIO.read(out.resolve("tall.1.png").toFile());
    assertEquals(24, tall.getHeight());
    assertEquals(8, tall.getWidth());
  }

  @Test
  void whatIsThereIsNotDecodedAgainUnlessLatentModelOrTilesDiffer() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path file = folder.resolve("latents.safetensors");
    HostTensor a = HostTensor.of("a", GeneratedDcAe.latent(8, 4, 4), 8, 4, 4);
    float[] changed = a.toFloats();
    new SafetensorsWriter().add(a).add(a.renamed("b")).write(file);
    Path out = folder.resolve("out");
    Object[] command = {
      "decode", "--bundle", bundle.folder(), "--inputs", file, "--output", out, "--quiet"
    };
    assertEquals(0, run(command).code());
    FileTime old = FileTime.fromMillis(1_000_000_000_000L);
    Files.setLastModifiedTime(out.resolve("a.png"), old);
    CapturedRun again = run(command);
    assertTrue(again.out().startsWith("0 pictures, 2 there already"), again.out());
    assertEquals(old, Files.getLastModifiedTime(out.resolve("a.png")));

    changed[3] += 1;
    new SafetensorsWriter().add(a).add(HostTensor.of("b", changed, 8, 4, 4)).write(file);
    assertTrue(run(command).out().contains("1 picture in"), "one latent is another");

    Object[] flags = {"--tile-above", 512, "--tile", 24, "--tile-margin", 0};
    Object[] tiled = Arrays.copyOf(command, command.length + flags.length);
    System.arraycopy(flags, 0, tiled, command.length, flags.length);
    byte[] whole = pixels(out.resolve("a.png"));
    assertTrue(run(tiled).out().startsWith("2 pictures in"), "tiles change a picture");
    assertFalse(Arrays.equals(whole, pixels(out.resolve("a.png"))));

    tiled[tiled.length - 1] = 16;
    assertTrue(run(tiled).out().startsWith("2 pictures in"), "so does their margin");
    assertArrayEquals(whole, pixels(out.resolve("a.png")), "a tile and its margin see it all");

    Files.write(out.resolve("a.png"), new byte[] {1, 2});
    assertTrue(run(tiled).out().contains("1 picture in"), "a broken file is made again");
  }

  @Test
  void whatSampleLatentsWritesIsDecoded() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path in = folder.resolve("in.safetensors");
    new SafetensorsWriter()
        .add(HostTensor.of("x", GeneratedDcAe.latent(8, 2, 5), 10, 8, 1, 1))
        .add(HostTensor.of("y", new long[] {0, 1}, 2))
        .add(HostTensor.of("hw_list", new long[] {2, 3, 4, 1}, 2, 2))
        .write(in);
    Path latents = folder.resolve("latents.safetensors");
    CapturedRun sampled =
        run(
            "sample-latents",
            "--bundle",
            bundle.folder(),
            "--inputs",
            in,
            "--output",
            latents,
            "--steps",
            "2");
    assertEquals(0, sampled.code(), sampled.err());
    Path out = folder.resolve("out");
    CapturedRun run =
        run("decode", "--bundle", bundle.folder(), "--inputs", latents, "--output", out);
    assertEquals(0, run.code(), run.err());
    BufferedImage first = ImageIO.read(out.resolve("0.png").toFile());
    assertEquals("24x16", first.getWidth() + "x" + first.getHeight());
    BufferedImage second = ImageIO.read(out.resolve("1.png").toFile());
    assertEquals("8x32", second.getWidth() + "x" + second.getHeight());
  }

  @Test
  void aPictureOfNanIsNotWrittenAndTheOthersAre() throws Exception {
    Bundle bundle =
        TinyAutoencoder.bundle(
            folder.resolve("bundle"), Decoder.F16, Optional.of(Decoder.NAN), false);
    Path file = folder.resolve("latents.safetensors");
    float[] good = GeneratedDcAe.latent(8, 2, 2);
    float[] bad = good.clone();
    bad[0] = 1e9f;
    new SafetensorsWriter()
        .add(HostTensor.of("bad", bad, 8, 2, 2))
        .add(HostTensor.of("good", good, 8, 2, 2))
        .write(file);
    Path out = folder.resolve("out");
    CapturedRun run = run("decode", "--bundle", bundle.folder(), "--inputs", file, "--output", out);
    assertEquals(1, run.code());
    assertEquals(new TreeSet<>(Arrays.asList("good.png")), names(out));
    assertTrue(run.out().contains("1 failed"), run.out());
    assertTrue(run.err().contains("bad: decoding failed") && run.err().contains("NaN"), run.err());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--tile 1004 | --tile: expected a multiple of 8 pixels (the autoencoder's factor), found 1004",
        "--tile 0 | --tile: expected 1..32768 pixels, found 0",
        "--tile 64 --tile-stride 72 | --tile-stride: expected 1..64 pixels (the tile), found 72",
        "--tile 64 --tile-margin -1 | --tile-margin: expected 0..32768 pixels, found -1",
        "--tile 64 --tile-stride 60 | --tile-stride: expected a multiple of 8 pixels",
        "--tile-above 0 | --tile-above: expected 1 or more",
      })
  void tilesThatDoNotFitAreRefusedByFlagBeforeAModelIsLoaded(String flags, String message)
      throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    for (String name : new String[] {"model.onnx", "decoder.onnx"}) { // neither loads
      Files.write(bundle.file(name), new byte[(int) Files.size(bundle.file(name))]);
    }
    String text = "--bundle " + bundle.folder() + " --output " + folder.resolve("out");
    for (String command :
        new String[] {
          "decode " + text + " --inputs none.safetensors " + flags,
          text + " --label 0 --size 16x16 " + flags
        }) {
      CapturedRun run = run((Object[]) command.split(" "));
      assertEquals(2, run.code(), run.err());
      assertTrue(run.err().contains(message), run.err());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "tensor of another rank, 2, 'a: expected a latent [8, h, w], found [8, 4]'",
    "an id that is a path, 3, 'found ''../a'''",
    "no tensors, 0, found no tensors",
  })
  void latentsThatDoNotFitAreNamed(String what, int kind, String message) throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    SafetensorsWriter writer = new SafetensorsWriter();
    if (kind == 2) {
      writer.add(HostTensor.of("a", new float[32], 8, 4));
    } else if (kind == 3) {
      writer.add(HostTensor.of("../a", new float[32], 8, 2, 2));
    }
    Path file = folder.resolve("latents.safetensors");
    writer.write(file);
    Path out = folder.resolve("out");
    CapturedRun run = run("decode", "--bundle", bundle.folder(), "--inputs", file, "--output", out);
    assertEquals(2, run.code(), what + ": " + run.err());
    assertTrue(run.err().contains(message), run.err());
    assertFalse(Files.exists(out));
  }

  @Test
  void picturesAreSampledAndTheReportTellsOfTheirDecode() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path out = folder.resolve("out");
    String flags =
        " --label 1 --size 64x48 16x24 --steps 2 --tile-above 1024 --tile 32 --tile-stride 24";
    String command = "--bundle " + bundle.folder() + " --output " + out + flags;
    CapturedRun run = run((Object[]) command.split(" "));
    assertEquals(0, run.code(), run.err());
    for (String line : Files.readAllLines(out.resolve("report.jsonl"))) {
      JsonNode row = JSON.readTree(line);
      boolean large = row.get("request").get("size").asText().equals("64x48");
      assertEquals(large ? 3 * 2 : 1, row.get("tiles").asInt(), line);
      assertFalse(row.get("decode_retried").asBoolean(), line);
    }
    CapturedRun below = run((Object[]) command.replace("16x24", "4x4").split(" "));
    assertEquals(2, below.code());
    assertTrue(below.err().contains("expected multiples of 8, found 4x4"), below.err());
  }

  @Test
  void infoShowsTheAutoencoder() throws Exception {
    Bundle bundle =
        TinyAutoencoder.bundle(
            folder.resolve("bundle"), Decoder.F16, Optional.of(Decoder.F32), false);
    String text = run("info", "--bundle", bundle.folder()).out();
    String line =
        text.lines().filter(each -> each.startsWith("autoencoder ")).findFirst().orElseThrow();
    for (String part :
        new String[] {
          " parameters",
          "scaling factor 0.5",
          "encoder none",
          "decoder decoder.onnx in F16",
          "in F32 by decoder_f32.onnx",
          "abababab"
        }) {
      assertTrue(line.contains(part), line);
    }
    JsonNode node =
        JSON.readTree(run("info", "--json", "--bundle", bundle.folder()).out()).get("autoencoder");
    assertEquals("F16", node.get("compute").asText());
    assertEquals(0.5, node.get("scaling_factor").asDouble());
    assertTrue(node.get("parameters").asLong() > 1000);
    assertEquals(64, node.get("weights_sha256").asText().length());
  }

  @Test
  void encodedPicturesAreCutToMultiplesAndNamedByTheirFiles() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path images = Files.createDirectory(folder.resolve("images"));
    RgbImage picture = RgbImage.ofPlanes(GeneratedDcAe.image(16, 24), 16, 24);
    Png.write(images.resolve("exact.png"), picture, Map.of());
    ImageIO.write(
        new BufferedImage(21, 10, BufferedImage.TYPE_INT_RGB),
        "jpg",
        images.resolve("cut.JPG").toFile());
    Files.writeString(images.resolve("notes.txt"), "no picture");
    Path out = folder.resolve("latents.safetensors");
    CapturedRun run =
        run("encode", "--bundle", bundle.folder(), "--images", images, "--output", out);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("cut from 21x10 to 16x8"), run.err());
    try (TensorSource latents = TensorSource.open(out);
        LatentCodec codec =
            Engines.openCodec(bundle, "ort-cpu", EngineOptions.DEFAULT).orElseThrow()) {
      assertEquals("[8, 1, 2]", latents.tensor("cut").shape().toString());
      assertArrayEquals(
          codec.encode(picture.toPlanes(), 16, 24), latents.tensor("exact").toFloats());
    }
  }

  @Test
  void whatCannotBeEncodedIsNamed() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder.resolve("bundle"));
    Path out = folder.resolve("latents.safetensors");
    Path empty = Files.createFile(folder.resolve("empty.png"));
    Object[] command = {"encode", "--bundle", bundle.folder(), "--images", empty, "--output", out};
    CapturedRun run = run(command);
    assertEquals(1, run.code());
    assertTrue(run.err().contains("empty.png: expected a PNG or JPEG picture"), run.err());
    Png.write(empty, new RgbImage(4, 8, new byte[96]), Map.of());
    run = run(command);
    assertEquals(2, run.code());
    assertTrue(run.err().contains("expected a picture of 8x8 or more, found 4x8"), run.err());
    assertFalse(Files.exists(out));
    byte[] whole = Files.readAllBytes(empty);
    Files.write(empty, Arrays.copyOf(whole, whole.length / 2));
    run = run(command);
    assertEquals(1, run.code());
    assertTrue(run.err().contains("empty.png: cannot be read as a picture: "), run.err());
    ImageIO.write(new BufferedImage(8, 8, BufferedImage.TYPE_INT_RGB), "bmp", empty.toFile());
    Files.write(empty, Arrays.copyOf(Files.readAllBytes(empty), 100));
    run = run(command);
    assertEquals(1, run.code());
    String ended = "empty.png: cannot be read as a picture: java.io.EOFException";
    assertTrue(run.err().contains(ended), run.err());
    Files.write(empty, whole);
    command[command.length - 1] = empty;
    run = run(command);
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--output: expected another file than --images"), run.err());
    command[command.length - 1] = out;
    Bundle decoder =
        TinyAutoencoder.bundle(folder.resolve("decoder"), Decoder.F32, Optional.empty(), false);
    command[2] = decoder.folder();
    run = run(command);
    assertEquals(2, run.code());
    assertTrue(run.err().contains("expected an encoder"), run.err());
    Object[] absent = {
      "encode", "--bundle", bundle.folder(), "--images", "absent", "--output", out
    };
    run = run(absent);
    assertEquals(1, run.code());
    assertTrue(run.err().contains("error: no such file or folder: absent"), run.err());
  }

  private static TreeSet<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      TreeSet<String> names = new TreeSet<>();
      files.forEach(file -> names.add(file.getFileName().toString()));
      return names;
    }
  }

  private static byte[] pixels(Path file) throws IOException {
    return RgbImage.of(ImageIO.read(file.toFile())).rgb();
  }

  private static CapturedRun run(Object... arguments) {
    return CapturedRun.of(new Run(), arguments);
  }
}
