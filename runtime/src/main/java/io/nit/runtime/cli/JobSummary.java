package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.AtomicFile;
import io.nit.core.trt.Cuda;
import io.nit.runtime.PipelineStats;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What one run of a job did, for people ({@link #lines}) and for programs ({@link #write}).
 *
 * @param requests what was asked for
 * @param alreadyThere pictures that were there before
 * @param made pictures
 * @param failed requests that failed
 * @param stopped whether a signal ended it
 * @param seconds from the first request to the last picture, without the opening of models
 * @param workers by device
 * @param notOpened why devices could not be opened, by their numbers
 * @param peakResident host memory of the process at most, in bytes
 */
record JobSummary(
    int requests,
    int alreadyThere,
    int made,
    int failed,
    boolean stopped,
    double seconds,
    List<OfWorker> workers,
    Map<Integer, String> notOpened,
    OptionalLong peakResident) {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final double GIB = 1L << 30;

  /**
   * What one worker did.
   *
   * @param made pictures
   * @param memory of its device, where it is a GPU's
   * @param lost why it took no more requests, if it was lost
   */
  record OfWorker(
      int device,
      String backend,
      int made,
      PipelineStats stats,
      Optional<Cuda.Memory> memory,
      Optional<String> lost) {}

  private Optional<PipelineStats> stats() {
    return workers.stream()
        .map(OfWorker::stats)
        .reduce(PipelineStats::plus)
        .filter(all -> all.forwards() > 0);
  }

  /** Tokens a second while models run, on all devices together. */
  private double modelTokensPerSecond() {
    return workers.stream()
        .map(OfWorker::stats)
        .filter(stats -> stats.tokens() > 0)
        .mapToDouble(stats -> stats.tokens() / stats.modelSeconds())
        .sum();
  }

  private static double outsideModel(PipelineStats stats) {
    return stats.javaSeconds() / (stats.modelSeconds() + stats.javaSeconds());
  }

  /**
   * One line on the pictures; where some were sampled, more on padding, memory and each device.
   *
   * @param output the pictures' folder
   */
  List<String> lines(Path output) {
    List<String> lines = new ArrayList<>();
    lines.add(
        made
            + (made == 1 ? " picture" : " pictures")
            + stats().map(this::speed).orElse("")
            + ", "
            + alreadyThere
            + " there already"
            + (failed > 0 ? ", " + failed + " failed" : "")
            + ": "
            + output);
    stats().ifPresent(stats -> lines.add("padding: " + padding(stats)));
    for (OfWorker worker : workers) {
      lines.add(line(worker));
    }
    notOpened.forEach(
        (device, reason) -> lines.add("device " + device + ": not opened: " + reason));
    if (!workers.isEmpty() && peakResident.isPresent()) {
      lines.add(
          String.format(
              Locale.ROOT,
              "memory of the host: %.2f GiB resident at most",
              peakResident.getAsLong() / GIB));
    }
    return lines;
  }

  private String speed(PipelineStats stats) {
    return String.format(
        Locale.ROOT,
        " in %.1f s (%.2f images/s, %,.0f tokens/s through the model, %.1f %% of the time outside it)",
        seconds,
        made / seconds,
        modelTokensPerSecond(),
        100 * outsideModel(stats));
  }

  private static String padding(PipelineStats stats) {
    return stats.paddedTokens() == 0
        ? String.format(Locale.ROOT, "none (%,d tokens, all of pictures)", stats.tokens())
        : String.format(
            Locale.ROOT,
            "%,d tokens of no picture, %.1f %% of all",
            stats.paddedTokens(),
            100 * stats.paddedShare());
  }

  private String line(OfWorker worker) {
    String made =
        String.format(
            Locale.ROOT,
            "device %d (%s): %d pictures, %.2f images/s",
            worker.device,
            worker.backend,
            worker.made,
            worker.made / seconds);
    String memory =
        worker
            .memory
            .map(
                found ->
                    String.format(
                        Locale.ROOT,
                        ", %.2f of its %.2f GiB in use at most, by all processes",
                        found.used() / GIB,
                        found.total() / GIB))
            .orElse("");
    return made + memory + worker.lost.map(reason -> "; lost: " + reason).orElse("");
  }

  /** Writes it as JSON, atomically. */
  void write(Path file) throws IOException {
    AtomicFile.writeString(
        file, JSON.writerWithDefaultPrettyPrinter().writeValueAsString(json()) + "\n");
  }

  private ObjectNode json() {
    ObjectNode all = JSON.createObjectNode();
    all.put("requests", requests)
        .put("pictures", made)
        .put("there_already", alreadyThere)
        .put("failed", failed)
        .put("stopped", stopped)
        .put("seconds", seconds)
        .put("images_per_second", perSecond(made));
    stats()
        .ifPresent(
            stats -> {
              putTokens(all, stats);
              all.put("model_tokens_per_second", modelTokensPerSecond())
                  .put("outside_model_share", outsideModel(stats));
            });
    peakResident.ifPresent(bytes -> all.put("peak_resident_bytes", bytes));
    ArrayNode devices = all.putArray("devices");
    for (OfWorker worker : workers) {
      ObjectNode one = devices.addObject();
      one.put("device", worker.device)
          .put("backend", worker.backend)
          .put("pictures", worker.made)
          .put("images_per_second", perSecond(worker.made));
      putTokens(one, worker.stats);
      worker.memory.ifPresent(
          memory ->
              one.put("device_bytes_in_use", memory.used()).put("device_bytes", memory.total()));
      worker.lost.ifPresent(reason -> one.put("lost", reason));
    }
    notOpened.forEach(
        (device, reason) -> devices.addObject().put("device", device).put("not_opened", reason));
    return all;
  }

  private void putTokens(ObjectNode node, PipelineStats stats) {
    node.put("forwards", stats.forwards())
        .put("tokens", stats.tokens())
        .put("tokens_per_second", perSecond(stats.tokens()))
        .put("padded_tokens", stats.paddedTokens())
        .put("padded_share", stats.paddedShare());
  }

  private double perSecond(long count) {
    return count == 0 ? 0 : count / seconds;
  }
}
