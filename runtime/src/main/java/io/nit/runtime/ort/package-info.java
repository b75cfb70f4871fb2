/**
 * The ONNX Runtime backend, {@code ort-cpu}. The model file is read by ONNX Runtime itself, from
 * its path, so that weights may lie in an external data file beside it; our own graph nodes run as
 * the local functions that the file brings along.
 *
 * <p>ONNX Runtime unpacks its native library from its jar to a temporary folder at first use;
 * {@code -Donnxruntime.native.path=DIR} names a folder that has it already. Its telemetry is
 * switched off; with {@code ORT_DISABLE_TELEMETRY=1} in the environment it never starts.
 */
package io.nit.runtime.ort;
