/**
 * The safetensors format: a reader that maps tensor by tensor and trusts nothing in the file, its
 * sharded form, and an atomic writer. {@link io.nit.core.safetensors.TensorSource#open} takes a
 * file, an index or a folder.
 */
package io.nit.core.safetensors;
