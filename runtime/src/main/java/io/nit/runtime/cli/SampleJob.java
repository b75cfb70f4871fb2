package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Cli;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Samples what a folder lacks, on one device or several ({@link Crew}). A picture does not depend
 * on which it was. Each picture is written as soon as it is decoded, so that whatever ends the job
 * keeps the pictures done until then. Beside them lie a report, a contact sheet and a summary.
 */
final class SampleJob {
  private static final Logger LOG = LoggerFactory.getLogger(SampleJob.class);
  private static final int REFUSALS_TOLD = 20;
  private static final long LOOK_NANOS = 1_000_000_000; // at the memory of devices

  private final Path output;
  private final PictureFolder folder;
  private final RequestList list;
  private final List<ImageRequest> requests;
  private final NitPipeline.Builder pipelineBuilder;
  private final List<Integer> devices;
  private final boolean quiet;
  private final Map<Integer, Integer> written = new ConcurrentHashMap<>(); // by device
  private final AtomicInteger failed = new AtomicInteger();
  private final AtomicReference<IOException> diskFailure = new AtomicReference<>();

  SampleJob(
      Path output,
      PictureFolder folder,
      RequestList list,
      NitPipeline.Builder pipelineBuilder,
      List<Integer> devices,
      boolean quiet) {
    this.output = output;
    this.folder = folder;
    this.list = list;
    this.requests = list.requests();
    this.pipelineBuilder = pipelineBuilder;
    this.devices = List.copyOf(devices);
    this.quiet = quiet;
  }

  /**
   * Runs to the end or to the stop signal.
   *
   * @return the exit code
   * @throws IllegalArgumentException if no device's engine takes some of the requests; none is made
   * @throws CancellationException if stopped, after the report and the sheet are written
   */
  int run(StopSignal stop) throws IOException, EngineException, InterruptedException {
    List<ImageRequest> missing = new ArrayList<>(requests);
    missing.removeIf(folder::has);
    Sampling sampling = missing.isEmpty() ? Sampling.NONE : sample(missing, stop);
    if (diskFailure.get() != null) {
      throw diskFailure.get();
    }
    List<ImageRequest> present = new ArrayList<>(requests);
    if (made() < missing.size()) {
      present.removeIf(request -> !folder.has(request));
    }
    folder.complete(present);
    folder.writeReport();
    Thumbnails.write(output.resolve("contact-sheet.png"), folder, present);
    boolean stopped = stop.requested() && present.size() + failed.get() < requests.size();
    JobSummary summary =
        new JobSummary(
            requests.size(),
            requests.size() - missing.size(),
            made(),
            failed.get(),
            stopped,
            sampling.seconds,
            sampling.workers,
            sampling.notOpened,
            ResidentMemory.peak());
    summary.write(output.resolve("summary.json"));
    summary.lines(output).forEach(System.out::println);
    if (stopped) {
      throw new CancellationException(
          "stopped: " + present.size() + " of " + requests.size() + " pictures are done");
    }
    return present.size() < requests.size() ? Cli.FAILED : Cli.DONE;
  }

  /** What came of the sampling. */
  private record Sampling(
      double seconds, List<JobSummary.OfWorker> workers, Map<Integer, String> notOpened) {
    static final Sampling NONE = new Sampling(0, List.of(), Map.of());
  }

