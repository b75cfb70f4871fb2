package io.nit.runtime.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Mismatch;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.trt.PlanNotTakenException;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A plan that {@link PlanCheck} does not refuse, and what is said when it is none after all: its
 * hash is not compared before, as that takes longer than opening it.
 *
 * @param file the plan
 * @param manifest what is said of it
 * @param device number of the GPU that is to run it
 */
record CheckedPlan(Path file, EngineManifest manifest, int device) {
  private EngineManifest.Place place() {
    return EngineManifest.Place.in(file, device);
  }

  /** The line that builds it again. */
  String again() {
    return manifest.again(place());
  }

  /** Opens the plan or the network in it. */
  interface Opening<T> {
    T open() throws IOException, EngineException;
  }

  /**
   * Opens the plan. Where TensorRT does not take it, the failure also tells whether its file is the
   * manifest's and the line that builds it again.
   *
   * @throws EngineException if it is thrown
   * @throws IOException if it is thrown
   */
  <T> T opened(Opening<T> opening) throws IOException, EngineException {
    try {
      return opening.open();
    } catch (EngineException e) {
      if (e.getCause() instanceof PlanNotTakenException) {
        throw new EngineException(e.getMessage() + ". " + told(), e);
      }
      throw e;
    }
  }

  private String told() {
    String hash;
    try {
      hash =
          manifest
              .planDifference(place().bundle())
              .map(Mismatch::toString)
              .orElse("plan.sha256: as expected, the file is whole");
    } catch (IOException e) {
      hash = "plan.sha256: not known: " + e.getMessage();
    }
    return hash + ". " + again();
  }

  /**
   * Refuses an opened plan that is not what the manifest says.
   *
   * @param precision type of its arithmetic; empty if it does not tell
   * @param found what it computes, and in which sizes
   * @throws EngineException naming each field, what was expected and what was found
   */
  void require(Optional<String> precision, EngineSubject found) throws EngineException {
    List<Mismatch> mismatches = manifest.differencesOpened(precision, found);
    if (!mismatches.isEmpty()) {
      throw new EngineException(manifest.refusal(mismatches, place()));
    }
  }
}
