package io.nit.core.cli;

import picocli.CommandLine.Option;

/** Options that every command has (a picocli mixin). */
public final class CommonOptions {
  @Option(
      names = {"-v", "--verbose"},
      description = "Log more to stderr.")
  boolean verbose;

  @Option(names = "--debug", description = "Log everything, and print stack traces of failures.")
  boolean debug;

  @Option(
      names = {"-q", "--quiet"},
      description = "Log warnings only, and show no progress.")
  boolean quiet;

  /** Made by picocli. */
  public CommonOptions() {}

  /** Adds what was given before the command's name. */
  void addAll(CommonOptions before) {
    verbose |= before.verbose;
    debug |= before.debug;
    quiet |= before.quiet;
  }

  /** Whether {@code --quiet} was given. */
  public boolean quiet() {
    return quiet;
  }
}