  private Sampling sample(List<ImageRequest> missing, StopSignal stop)
      throws IOException, EngineException, InterruptedException {
    Crew crew = Crew.open(pipelineBuilder, devices);
    Map<Worker, DeviceMemory> memory = new HashMap<>();
    double seconds;
    try (crew) {
      requireTaken(crew, missing);
      for (Worker worker : crew.workers()) {
        memory.put(worker, new DeviceMemory(worker.device(), worker.onGpu()));
      }
      long steps = missing.stream().mapToLong(ImageRequest::steps).sum();
      try (Progress progress = Progress.start("sampling", steps, 0, " steps", quiet)) {
        long start = System.nanoTime();
        crew.start(
            missing, new Results(progress, missing.size()), (r, step, of) -> progress.step(1));
        long looked = start - LOOK_NANOS;
        while (!crew.await(50) && !stop.requested() && diskFailure.get() == null) {
          if (System.nanoTime() - looked >= LOOK_NANOS) {
            memory.values().forEach(DeviceMemory::look);
            looked = System.nanoTime();
          }
        }
        seconds = (System.nanoTime() - start) * 1e-9;
      }
      memory.values().forEach(DeviceMemory::look); // all is still open
    }
    List<JobSummary.OfWorker> workers = new ArrayList<>();
    for (Worker worker : crew.workers()) { // closed: a stopped one's last picture counts too
      workers.add(
          new JobSummary.OfWorker(
              worker.device(),
              worker.pipeline().backend(),
              written.getOrDefault(worker.device(), 0),
              worker.pipeline().stats(),
              memory.get(worker).most(),
              crew.lost(worker)));
    }
    return new Sampling(seconds, workers, crew.notOpened());
  }

  /**
   * Refuses requests that the bundle would take and no device's engine does, all of them at once.
   */
  private void requireTaken(Crew crew, List<ImageRequest> missing) {
    List<String> refusals = new ArrayList<>();
    for (ImageRequest request : missing) {
      try {
        crew.check(request);
      } catch (IllegalArgumentException e) {
        refusals.add(
            list.where(request) + ", id " + request.id().orElseThrow() + ": " + e.getMessage());
      }
    }
    if (refusals.isEmpty()) {
      return;
    }
    int told = Math.min(refusals.size(), REFUSALS_TOLD);
    throw new IllegalArgumentException(
        refusals.size()
            + " of "
            + missing.size()
            + (crew.workers().size() == 1
                ? " requests do not fit the model's engine:"
                : " requests fit no device's engine of the model:")
            + "\n  "
            + String.join("\n  ", refusals.subList(0, told))
            + (told < refusals.size() ? "\n  and " + (refusals.size() - told) + " more" : ""));
  }

  private int made() {
    return written.values().stream().mapToInt(Integer::intValue).sum();
  }

  /** Writes what becomes of requests. */
  private final class Results implements Crew.Results {
    private final Progress progress;
    private final int all;

    Results(Progress progress, int all) {
      this.progress = progress;
      this.all = all;
    }

    @Override
    public void made(Worker worker, ImageRequest request, ImageResult result) {
      if (diskFailure.get() != null) {
        return;
      }
      try {
        folder.add(request, result.image().orElseThrow(), row(worker, request, result));
        written.merge(worker.device(), 1, Integer::sum);
        progress.note(SampleJob.this.made() + "/" + all + " pictures");
      } catch (IOException e) {
        diskFailure.compareAndSet(null, e);
      } catch (RuntimeException | Error e) { // as where Java's heap does not hold the PNG
        failed(request, request.id().orElseThrow() + ": the picture could not be written: " + e);
      }
    }

    @Override
    public void failed(ImageRequest request, String reason) {
      if (diskFailure.get() != null) {
        return;
      }
      failed.incrementAndGet();
      LOG.error("{}", reason);
      try {
        folder.addRow(folder.row(request).putNull("file").put("error", reason));
      } catch (IOException e) {
        diskFailure.compareAndSet(null, e);
      }
    }
  }

  private ObjectNode row(Worker worker, ImageRequest request, ImageResult result)
      throws IOException {
    ObjectNode row = folder.row(request);
    row.put("seconds", rounded(result.samplingSeconds()))
        .put("waiting_seconds", rounded(result.waitingSeconds()))
        .put("decoding_seconds", rounded(result.decodingSeconds()))
        .put("forwards", result.forwards())
        .put("tiles", result.tiles())
        .put("decode_retried", result.decodeRetried())
        .put("backend", worker.pipeline().backend());
    if (devices.size() > 1) {
      row.put("device", worker.device());
    }
    return row;
  }

  private static double rounded(double seconds) {
    return Math.round(seconds * 1e4) / 1e4;
  }
}
