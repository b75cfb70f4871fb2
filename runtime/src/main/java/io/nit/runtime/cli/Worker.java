package io.nit.runtime.cli;

import io.nit.core.codec.CodecException;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.SamplingException;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.Engines;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A device's pipeline in a {@link Crew}, what it has in hand, and whether it is lost. Its mutable
 * part, {@link #feed} aside, is guarded by the crew.
 */
final class Worker {
  private static final Logger LOG = LoggerFactory.getLogger(Worker.class);

  /** A device that is lost fails at once, and would take all that the others could do. */
  private static final int FAILURES = 3;

  private final int device;
  private final NitPipeline pipeline;
  private final boolean onGpu;
  private final AtomicInteger calls = new AtomicInteger();
  private long tokens;
  private int failuresInARow;
  private Throwable lastFailure;
  private Optional<String> lost = Optional.empty();

  /** A worker that has nothing in hand. */
  Worker(int device, NitPipeline pipeline) {
    this.device = device;
    this.pipeline = pipeline;
    this.onGpu = Engines.runsOnGpu(pipeline.backend());
  }

  int device() {
    return device;
  }

  NitPipeline pipeline() {
    return pipeline;
  }

  /** Whether its model runs on a GPU. */
  boolean onGpu() {
    return onGpu;
  }

  /** The most tokens that a request may take of a forward. */
  int mostTokens() {
    return pipeline.rules().maxTokens();
  }

  /**
   * Lets {@code feeder} hand it requests, one call at a time: a request that ends while it is
   * handed over asks for the next, as any thread may, which whoever is at it then does.
   */
  void feed(Consumer<Worker> feeder) {
    if (calls.getAndIncrement() > 0) {
      return;
    }
    int seen;
    do {
      seen = calls.get();
      feeder.accept(this);
    } while (calls.addAndGet(-seen) > 0);
  }

  /**
   * Whether it may have more in hand: a pack under way and one to come.
   *
   * @param alone whether there are no others, for whom requests would be kept back
   */
  boolean hasRoom(boolean alone) {
    return lost.isEmpty() && (alone || tokens < 2L * mostTokens());
  }

  /** Whether a request fits into its forwards. */
  boolean takes(ImageRequest request) {
    return pipeline.rules().forwardTokens(request) <= mostTokens();
  }

  void took(ImageRequest request) {
    tokens += pipeline.rules().forwardTokens(request);
  }

  void gave(ImageRequest request) {
    tokens -= pipeline.rules().forwardTokens(request);
  }

  void succeeded() {
    failuresInARow = 0;
  }

  /**
   * Counts a failure, which may be one too many.
   *
   * @param others whether there are others that take requests
   * @return whether the device may be to blame; else the request is, as one that gives NaN
   */
  boolean failed(Throwable failure, boolean others) {
    Optional<Throwable> end = pipeline.failure();
    if (end.isPresent()) {
      lose("its pipeline ended with " + end.get());
      return true;
    }
    Throwable cause = failure instanceof SamplingException ? failure.getCause() : null;
    if (!(cause instanceof EngineException || cause instanceof CodecException)) {
      return false;
    }
    if (cause != lastFailure) { // the requests of a pack fail together, by one
      lastFailure = cause;
      failuresInARow++;
    }
    if (failuresInARow >= FAILURES && others) {
      lose(FAILURES + " failed in a row, the last with: " + cause.getMessage());
    }
    return true;
  }

  private void lose(String reason) {
    if (lost.isEmpty()) {
      lost = Optional.of(reason);
      LOG.error("device {} takes no more requests: {}", device, reason);
    }
  }

  /** Why it takes no more requests; empty if it does. */
  Optional<String> lost() {
    return lost;
  }
}
