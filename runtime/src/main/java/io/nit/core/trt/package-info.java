/**
 * TensorRT as builder and runner of engines share it: whether it is there ({@link
 * io.nit.core.trt.TensorRt}), which GPU there is ({@link io.nit.core.trt.Gpu}), and an opened plan
 * ({@link io.nit.core.trt.TensorRtPlan}).
 *
 * <p>The bindings are JavaCPP's, an optional dependency: {@code org.bytedeco:tensorrt} and {@code
 * org.bytedeco:cuda}, each with its JNI jar {@code linux-x86_64}. The libraries that those load
 * (libnvinfer, libnvonnxparser, libcudart, libcublas, libcudnn, libnvrtc) are looked for
 *
 * <ol>
 *   <li>in the jars {@code linux-x86_64-redist} of both, where they are on the class path; JavaCPP
 *       unpacks them once into its cache
 *   <li>on the system's library path, {@code LD_LIBRARY_PATH} first
 * </ol>
 *
 * <p>Nothing is loaded before a backend or a command asks for TensorRT.
 */
package io.nit.core.trt;
