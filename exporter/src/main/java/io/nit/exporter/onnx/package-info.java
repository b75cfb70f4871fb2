/**
 * Writes NiT and its autoencoder as ONNX files from config and weights, without tracing. {@link
 * io.nit.exporter.onnx.NitGraph} and {@link io.nit.exporter.onnx.DcAeGraph} lay the networks out,
 * top to bottom as in the papers' figures; {@link io.nit.exporter.onnx.NitFunctions} holds the
 * bodies of our own nodes in standard operators; {@link io.nit.exporter.onnx.OnnxFile} streams
 * graph and weights to disk, checks and renames them.
 *
 * <p>JavaCPP's ONNX classes read, check and infer, but cannot set the string fields of a message,
 * so messages are written in protobuf's wire format ({@link io.nit.exporter.onnx.Message}) under
 * those classes' own field numbers. That is also what lets the weights pass from the mapped
 * checkpoint to the file without a copy in heap.
 */
package io.nit.exporter.onnx;
