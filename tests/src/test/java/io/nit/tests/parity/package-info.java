/**
 * The same weights through every implementation of the forward: the exported file in ONNX Runtime,
 * the trainer's model on libtorch, and the authors' golden numbers.
 */
package io.nit.tests.parity;
