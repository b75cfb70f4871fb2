/**
 * TensorRT as backend: {@link io.nit.runtime.trt.TensorRtEngine} runs a plan that {@code nit-export
 * engine} built. The bindings are optional dependencies, see {@link io.nit.core.trt}.
 */
package io.nit.runtime.trt;
