/** Tests of the TensorRT backend on machines without a GPU. */
package io.nit.runtime.trt;
