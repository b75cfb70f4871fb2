/** Tests of what is made for TensorRT, as far as they need none. */
package io.nit.exporter.trt;
