package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/** What an engine is built from: the model of a bundle, or a half of its autoencoder. */
sealed interface EngineSource permits ModelSource, AutoencoderSource {
  /** Type of the engine's arithmetic. */
  DType precision();

  /** What the engine computes, and in which sizes. */
  EngineSubject subject(BuildOptions options);

  /** What the source is known by; empty if its folder does not tell. */
  Optional<String> hash();

  /**
   * The library that the engine needs, if it needs one.
   *
   * @throws EngineException if it is not there
   */
  Optional<PluginLibrary> plugins() throws IOException, EngineException;

  /** Writes the network for TensorRT. */
  TrtNetwork write(Path target) throws IOException;

  /**
   * Compares the engine of a folder with the source.
   *
   * @param device the GPU
   * @param into takes the results
   * @throws EngineException if the engine does not load or run
   * @throws IOException also if it is too far off
   */
  void verify(Path folder, int device, ArrayNode into) throws IOException, EngineException;
}
