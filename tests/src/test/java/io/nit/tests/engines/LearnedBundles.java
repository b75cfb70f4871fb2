package io.nit.tests.engines;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Bundles of a model and a DC-AE, from weights that need no file. */
public final class LearnedBundles {
  private static final long EXTERNAL_DATA_ABOVE = 100_000_000;

  private LearnedBundles() {}

  /**
   * Writes one.
   *
   * @param folder where to, made if need be
   * @param storage type that all weights are stored in
   * @param encodes whether it has an encoder
   */
  public static Bundle write(
      Path folder,
      NitConfig model,
      TensorSource modelWeights,
      DcAeConfig autoencoder,
      TensorSource autoencoderWeights,
      DType storage,
      int maxTokens,
      boolean encodes)
      throws IOException {
    List<OnnxFile> files = new ArrayList<>();
    files.add(
        OnnxFile.write(
            new NitGraph(model, storage),
            modelWeights,
            folder.resolve("model.onnx"),
            EXTERNAL_DATA_ABOVE,
            bytes -> {}));
    for (Part part : encodes ? List.of(Part.DECODER, Part.ENCODER) : List.of(Part.DECODER)) {
      files.add(
          OnnxFile.write(
              new DcAeGraph(autoencoder, part, storage, DType.F32),
              autoencoderWeights,
              folder.resolve(part.key() + ".onnx"),
              EXTERNAL_DATA_ABOVE,
              bytes -> {}));
    }
    List<Bundle.FileEntry> entries = new ArrayList<>();
    for (OnnxFile file : files) {
      entries.add(Bundle.describe(file.model()));
      if (file.data().isPresent()) {
        entries.add(Bundle.describe(file.data().get()));
      }
    }
    Bundle bundle =
        new Bundle(
            folder,
            model,
            "model.onnx",
            storage.name(),
            NitGraph.OPSET,
            Optional.of(new DcAeSpec(autoencoder, Optional.empty())),
            Optional.of(
                new AutoencoderFiles(
                    encodes ? Optional.of("encoder.onnx") : Optional.empty(),
                    "decoder.onnx",
                    Optional.empty(),
                    storage,
                    DType.F32)),
            List.of(),
            maxTokens,
            Bundle.SamplingDefaults.STANDARD,
            entries,
            JsonNodeFactory.instance.arrayNode(),
            JsonNodeFactory.instance.objectNode());
    bundle.write();
    return bundle;
  }
}
