package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Cli;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.io.Closing;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.PipelineStats;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Samples what a folder lacks, on one device or several, which take requests from one queue, so
 * that none waits while there is work. A picture does not depend on which it was. Each picture is
 * written as soon as it is decoded, so that whatever ends the job keeps the pictures done until
 * then.
 */
final class SampleJob {
  private static final Logger LOG = LoggerFactory.getLogger(SampleJob.class);
  private static final int FAILURES = 3;

  private final Path output;
  private final PictureFolder folder;
  private final List<ImageRequest> requests;
  private final NitPipeline.Builder pipelineBuilder;
  private final List<Integer> devices;
  private final boolean quiet;
  private final AtomicInteger written = new AtomicInteger();
  private final AtomicInteger failed = new AtomicInteger();
  private final AtomicReference<IOException> diskFailure = new AtomicReference<>();

  SampleJob(
      Path output,
      PictureFolder folder,
      List<ImageRequest> requests,
      NitPipeline.Builder pipelineBuilder,
      List<Integer> devices,
      boolean quiet) {
    this.output = output;
    this.folder = folder;
    this.requests = requests;
    this.pipelineBuilder = pipelineBuilder;
    this.devices = List.copyOf(devices);
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
    try (Crew crew = new Crew(missing);
        Progress progress = Progress.start("sampling", steps, 0, " steps", quiet)) {
      long start = System.nanoTime();
      crew.start(progress);
      while (!crew.open.await(50, TimeUnit.MILLISECONDS)) {
        if (stop.requested() || diskFailure.get() != null) {
          break;
        }
      }
      return speed(crew.stats(), crew.workers.size(), (System.nanoTime() - start) * 1e-9);
    }
  }

  /** One pipeline a device, and the requests that they take from one queue. */
  private final class Crew implements AutoCloseable {
    final List<Worker> workers = new ArrayList<>();
    final CountDownLatch open;
    private final int all;
    private final Deque<ImageRequest> waiting; // guarded by this
    private boolean closing; // guarded by this

    Crew(List<ImageRequest> requests) throws IOException, EngineException {
      all = requests.size();
      open = new CountDownLatch(all);
      waiting = new ArrayDeque<>(requests);
      try {
        for (int device : devices) {
          workers.add(new Worker(this, device, pipelineBuilder.device(device).open()));
        }
      } catch (IOException | EngineException | RuntimeException e) {
        close();
        throw e;
      }
    }

    void start(Progress progress) {
      workers.forEach(worker -> worker.feed(progress));
    }

    /** The next request for a worker that may take so many more tokens; null if none is left. */
    synchronized ImageRequest take(Worker worker) {
      ImageRequest next = closing ? null : waiting.peek();
      if (next == null || worker.retired || worker.tokens >= worker.most) {
        return null;
      }
      worker.tokens += worker.pipeline.rules().forwardTokens(next);
      return waiting.remove();
    }

    /** How a request ended that a pipeline no longer takes. */
    synchronized RuntimeException refused(IllegalStateException why) {
      return closing ? new CancellationException(why.getMessage()) : why;
    }

    synchronized void done(Worker worker, ImageRequest request, boolean failed) {
      worker.tokens -= worker.pipeline.rules().forwardTokens(request);
      worker.failuresInARow = failed ? worker.failuresInARow + 1 : 0;
      if (worker.failuresInARow >= FAILURES
          && !worker.retired
          && workers.stream().anyMatch(other -> other != worker && !other.retired)) {
        // A device that is lost fails at once, and would take all that the others could do.
        worker.retired = true;
        LOG.error("device {} takes no more requests: {} failed in a row", worker.device, FAILURES);
      }
    }

    PipelineStats stats() {
      return workers.stream()
          .map(worker -> worker.pipeline.stats())
          .reduce(PipelineStats::plus)
          .orElseThrow();
    }

    @Override
    public void close() {
      synchronized (this) {
        closing = true;
      }
      Closing.each(workers, worker -> worker.pipeline.close());
    }
  }

  private final class Worker {
    private final Crew crew;
    private final int device;
    private final NitPipeline pipeline;

    /** Tokens it may have in hand: a pack under way and one to come, if there are others. */
    private final long most;

    private long tokens; // guarded by crew
    private int failuresInARow; // guarded by crew
    private boolean retired; // guarded by crew

    Worker(Crew crew, int device, NitPipeline pipeline) {
      this.crew = crew;
      this.device = device;
      this.pipeline = pipeline;
      this.most = devices.size() == 1 ? Long.MAX_VALUE : 2L * pipeline.rules().maxTokens();
    }

    void feed(Progress progress) {
      for (ImageRequest next = crew.take(this); next != null; next = crew.take(this)) {
        ImageRequest request = next;
        CompletableFuture<ImageResult> sampled;
        try {
          sampled = pipeline.submit(request, (r, step, of) -> progress.step(1));
        } catch (IllegalStateException e) { // the pipeline has ended
          end(request, null, crew.refused(e), progress);
          continue;
        }
        sampled.whenComplete(
            (result, failure) -> {
              try {
                end(request, result, failure, progress);
              } finally {
                feed(progress);
              }
            });
      }
    }

    private void end(
        ImageRequest request, ImageResult result, Throwable failure, Progress progress) {
      try {
        finish(request, result, failure, pipeline.backend(), device);
        progress.note(written.get() + "/" + crew.all + " pictures");
      } finally {
        crew.done(this, request, failure != null && !(failure instanceof CancellationException));
        crew.open.countDown();
      }
    }
  }

  private void finish(
      ImageRequest request, ImageResult result, Throwable failure, String backend, int device) {
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
      if (devices.size() > 1) {
        row.put("device", device);
      }
      folder.add(request, result.image().orElseThrow(), row);
      written.incrementAndGet();
    } catch (IOException e) {
      diskFailure.compareAndSet(null, e);
    }
  }

  private String speed(PipelineStats stats, int workers, double seconds) {
    if (stats.forwards() == 0) {
      return "";
    }
    return String.format(
        Locale.ROOT,
        " in %.1f s (%.2f images/s, %,.0f tokens/s through the model, %.1f %% of the time outside it)",
        seconds,
        written.get() / seconds,
        stats.tokens() / stats.modelSeconds() * workers,
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
