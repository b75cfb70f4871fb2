package io.nit.exporter.cli;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.cli.StopSignal;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.FileTree;
import io.nit.core.trt.TensorRtException;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * The temporary folder that a command makes its engines in, one after the other. TensorRT cannot be
 * stopped at its work: a signal removes what is half made and ends the process, wherever it is.
 */
final class EngineFolder {
  /** A folder that is written to at the time may need more than one. */
  private static final int TRIES = 100;

  private Path plan; // guarded by this; the engine that is being made, or null
  private Path folder; // guarded by this
  private boolean written; // guarded by this
  private boolean stopped; // guarded by this

  /** Takes the process' signals over. */
  static EngineFolder install() {
    EngineFolder made = new EngineFolder();
    StopSignal.endAtOnce(made::stop);
    return made;
  }

  /** Makes an engine in an empty folder, and ends with {@link #complete}. */
  interface Making {
    void in(Path folder) throws IOException, EngineException, TensorRtException;
  }

  /**
   * Makes an engine; the folder is removed afterwards with what is still in it.
   *
   * @param made the file that it will be; the folder lies beside it
   * @throws EngineException if it is thrown, or TensorRT fails
   * @throws IOException if it is thrown, or the folder cannot be made or removed
   */
  void make(Path made, Making making) throws IOException, EngineException {
    Path empty = begin(made);
    try {
      making.in(empty);
    } catch (TensorRtException e) {
      throw new EngineException(e.getMessage(), e);
    } finally {
      end();
    }
  }

  private synchronized Path begin(Path made) throws IOException {
    awaitEnd();
    Path parent = made.toAbsolutePath().getParent();
    Files.createDirectories(parent);
    folder = Files.createTempDirectory(parent, "." + made.getFileName() + ".tmp-");
    plan = made;
    return folder;
  }

  /** Moves the engine into place and writes its manifest; a signal comes before or after that. */
  synchronized void complete(Path made, EngineManifest manifest) throws IOException {
    awaitEnd();
    Files.move(made, plan, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    manifest.write(plan.toAbsolutePath().getParent());
    written = true;
    plan = null;
  }

  private synchronized void end() throws IOException {
    awaitEnd();
    plan = null;
    Path old = folder;
    folder = null;
    FileTree.delete(old);
  }

  /** After a signal whatever the threads at work come to is nobody's any more. */
  private void awaitEnd() {
    while (stopped) {
      try {
        wait();
      } catch (InterruptedException e) {
        // The process ends all the same.
      }
    }
  }

  private synchronized void stop() {
    stopped = true;
    for (int i = 0; folder != null && Files.exists(folder) && i < TRIES; i++) {
      try {
        FileTree.delete(folder);
      } catch (IOException | UncheckedIOException e) {
        // Something was made or removed in it at the same time.
      }
    }
    AtomicFile.abandonAll();
    System.err.println(
        !written
            ? "stopped; nothing was written"
            : plan == null ? "stopped" : "stopped; " + plan + " was not written");
  }
}
