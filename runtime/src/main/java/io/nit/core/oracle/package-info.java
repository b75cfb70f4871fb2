/**
 * The trainer's forward as whoever checks a file needs it ({@link
 * io.nit.core.oracle.ForwardOracle}), found through {@link java.util.ServiceLoader}: the exporter
 * compares engines with PyTorch's arithmetic where the trainer is on the class path, and never
 * depends on it.
 */
package io.nit.core.oracle;
