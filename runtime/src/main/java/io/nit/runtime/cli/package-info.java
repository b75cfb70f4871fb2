/**
 * The command {@code nit-run} ({@link io.nit.runtime.cli.Run}): pictures from a bundle, and its
 * subcommands {@code decode} and {@code encode} for latents, {@code forward} and {@code
 * sample-latents} for comparing numbers, and {@code info}.
 */
package io.nit.runtime.cli;
