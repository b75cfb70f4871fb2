package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.runtime.cli.Run;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * {@code nit-run} on devices that fail: every job ends, tells what became of each request, and
 * makes what the others can. A job that hangs fails at the time limit of its process.
 */
@Timeout(value = 260, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RunDevicesTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** 24 pictures of 16 tokens, two a pack. */
  private static final String MANY =
      "--label 0 --size 16x16 --count 24 --steps 3 --max-tokens 32 --guidance 1";

  @TempDir static Path shared;
  private static Path bundle;
  private static Path devices;
  @TempDir Path folder;

  @BeforeAll
  static void export() throws Exception {
    bundle = Bundles.pictures(shared, 1);
    devices = TroubledDevices.offer(shared.resolve("devices"));
  }

  @Test
  void aDeviceThatIsLostLeavesWhatItHeldToTheOthers() throws Exception {
    Processes.Finished run = run("--backend lost --devices 0,1 " + MANY);
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.err()
            .contains(
                "device 1 takes no more requests: 3 failed in a row, the last with: the device is"
                    + " lost"),
        run.err());
    assertTrue(run.out().startsWith("24 pictures in "), run.out());
    assertTrue(run.out().contains("; lost: 3 failed in a row"), run.out());
    Map<String, JsonNode> rows = rows();
    assertEquals(24, rows.size());
    assertTrue(rows.values().stream().allMatch(row -> row.get("device").asInt() == 0));
    JsonNode summary = summary();
    assertEquals(24, summary.get("pictures").asInt());
    assertEquals(0, summary.get("failed").asInt());
    assertEquals(24, summary.get("devices").get(0).get("pictures").asInt());
    assertFalse(summary.get("devices").get(0).has("lost"));
    assertEquals(0, summary.get("devices").get(1).get("pictures").asInt());
    assertTrue(summary.get("devices").get(1).get("lost").asText().startsWith("3 failed in a row"));
  }

  @Test
  void aJobEndsWhereEveryDeviceFails() throws Exception {
    Processes.Finished run = run("--backend lost --devices 1,2 " + MANY);
    assertEquals(1, run.code(), run.err());
    assertTrue(run.out().contains(", 24 failed: "), run.out());
    assertEquals(24, rows().size());
    assertEquals(1, summary().get("devices").findValues("lost").size(), "the last one goes on");
  }

  @Test
  void anErrorThatEndsADevicesPipelineLeavesWhatItHeldToTheOthers() throws Exception {
    Processes.Finished run = run("--backend dying --devices 0,1 " + MANY);
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.err().contains("device 1 takes no more requests: its pipeline ended with"), run.err());
    assertEquals(24, rows().size());
    assertTrue(rows().values().stream().noneMatch(row -> row.has("error")), rows().toString());
    assertTrue(
        summary().get("devices").get(1).get("lost").asText().contains("NoClassDefFoundError"));
  }

  @Test
  void anErrorThatEndsTheOnlyPipelineEndsEveryRequestWithItsReason() throws Exception {
    Processes.Finished run = run("--backend dying --device 1 " + MANY);
    assertEquals(1, run.code(), run.err());
    Map<String, JsonNode> rows = rows();
    assertEquals(24, rows.size());
    for (JsonNode row : rows.values()) {
      assertTrue(row.get("error").asText().contains("NoClassDefFoundError"), row.toString());
    }
    assertEquals(24, summary().get("failed").asInt());
  }

  @Test
  void aRequestThatEndsTwoPipelinesIsNotTakenToAThird() throws Exception {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 24; i++) {
      int label = i == 0 ? TroubledDevices.BAD_LABEL : 0;
      lines.append("{\"id\": \"r" + i + "\", \"label\": " + label + ", \"size\": \"16x16\"}\n");
    }
    Path requests = Files.writeString(folder.resolve("requests.jsonl"), lines);
    String options = " --steps 3 --max-tokens 32 --guidance 1 --requests " + requests;

    Processes.Finished three = run("--backend killing --devices 0,1,2" + options);
    assertEquals(1, three.code(), three.err());
    assertTrue(rows().get("r0").get("error").asText().contains("NoClassDefFoundError"));
    assertEquals(24, rows().size());
    assertTrue(summary().get("failed").asInt() >= 1);
    assertEquals(
        2, summary().get("devices").findValues("lost").size(), "the third goes on: " + three.err());

    // Two devices: both end, and so does the job, with a row for each that nobody could take.
    Path output = folder.resolve("second");
    Processes.Finished two = run(output, "--backend killing --devices 0,1" + options);
    assertEquals(1, two.code(), two.err());
    assertEquals(24, rows(output).size());
    assertTrue(two.err().contains(": no device is left that takes it: device 0: "), two.err());
  }

  @Test
  void requestsThatNoDeviceTakesAreNamedBeforeAnythingIsMade() throws Exception {
    Path requests =
        Files.writeString(
            folder.resolve("requests.jsonl"),
            "{\"id\": \"small\", \"label\": 0, \"size\": \"16x16\"}\n"
                + "{\"id\": \"wide\", \"label\": 0, \"size\": \"64x32\"}\n"
                + "\n"
                + "{\"id\": \"large\", \"label\": 1, \"size\": \"40x40\"}\n");
    for (String chosen : List.of("--devices 0,1", "--device 0")) {
      Processes.Finished run =
          run("--backend small --steps 2 --guidance 1 " + chosen + " --requests " + requests);
      assertEquals(2, run.code(), run.err());
      assertTrue(run.err().contains("2 of 3 requests "), run.err());
      assertTrue(
          run.err()
              .contains(
                  "requests.jsonl line 2, id wide: size: expected at most 64 tokens (the token"
                      + " budget), found 64x32, 16x8 tokens"),
          run.err());
      assertTrue(run.err().contains("requests.jsonl line 4, id large: size"), run.err());
      assertFalse(run.err().contains("id small"), run.err());
      assertEquals("", run.out());
      assertFalse(Files.exists(output()));
    }
  }

  @Test
  void aDeviceForSmallRequestsLeavesTheLargeOnesToTheOthers() throws Exception {
    Path requests = folder.resolve("requests.jsonl");
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 12; i++) {
      String size = i % 3 == 1 ? "16x16" : "32x32";
      lines.append("{\"id\": \"r" + i + "\", \"label\": 0, \"size\": \"" + size + "\"}\n");
    }
    Files.writeString(requests, lines);
    Processes.Finished run =
        run("--backend small --devices 1,0 --steps 2 --guidance 1 --requests " + requests);
    assertEquals(0, run.code(), run.err());
    for (JsonNode row : rows().values()) {
      if (row.get("request").get("size").asText().equals("32x32")) {
        assertEquals(0, row.get("device").asInt(), row.toString());
      }
    }
    assertTrue(summary().get("devices").get(0).get("pictures").asInt() > 0, summary().toString());
  }

  @Test
  void theJobGoesOnWithTheDevicesThatCanBeOpened() throws Exception {
    Processes.Finished run = run("--backend absent --devices 1,0,2 " + MANY);
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.err()
            .contains("device 1 could not be opened, the others go on: no memory is free on 1"),
        run.err());
    assertTrue(run.out().contains("device 2: not opened: no memory is free on 2"), run.out());
    assertEquals(24, rows().size());
    JsonNode all = summary().get("devices");
    assertEquals(3, all.size());
    assertEquals(24, all.get(0).get("pictures").asInt());
    assertEquals("no memory is free on 1", all.get(1).get("not_opened").asText());

    Path output = folder.resolve("second");
    Processes.Finished none = run(output, "--backend absent --devices 1,2 " + MANY);
    assertEquals(1, none.code(), none.err());
    assertTrue(
        none.err()
            .contains(
                "error: no device could be opened: device 1: no memory is free on 1; device 2: no"
                    + " memory is free on 2"),
        none.err());
    assertFalse(Files.exists(output));
  }

  @Test
  void noWorkerOnTheCpuKeepsAJobOfGpusWaiting() throws Exception {
    Processes.Finished run = run("--backend mixed --devices 2,1,0 " + MANY);
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.out().contains("device 2: not opened: the model would run on the CPU there (ort-cpu)"),
        run.out());
    assertTrue(
        run.err()
            .contains(
                "pictures may differ a little by the backend that makes them: device 0: tensorrt;"
                    + " device 1: ort-cuda"),
        run.err());
    assertTrue(rows().values().stream().allMatch(row -> row.get("device").asInt() < 2));
  }

  @Test
  void aRequestThatIsToBlameItselfIsNotTriedAgain() throws Exception {
    Processes.Finished run =
        run(
            "--backend numb --devices 0,1 --label 0 1 3 --size 16x16 --count 8 --steps 3"
                + " --max-tokens 32 --guidance 1");
    assertEquals(1, run.code(), run.err());
    assertFalse(run.err().contains("goes to another device"), run.err());
    assertFalse(run.err().contains("takes no more requests"), run.err());
    assertTrue(run.out().contains(", 8 failed: "), run.out());
    rows()
        .forEach(
            (id, row) ->
                assertEquals(id.startsWith("3-"), row.path("error").asText().contains("NaN"), id));

    // The next run has the others there already, and names what fails again.
    Processes.Finished again =
        run("--backend numb --label 0 1 3 --size 16x16 --count 8 --steps 3 --guidance 1");
    assertEquals(1, again.code(), again.err());
    assertEquals(16, summary().get("there_already").asInt());
    assertEquals(0, summary().get("pictures").asInt());
    assertEquals(8, summary().get("failed").asInt());
    assertEquals(24, summary().get("requests").asInt());
  }

  @Test
  void picturesAreTheSameWhicheverDeviceIsLost() throws Exception {
    Path whole = folder.resolve("whole");
    assertEquals(0, run(whole, "--backend small " + MANY).code());
    assertEquals(0, run("--backend dying --devices 1,0 " + MANY).code());
    for (String id : rows().keySet()) {
      assertArrayEquals(
          Files.readAllBytes(whole.resolve(id + ".png")),
          Files.readAllBytes(output().resolve(id + ".png")),
          id);
    }
  }

  private Path output() {
    return folder.resolve("out");
  }

  private Processes.Finished run(String options) throws Exception {
    return run(output(), options);
  }

  private Processes.Finished run(Path output, String options) throws Exception {
    List<Object> all = new ArrayList<>(List.of("--bundle", bundle, "--output", output));
    all.addAll(List.of(options.split(" ")));
    return Processes.start(
            devices + File.pathSeparator + System.getProperty("java.class.path"),
            Run.class,
            folder,
            all.toArray())
        .await();
  }

  private Map<String, JsonNode> rows() throws IOException {
    return rows(output());
  }

  /** Rows of a report by id, each once. */
  private static Map<String, JsonNode> rows(Path output) throws IOException {
    Map<String, JsonNode> rows = new TreeMap<>();
    for (String line : Files.readAllLines(output.resolve("report.jsonl"))) {
      JsonNode row = JSON.readTree(line);
      assertTrue(rows.put(row.get("id").asText(), row) == null, line);
    }
    return rows;
  }

  private JsonNode summary() throws IOException {
    return JSON.readTree(output().resolve("summary.json").toFile());
  }
}
