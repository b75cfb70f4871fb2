package io.nit.runtime;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Seeds;
import io.nit.core.flow.Trajectory;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.sample.PackStep;
import io.nit.runtime.sample.PackedSampler;
import io.nit.runtime.sample.RopeChoice;
import io.nit.runtime.sample.SampledImage;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Continuous batching: every tick runs one pack of all images under way and moves each on; when one
 * is done, the requests that wait longest take its place as far as the token budget goes. Requests
 * are served in the order they came in, so none waits for ever.
 *
 * <p>Where the sampler lets a step begin before the one before it is over, the next is begun first,
 * so that the device need not wait for what is done with the last.
 */
final class SamplingLoop implements Runnable {
  private static final Logger LOG = LoggerFactory.getLogger(SamplingLoop.class);

  private final PackedSampler sampler;
  private final NitConfig config;
  private final int maxTokens;
  private final int maxTickets;
  private final Consumer<Ticket> decode;
  private final Deque<Ticket> waiting = new ArrayDeque<>(); // guarded by this
  private final List<Ticket> active = new ArrayList<>();
  private final Deque<Step> underWay = new ArrayDeque<>(); // begun, not yet waited for
  private boolean closing; // guarded by this
  private Throwable failure; // guarded by this; what ended the pipeline, if it was not closed
  private PipelineStats stats = PipelineStats.NONE; // guarded by this
  private long images;
  private long busyNanos;
  private long waitingNanos;
  private long activeTokens;

  /** A step and the tickets of its images, in their order. */
  private record Step(PackStep pack, List<Ticket> tickets, int[] before) {}

  /**
   * A loop over a sampler.
   *
   * @param maxImages images of one forward; an image that is guided counts twice, and all are taken
   *     to be
   * @param decode takes a ticket whose latent is done; may wait until it has room
   */
  SamplingLoop(
      PackedSampler sampler,
      NitConfig config,
      int maxTokens,
      int maxImages,
      Consumer<Ticket> decode) {
    this.sampler = sampler;
    this.config = config;
    this.maxTokens = maxTokens;
    this.maxTickets = Math.max(1, maxImages / 2);
    this.decode = decode;
  }

  /** Queues a ticket. */
  synchronized void add(Ticket ticket) {
    if (closing) {
      throw failure == null
          ? new IllegalStateException("NitPipeline: used after close")
          : new IllegalStateException("NitPipeline: it ended with " + failure, failure);
    }
    waiting.add(ticket);
    notifyAll();
  }

  /** Makes {@link #run} end after the forward it is in. */
  synchronized void close() {
    closing = true;
    notifyAll();
  }

  /** {@link #close} after a failure elsewhere, which ends what is not done. */
  synchronized void end(Throwable why) {
    if (!closing) {
      failure = why;
    }
    close();
  }

  /** What ended the pipeline by itself; empty while it runs, and if it was closed. */
  synchronized Optional<Throwable> failure() {
    return Optional.ofNullable(failure);
  }

  synchronized PipelineStats stats() {
    return stats;
  }

  @Override
  public void run() {
    try {
      while (awaitWork()) {
        tick();
      }
    } catch (InterruptedException e) {
      LOG.debug("the sampling thread was interrupted", e);
    } catch (RuntimeException | Error e) {
      synchronized (this) {
        failure = e;
      }
      throw e;
    } finally {
      abandon();
    }
  }

  private void tick() {
    long start = System.nanoTime();
    active.removeIf(this::gone);
    admit();
    boolean begun = !active.isEmpty() && begin();
    while (!underWay.isEmpty() && (!begun || underWay.size() > sampler.ahead())) {
      settle(underWay.peek());
      underWay.remove(); // only now: where that throws, its requests are ended with the others
    }
    busyNanos += System.nanoTime() - start;
    publish();
  }

  private synchronized void publish() {
    double model = sampler.forwardNanos() * 1e-9;
    double java = Math.max(0, (busyNanos - waitingNanos) * 1e-9 - model);
    stats =
        new PipelineStats(
            images,
            sampler.forwards(),
            sampler.tokens(),
            sampler.paddedTokens(),
            model,
            java,
            0,
            0);
  }

  /** Waits until there is something to do; false when closing. */
  private synchronized boolean awaitWork() throws InterruptedException {
    while (!closing && waiting.isEmpty() && active.isEmpty() && underWay.isEmpty()) {
      wait();
    }
    return !closing;
  }

  /** Whether a ticket's future was cancelled or failed, so that its place is free. */
  private boolean gone(Ticket ticket) {
    if (ticket.future.isDone()) {
      activeTokens -= ticket.forwardTokens;
      return true;
    }
    return false;
  }

