package io.nit.exporter.trt;

import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.OnnxFile;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** A network as TensorRT's parser takes it, with what {@link EngineBuilder} must know of it. */
public sealed interface TrtNetwork permits TrtModel, TrtAutoencoder {
  /** The ONNX files for TensorRT, a plan each, in the order of the engine's file. */
  List<OnnxFile> files();

  /** Type of the arithmetic. */
  DType precision();

  /**
   * How many nodes of each plugin a file holds.
   *
   * @param file which of {@link #files}
   */
  Map<String, Integer> plugins(int file);

  /** Whether a file holds any plugin. */
  default boolean holdsPlugins() {
    return IntStream.range(0, files().size()).anyMatch(file -> !plugins(file).isEmpty());
  }

  /**
   * The sizes of a file's inputs, a profile each; the smallest first.
   *
   * @param file which of {@link #files}
   */
  List<InputSizes> profiles(int file, BuildOptions options);
}
