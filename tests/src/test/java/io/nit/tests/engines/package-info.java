/** TensorRT engines from a checkpoint to velocities, on machines that have a GPU and TensorRT. */
package io.nit.tests.engines;
