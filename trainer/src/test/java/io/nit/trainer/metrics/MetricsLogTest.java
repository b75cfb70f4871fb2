package io.nit.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnknownFieldSet;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MetricsLogTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path run;

  @Test
  void aRowHoldsStepTimeAndScalarsInOrder() throws IOException {
    try (MetricsLog log = MetricsLog.open(run, 0)) {
      Map<String, Double> values = new LinkedHashMap<>();
      values.put("loss", 0.5);
      values.put("grad_norm", Double.NaN);
      log.scalars(7, values);
    }
    List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl"));
    assertEquals(1, lines.size());
    JsonNode row = JSON.readTree(lines.get(0));
    assertEquals(
        List.of("step", "time", "loss", "grad_norm"), List.copyOf(iterate(row.fieldNames())));
    assertEquals(7, row.get("step").asLong());
    assertTrue(lines.get(0).matches(".*\"time\":\\d{10}\\.\\d{3},.*"), lines.get(0));
    assertEquals(0.5, row.get("loss").asDouble());
    assertEquals("NaN", row.get("grad_norm").asText());
    assertEquals(System.currentTimeMillis() / 1000.0, row.get("time").asDouble(), 600);
  }

  @Test
  void resumingDropsLaterRowsAndTornOnes() throws IOException {
    try (MetricsLog log = MetricsLog.open(run, 0)) {
      for (int step = 1; step <= 10; step++) {
        log.scalars(step, Map.of("loss", 1.0 / step));
      }
    }
    Files.writeString(
        run.resolve("metrics.jsonl"), "{\"step\": 4, \"ti", StandardOpenOption.APPEND);
    try (MetricsLog log = MetricsLog.open(run, 4)) {
      log.scalars(5, Map.of("loss", 0.25));
    }
    List<Long> steps = new ArrayList<>();
    for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
      steps.add(JSON.readTree(line).get("step").asLong());
    }
    assertEquals(List.of(1L, 2L, 3L, 4L, 5L), steps);
  }

  @Test
  void eventFilesHoldScalarsAndImagesInTensorBoardsFraming() throws IOException {
    RgbImage image = new RgbImage(2, 1, new byte[] {1, 2, 3, 4, 5, 6});
    try (MetricsLog log = MetricsLog.open(run, 0)) {
      log.scalars(3, Map.of("loss", 0.75));
      log.image(3, "samples", image);
    }
    List<UnknownFieldSet> events = events(eventFiles().get(0));
    assertEquals(3, events.size());
    assertEquals(
        "brain.Event:2", events.get(0).getField(3).getLengthDelimitedList().get(0).toStringUtf8());

    assertEquals(3L, events.get(1).getField(2).getVarintList().get(0));
    UnknownFieldSet scalar = value(events.get(1));
    assertEquals("loss", scalar.getField(1).getLengthDelimitedList().get(0).toStringUtf8());
    assertEquals(0.75f, Float.intBitsToFloat(scalar.getField(2).getFixed32List().get(0)));

    UnknownFieldSet picture = value(events.get(2));
    assertEquals("samples", picture.getField(1).getLengthDelimitedList().get(0).toStringUtf8());
    UnknownFieldSet fields =
        UnknownFieldSet.parseFrom(picture.getField(4).getLengthDelimitedList().get(0));
    assertEquals(1L, fields.getField(1).getVarintList().get(0)); // height
    assertEquals(2L, fields.getField(2).getVarintList().get(0)); // width
    assertArrayEquals(
        image.rgb(),
        RgbImage.of(ImageIO.read(fields.getField(4).getLengthDelimitedList().get(0).newInput()))
            .rgb());
  }

  @Test
  void aResumedRunTellsTensorBoardWhereItStartsAgain() throws IOException {
    MetricsLog.open(run, 0).close();
    MetricsLog.open(run, 40).close();
    List<Path> files = eventFiles();
    assertEquals(2, files.size());
    List<UnknownFieldSet> events = events(files.get(1));
    assertEquals(41L, events.get(1).getField(2).getVarintList().get(0));
    UnknownFieldSet session =
        UnknownFieldSet.parseFrom(events.get(1).getField(7).getLengthDelimitedList().get(0));
    assertEquals(1L, session.getField(1).getVarintList().get(0)); // START
  }

  @Test
  void maskedCrcIsTensorFlows() {
    // CRC32C of "123456789" is 0xe3069283, the check value of the polynomial's definition.
    assertEquals(
        Integer.rotateRight(0xe3069283, 15) + 0xa282ead8,
        EventWriter.maskedCrc("123456789".getBytes(java.nio.charset.StandardCharsets.US_ASCII), 9));
  }

  @Test
  void lossPlotIsDrawnAndIncludesTheRowsOfBefore() throws IOException {
    try (MetricsLog log = MetricsLog.open(run, 0)) {
      log.plot();
      assertFalse(Files.exists(run.resolve("loss.png")), "nothing to draw yet");
      for (int step = 1; step <= 300; step++) {
        log.scalars(step, Map.of("loss", 2 / Math.sqrt(step), "lr", 1e-4));
      }
    }
    try (MetricsLog log = MetricsLog.open(run, 300)) {
      log.plot();
    }
    var plot = ImageIO.read(run.resolve("loss.png").toFile());
    assertEquals(960, plot.getWidth());
    int curve = 0;
    for (int y = 0; y < plot.getHeight(); y++) {
      for (int x = 0; x < plot.getWidth(); x++) {
        curve += (plot.getRGB(x, y) & 0xffffff) == 0x1f4e9c ? 1 : 0;
      }
    }
    assertTrue(curve > 500, "pixels of the smoothed curve: " + curve);
  }

  @Test
  void aFlatLossAndOneBelowZeroCanBeDrawn() throws IOException {
    for (double loss : new double[] {1, 0, -0.5}) {
      Path folder = run.resolve("loss" + loss);
      try (MetricsLog log = MetricsLog.open(folder, 0)) {
        for (int step = 1; step < 4; step++) {
          log.scalars(step, Map.of("loss", loss, "lr", 0.0));
        }
        log.plot();
      }
      assertTrue(Files.size(folder.resolve("loss.png")) > 0, "loss " + loss);
    }
  }

  @Test
  void aCurveKeepsItsShapeInBoundedMemory() {
    Curve curve = new Curve();
    for (int step = 0; step < 100_000; step++) {
      curve.add(step, 2.0 * step + 1);
    }
    assertTrue(curve.size() < 4096);
    for (int i = 0; i < curve.size(); i++) {
      assertEquals(2 * curve.steps().get(i) + 1, curve.values().get(i), 1e-6);
    }
    assertEquals(99_999, curve.steps().get(curve.size() - 1), 64);
  }

  @Test
  void smoothingIsAWeightedMeanWithoutABiasAtTheStart() {
    Curve curve = new Curve();
    curve.add(0, 4);
    curve.add(1, 8);
    List<Double> smooth = curve.smoothed(1);
    double keep = Math.exp(-1);
    assertEquals(4, smooth.get(0), 1e-12);
    assertEquals((4 * keep + 8) / (keep + 1), smooth.get(1), 1e-12);
  }

  @Test
  void aClosedLogSaysItsName() throws IOException {
    MetricsLog log = MetricsLog.open(run, 0);
    log.close();
    log.close();
    String message =
        assertThrows(IllegalStateException.class, () -> log.scalars(1, Map.of())).getMessage();
    assertTrue(message.contains("MetricsLog"), message);
  }

  private List<Path> eventFiles() throws IOException {
    try (Stream<Path> files = Files.list(run.resolve("events"))) {
      return files.sorted().toList();
    }
  }

  private static UnknownFieldSet value(UnknownFieldSet event) throws IOException {
    UnknownFieldSet summary =
        UnknownFieldSet.parseFrom(event.getField(5).getLengthDelimitedList().get(0));
    return UnknownFieldSet.parseFrom(summary.getField(1).getLengthDelimitedList().get(0));
  }

  private static List<UnknownFieldSet> events(Path file) throws IOException {
    assertTrue(file.getFileName().toString().contains("tfevents"));
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    List<UnknownFieldSet> events = new ArrayList<>();
    while (bytes.hasRemaining()) {
      byte[] length = new byte[8];
      bytes.mark().get(length).reset();
      byte[] event = new byte[Math.toIntExact(bytes.getLong())];
      assertEquals(EventWriter.maskedCrc(length, 8), bytes.getInt());
      bytes.get(event);
      assertEquals(EventWriter.maskedCrc(event, event.length), bytes.getInt());
      events.add(UnknownFieldSet.parseFrom(CodedInputStream.newInstance(event)));
    }
    return events;
  }

  private static List<String> iterate(java.util.Iterator<String> names) {
    List<String> all = new ArrayList<>();
    names.forEachRemaining(all::add);
    return all;
  }
}
