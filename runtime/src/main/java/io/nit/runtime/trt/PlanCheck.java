package io.nit.runtime.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.bundle.PackPlan;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.trt.Machine;
import io.nit.core.trt.PlanFile;
import io.nit.core.trt.TensorRtException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Whether a plan can run on a machine, as far as its manifest tells: TensorRT itself would say
 * less, and only after it has read gigabytes.
 *
 * @param machine what there is
 */
record PlanCheck(Machine machine) {
  /** A check against the machine that this process runs on. */
  PlanCheck() {
    this(Machine.here());
  }

  /**
   * Why a plan cannot run, or empty if it can.
   *
   * @param file the plan
   * @param bundle the folder of the bundle that it is to run
   * @param model hash of the bundle's model; empty if that is not known
   * @throws IOException if a file cannot be read
   */
  Optional<String> refusal(
      Path file, EngineManifest manifest, Path bundle, Optional<String> model, int device)
      throws IOException {
    Optional<String> none = machine.refusal(device);
    if (none.isPresent()) {
      return none;
    }
    Optional<PluginLibrary> plugins = Optional.empty();
    if (manifest.builtOn().plugins().isPresent()) {
      try {
        plugins = Optional.of(machine.plugins());
      } catch (IOException e) { // none, or another than ours
        return Optional.of(file + " needs our plugins: " + e.getMessage());
      }
    }
    try {
      List<EngineManifest.Mismatch> mismatches =
          manifest.mismatches(
              machine.host(device, plugins), file.toAbsolutePath().getParent(), model);
      if (mismatches.isEmpty()) {
        parts(file, manifest).ifPresent(mismatches::add);
      }
      return mismatches.isEmpty()
          ? manifest.needsWeights(file, bundle)
          : Optional.of(
              manifest.refusal(mismatches, new EngineManifest.Place(file, bundle, device)));
    } catch (TensorRtException e) {
      return Optional.of(e.getMessage());
    }
  }

  /** A file with a plan for small packs holds the modulations beside all plans of packs. */
  private static Optional<EngineManifest.Mismatch> parts(Path file, EngineManifest manifest)
      throws IOException {
    if (!(manifest.subject() instanceof EngineSubject.Model)
        || !manifest.packPlans().contains(PackPlan.SMALL)) {
      return Optional.empty();
    }
    int expected = manifest.packPlans().size() + 1;
    int found = PlanFile.read(file).parts().size();
    return found == expected
        ? Optional.empty()
        : Optional.of(
            new EngineManifest.Mismatch(
                "plans in the file", Integer.toString(expected), Integer.toString(found)));
  }
}