  private void admit() {
    while (true) {
      Ticket next;
      synchronized (this) {
        next = waiting.peek();
        if (next == null
            || !next.future.isDone()
                && (activeTokens + next.forwardTokens > maxTokens || active.size() >= maxTickets)) {
          return;
        }
      }
      if (!next.future.isDone()) {
        try {
          begin(next);
        } catch (EngineException | RuntimeException | OutOfMemoryError e) {
          next.fail("it could not be started: " + e.getMessage(), e);
        }
      }
      synchronized (this) {
        waiting.remove(); // nobody else takes the first
      }
    }
  }

  private void begin(Ticket ticket) throws EngineException {
    ImageRequest request = ticket.request;
    int elements = Math.multiplyExact(ticket.h * ticket.w, config.tokenSize());
    ticket.admitted = System.nanoTime();
    ticket.image =
        new SampledImage(
            ticket.h,
            ticket.w,
            ticket.label,
            new RopeChoice(request.ropeMode(), request.ropeReference()),
            new Trajectory(
                request.sampler(),
                request.steps(),
                request.guidance(),
                Seeds.start(request.seed(), elements),
                Seeds.sde(request.seed(), elements)));
    sampler.announce(ticket.image);
    activeTokens += ticket.forwardTokens;
    active.add(ticket);
  }

  /** Begins a step of all that are active; false if it failed, and they with it. */
  private boolean begin() {
    List<Ticket> tickets = List.copyOf(active);
    List<SampledImage> pack = tickets.stream().map(ticket -> ticket.image).toList();
    int[] before = pack.stream().mapToInt(image -> image.trajectory().step()).toArray();
    try {
      underWay.add(new Step(sampler.begin(pack), tickets, before));
    } catch (EngineException | RuntimeException | OutOfMemoryError e) {
      fail(tickets, e);
      return false;
    }
    long begun = System.nanoTime();
    for (Ticket ticket : tickets) {
      if (ticket.begun == 0) {
        ticket.begun = begun;
      }
      if (ticket.image.trajectory().done()) { // the next in line takes its place
        active.remove(ticket);
        activeTokens -= ticket.forwardTokens;
      }
    }
    return true;
  }

  private static void fail(List<Ticket> tickets, Throwable e) {
    LOG.warn("a forward of {} images failed: {}", tickets.size(), e.getMessage());
    tickets.forEach(ticket -> ticket.fail("the forward failed: " + e.getMessage(), e));
  }

  /** Waits for a step, tells of it, and hands on what is done. */
  private void settle(Step step) {
    try {
      step.pack.await();
    } catch (EngineException | RuntimeException | OutOfMemoryError e) {
      fail(step.tickets, e);
      return;
    }
    List<Ticket> done = new ArrayList<>();
    for (int i = 0; i < step.before.length; i++) {
      Ticket ticket = step.tickets.get(i);
      int of = ticket.image.trajectory().steps();
      ticket.forwards++;
      if (ticket.future.isDone()) { // cancelled, or failed at a step begun since
        continue;
      }
      if (!step.pack.finite(i)) {
        ticket.fail(
            "the latent holds NaN or infinity after step " + step.pack.steps(i) + " of " + of,
            null);
        continue;
      }
      if (step.pack.steps(i) > step.before[i]) {
        report(ticket, step.pack.steps(i));
      }
      if (step.pack.done(i) && !ticket.future.isDone()) {
        done.add(ticket);
      }
    }
    images += done.size();
    publish(); // before anyone can learn that an image is done
    long handing = System.nanoTime();
    for (Ticket ticket : done) {
      ticket.sampled = handing;
      decode.accept(ticket);
    }
    waitingNanos += System.nanoTime() - handing;
  }

  private static void report(Ticket ticket, int step) {
    try {
      ticket.listener.step(ticket.request, step, ticket.image.trajectory().steps());
    } catch (RuntimeException e) {
      LOG.warn("a progress listener failed: {}", e.toString());
    }
  }

  /** Ends every request that is not done. */
  private void abandon() {
    List<Ticket> left = new ArrayList<>(active);
    underWay.forEach(
        step -> left.addAll(step.tickets)); // those that are active twice, which is fine
    underWay.clear();
    Throwable why;
    synchronized (this) {
      closing = true;
      why = failure;
      left.addAll(waiting);
      waiting.clear();
    }
    active.clear();
    for (Ticket ticket : left) {
      ticket.abandon("done", why);
    }
  }
}
