package io.nit.testing;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
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

  /**
   * Writes the bundle of a model file that is there, with its data file where it has one.
   *
   * @param model an ONNX file with weights in single precision
   * @return the bundle, in the file's folder
   */
  public static Bundle write(Path model, NitConfig config, int maxTokens) throws IOException {
    List<Bundle.FileEntry> files = new ArrayList<>();
    files.add(Bundle.describe(model));
    Path data = model.resolveSibling(model.getFileName() + ".data");
    if (Files.exists(data)) {
      files.add(Bundle.describe(data));
    }
    Bundle bundle =
        of(model.getParent(), config, model.getFileName().toString(), "F32", maxTokens, files);
    bundle.write();
    return bundle;
  }
}
