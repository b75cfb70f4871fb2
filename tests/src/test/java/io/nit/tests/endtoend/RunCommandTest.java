package io.nit.tests.endtoend;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.image.Png;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.tensor.HostTensor;
import io.nit.runtime.cli.Run;
import io.nit.testing.CapturedRun;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code nit-run} as users and scripts run it. */
class RunCommandTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir static Path shared;
  private static Path bundle;
  @TempDir Path folder;

  @BeforeAll
  static void export() throws Exception {
    bundle = Bundles.pictures(shared, 1);
  }

  @Test
  void aCommandLineGivesPicturesWithTheirRequestsAReportAndASheet() throws Exception {
    Path output = folder.resolve("out");
    Processes.Finished run =
        Processes.run(
            Run.class,
            folder,
            (Object[])
                ("--bundle BUNDLE --label 3 --size 40x24 --count 3 --seed 5 --steps 3 --sampler heun"
                        + " --guidance 2.5 --guidance-interval 0,0.7 --output OUT")
                    .replace("BUNDLE", bundle.toString())
                    .replace("OUT", output.toString())
                    .split(" "));
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith("3 pictures in "), run.out());
    assertTrue(run.err().contains("ort-cpu (auto): "), run.err());
    assertEquals(
        List.of(
            "3-40x24-5.png",
            "3-40x24-6.png",
            "3-40x24-7.png",
            "contact-sheet.png",
            "report.jsonl",
            "summary.json"),
        names(output));
    BufferedImage picture = ImageIO.read(output.resolve("3-40x24-6.png").toFile());
    assertEquals(40, picture.getWidth());
    assertEquals(24, picture.getHeight());
    JsonNode request =
        JSON.readTree(Png.readText(output.resolve("3-40x24-6.png")).get("nit.request"));
    assertEquals(
        JSON.readTree(
            "{\"id\": \"3-40x24-6\", \"label\": \"3\", \"size\": \"40x24\", \"seed\": 6,"
                + " \"steps\": 3, \"sampler\": \"heun\", \"guidance\": 2.5,"
                + " \"guidance_interval\": [0.0, 0.7]}"),
        request);
    List<JsonNode> rows = rows(output);
    assertEquals(3, rows.size());
    for (JsonNode row : rows) {
      assertEquals("ort-cpu", row.get("backend").asText());
      assertEquals(3, row.get("steps").asInt());
      assertEquals(5, row.get("forwards").asInt());
      assertTrue(row.get("seconds").asDouble() > 0);
      assertTrue(Files.exists(output.resolve(row.get("file").asText())));
    }
    // 60 tokens; the second half of a step of Heun's, but for the last, which has none.
    List<String> lines = run.out().lines().toList();
    assertTrue(lines.get(1).startsWith("padding: none ("), run.out());
    assertTrue(lines.get(2).startsWith("device 0 (ort-cpu): 3 pictures, "), run.out());
    assertTrue(
        lines.get(3).matches("memory of the host: \\d+\\.\\d\\d GiB resident at most"), run.out());
    assertEquals(4, lines.size(), run.out());
    JsonNode summary = JSON.readTree(output.resolve("summary.json").toFile());
    assertEquals(3, summary.get("requests").asInt());
    assertEquals(3, summary.get("pictures").asInt());
    assertEquals(0, summary.get("there_already").asInt());
    assertEquals(0, summary.get("failed").asInt());
    assertFalse(summary.get("stopped").asBoolean());
    double seconds = summary.get("seconds").asDouble();
    assertEquals(3 / seconds, summary.get("images_per_second").asDouble(), 1e-9);
    long tokens = summary.get("tokens").asLong();
    assertEquals(tokens / seconds, summary.get("tokens_per_second").asDouble(), 1e-6 * tokens);
    assertTrue(tokens >= 3 * 5 * 60 && tokens <= 3 * 5 * 120, summary.toString());
    assertTrue(summary.get("model_tokens_per_second").asDouble() > 0);
    assertEquals(0, summary.get("padded_tokens").asLong(-1));
    assertEquals(0, summary.get("padded_share").asDouble(-1));
    assertTrue(summary.get("peak_resident_bytes").asLong() > 256L << 20, "the heap is touched");
    JsonNode device = summary.get("devices").get(0);
    assertEquals(1, summary.get("devices").size());
    assertEquals("ort-cpu", device.get("backend").asText());
    assertEquals(3, device.get("pictures").asInt());
    assertEquals(tokens, device.get("tokens").asLong());
    assertFalse(device.has("device_bytes"), "a CPU has none");
  }

  @Test
  void labelsAndSizesAreListsAndNamesMayHoldCommas() throws Exception {
    Path output = folder.resolve("out");
    assertEquals(
        0,
        run(output, "--label", "cat,1", "fish, the", "--size", "8x8", "12x8", "--steps", "2")
            .code());
    assertEquals(
        List.of(
            "1-12x8-0.png",
            "1-8x8-0.png",
            "cat-12x8-0.png",
            "cat-8x8-0.png",
            "contact-sheet.png",
            "fish-the-12x8-0.png",
            "fish-the-8x8-0.png",
            "report.jsonl",
            "summary.json"),
        names(output));
  }

  @Test
  void workersShareTheRequestsAndGiveThePicturesOfOne() throws Exception {
    Path alone = folder.resolve("alone");
    Path shared = folder.resolve("shared");
    // Two images fit in a pack, so that no worker can take all of them.
    String[] options = {
      "--label",
      "0",
      "1",
      "2",
      "--size",
      "16x16",
      "24x8",
      "--count",
      "4",
      "--steps",
      "3",
      "--max-tokens",
      "32",
      "--guidance",
      "1"
    };
    assertEquals(0, run(alone, options).code());
    List<String> two = new ArrayList<>(List.of(options));
    two.addAll(List.of("--devices", "0,1"));
    CapturedRun run = run(shared, two.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith("24 pictures in "), run.out());
    assertEquals(names(alone), names(shared));
    for (String name : names(alone)) {
      if (name.endsWith(".png")) {
        assertArrayEquals(
            Files.readAllBytes(alone.resolve(name)),
            Files.readAllBytes(shared.resolve(name)),
            name);
      }
    }
    assertEquals(
        Set.of(0, 1),
        rows(shared).stream().map(row -> row.get("device").asInt()).collect(Collectors.toSet()));
  }

  @Test
  void fewRequestsAreSharedToo() throws Exception {
    Path output = folder.resolve("out");
    CapturedRun run =
        run(
            output,
            "--label",
            "0",
            "--size",
            "16x16",
            "--count",
            "4",
            "--steps",
            "60",
            "--devices",
            "0,1");
    assertEquals(0, run.code(), run.err());
    JsonNode devices = JSON.readTree(output.resolve("summary.json").toFile()).get("devices");
    assertTrue(devices.get(0).get("pictures").asInt() > 0, devices.toString());
    assertTrue(devices.get(1).get("pictures").asInt() > 0, devices.toString());
  }

  @Test
  void whatIsThereWithTheSameRequestAndModelIsNotMadeAgain() throws Exception {
    Path output = folder.resolve("out");
    String[] options = {"--label", "0", "1", "2", "--size", "16x16", "--steps", "3"};
    assertEquals(0, run(output, options).code());
    Path kept = output.resolve("0-16x16-0.png");
    Path lost = output.resolve("1-16x16-0.png");
    Path damaged = output.resolve("2-16x16-0.png");
    byte[] before = Files.readAllBytes(lost);
    byte[] whole = Files.readAllBytes(damaged);
    Files.delete(lost);
    Files.write(damaged, new byte[] {1, 2, 3});
    FileTime old = FileTime.fromMillis(1_000_000);
    Files.setLastModifiedTime(kept, old);

    CapturedRun again = run(output, options);
    assertTrue(again.out().startsWith("2 pictures"), again.out());
    assertTrue(again.out().contains("1 there already"), again.out());
    JsonNode summary = JSON.readTree(output.resolve("summary.json").toFile());
    assertEquals(3, summary.get("requests").asInt());
    assertEquals(2, summary.get("pictures").asInt());
    assertEquals(1, summary.get("there_already").asInt());
    assertEquals(old, Files.getLastModifiedTime(kept));
    assertArrayEquals(before, Files.readAllBytes(lost));
    assertArrayEquals(whole, Files.readAllBytes(damaged));
    assertEquals(3, rows(output).size());

    CapturedRun moreSteps = run(output, "--label", "0", "--size", "16x16", "--steps", "4");
    assertTrue(moreSteps.out().startsWith("1 picture "), moreSteps.out());
    assertEquals(3, rows(output).size());

    Path other = Bundles.pictures(folder, 2);
    CapturedRun otherModel =
        invoke(
            "--bundle",
            other,
            "--output",
            output,
            "--label",
            "1",
            "--size",
            "16x16",
            "--steps",
            "3");
    assertTrue(otherModel.out().startsWith("1 picture "), otherModel.out());
    assertFalse(Arrays.equals(before, Files.readAllBytes(lost)));
  }

  @Test
  void aReportThatAKillCutShortIsMended() throws Exception {
    Path output = folder.resolve("out");
    String[] options = {"--label", "0", "1", "--size", "8x8", "--steps", "2"};
    assertEquals(0, run(output, options).code());
    Path report = output.resolve("report.jsonl");
    String first = Files.readAllLines(report).get(0);
    byte[] cut = (first + "\n{\"id\":\"1-8x8-0\",\"error\":\"\u00fc").getBytes(UTF_8);
    Files.write(report, Arrays.copyOf(cut, cut.length - 1)); // within a letter of two bytes
    CapturedRun again = run(output, options);
    assertTrue(again.out().startsWith("0 pictures, 2 there already"), again.out());
    assertEquals(1, again.out().lines().count(), again.out());
    List<JsonNode> rows = rows(output);
    assertEquals(
        List.of("0-8x8-0", "1-8x8-0"), rows.stream().map(r -> r.get("id").asText()).toList());
  }

  @Test
  void aRequestsFileMixesSizesStepsSamplersAndGuidance() throws Exception {
    Path requests =
        Files.writeString(
            folder.resolve("requests.jsonl"),
            "{\"label\": \"dog\", \"size\": \"8x16\", \"steps\": 2, \"sampler\": \"sde\", \"seed\": 9}\n"
                + "\n"
                + "{\"id\": \"big\", \"label\": 2, \"size\": \"64x32\", \"guidance\": 1}\n"
                + "{\"label\": \"dog\", \"size\": \"8x16\", \"seed\": 9, \"rope_mode\": \"linear\","
                + " \"rope_reference\": 2, \"guidance_interval\": [0.2, 1]}\n");
    Path output = folder.resolve("out");
    CapturedRun run =
        run(output, "--requests", requests.toString(), "--steps", "3", "--sampler", "heun");
    assertEquals(0, run.code(), run.err());
    assertEquals(
        List.of(
            "big.png",
            "contact-sheet.png",
            "dog-8x16-9-2.png",
            "dog-8x16-9.png",
            "report.jsonl",
            "summary.json"),
        names(output));
    JsonNode big = JSON.readTree(Png.readText(output.resolve("big.png")).get("nit.request"));
    assertEquals(3, big.get("steps").asInt());
    assertEquals("heun", big.get("sampler").asText());
    assertEquals(1, big.get("guidance").asDouble());
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " | ",
      quoteCharacter = '~',
      value = {
        "{\"label\": 0} | line 2: size: expected WIDTHxHEIGHT in pixels, such as 512x768; found none",
        "{\"label\": 1.5, \"size\": \"8x8\"} | line 2: label: expected a class by number or name, found 1.5",
        "{\"size\": \"8x8\"} | line 2: label",
        "{\"label\": 0, \"size\": \"8x9\"} | line 2: size: expected multiples of 4, found 8x9; nearest: 8x8, 8x12",
        "{\"label\": 9, \"size\": \"8x8\"} | line 2: label: expected 0..3 or a name: cat, dog",
        "{\"label\": 0, \"size\": \"8x8\", \"stepz\": 2} | line 2: stepz: expected one of",
        "{\"label\": 0, \"size\": \"8x8\", \"steps\": \"2\"} | line 2: steps: expected a whole number",
        "{\"label\": 0, \"size\": \"8x8\", \"id\": \"../up\"} | line 2: id: expected",
        "{\"label\": 0, \"size\": \"8x8\", \"id\": \"one\"} | line 2: id: expected each once",
        "{\"label\": 0, \"size\": \"8x8\", \"id\": \"contact-sheet\"} | line 2: id: expected any but",
        "{\"label\": 0, \"label\": 1, \"size\": \"8x8\"} | line 2: expected a JSON object",
        "{\"label\": 0, | line 2: expected a JSON object",
        "[1] | line 2: expected a JSON object",
      })
  void aBadLineIsNamedAndNothingIsMade(String line, String message) throws Exception {
    Path requests =
        Files.writeString(
            folder.resolve("requests.jsonl"),
            "{\"id\": \"one\", \"label\": 0, \"size\": \"8x8\"}\n" + line + "\n");
    Path output = folder.resolve("out");
    CapturedRun run = run(output, "--requests", requests.toString());
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("requests.jsonl " + message), run.err());
    assertFalse(Files.exists(output));
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " | ",
      value = {
        "--label 0 --size 10x8 | 2 | expected multiples of 4, found 10x8; nearest: 8x8, 12x8",
        "--label 0 --size 8x8 --devices 0,0 | 2 | --devices: expected all, or different numbers",
        "--label 0 --size 8x8 --devices 0,x | 2 | such as 0,1, found 0,x",
        "--label 0 --size 8x8 --devices 0,1 --device 1 | 2 | expected without --device, found both",
        "--label 0 --size 8 | 2 | expected WIDTHxHEIGHT",
        "--label 0 --size 0x8 | 2 | above 0, found 0x8",
        "--label 0 --size 1024x1024 | 2 | expected at most 16384 tokens (the token budget), found 1024x1024",
        "--label 0 --size 64x64 --max-tokens 300 | 2 | 16x16 tokens, twice for guidance",
        "--label 0 --size 8x8 --max-tokens 20000 | 2 | --max-tokens: expected 1..16384",
        "--label 4 --size 8x8 | 2 | expected 0..3 or a name: cat, dog, fish, the, zebra; found '4'",
        "--label horse --size 8x8 | 2 | found 'horse'",
        "--label 0 --size 8x8 --sampler dpm | 2 | --sampler: expected one of euler, heun, sde; found 'dpm'",
        "--label 0 --size 8x8 --steps 0 | 2 | steps: expected 1..100000",
        "--label 0 --size 8x8 --steps 1 --sampler sde | 2 | steps: expected 2..100000",
        "--label 0 --size 8x8 --steps many | 2 | --steps",
        "--label 0 --size 8x8 --guidance -1 | 2 | --guidance: expected a scale",
        "--label 0 --size 8x8 --guidance-interval 0.7 | 2 | --guidance-interval: expected LOW,HIGH",
        "--label 0 --size 8x8 --guidance-interval 0.7,0.2 | 2 | --guidance-interval: expected 0 <= low <= high <= 1",
        "--label 0 --size 8x8 --rope-mode spiral | 2 | --rope-mode: expected one of normal, linear",
        "--label 0 --size 8x8 --rope-mode yarn | 2 | --rope-mode yarn: expected --rope-reference",
        "--label 0 --size 8x8 --backend tpu | 2 | expected auto or one of tensorrt, ort-cuda, ort-cpu",
        "--label 0 --size 8x8 --backend tensorrt | 1 | backend tensorrt cannot run",
        "--label 0 --size 8x8 --device -1 | 2 | --device: expected 0 or more, found -1",
        "--label 0 --size 8x8 --threads -1 | 2 | --threads: expected 0..1024",
        "--label 0 --size 8x8 --count 0 | 2 | --count: expected 1..",
        "--label 0 | 2 | missing --label and --size, or --requests",
        "--label 0 --requests r.jsonl | 2 | --requests: expected without",
        "--requests . | 1 | --requests: expected a file, found the folder .",
        "--requests absent.jsonl | 1 | no such file or folder: absent.jsonl",
        "--colour red | 2 | Unknown option",
      })
  void aBadOptionIsToldBeforeAnythingIsMade(String options, int code, String message)
      throws Exception {
    Path output = folder.resolve("out");
    CapturedRun run = run(output, options.split(" "));
    assertEquals(code, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertEquals("", run.out());
    assertFalse(Files.exists(output));
  }

  @Test
  void aMissingBundleOrOneWithoutACodecIsTold() throws Exception {
    CapturedRun missing =
        invoke(
            "--bundle", folder, "--output", folder.resolve("out"), "--label", "0", "--size", "8x8");
    assertEquals(1, missing.code());
    assertTrue(missing.err().contains("bundle.json"), missing.err());
    Path golden = Bundles.golden(folder);
    CapturedRun latents =
        invoke(
            "--bundle", golden, "--output", folder.resolve("out"), "--label", "0", "--size", "8x8");
    assertEquals(2, latents.code());
    assertTrue(latents.err().contains("expected a codec"), latents.err());
  }

  @Test
  void aPictureThatCannotBeWrittenEndsTheRunWithItsNameAndLeavesNoPieces() throws Exception {
    Path output = folder.resolve("out");
    Files.createDirectories(output.resolve("0-8x8-0.png").resolve("in-the-way"));
    CapturedRun run = run(output, "--label", "0", "--size", "8x8", "--steps", "2");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("0-8x8-0.png"), run.err());
    assertTrue(names(output).stream().noneMatch(name -> name.contains(".tmp")), names(output) + "");
  }

  @Test
  void aFileInPlaceOfTheOutputFolderIsTold() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "here");
    CapturedRun run = run(file, "--label", "0", "--size", "8x8", "--steps", "2");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--output: expected a folder"), run.err());
  }

  @ParameterizedTest
  @CsvSource({"INT, 130", "TERM, 143"})
  void aSignalKeepsWhatIsDoneAndTheNextRunMakesTheRest(String signal, int code) throws Exception {
    Path output = folder.resolve("out");
    List<Object> options =
        new ArrayList<>(
            List.of("--bundle", bundle, "--output", output, "--label", "0", "--size", "32x32"));
    options.addAll(List.of("--steps", "40", "--max-tokens", "128", "--count"));
    // More than it ends with however late the signal comes.
    options.add("5000");
    Processes.Running running = Processes.start(Run.class, folder, options.toArray());
    while (!Files.exists(output.resolve("0-32x32-2.png")) && running.process().isAlive()) {
      Thread.sleep(5);
    }
    new ProcessBuilder("kill", "-" + signal, Long.toString(running.process().pid()))
        .start()
        .waitFor();
    Processes.Finished stopped = running.await();
    assertEquals(code, stopped.code(), stopped.err());
    assertTrue(stopped.err().contains("stopped: "), stopped.err());
    List<String> pictures = pictures(output);
    assertTrue(pictures.size() >= 3 && pictures.size() < 5000, pictures.size() + " pictures");
    assertTrue(names(output).stream().noneMatch(name -> name.contains(".tmp")), names(output) + "");
    assertEquals(pictures.size(), rows(output).size());
    JsonNode summary = JSON.readTree(output.resolve("summary.json").toFile());
    assertTrue(summary.get("stopped").asBoolean());
    assertEquals(5000, summary.get("requests").asInt());
    assertEquals(pictures.size(), summary.get("pictures").asInt());
    for (String picture : pictures) {
      assertEquals(32, ImageIO.read(output.resolve(picture).toFile()).getWidth());
    }

    int all = pictures.size() + 5;
    options.set(options.size() - 1, Integer.toString(all));
    CapturedRun rest = invoke(options.toArray());
    assertEquals(0, rest.code(), rest.err());
    assertTrue(rest.out().contains(pictures.size() + " there already"), rest.out());
    assertEquals(all, pictures(output).size());
    assertEquals(all, rows(output).size());
  }

  @Test
  void forwardTellsWhatDoesNotFitTheModel() throws Exception {
    Map<String, HostTensor> good =
        Map.of(
            "x", HostTensor.of("x", new float[6 * 48], 6, 48, 1, 1),
            "t", HostTensor.of("t", new float[2], 2),
            "y", HostTensor.of("y", new long[] {0, 4}, 2),
            "hw_list", HostTensor.of("hw_list", new int[] {2, 2, 1, 2}, 2, 2));
    assertEquals(0, forward(good.values()).code());
    Map<HostTensor, String> bad =
        Map.of(
            HostTensor.of("x", new float[5 * 48], 5, 48, 1, 1),
            "x: expected shape [6, 48, 1, 1], found [5, 48, 1, 1]",
            HostTensor.of("x", new long[6 * 48], 6, 48, 1, 1),
            "x: expected a float type, found I64",
            HostTensor.of("t", new float[3], 3),
            "t: expected shape [2], found [3]",
            HostTensor.of("y", new long[] {0, 5}, 2),
            "y: expected labels of 0..4, found 5",
            HostTensor.of("y", new float[2], 2),
            "in.safetensors: y: expected integers, found F32",
            HostTensor.of("hw_list", new int[] {2, 2, 0, 2}, 2, 2),
            "hw_list[1]: expected sides of 1 token or more, found 0x2",
            HostTensor.of("hw_list", new int[] {2, 2}, 2),
            "hw_list: expected shape [images, 2], found [2]");
    for (Map.Entry<HostTensor, String> entry : bad.entrySet()) {
      List<HostTensor> tensors = new ArrayList<>(good.values());
      tensors.removeIf(tensor -> tensor.name().equals(entry.getKey().name()));
      tensors.add(entry.getKey());
      CapturedRun run = forward(tensors);
      assertEquals(2, run.code(), run.err());
      assertTrue(run.err().contains(entry.getValue()), run.err());
    }
    List<HostTensor> missing = new ArrayList<>(good.values());
    missing.removeIf(tensor -> tensor.name().equals("t"));
    CapturedRun run = forward(missing);
    assertTrue(run.err().contains("expected a tensor t, found"), run.err());
  }

  @Test
  void aTruncatedInputIsAFailureThatLeavesNoOutput() throws Exception {
    Path in = Files.write(folder.resolve("in.safetensors"), new byte[] {1, 0, 0});
    Path out = folder.resolve("v.safetensors");
    CapturedRun run = invoke("forward", "--bundle", bundle, "--inputs", in, "--output", out);
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("in.safetensors"), run.err());
    assertFalse(Files.exists(out));
  }

  @Test
  void aFileIsNotWrittenOverTheInputsNorInPlaceOfAFolder() throws Exception {
    for (String command : List.of("forward", "sample-latents")) {
      Path in = Files.writeString(folder.resolve("in.safetensors"), "kept");
      CapturedRun same =
          invoke(
              command,
              "--bundle",
              bundle,
              "--inputs",
              in,
              "--output",
              folder + "/./" + in.getFileName());
      assertEquals(2, same.code(), same.err());
      assertTrue(same.err().contains("--output: expected another file than --inputs"), same.err());
      assertEquals("kept", Files.readString(in));
      CapturedRun inPlace = invoke(command, "--bundle", bundle, "--inputs", in, "--output", folder);
      assertEquals(2, inPlace.code(), inPlace.err());
      assertTrue(
          inPlace.err().contains("--output: expected a file, found the folder"), inPlace.err());
    }
  }

  @Test
  void infoTellsTheLargestSquareThatGuidanceLeaves() throws Exception {
    CapturedRun info = invoke("info", "--bundle", bundle);
    assertTrue(info.out().contains("512x512, with guidance 360x360"), info.out());
    String[] largest = {"--label", "0", "--size", "364x364", "--steps", "1"};
    assertEquals(2, run(folder.resolve("out"), largest).code());
  }

  @Test
  void infoShowsTheBundleAndTheBackends() throws Exception {
    CapturedRun text = invoke("info", "--bundle", bundle);
    assertEquals(0, text.code(), text.err());
    assertTrue(text.out().contains("multiples of 4 pixels"), text.out());
    assertTrue(text.out().contains("ort-cpu: available"), text.out());
    assertTrue(
        text.out().contains("tensorrt: no engine in the bundle; nit-export engine"), text.out());
    JsonNode json = JSON.readTree(invoke("info", "--bundle", bundle, "--json").out());
    assertEquals(4, json.get("size_multiple").asInt());
    assertEquals("fish, the", json.get("labels").get(2).asText());
    assertEquals(32, json.get("config").get("hidden_size").asInt());
    assertTrue(json.get("verification").size() > 0);
    assertEquals(0, invoke("info", "--bundle", bundle, "--verify").code());
  }

  @Test
  void compareTellsEveryBackendsDistanceOrWhyItDoesNotRun() throws Exception {
    Path file = folder.resolve("parity.json");
    CapturedRun run =
        invoke(
            "compare",
            "--bundle",
            bundle,
            "--steps",
            "2",
            "--threads",
            "1",
            "--json",
            "--output",
            file);
    assertEquals(0, run.code(), run.err());
    JsonNode all = JSON.readTree(run.out());
    assertEquals(all, JSON.readTree(file.toFile()));
    Path kept = bundle.resolve("compare.json");
    assertFalse(Files.exists(kept), "there is another place");
    assertEquals("ort-cpu", all.get("against").asText());
    assertEquals(
        EngineManifest.modelHash(Bundle.open(bundle)).orElseThrow(),
        all.get("model_sha256").asText());
    JsonNode tensorRt = all.get("backends").get(0);
    assertEquals("tensorrt", tensorRt.get("name").asText());
    assertTrue(tensorRt.get("refusal").asText().startsWith("no engine in the bundle"), run.out());
    JsonNode itself = all.get("backends").get(2);
    assertEquals(0, itself.get("relative").asDouble());
    assertEquals("equal", itself.get("psnr_db").asText());
    assertTrue(itself.get("passed").asBoolean());

    assertEquals("F32", itself.get("precision").asText());
    assertEquals(1e-4, itself.get("bound").asDouble());
    assertEquals(0, itself.get("latent_max_abs").asDouble());
    assertEquals(0, itself.get("picture_max").asInt());
    assertEquals(3, all.get("backends").size(), "no reference that was not asked for");

    run = invoke("compare", "--bundle", bundle, "--steps", "0");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("ort-cpu: relative error 0.00e+00"), run.out());
    assertTrue(run.out().contains("tensorrt: no engine in the bundle"), run.out());

    run = invoke("compare", "--bundle", bundle, "--steps", "2", "--against", "reference", "--json");
    assertEquals(0, run.code(), run.err());
    all = JSON.readTree(run.out());
    assertTrue(run.err().contains("kept in " + kept), run.err());
    assertEquals(all, JSON.readTree(kept.toFile()), "the last one's numbers");
    JsonNode cpu = all.get("backends").get(2);
    assertEquals("ort-cpu", cpu.get("name").asText());
    double error = cpu.get("relative").asDouble();
    assertTrue(error > 0 && error < 2e-5, run.out());
    assertTrue(cpu.get("latent_relative").asDouble() < 1e-4 && cpu.has("psnr_db"), run.out());
    assertEquals("reference", all.get("backends").get(3).get("name").asText());

    assertEquals(2, invoke("compare").code());
    assertEquals(2, invoke("compare", "--bundle", bundle, "--device", "-1").code());
    run = invoke("compare", "--bundle", bundle, "--bound", "0");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--bound: expected more than 0"), run.err());
    assertEquals(2, invoke("compare", "--bundle", bundle, "--steps", "-1").code());
    for (String none : List.of("tpu", "auto")) {
      run = invoke("compare", "--bundle", bundle, "--against", none);
      assertEquals(2, run.code());
      String expected =
          "--against: expected one of tensorrt, ort-cuda, ort-cpu, reference; found '";
      assertTrue(run.err().contains(expected + none + "'"), run.err());
    }
    run = invoke("compare", "--bundle", bundle, "--against", "tensorrt");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("backend tensorrt cannot run"), run.err());
  }

  private Path copy(String name) throws IOException {
    Path copy = Files.createDirectories(folder.resolve(name));
    try (Stream<Path> files = Files.list(bundle)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    return copy;
  }

  @Test
  void aBundleThatTakesNoFileKeepsNoComparisonFromBeingTold() throws Exception {
    Path full = copy("full");
    // Stands for a folder without permission, which root does not know.
    Files.deleteIfExists(full.resolve("compare.json"));
    Files.createDirectories(full.resolve("compare.json/in-the-way"));
    CapturedRun run = invoke("compare", "--bundle", full, "--steps", "0");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("ort-cpu: relative error 0.00e+00"), run.out());
    assertTrue(run.err().contains("the numbers are not kept, --output FILE names"), run.err());
    Path asked = full.resolve("compare.json");
    run = invoke("compare", "--bundle", full, "--steps", "0", "--output", asked);
    assertEquals(1, run.code(), run.err());
    assertTrue(run.out().contains("ort-cpu: relative error 0.00e+00"), "all is told first");
    assertTrue(run.err().contains(asked.toString()), run.err());
  }

  @Test
  void compareTellsABackendThatFailsBesideTheOthersAndFails() throws Exception {
    Path broken = copy("broken");
    Path model = Bundle.open(broken).model();
    byte[] future = {0x08, 99}; // ir_version, of which the last one counts
    long bytes = Files.size(model);
    Files.write(model, future, StandardOpenOption.APPEND);
    Path manifest = broken.resolve(Bundle.MANIFEST);
    Files.writeString(
        manifest, Files.readString(manifest).replace("" + bytes, "" + (bytes + future.length)));
    CapturedRun run =
        invoke("compare", "--bundle", broken, "--steps", "0", "--against", "reference");
    assertEquals(1, run.code(), run.err());
    String out = run.out();
    assertTrue(out.contains("ort-cpu: FAILED: ") && out.contains("IR version: 99"), out);
    assertTrue(out.contains("reference: relative error 0.00e+00"), out);
  }

  private CapturedRun forward(Iterable<HostTensor> tensors) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    tensors.forEach(writer::add);
    Path in = folder.resolve("in.safetensors");
    Path out = folder.resolve("v.safetensors");
    Files.deleteIfExists(out);
    writer.write(in);
    CapturedRun run = invoke("forward", "--bundle", bundle, "--inputs", in, "--output", out);
    assertEquals(run.code() == 0, Files.exists(out));
    return run;
  }

  private static CapturedRun run(Path output, String... options) {
    List<Object> all = new ArrayList<>(List.of("--bundle", bundle, "--output", output, "-q"));
    all.addAll(List.of(options));
    return invoke(all.toArray());
  }

  /** Runs the command in this process. */
  private static CapturedRun invoke(Object... arguments) {
    return CapturedRun.of(new Run(), arguments);
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return List.copyOf(new TreeSet<>(files.map(file -> file.getFileName().toString()).toList()));
    }
  }

  private static List<String> pictures(Path folder) throws IOException {
    return names(folder).stream()
        .filter(name -> name.endsWith(".png") && !name.startsWith("contact"))
        .toList();
  }

  private static List<JsonNode> rows(Path folder) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve("report.jsonl"))) {
      rows.add(JSON.readTree(line));
    }
    return rows;
  }
}
