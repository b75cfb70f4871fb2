/**
 * Our CUDA library, {@code libnit_plugins.so}: finding it ({@link io.nit.core.cuda.PluginLibrary})
 * and calling its kernels ({@link io.nit.core.cuda.NitKernels}); and the object of it that TensorRT
 * tells a build's progress ({@link io.nit.core.cuda.BuildMonitor}). It is built by the module
 * {@code plugins-trt} and needs nothing but the NVIDIA driver; loading it works where there is no
 * GPU.
 *
 * <p>The search, in this order, ends at the first that is there; a file that is there and cannot be
 * used is an error and is not passed over:
 *
 * <ol>
 *   <li>the system property {@code nit.plugins.library}: the path of a file, for a prebuilt library
 *   <li>the class path: {@code io/nit/plugins/linux-x86_64/libnit_plugins.so}, which the jar {@code
 *       nit-plugins-trt} holds. It is unpacked once, under its own hash, into the folder that the
 *       system property {@code nit.cache} names, else {@code $XDG_CACHE_HOME/nit}, else {@code
 *       ~/.cache/nit}
 *   <li>{@code java.library.path}: the first folder that holds {@code libnit_plugins.so}
 * </ol>
 *
 * <p>Which file was taken, its version, the CUDA version it was built with and the GPU
 * architectures it holds code for are read from the file itself, before it is loaded.
 */
package io.nit.core.cuda;
