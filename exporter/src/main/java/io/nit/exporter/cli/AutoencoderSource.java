package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Machine;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.TrtAutoencoder;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.exporter.verify.AutoencoderEngineVerifier;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * A half of an autoencoder, for an engine.
 *
 * @param folder the bundle's, or an exported autoencoder's
 * @param part which half
 * @param spec the autoencoder
 * @param files names of its ONNX files in the folder
 * @param entries the files of the folder's manifest
 * @param precision type of the engine's arithmetic
 * @param sizes the pictures of each profile, rising
 */
record AutoencoderSource(
    Path folder,
    EnginePart part,
    DcAeSpec spec,
    AutoencoderFiles files,
    List<Bundle.FileEntry> entries,
    DType precision,
    List<PictureProfile> sizes)
    implements EngineSource {
  /** Checks the sizes. */
  AutoencoderSource {
    TrtAutoencoder.requireSizes(sizes, spec.factor());
  }

  /** Of a bundle with a learned codec. */
  static AutoencoderSource of(
      Bundle bundle, EnginePart part, DType precision, List<PictureProfile> sizes) {
    return new AutoencoderSource(
        bundle.folder(),
        part,
        (DcAeSpec) bundle.codec().orElseThrow(),
        bundle.autoencoder().orElseThrow(),
        bundle.files(),
        precision,
        sizes);
  }

  /** Of an autoencoder that was exported by itself. */
  static AutoencoderSource of(
      AutoencoderBundle bundle, EnginePart part, DType precision, List<PictureProfile> sizes) {
    return new AutoencoderSource(
        bundle.folder(),
        part,
        bundle.codec(),
        bundle.autoencoder(),
        bundle.files(),
        precision,
        sizes);
  }

  private String fileName() {
    return part == EnginePart.ENCODER ? files.encoder().orElseThrow() : files.decoder();
  }

  @Override
  public EngineSubject subject(BuildOptions options) {
    return new EngineSubject.Autoencoder(part, spec.config(), sizes);
  }

  @Override
  public Optional<String> hash() {
    return EngineManifest.hashOf(entries, fileName());
  }

  @Override
  public Optional<PluginLibrary> plugins(Machine machine) {
    return Optional.empty();
  }

  @Override
  public BuildOptions optionsOn(
      BuildOptions options,
      String computeCapability,
      Optional<PluginLibrary> plugins,
      Consumer<String> say) {
    return options;
  }

  @Override
  public TrtNetwork write(Path target, BuildOptions options) throws IOException {
    return TrtAutoencoder.write(
        folder.resolve(fileName()),
        spec.config(),
        part == EnginePart.ENCODER ? DcAeGraph.Part.ENCODER : DcAeGraph.Part.DECODER,
        precision,
        sizes,
        target);
  }

  @Override
  public void verify(Path engines, int device, ArrayNode into) throws IOException, EngineException {
    VerificationResults.take(
        AutoencoderEngineVerifier.verify(
            folder, engines, spec, files, part, precision, sizes, device),
        into);
  }
}
