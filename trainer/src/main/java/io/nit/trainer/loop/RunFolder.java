package io.nit.trainer.loop;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.NitConfig;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.FolderLock;
import io.nit.trainer.data.Skipped;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.metrics.MetricsLog;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The folder of a training:
 *
 * <pre>
 * config.json              the network
 * train.json               all options
 * dataset.json             codec and labels
 * skipped.jsonl            pictures that the data set goes without, if there are any
 * checkpoints/step-0000100 {@link io.nit.trainer.checkpoint.Checkpoint}
 * metrics.jsonl, events/, loss.png   {@link io.nit.trainer.metrics.MetricsLog}
 * samples/step-0000100.png sample grids
 * model.safetensors        the averaged weights, once the training is done; of an autoencoder:
 * autoencoder/             the same in diffusers' layout
 * .lock                    held while a training is at work
 * </pre>
 *
 * @param root the folder
 */
public record RunFolder(Path root) {
  private static final Logger LOG = LoggerFactory.getLogger(RunFolder.class);

  /**
   * Keeps a second training out of the folder, where the two would mix their checkpoints and
   * metrics.
   *
   * @return the lock, which the caller closes
   * @throws IOException if another training holds it or the folder cannot be written to
   */
  public FolderLock lock() throws IOException {
    Files.createDirectories(root);
    return FolderLock.tryAcquire(root)
        .orElseThrow(
            () ->
                new IOException(
                    root
                        + ": expected a folder of its own for this run, found another training at"
                        + " work"));
  }

  /** Where the checkpoints lie. */
  public Path checkpoints() {
    return root.resolve("checkpoints");
  }

  /** The result. */
  public Path model() {
    return root.resolve("model.safetensors");
  }

  /** The result of an autoencoder's training. */
  public Path autoencoder() {
    return root.resolve("autoencoder");
  }

  /**
   * Writes {@code config.json}, {@code train.json}, {@code dataset.json} and {@code skipped.jsonl}.
   */
  public void describe(NitConfig config, ObjectNode options, TrainingData data) throws IOException {
    ObjectNode dataset = JsonNodeFactory.instance.objectNode();
    data.codec().ifPresent(codec -> dataset.set("codec", codec.toNode()));
    data.labels().forEach(dataset.putArray("labels")::add);
    dataset.put("images", data.images()).put("packs", data.packs());
    dataset.put("channels", data.channels()).put("skipped", data.skipped().size());
    describe(config.toNode(), options, dataset, data.skipped());
  }

  /** {@link #describe(NitConfig, ObjectNode, TrainingData)} of any training. */
  public void describe(
      ObjectNode config, ObjectNode options, ObjectNode dataset, List<Skipped> skipped)
      throws IOException {
    write("config.json", config);
    write("train.json", options);
    write("dataset.json", dataset);
    Skipped.write(root.resolve("skipped.jsonl"), skipped);
  }

  private void write(String name, ObjectNode node) throws IOException {
    AtomicFile.writeString(root.resolve(name), node.toPrettyString() + "\n");
  }

  /** Writes a sample grid, and logs it. */
  public void writeSamples(long step, RgbImage grid, MetricsLog metrics) throws IOException {
    Path file = root.resolve("samples").resolve(String.format("step-%07d.png", step));
    Png.write(file, grid, Map.of("step", Long.toString(step)));
    metrics.image(step, "samples", grid);
    LOG.debug("samples {}", file);
  }
}
