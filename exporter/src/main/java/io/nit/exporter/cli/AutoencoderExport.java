package io.nit.exporter.cli;

import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.verify.AutoencoderVerifier;
import io.nit.exporter.verify.Verification;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.function.LongConsumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** An autoencoder on its way into a folder: opened and checked, then written, then verified. */
final class AutoencoderExport implements AutoCloseable {
  static final String ENCODER_FILE = "encoder.onnx";
  static final String DECODER_FILE = "decoder.onnx";
  static final String DECODER_F32_FILE = "decoder-f32.onnx";

  /** Every file that an export may leave. */
  static final List<String> FILES =
      List.of(
          ENCODER_FILE,
          ENCODER_FILE + ".data",
          DECODER_FILE,
          DECODER_FILE + ".data",
          DECODER_F32_FILE);

  /**
   * Bytes of weights above which they get a file of their own. Inside the ONNX file they stand in
   * memory several times over when it is checked and loaded; beside it they are mapped.
   */
  static final long EXTERNAL_DATA_ABOVE = 100_000_000;

  private static final Logger LOG = LoggerFactory.getLogger(AutoencoderExport.class);

  private final AutoencoderOptions options;
  private final DcAeSpec spec;
  private final TensorSource weights;
  private final DcAeGraph encoder;
  private final DcAeGraph decoder;

  private AutoencoderExport(AutoencoderOptions options, DcAeSpec spec, TensorSource weights) {
    this.options = options;
    this.spec = spec;
    this.weights = weights;
    DcAeConfig config = spec.config();
    this.encoder = new DcAeGraph(config, Part.ENCODER, options.storage(), DType.F32);
    this.decoder = new DcAeGraph(config, Part.DECODER, options.storage(), options.compute());
  }

  /**
   * Opens the autoencoder's folder, and hashes its weights.
   *
   * @return the export, which the caller closes
   * @throws IllegalArgumentException if its config is of another family, or naming every tensor
   *     that does not fit the config
   * @throws IOException if a file is missing, malformed or cannot be read
   */
  static AutoencoderExport open(AutoencoderOptions options) throws IOException {
    DcAeFolder source = DcAeFolder.open(options.folder());
    TensorSource weights = source.openWeights();
    try {
      AutoencoderExport export = new AutoencoderExport(options, source.spec(), weights);
      LOG.info(
          "{}: {}, {} parameters",
          options.folder(),
          export.spec.describe(),
          DcAeTensors.parameters(source.config()));
      if (options.compute() == DType.F16) {
        LOG.warn(
            "--autoencoder-compute f16: half precision ends at 65504, and a decoder whose"
                + " activations pass it gives NaN; such pictures are decoded again by {}, which"
                + " computes in single precision and costs its time and memory on top",
            DECODER_F32_FILE);
      }
      return export;
    } catch (IOException | RuntimeException e) {
      weights.close();
      throw e;
    }
  }

  /** What it is, with the hash of its weights. */
  DcAeSpec spec() {
    return spec;
  }

  /** Its folder's name, without the path to it. */
  String name() {
    return options.folder().toAbsolutePath().normalize().getFileName().toString();
  }

  /** Bytes of weights to write. */
  long weightBytes() {
    return (options.encodes() ? encoder.weightBytes() : 0) + decoder.weightBytes();
  }

  /** Names and types of the files. */
  AutoencoderFiles files() {
    return new AutoencoderFiles(
        options.encodes() ? Optional.of(ENCODER_FILE) : Optional.empty(),
        DECODER_FILE,
        options.compute() == DType.F32 ? Optional.empty() : Optional.of(DECODER_F32_FILE),
        options.storage(),
        options.compute());
  }

  /**
   * Writes the files to the staging folder.
   *
   * @return every file, data files before those that use them
   */
  List<Path> write(BundleFolder folder, LongConsumer progress) throws IOException {
    List<Path> written = new ArrayList<>();
    boolean second = options.compute() != DType.F32;
    if (options.encodes()) {
      OnnxFile encoded =
          folder.write(encoder, weights, ENCODER_FILE, EXTERNAL_DATA_ABOVE, progress);
      encoded.data().ifPresent(written::add);
      written.add(encoded.model());
    }
    // Two decoders have one set of weights, which lies beside them then.
    OnnxFile decoded =
        folder.write(decoder, weights, DECODER_FILE, second ? 0 : EXTERNAL_DATA_ABOVE, progress);
    decoded.data().ifPresent(written::add);
    written.add(decoded.model());
    if (second) {
      DcAeGraph single = new DcAeGraph(spec.config(), Part.DECODER, options.storage(), DType.F32);
      written.add(decoded.share(single, folder.staging().resolve(DECODER_F32_FILE)).model());
    }
    return written;
  }

  /**
   * Compares the files in a folder with the plain Java reference.
   *
   * @throws CancellationException if the stop was asked for, soon after that
   */
  List<Verification> verify(Path folder, StopSignal stop) throws IOException, EngineException {
    LOG.info("comparing the autoencoder with the plain Java reference");
    return AutoencoderVerifier.verify(
        folder, spec, files(), weights, () -> WeightProgress.requireGoOn(stop));
  }

  @Override
  public void close() throws IOException {
    weights.close();
  }
}
