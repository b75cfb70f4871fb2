/**
 * The trainer's forward for checks of exported files ({@link io.nit.trainer.oracle.TorchOracle}):
 * what an engine's errors are measured against is PyTorch's own arithmetic.
 */
package io.nit.trainer.oracle;
