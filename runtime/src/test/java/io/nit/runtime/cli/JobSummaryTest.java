package io.nit.runtime.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.trt.Cuda;
import io.nit.runtime.PipelineStats;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobSummaryTest {
  private static final long GIB = 1L << 30;

  @TempDir Path folder;

  /** Two GPUs of which one was lost, and one that was not opened. */
  private static final JobSummary TROUBLED =
      new JobSummary(
          50,
          5,
          40,
          3,
          true,
          8,
          List.of(
              new JobSummary.OfWorker(
                  0,
                  "tensorrt",
                  32,
                  new PipelineStats(32, 100, 9_000, 1_000, 4, 1, 3, 0),
                  Optional.of(new Cuda.Memory(5 * GIB / 2, 80 * GIB)),
                  Optional.empty()),
              new JobSummary.OfWorker(
                  2,
                  "tensorrt",
                  8,
                  new PipelineStats(8, 30, 3_000, 0, 2, 1, 1, 0),
                  Optional.empty(),
                  Optional.of("3 failed in a row"))),
          Map.of(1, "no memory is free"),
          OptionalLong.of(3 * GIB));

  @Test
  void peopleReadSpeedPaddingMemoryAndWhatEachDeviceDid() {
    assertEquals(
        List.of(
            "40 pictures in 8.0 s (5.00 images/s, 3,750 tokens/s through the model, 25.0 % of the"
                + " time outside it), 5 there already, 3 failed: out",
            "padding: 1,000 tokens of no picture, 7.7 % of all",
            "device 0 (tensorrt): 32 pictures, 4.00 images/s, 2.50 of its 80.00 GiB in use at most,"
                + " by all processes",
            "device 2 (tensorrt): 8 pictures, 1.00 images/s; lost: 3 failed in a row",
            "device 1: not opened: no memory is free",
            "memory of the host: 3.00 GiB resident at most"),
        TROUBLED.lines(Path.of("out")));
  }

  @Test
  void programsReadTheSameFromJson() throws Exception {
    Path file = folder.resolve("summary.json");
    Files.writeString(file, "an older one");
    TROUBLED.write(file);
    assertEquals(
        new ObjectMapper()
            .readTree(
                """
                {
                  "requests": 50, "pictures": 40, "there_already": 5, "failed": 3,
                  "stopped": true, "seconds": 8.0, "images_per_second": 5.0,
                  "forwards": 130, "tokens": 12000, "tokens_per_second": 1500.0,
                  "padded_tokens": 1000, "padded_share": %s,
                  "model_tokens_per_second": 3750.0, "outside_model_share": 0.25,
                  "peak_resident_bytes": 3221225472,
                  "devices": [
                    {"device": 0, "backend": "tensorrt", "pictures": 32, "images_per_second": 4.0,
                     "forwards": 100, "tokens": 9000, "tokens_per_second": 1125.0,
                     "padded_tokens": 1000, "padded_share": 0.1,
                     "device_bytes_in_use": 2684354560, "device_bytes": 85899345920},
                    {"device": 2, "backend": "tensorrt", "pictures": 8, "images_per_second": 1.0,
                     "forwards": 30, "tokens": 3000, "tokens_per_second": 375.0,
                     "padded_tokens": 0, "padded_share": 0.0, "lost": "3 failed in a row"},
                    {"device": 1, "not_opened": "no memory is free"}
                  ]
                }
                """
                    .formatted(1_000 / 13_000.0)),
        new ObjectMapper().readTree(Files.readString(file)));
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(1, files.count(), "no temporary file is left");
    }
  }

  @Test
  void whereNothingWasToDoOneLineSaysSo() throws Exception {
    JobSummary idle =
        new JobSummary(2, 2, 0, 0, false, 0, List.of(), Map.of(), OptionalLong.empty());
    assertEquals(List.of("0 pictures, 2 there already: out"), idle.lines(Path.of("out")));
    idle.write(folder.resolve("summary.json"));
    JsonNode json = new ObjectMapper().readTree(folder.resolve("summary.json").toFile());
    assertEquals(0, json.get("images_per_second").asDouble(-1));
    assertEquals(0, json.get("devices").size());
    assertFalse(json.has("peak_resident_bytes"));
  }

  @Test
  void aCpuHasNoDeviceMemoryAndIsNotAskedFor() {
    DeviceMemory memory = new DeviceMemory(0, false);
    memory.look();
    assertTrue(memory.most().isEmpty());
  }

  @Test
  void whereNoGpuIsThereIsNothingToTell() {
    DeviceMemory memory = new DeviceMemory(99, true);
    memory.look(); // as where the driver is gone: neither an exception nor a figure
    memory.look();
    assertTrue(memory.most().isEmpty());
  }
}
