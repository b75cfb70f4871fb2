/** Tests of the graph and of the file it is written to. */
package io.nit.exporter.onnx;
