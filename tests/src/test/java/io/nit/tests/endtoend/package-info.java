/**
 * The chain as a user runs it: checkpoints exported by {@code nit-export}, bundles served by {@code
 * nit-run} and by applications, in ONNX Runtime and, where exit codes and signals matter, in
 * processes of their own.
 */
package io.nit.tests.endtoend;
