/**
 * From an exported model to a TensorRT engine: the ONNX file is laid out anew for TensorRT ({@link
 * io.nit.exporter.trt.TrtModel}), and built into a plan ({@link
 * io.nit.exporter.trt.EngineBuilder}), or its weights are put into one ({@link
 * io.nit.exporter.trt.EngineRefitter}).
 */
package io.nit.exporter.trt;
