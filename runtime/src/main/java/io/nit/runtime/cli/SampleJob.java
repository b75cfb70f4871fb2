package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Cli;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.PipelineStats;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Samples what a folder lacks. Each picture is written as soon as it is decoded, so that whatever
 * ends the job keeps the pictures done until then.
 */
final class SampleJob {
  private static final Logger LOG = LoggerFactory.getLogger(SampleJob.class);

  private final Path output;
  private final PictureFolder folder;
  private final List<ImageRequest> requests;
  private final NitPipeline.Builder pipelineBuilder;
  private final boolean quiet;
  private final AtomicInteger written = new AtomicInteger();
  private final AtomicInteger failed = new AtomicInteger();
  private final AtomicReference<IOException> diskFailure = new AtomicReference<>();

  SampleJob(
      Path output,
      PictureFolder folder,
      List<ImageRequest> requests,
      NitPipeline.Builder pipelineBuilder,
      boolean quiet) {
    this.output = output;
    this.folder = folder;
    this.requests = requests;
    this.pipelineBuilder = pipelineBuilder;
    this.quiet = quiet;
  }

  /**
   * Runs to the end or to the stop signal.
   *
   * @return the exit code
   * @throws CancellationException if stopped, after the report and the sheet are written
   */
  int run(StopSignal stop) throws IOException, EngineException, InterruptedException {
    List<ImageRequest> missing = new ArrayList<>(requests);
    missing.removeIf(folder::has);
    int skipped = requests.size() - missing.size();
    String speed = missing.isEmpty() ? "" : sample(missing, stop);
    if (diskFailure.get() != null) {
      throw diskFailure.get();
    }
    List<ImageRequest> present = new ArrayList<>(requests);
    if (written.get() < missing.size()) {
      present.removeIf(request -> !folder.has(request));
    }
    folder.complete(present);
    folder.writeReport();
    Thumbnails.write(output.resolve("contact-sheet.png"), folder, present);
    System.out.println(summary(speed, skipped));
    if (stop.requested() && present.size() + failed.get() < requests.size()) {
      throw new CancellationException(
          "stopped: " + present.size() + " of " + requests.size() + " pictures are done");
    }
    return failed.get() > 0 ? Cli.FAILED : Cli.DONE;
  }

  /** Samples, and tells how fast. */
  private String sample(List<ImageRequest> missing, StopSignal stop)
      throws IOException, EngineException, InterruptedException {
    long steps = missing.stream().mapToLong(ImageRequest::steps).sum();
    CountDownLatch open = new CountDownLatch(missing.size());
    try (NitPipeline pipeline = pipelineBuilder.open();
        Progress progress = Progress.start("sampling", steps, 0, " steps", quiet)) {
      long start = System.nanoTime();
      for (ImageRequest request : missing) {
        pipeline
            .submit(request, (r, step, of) -> progress.step(1))
            .whenComplete(
                (result, failure) -> {
                  try {
                    finish(request, result, failure, pipeline.backend());
                    progress.note(written.get() + "/" + missing.size() + " pictures");
                  } finally {
                    open.countDown();
                  }
                });
      }
      while (!open.await(50, TimeUnit.MILLISECONDS)) {
        if (stop.requested() || diskFailure.get() != null) {
          break;
        }
      }
      return speed(pipeline.stats(), (System.nanoTime() - start) * 1e-9);
    }
  }

  private void finish(ImageRequest request, ImageResult result, Throwable failure, String backend) {
    try {
      if (failure instanceof CancellationException || diskFailure.get() != null) {
        return;
      }
      if (failure != null) {
        failed.incrementAndGet();
        LOG.error("{}", failure.getMessage());
        folder.addRow(folder.row(request).putNull("file").put("error", failure.getMessage()));
        return;
      }
      ObjectNode row = folder.row(request);
      row.put("seconds", rounded(result.samplingSeconds()))
          .put("waiting_seconds", rounded(result.waitingSeconds()))
          .put("decoding_seconds", rounded(result.decodingSeconds()))
          .put("forwards", result.forwards())
          .put("tiles", result.tiles())
          .put("decode_retried", result.decodeRetried())
          .put("backend", backend);
      folder.add(request, result.image().orElseThrow(), row);
      written.incrementAndGet();
    } catch (IOException e) {
      diskFailure.compareAndSet(null, e);
    }
  }

  private String speed(PipelineStats stats, double seconds) {
    if (stats.forwards() == 0) {
      return "";
    }
    return String.format(
        Locale.ROOT,
        " in %.1f s (%.2f images/s, %,.0f tokens/s through the model, %.1f %% of the time outside it)",
        seconds,
        written.get() / seconds,
        stats.tokens() / stats.modelSeconds(),
        100 * stats.javaSeconds() / (stats.modelSeconds() + stats.javaSeconds()));
  }

  private String summary(String speed, int skipped) {
    return written.get()
        + (written.get() == 1 ? " picture" : " pictures")
        + speed
        + ", "
        + skipped
        + " there already"
        + (failed.get() > 0 ? ", " + failed.get() + " failed" : "")
        + ": "
        + output;
  }

  private static double rounded(double seconds) {
    return Math.round(seconds * 1e4) / 1e4;
  }
}
