/**
 * Names, types, shapes and host values of tensors, the 16-bit float conversions, and the list of
 * every tensor that a NiT checkpoint has ({@link io.nit.core.tensor.NitTensors}).
 */
package io.nit.core.tensor;
