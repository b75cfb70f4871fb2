package io.nit.exporter.cli;

import picocli.CommandLine.Option;

/** Whether to verify what was written, and whether to replace what is there (a picocli mixin). */
final class CheckFlags {
  @Option(
      names = "--verify",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description =
          "Run the files and compare them with a plain Java forward of the checkpoint, and with the"
              + " trainer's where it is on the class path; sample a few steps; fails above"
              + " a relative error of 2e-5, for an autoencoder of 5e-5 of the values' spread."
              + " Default: ${DEFAULT-VALUE}.")
  private boolean verify;

  @Option(names = "--overwrite", description = "Replace an export that is there already.")
  private boolean overwrite;

  /** Whether to compare the files with the reference. */
  boolean verify() {
    return verify;
  }

  /** Whether to replace an export. */
  boolean overwrite() {
    return overwrite;
  }
}
