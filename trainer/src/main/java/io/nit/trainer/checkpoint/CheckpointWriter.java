package io.nit.trainer.checkpoint;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes checkpoints beside the steps: a step waits for the copy to host memory, and a thread of
 * this writes the copy. One is written at a time; the next one waits for it. Of several processes
 * rank 0 writes, and all save at the same steps.
 *
 * <p>Owns its snapshot until {@link #close}, which waits for the checkpoint that is being written
 * and may be called twice. For one thread.
 */
public final class CheckpointWriter implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointWriter.class);

  private final CheckpointStore store;
  private final ModelFile description;
  private final Snapshot snapshot;
  private final boolean writes;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread writer = new Thread(task, "checkpoint-writer");
            writer.setDaemon(true);
            return writer;
          });
  private Future<Path> writing; // null if there is none
  private boolean closed;

  /**
   * A writer that has nothing to do yet.
   *
   * @param description what the weights files say of themselves
   * @param snapshot of what is trained; closed with this
   * @param writes whether this process is the one that writes
   */
  public CheckpointWriter(
      CheckpointStore store, ModelFile description, Snapshot snapshot, boolean writes) {
    this.store = store;
    this.description = description;
    this.snapshot = snapshot;
    this.writes = writes;
  }

  /**
   * Copies what is trained and begins to write it.
   *
   * @throws IOException if the checkpoint before could not be written, or a process is gone
   */
  public void save(TrainingState state) throws IOException {
    finish();
    snapshot.take();
    if (writes) {
      Snapshot.Values copy = snapshot.values();
      writing = thread.submit(() -> store.save(copy, description, state));
    }
  }

  /**
   * Throws what kept the last checkpoint from being written, if that is known by now; never waits.
   */
  public void report() throws IOException {
    if (writing != null && writing.isDone()) {
      finish();
    }
  }

  /**
   * Waits until the last checkpoint is on the disk.
   *
   * @throws IOException if it could not be written; earlier ones stay
   */
  public void finish() throws IOException {
    if (writing == null) {
      return;
    }
    try {
      Path written = writing.get();
      LOG.debug("checkpoint {}", written);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException)
          new InterruptedIOException("interrupted while a checkpoint was written").initCause(e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof IOException io) {
        throw io;
      }
      throw new IllegalStateException("writing a checkpoint failed: " + cause.getMessage(), cause);
    } finally {
      writing = null;
    }
  }

  /** Waits for the thread and frees the snapshot; a failure that nobody asked for is logged. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      finish();
    } catch (IOException | RuntimeException e) {
      LOG.error("{}", e.getMessage());
    }
    thread.shutdown();
    snapshot.close();
  }
}
