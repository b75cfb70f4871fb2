package io.nit.runtime.cli;

import io.nit.core.io.Closing;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.ProgressListener;
import io.nit.runtime.SamplingException;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One worker a device, which take requests from one queue, so that none waits while there is work.
 * A worker that is lost takes no more; what it held, and what failed where nobody can tell whether
 * the request or the device is to blame, is tried once more on another. Every request ends, as a
 * picture or with a reason, whatever becomes of the workers.
 */
final class Crew implements AutoCloseable {
  /** Takes what becomes of requests, each once, on the workers' threads; throws nothing. */
  interface Results {
    /** A picture. */
    void made(Worker worker, ImageRequest request, ImageResult result);

    /** A request that ends without one. */
    void failed(ImageRequest request, String reason);
  }

  /** A request on its way. */
  private static final class Errand {
    private final ImageRequest request;
    private Worker failedOn; // null if it has not failed; guarded by the crew, as what follows
    private String failure;

    private Errand(ImageRequest request) {
      this.request = request;
    }
  }

  private static final Logger LOG = LoggerFactory.getLogger(Crew.class);

  private final List<Worker> workers = new ArrayList<>();
  private final Map<Integer, String> notOpened = new LinkedHashMap<>();
  private final Deque<Errand> waiting = new ArrayDeque<>(); // guarded by this
  private boolean closing; // guarded by this
  private int lossesSeen; // guarded by this
  private CountDownLatch open;
  private Results results;
  private ProgressListener progress;

  private Crew() {}

  /**
   * Opens a pipeline on every device that takes one; a warning tells of each other one.
   *
   * @return the crew, which the caller closes
   * @throws IOException if a file of the bundle cannot be read
   * @throws EngineException if no device takes one, with each one's reason
   */
  static Crew open(NitPipeline.Builder pipeline, List<Integer> devices)
      throws IOException, EngineException {
    Crew crew = new Crew();
    try {
      crew.openAll(pipeline, devices);
    } catch (IOException | EngineException | RuntimeException | Error e) {
      Closing.after(e, crew::close);
      throw e;
    }
    return crew;
  }

  private void openAll(NitPipeline.Builder pipeline, List<Integer> devices)
      throws IOException, EngineException {
    EngineException first = null;
    for (int device : devices) {
      try {
        workers.add(new Worker(device, pipeline.device(device).open()));
      } catch (EngineException e) {
        first = first == null ? e : first;
        notOpened.put(device, e.getMessage());
      }
    }
    if (workers.isEmpty() && devices.size() == 1) {
      throw first;
    }
    if (workers.isEmpty()) {
      throw new EngineException("no device could be opened: " + told(notOpened), first);
    }
    leaveOutCpus();
    notOpened.forEach(
        (device, reason) ->
            LOG.warn("device {} could not be opened, the others go on: {}", device, reason));
    Map<Integer, String> backends = new TreeMap<>();
    workers.forEach(worker -> backends.put(worker.device(), worker.pipeline().backend()));
    if (Set.copyOf(backends.values()).size() > 1) {
      LOG.warn("pictures may differ a little by the backend that makes them: {}", told(backends));
    }
  }

  /** Beside GPUs one on the CPU, as {@code auto} falls back to, would keep the job for hours. */
  private void leaveOutCpus() {
    List<Worker> slow = workers.stream().filter(worker -> !worker.onGpu()).toList();
    if (slow.size() == workers.size()) {
      return;
    }
    workers.removeAll(slow);
    for (Worker worker : slow) {
      String backend = worker.pipeline().backend();
      notOpened.put(worker.device(), "the model would run on the CPU there (" + backend + ")");
    }
    Closing.each(slow, worker -> worker.pipeline().close());
  }

  private static String told(Map<Integer, String> reasons) {
    return reasons.entrySet().stream()
        .map(one -> "device " + one.getKey() + ": " + one.getValue())
        .collect(Collectors.joining("; "));
  }

  /** The workers, those that were lost included. */
  List<Worker> workers() {
    return workers;
  }

  /** Why a worker takes no more requests; empty if it does. */
  synchronized Optional<String> lost(Worker worker) {
    return worker.lost();
  }

  /** Why devices could not be opened, by their numbers. */
  Map<Integer, String> notOpened() {
    return notOpened;
  }

  /**
   * Checks a request: a model's engine may take fewer tokens than its bundle.
   *
   * @throws IllegalArgumentException as the worker that takes the most tells it, if none takes it
   */
  void check(ImageRequest request) {
    Worker largest = workers.get(0);
    for (Worker worker : workers) {
      largest = worker.mostTokens() > largest.mostTokens() ? worker : largest;
    }
    largest.pipeline().rules().check(request);
  }

