package io.nit.core.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.cuda.PluginLibrary;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.Optional;

/** What a plan is checked against: GPUs, TensorRT and the plugin library of a machine. */
public interface Machine {
  /** Why TensorRT or a GPU cannot be used, or empty if they can. */
  Optional<String> refusal(int device);

  /**
   * The plugin library.
   *
   * @throws FileNotFoundException if there is none; names every place
   * @throws IOException if the one found is not ours
   */
  PluginLibrary plugins() throws IOException;

  /**
   * What plans depend on.
   *
   * @throws TensorRtException if there is no such device
   */
  EngineManifest.Host host(int device, Optional<PluginLibrary> plugins) throws TensorRtException;

  /** The machine that this process runs on. Loads nothing of TensorRT before it is asked. */
  static Machine here() {
    return new Machine() {
      @Override
      public Optional<String> refusal(int device) {
        return TensorRt.refusal(device);
      }

      @Override
      public PluginLibrary plugins() throws IOException {
        return PluginLibrary.find();
      }

      @Override
      public EngineManifest.Host host(int device, Optional<PluginLibrary> plugins)
          throws TensorRtException {
        return Gpu.open(device).host(plugins);
      }
    };
  }
}
