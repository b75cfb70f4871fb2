package io.nit.core.trt;

import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.Closing;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * All plans of a file, opened beside one another: each is read from the disk and copied to the
 * device on a thread of its own. They share one runtime of TensorRT, so that the plugins' library
 * is loaded once. Safe to close twice, after all that uses the plans.
 *
 * <p>While they are opened, the bytes of all plans lie in host memory at once, each until TensorRT
 * has made an engine of it: as much host memory has to be free as the file is long.
 */
public final class TensorRtPlans implements AutoCloseable {
  private final PlanRuntime runtime;
  private final List<TensorRtPlan> plans;

  private TensorRtPlans(PlanRuntime runtime, List<TensorRtPlan> plans) {
    this.runtime = runtime;
    this.plans = plans;
  }

  /**
   * Opens the plans of a file. One that its manifest calls version-compatible may bring its own
   * runtime.
   *
   * @param plugins the library of the plugins that the plans hold, if they hold any
   * @param device the GPU's number
   * @return the plans, which the caller closes
   * @throws IOException if the file or its manifest cannot be read
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library or a plan
   */
  public static TensorRtPlans open(PlanFile file, Optional<PluginLibrary> plugins, int device)
      throws IOException, TensorRtException {
    return open(file, plugins, device, TensorRtPlan.bringsRuntime(file.file()));
  }

  /**
   * Opens the plans of a file that may have no manifest.
   *
   * @param plugins the library of the plugins that the plans hold, if they hold any
   * @param device the GPU's number
   * @param hostCode whether TensorRT may run the lean runtime that a version-compatible plan holds
   * @return the plans, which the caller closes
   * @throws IOException if the file cannot be read
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library or a plan
   */
  public static TensorRtPlans open(
      PlanFile file, Optional<PluginLibrary> plugins, int device, boolean hostCode)
      throws IOException, TensorRtException {
    PlanRuntime runtime = PlanRuntime.open(plugins, device, hostCode);
    try {
      List<Together.Task<TensorRtPlan>> tasks = new ArrayList<>();
      for (int i = 0; i < file.parts().size(); i++) {
        int part = i;
        tasks.add(
            () -> {
              Gpu.open(device); // of this thread
              return TensorRtPlan.on(runtime, file, part);
            });
      }
      return new TensorRtPlans(runtime, Together.run(tasks, TensorRtPlan::close));
    } catch (IOException | TensorRtException | RuntimeException | Error e) {
      runtime.close();
      throw e;
    }
  }

  /** The plans in the file's order, which belong to this. */
  public List<TensorRtPlan> plans() {
    return plans;
  }

  @Override
  public void close() {
    Closing.all(() -> Closing.each(plans, TensorRtPlan::close), runtime::close);
  }
}