  /**
   * Deals requests to the workers, one by one, until each has as many in hand as it may: where they
   * are few, the first would else take all.
   *
   * @param progress hears of every step
   */
  void start(List<ImageRequest> requests, Results to, ProgressListener progress) {
    open = new CountDownLatch(requests.size());
    results = to;
    this.progress = progress;
    synchronized (this) {
      requests.forEach(request -> waiting.add(new Errand(request)));
    }
    boolean taken;
    do {
      taken = false;
      for (Worker worker : workers) {
        Errand next = take(worker);
        if (next != null) {
          submit(worker, next);
          taken = true;
        }
      }
    } while (taken);
  }

  /** Waits for the last request, at most so long; whether all have ended. */
  boolean await(long millis) throws InterruptedException {
    return open.await(millis, TimeUnit.MILLISECONDS);
  }

  private void feedAll() {
    workers.forEach(worker -> worker.feed(this::feed));
  }

  private void feed(Worker worker) {
    for (Errand next = take(worker); next != null; next = take(worker)) {
      submit(worker, next);
    }
  }

  /** The next request for a worker; null if it may have no more in hand or none is left for it. */
  private synchronized Errand take(Worker worker) {
    if (closing || !worker.hasRoom(workers.size() == 1)) {
      return null;
    }
    Iterator<Errand> each = waiting.iterator();
    while (each.hasNext()) {
      Errand next = each.next();
      if (mayTake(worker, next)) {
        each.remove();
        worker.took(next.request);
        return next;
      }
    }
    return null;
  }

  private static boolean mayTake(Worker worker, Errand errand) {
    return errand.failedOn != worker && worker.takes(errand.request);
  }

  private void submit(Worker worker, Errand errand) {
    try {
      worker
          .pipeline()
          .submit(errand.request, progress)
          .whenComplete((result, failure) -> ended(worker, errand, result, failure));
    } catch (RuntimeException | Error e) { // the pipeline has ended since: nobody else would tell
      ended(worker, errand, null, isClosing() ? new CancellationException() : e);
    }
  }

  /** Takes what became of a request at a worker. */
  private void ended(Worker worker, Errand errand, ImageResult result, Throwable failure) {
    boolean again = false;
    try {
      if (result != null) {
        results.made(worker, errand.request, result);
        succeeded(worker);
      } else if (!(failure instanceof CancellationException)) { // that is closing's
        again = failed(worker, errand, failure);
        if (!again) {
          results.failed(errand.request, reason(errand, failure));
        }
      }
    } finally {
      gave(worker, errand);
      if (!again) {
        open.countDown();
      }
      endThoseThatNobodyTakes();
      feedAll();
    }
  }

  private static String reason(Errand errand, Throwable failure) {
    return failure instanceof SamplingException // which names the request
        ? failure.getMessage()
        : errand.request.id().orElseThrow() + ": " + failure;
  }

  private synchronized boolean isClosing() {
    return closing;
  }

  private synchronized void gave(Worker worker, Errand errand) {
    worker.gave(errand.request);
  }

  private synchronized void succeeded(Worker worker) {
    worker.succeeded();
  }

  /** Whether a request that failed was put back, for another worker. */
  private synchronized boolean failed(Worker worker, Errand errand, Throwable failure) {
    boolean others = workers.stream().anyMatch(other -> other != worker && other.lost().isEmpty());
    boolean deviceMayBeToBlame = worker.failed(failure, others);
    boolean tried = failure instanceof SamplingException; // else its submission was refused
    if (closing || !deviceMayBeToBlame || tried && errand.failedOn != null) {
      return false;
    }
    if (tried) {
      errand.failedOn = worker;
      errand.failure = failure.getMessage();
    }
    if (!somebodyTakes(errand)) {
      return false;
    }
    LOG.warn("{}; it goes to another device", reason(errand, failure));
    waiting.addFirst(errand);
    return true;
  }

  private boolean somebodyTakes(Errand errand) {
    return workers.stream().anyMatch(worker -> worker.lost().isEmpty() && mayTake(worker, errand));
  }

  /** Ends requests that only workers took that are lost by now. */
  private void endThoseThatNobodyTakes() {
    List<Errand> left = new ArrayList<>();
    Map<Integer, String> losses = new TreeMap<>(notOpened);
    synchronized (this) {
      workers.forEach(
          worker -> worker.lost().ifPresent(reason -> losses.put(worker.device(), reason)));
      if (closing || losses.size() == lossesSeen) {
        return;
      }
      lossesSeen = losses.size();
      for (Iterator<Errand> each = waiting.iterator(); each.hasNext(); ) {
        Errand errand = each.next();
        if (!somebodyTakes(errand)) {
          each.remove();
          left.add(errand);
        }
      }
    }
    for (Errand errand : left) {
      try {
        String id = errand.request.id().orElseThrow();
        results.failed(
            errand.request,
            errand.failure == null
                ? id + ": no device is left that takes it: " + told(losses)
                : errand.failure);
      } finally {
        open.countDown();
      }
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      closing = true;
    }
    Closing.each(workers, worker -> worker.pipeline().close());
  }
}
