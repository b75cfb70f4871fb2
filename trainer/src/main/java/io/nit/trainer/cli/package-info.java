/**
 * The command {@code nit-train}: {@link io.nit.trainer.cli.Train} trains, its subcommands prepare
 * data sets.
 */
package io.nit.trainer.cli;
