package io.nit.trainer.metrics;

import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/**
 * The numbers of a training run: one JSON object a row in {@code metrics.jsonl}, TensorBoard event
 * files under {@code events/}, and {@code loss.png}.
 */
public final class MetricsLog implements AutoCloseable {
  private MetricsLog() {}

  /**
   * Opens the log of a run folder, new or resumed.
   *
   * @param resumeStep last step that the checkpoint knows: rows of later steps are dropped; 0 for a
   *     new run
   * @throws IOException if the folder cannot be written
   */
  public static MetricsLog open(Path runFolder, long resumeStep) throws IOException {
    return new MetricsLog();
  }

  /** Logs the numbers of one step. */
  public void scalars(long step, Map<String, Double> values) throws IOException {}

  /** Logs a picture to TensorBoard. */
  public void image(long step, String tag, RgbImage image) throws IOException {}

  /** Writes {@code loss.png}. */
  public void plot() throws IOException {}

  @Override
  public void close() throws IOException {}
}
