package io.nit.trainer.metrics;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.io.AtomicFile;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The numbers of a training run, in three forms:
 *
 * <ul>
 *   <li>{@code metrics.jsonl}: one JSON object a row, {@code {"step": 100, "time": 1795424400.123,
 *       "loss": 0.93, …}}, time in seconds since 1970; a value that is not finite is a string
 *       ({@code "NaN"});
 *   <li>{@code events/events.out.tfevents.*}: TensorBoard event files, one for every start of the
 *       run;
 *   <li>{@code loss.png}: the scalars {@code loss} and {@code lr} over the steps.
 * </ul>
 *
 * <p>Rows are written through at once, so a killed run keeps them; a row that the kill cut in two
 * is dropped when the log is opened again. Safe for several threads.
 */
public final class MetricsLog implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(MetricsLog.class);
  private static final ObjectMapper JSON =
      JsonMapper.builder().enable(StreamWriteFeature.WRITE_BIGDECIMAL_AS_PLAIN).build();

  private final Path runFolder;
  private final BufferedWriter rows;
  private final EventWriter events;
  private final Curve loss = new Curve();
  private final Curve learningRate = new Curve();
  private boolean plotFailed;
  private boolean closed;

  /** Keeps nothing. */
  private MetricsLog() {
    runFolder = Path.of("");
    rows = null;
    events = null;
  }

  private MetricsLog(Path runFolder, long resumeStep) throws IOException {
    this.runFolder = runFolder;
    Path file = runFolder.resolve("metrics.jsonl");
    Path eventFolder = Files.createDirectories(runFolder.resolve("events"));
    if (Files.exists(file)) {
      AtomicFile.write(file, temporary -> keepRows(file, temporary, resumeStep));
    }
    rows =
        Files.newBufferedWriter(
            file, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    try {
      double now = now();
      events = new EventWriter(eventFile(eventFolder, now), now);
    } catch (IOException e) {
      rows.close();
      throw e;
    }
    try {
      if (resumeStep > 0) {
        events.restart(now(), resumeStep + 1);
      }
    } catch (IOException e) {
      close();
      throw e;
    }
  }

  /**
   * Opens the log of a run folder, new or resumed, making the folder where needed.
   *
   * @param resumeStep last step that the checkpoint knows: rows of later steps are dropped; 0 for a
   *     new run
   * @return the log; the caller closes it
   * @throws IOException if the folder cannot be written
   */
  public static MetricsLog open(Path runFolder, long resumeStep) throws IOException {
    if (resumeStep < 0) {
      throw new IllegalArgumentException("resume step: expected 0 or more, found " + resumeStep);
    }
    return new MetricsLog(runFolder, resumeStep);
  }

  /** A log that keeps nothing and writes no file: of a rank that another one writes for. */
  public static MetricsLog none() {
    return new MetricsLog();
  }

  /**
   * Logs the numbers of one step. {@code loss} and {@code lr} are also drawn by {@link #plot}.
   *
   * @throws IllegalArgumentException if a value is called {@code step} or {@code time}
   */
  public synchronized void scalars(long step, Map<String, Double> values) throws IOException {
    requireOpen();
    if (values.containsKey("step") || values.containsKey("time")) {
      throw new IllegalArgumentException("metrics: 'step' and 'time' are taken by the row itself");
    }
    if (rows == null) {
      return;
    }
    double now = now();
    ObjectNode row = JSON.createObjectNode().put("step", step);
    row.put("time", BigDecimal.valueOf(now).setScale(3, RoundingMode.HALF_UP));
    values.forEach((name, value) -> row.put(name, value));
    rows.write(JSON.writeValueAsString(row));
    rows.newLine();
    rows.flush();
    events.scalars(now, step, values);
    draw(step, values.get("loss"), values.get("lr"));
  }

  /** Logs a picture to TensorBoard. */
  public synchronized void image(long step, String tag, RgbImage image) throws IOException {
    requireOpen();
    if (rows == null) {
      return;
    }
    events.image(now(), step, tag, image.height(), image.width(), Png.encode(image, Map.of()));
  }

  /**
   * Writes {@code loss.png}, atomically. Where the machine cannot draw (a Java without fonts), this
   * warns once and leaves the file out: a run does not fail for its picture.
   *
   * @throws IOException if the file cannot be written
   */
  public synchronized void plot() throws IOException {
    requireOpen();
    if (plotFailed || rows == null) {
      return;
    }
    try {
      LossPlot.write(runFolder.resolve("loss.png"), loss, learningRate);
    } catch (RuntimeException | LinkageError | InternalError e) {
      plotFailed = true;
      LOG.warn("loss.png is not drawn: {}", e.toString());
    }
  }

  /** Closes the files. Safe to call twice. */
  @Override
  public synchronized void close() throws IOException {
    if (closed || rows == null) {
      return;
    }
    closed = true;
    try (rows) {
      events.close();
    }
  }

  /** Copies the rows up to a step, and takes their numbers up in the curves. */
  private void keepRows(Path from, Path to, long lastStep) throws IOException {
    long dropped = 0;
    try (BufferedReader in = Files.newBufferedReader(from);
        BufferedWriter out = Files.newBufferedWriter(to)) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        JsonNode row = parse(line);
        if (row == null
            || !row.path("step").isIntegralNumber()
            || row.get("step").asLong() > lastStep) {
          dropped++;
          continue;
        }
        out.write(line);
        out.newLine();
        draw(row.get("step").asLong(), number(row, "loss"), number(row, "lr"));
      }
    }
    if (dropped > 0) {
      LOG.info("{}: dropped {} rows after step {}", from, dropped, lastStep);
    }
  }

  private void draw(long step, Double lossValue, Double rate) {
    if (lossValue != null) {
      loss.add(step, lossValue);
    }
    if (rate != null) {
      learningRate.add(step, rate);
    }
  }

  private static Double number(JsonNode row, String key) {
    JsonNode value = row.path(key);
    return value.isNumber() ? value.doubleValue() : null;
  }

  private static JsonNode parse(String line) {
    try {
      return JSON.readTree(line);
    } catch (JsonProcessingException e) {
      return null; // a row that a kill cut in two
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("MetricsLog " + runFolder + " is closed");
    }
  }

  private static double now() {
    return System.currentTimeMillis() / 1000.0;
  }

  /** A name that no earlier start of the run has; names sort by time. */
  private static Path eventFile(Path folder, double now) {
    String name =
        String.format(
            "events.out.tfevents.%010d.nit-train.%d", (long) now, ProcessHandle.current().pid());
    Path file = folder.resolve(name);
    for (int n = 1; Files.exists(file); n++) {
      file = folder.resolve(name + "." + n);
    }
    return file;
  }
}
