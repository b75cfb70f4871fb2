package io.nit.core.io;

import java.nio.file.Path;

/** Words of a command line that can be copied into a shell. */
public final class ShellWord {
  private ShellWord() {}

  /** The word itself where a shell takes it as it is, else in quotes. */
  public static String of(String word) {
    return word.matches("[A-Za-z0-9_@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
  }

  /** A path that leads there from any folder. */
  public static String absolute(Path path) {
    return of(path.toAbsolutePath().normalize().toString());
  }
}
