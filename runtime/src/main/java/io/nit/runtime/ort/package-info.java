/**
 * The ONNX Runtime backends, {@code ort-cpu} and {@code ort-cuda}. The model file is read by ONNX
 * Runtime itself, from its path, so that weights may lie in an external data file beside it; our
 * own graph nodes run as the local functions that the file brings along, but for attention on CUDA,
 * which is ONNX Runtime's kernel for packed sequences ({@code -Dnit.ort.attention=function} for the
 * local function there too). Where a graph is changed for that, its weights stay in the file, and
 * ONNX Runtime takes them from there.
 *
 * <p>The native library is looked for in this order:
 *
 * <ol>
 *   <li>the folder that {@code -Donnxruntime.native.path=DIR} names;
 *   <li>the first folder of {@code java.library.path} (where {@code LD_LIBRARY_PATH} leads) that
 *       holds a CUDA build whole: libonnxruntime, libonnxruntime4j_jni,
 *       libonnxruntime_providers_shared and libonnxruntime_providers_cuda;
 *   <li>ONNX Runtime's jar, from which it is unpacked to a temporary folder.
 * </ol>
 *
 * CUDA's own libraries are taken from JavaCPP's jars where they are on the class path, else from
 * the library path. Its telemetry is switched off; with {@code ORT_DISABLE_TELEMETRY=1} in the
 * environment it never starts.
 */
package io.nit.runtime.ort;
