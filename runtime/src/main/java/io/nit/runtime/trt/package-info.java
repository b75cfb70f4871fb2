/**
 * TensorRT as backend: {@link io.nit.runtime.trt.TensorRtEngine} runs a plan that {@code nit-export
 * engine} built, and {@link io.nit.runtime.trt.TensorRtAutoencoder} those of an autoencoder's
 * halves, each on a stream of its own. The bindings are optional dependencies, see {@link
 * io.nit.core.trt}.
 */
package io.nit.runtime.trt;
