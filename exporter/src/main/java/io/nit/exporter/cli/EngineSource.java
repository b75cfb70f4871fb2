package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Machine;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;

/** What an engine is built from: the model of a bundle, or a half of its autoencoder. */
sealed interface EngineSource permits ModelSource, AutoencoderSource {
  /** The bundle's folder, or an exported autoencoder's. */
  Path folder();

  /** Type of the engine's arithmetic. */
  DType precision();

  /** What the engine computes, and in which sizes. */
  EngineSubject subject(BuildOptions options);

  /** What the source is known by; empty if its folder does not tell. */
  Optional<String> hash();

  /**
   * The library that the engine needs, if it needs one.
   *
   * @param machine where it is looked for
   * @throws EngineException if it is not there
   */
  Optional<PluginLibrary> plugins(Machine machine) throws IOException, EngineException;

  /**
   * The options as far as they depend on the GPU.
   *
   * @param computeCapability the GPU's, for example 9.0
   * @param plugins what {@link #plugins} found
   * @param say takes a line about a choice
   * @throws EngineException if something was asked for that the GPU cannot have
   */
  BuildOptions optionsOn(
      BuildOptions options,
      String computeCapability,
      Optional<PluginLibrary> plugins,
      Consumer<String> say)
      throws EngineException;

  /** Writes the network for TensorRT. */
  TrtNetwork write(Path target, BuildOptions options) throws IOException;

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
