/** The command {@code nit-export}: reads a checkpoint, writes, verifies and completes a bundle. */
package io.nit.exporter.cli;
