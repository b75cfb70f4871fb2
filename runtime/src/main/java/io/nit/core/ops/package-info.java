/** Names, inputs and attributes of our graph nodes ({@link io.nit.core.ops.NitOps}). */
package io.nit.core.ops;
