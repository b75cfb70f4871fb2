/**
 * The command {@code nit-export}: reads a checkpoint, and an autoencoder where one is given,
 * writes, verifies and completes a bundle; {@code nit-export autoencoder} does so for an
 * autoencoder alone.
 */
package io.nit.exporter.cli;
