package io.nit.testing;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Bundles of a model alone: no codec, no labels, standard defaults. */
public final class PlainBundle {
  private static final int OPSET = 20;

  private PlainBundle() {}

  /**
   * A bundle that is not written yet.
   *
   * @param model name of the ONNX file
   * @param weights the type that its weights are stored in
   * @param files what the manifest lists
   */
  public static Bundle of(
      Path folder,
      NitConfig config,
      String model,
      String weights,
      int maxTokens,
      List<Bundle.FileEntry> files) {
    return new Bundle(
        folder,
        config,
        model,
        weights,
        OPSET,
        Optional.empty(),
        Optional.empty(),
        List.of(),
        maxTokens,
        Bundle.SamplingDefaults.STANDARD,
        files,
        JsonNodeFactory.instance.arrayNode(),
        JsonNodeFactory.instance.objectNode());
  }
}
