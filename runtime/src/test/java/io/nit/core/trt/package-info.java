/** Tests of TensorRT's surroundings that need none. */
package io.nit.core.trt;
