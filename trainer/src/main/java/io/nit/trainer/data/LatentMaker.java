package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import java.io.IOException;
import java.util.concurrent.CancellationException;

/** Makes the latent files of one process' share of the pictures. */
interface LatentMaker {
  /** Pictures of the share. */
  int pictures();

  /**
   * Makes the files that are not there yet.
   *
   * @throws CancellationException if {@code stop} was requested before the end; what is under way
   *     is finished first
   * @throws IOException if a file cannot be written
   */
  void run(StopSignal stop, Progress progress) throws IOException;

  /** Latent files written. */
  int written();

  /** Latent files that were there already. */
  int found();
}
