package io.nit.runtime;

import io.nit.core.codec.DecodedImage;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tokens;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Closing;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Decodes finished latents: the one that waits longest, together with those of its size that wait
 * already, as far as the codec takes them together. Never waits for more to come.
 */
final class DecodingLoop implements Runnable {
  private static final Logger LOG = LoggerFactory.getLogger(DecodingLoop.class);

  /** Latents that may wait; the next one's giver waits too, so that none pile up. */
  static final int MOST_WAITING = 16;

  private final Optional<LatentCodec> codec;
  private final NitConfig config;
  private final Deque<Ticket> waiting = new ArrayDeque<>(); // guarded by this
  private boolean closing; // guarded by this
  private Throwable failure; // guarded by this; what ended the pipeline, if it was not closed
  private long retried; // guarded by this
  private long nanos; // guarded by this

  DecodingLoop(Optional<LatentCodec> codec, NitConfig config) {
    this.codec = codec;
    this.config = config;
  }

  /** Queues a ticket whose latent is done, once there is room. */
  void add(Ticket ticket) {
    if (!queued(ticket)) {
      abandon(ticket);
    }
  }

  private synchronized boolean queued(Ticket ticket) {
    try {
      while (!closing && waiting.size() >= MOST_WAITING) {
        wait();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
    if (!closing) {
      waiting.add(ticket);
      notifyAll();
    }
    return !closing;
  }

  /** {@link #close} after a failure, which ends what is not decoded. */
  void end(Throwable why) {
    synchronized (this) {
      if (!closing) {
        failure = why;
      }
    }
    close();
  }

  /** What ended the pipeline by itself; empty while it runs, and if it was closed. */
  synchronized Optional<Throwable> failure() {
    return Optional.ofNullable(failure);
  }

  /** Ends what waits and what is being decoded, and makes {@link #run} end; frees the codec. */
  void close() {
    synchronized (this) {
      closing = true;
      notifyAll();
    }
    codec.ifPresent(LatentCodec::close);
  }

  /** Decodes that were retried in single precision. */
  synchronized long retried() {
    return retried;
  }

  /** Time spent decoding. */
  synchronized double seconds() {
    return nanos * 1e-9;
  }

  @Override
  public void run() {
    List<Ticket> taken = List.of();
    try {
      Optional<Ticket> oldest = awaitTicket();
      while (oldest.isPresent()) {
        taken = takeWith(oldest.get());
        decode(taken);
        oldest = awaitTicket();
      }
    } catch (InterruptedException e) {
      LOG.debug("the decoding thread was interrupted", e);
    } catch (RuntimeException | Error e) {
      Closing.after(e, () -> end(e));
      throw e;
    } finally {
      List<Ticket> ending = taken; // those that are done stay so
      Closing.all(this::close, () -> ending.forEach(this::abandon), this::abandonWaiting);
    }
  }

  private void abandonWaiting() {
    List<Ticket> left;
    synchronized (this) {
      left = new ArrayList<>(waiting);
      waiting.clear();
    }
    left.forEach(this::abandon);
  }

  /** The ticket that waits longest, left where it is; empty when closing. */
  private synchronized Optional<Ticket> awaitTicket() throws InterruptedException {
    while (!closing && waiting.isEmpty()) {
      wait();
    }
    return closing ? Optional.empty() : Optional.of(waiting.peek());
  }

  /** Takes the ticket that waits longest and others of its size that wait, in their order. */
  private List<Ticket> takeWith(Ticket oldest) {
    int patch = config.patchSize();
    int most =
        codec.map(made -> made.decodeBatchLimit(oldest.h * patch, oldest.w * patch)).orElse(1);
    List<Ticket> taken = new ArrayList<>();
    synchronized (this) {
      Iterator<Ticket> each = waiting.iterator();
      while (each.hasNext() && taken.size() < most) {
        Ticket ticket = each.next();
        if (ticket.future.isDone()) { // cancelled
          each.remove();
        } else if (ticket.h == oldest.h && ticket.w == oldest.w) {
          each.remove();
          taken.add(ticket);
        }
      }
      notifyAll();
    }
    return taken;
  }

  /** Decodes tickets of one size. */
  private void decode(List<Ticket> tickets) {
    if (tickets.isEmpty()) {
      return;
    }
    long start = System.nanoTime();
    double seconds;
    List<float[]> latents = new ArrayList<>();
    List<Optional<DecodedImage>> pictures = new ArrayList<>();
    try {
      int patch = config.patchSize();
      int h = tickets.get(0).h;
      int w = tickets.get(0).w;
      for (Ticket ticket : tickets) {
        double[] x = ticket.image.trajectory().x();
        latents.add(Tokens.unpatchify(x, 0, config.inChannels(), h, w, patch));
      }
      if (codec.isPresent()) {
        codec
            .get()
            .decodeImages(latents, h * patch, w * patch)
            .forEach(picture -> pictures.add(Optional.of(picture)));
      } else {
        latents.forEach(latent -> pictures.add(Optional.empty()));
      }
      seconds = count(start, pictures);
    } catch (RuntimeException | OutOfMemoryError e) {
      count(start, List.of());
      if (tickets.size() == 1) {
        fail(tickets.get(0), e);
      } else {
        // One of them may be to blame, or they are too many for the memory there is.
        LOG.warn(
            "{} latents could not be decoded together, and are decoded one by one: {}",
            tickets.size(),
            e.getMessage());
        tickets.forEach(ticket -> decode(List.of(ticket)));
      }
      return;
    }
    for (int i = 0; i < tickets.size(); i++) {
      complete(tickets.get(i), latents.get(i), pictures.get(i), start, seconds);
    }
  }

  /** Adds to the statistics, before anyone can learn that a picture is done; tells the time. */
  private synchronized double count(long start, List<Optional<DecodedImage>> pictures) {
    long taken = System.nanoTime() - start;
    nanos += taken;
    retried += pictures.stream().flatMap(Optional::stream).filter(DecodedImage::retried).count();
    return taken * 1e-9;
  }

  private void complete(
      Ticket ticket, float[] latent, Optional<DecodedImage> picture, long start, double seconds) {
    ImageRequest request = ticket.request;
    try {
      ticket.future.complete(
          new ImageResult(
              request,
              picture.map(DecodedImage::image),
              latent,
              ticket.h * config.patchSize(),
              ticket.w * config.patchSize(),
              ticket.forwards,
              (ticket.admitted - ticket.submitted) * 1e-9,
              (ticket.begun - ticket.admitted) * 1e-9,
              (ticket.sampled - ticket.admitted) * 1e-9,
              (start - ticket.sampled) * 1e-9,
              seconds,
              picture.map(DecodedImage::tiles).orElse(0),
              picture.map(DecodedImage::retried).orElse(false)));
    } catch (RuntimeException | OutOfMemoryError e) {
      fail(ticket, e);
    }
  }

  private void fail(Ticket ticket, Throwable e) {
    boolean closed;
    synchronized (this) {
      closed = closing;
    }
    if (closed) {
      abandon(ticket); // closing is what ended the decode
    } else {
      ticket.fail("decoding failed: " + e.getMessage(), e);
    }
  }

  private void abandon(Ticket ticket) {
    Throwable why;
    synchronized (this) {
      why = failure;
    }
    ticket.abandon("decoded", why);
  }
}
