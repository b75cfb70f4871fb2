package io.nit.tests.endtoend;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.ort.OrtCpuProvider;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.Optional;

/**
 * A backend whose device 1 fails every forward, as a GPU that has fallen off its bus does, and
 * whose device 2 ends the thread that samples, as a library that does not load does.
 */
public final class LostDevice implements EngineProvider {
  private final OrtCpuProvider cpu = new OrtCpuProvider();

  /** Made by the service loader. */
  public LostDevice() {}

  @Override
  public String name() {
    return "lost-device";
  }

  @Override
  public int preference() {
    return BY_NAME_ONLY;
  }

  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    return Optional.empty();
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    VelocityEngine engine = cpu.open(bundle, options);
    return options.device() == 0 ? engine : new Lost(engine, options.device() == 2);
  }

  private record Lost(VelocityEngine engine, boolean ends) implements VelocityEngine {
    @Override
    public String backend() {
      return "lost-device";
    }

    @Override
    public String description() {
      return "lost";
    }

    @Override
    public NitConfig config() {
      return engine.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      if (ends) {
        throw new NoClassDefFoundError("a library's, which the thread's handler prints");
      }
      throw new EngineException("the device is lost");
    }

    @Override
    public void close() {
      engine.close();
    }
  }
}
