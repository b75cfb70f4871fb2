package io.nit.exporter.trt;

import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.OnnxFile;
import java.util.List;
import java.util.Map;

/** A network as TensorRT's parser takes it, with what {@link EngineBuilder} must know of it. */
public sealed interface TrtNetwork permits TrtModel, TrtAutoencoder {
  /** The ONNX files for TensorRT, a plan each; the main one first. */
  List<OnnxFile> files();

  /** Type of the arithmetic. */
  DType precision();

  /** How many nodes of each plugin it holds. */
  Map<String, Integer> plugins();

  /**
   * The sizes of a file's inputs, a profile each; the smallest first.
   *
   * @param file which of {@link #files}
   */
  List<InputSizes> profiles(int file, BuildOptions options);
}
