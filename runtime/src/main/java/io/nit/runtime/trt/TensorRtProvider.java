package io.nit.runtime.trt;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * TensorRT on an NVIDIA GPU, for bundles that hold an engine which fits. Loads nothing of TensorRT
 * for a bundle without an engine.
 */
public final class TensorRtProvider implements EngineProvider {
  private final PlanCheck check;

  /** Made by the service loader. */
  public TensorRtProvider() {
    this(new PlanCheck());
  }

  /** With another machine's check. */
  TensorRtProvider(PlanCheck check) {
    this.check = check;
  }

  @Override
  public String name() {
    return TensorRtEngine.NAME;
  }

  @Override
  public int preference() {
    return 30;
  }

  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    try {
      Choice choice = choose(bundle, options);
      return choice.fitting.isPresent() ? Optional.empty() : Optional.of(choice.refusal);
    } catch (IOException e) {
      return Optional.of("its engine cannot be read: " + e.getMessage());
    }
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    Choice choice = choose(bundle, options);
    if (choice.fitting.isEmpty()) {
      throw new EngineException(choice.refusal);
    }
    Fitting found = choice.fitting.get();
    return TensorRtEngine.open(
        found.plan, found.manifest, new TensorRtEngine.Options(options.device(), true));
  }

  private record Fitting(Path plan, EngineManifest manifest) {}

  private record Choice(Optional<Fitting> fitting, String refusal) {}

  /** The first plan that fits, or why none does. */
  private Choice choose(Bundle bundle, EngineOptions options) throws IOException {
    List<String> refusals = new ArrayList<>();
    for (Path plan : EngineManifest.plansIn(bundle.folder())) {
      EngineManifest manifest = EngineManifest.read(plan);
      Optional<String> refusal =
          check.refusal(
              plan, manifest, bundle.folder(), EngineManifest.modelHash(bundle), options.device());
      if (refusal.isEmpty()) {
        return new Choice(Optional.of(new Fitting(plan, manifest)), "");
      }
      refusals.add(refusal.get());
    }
    return new Choice(
        Optional.empty(),
        refusals.isEmpty()
            ? "no engine in it; nit-export engine " + bundle.folder() + " builds one on a GPU"
            : String.join("; ", refusals));
  }
}
