package io.nit.core.bundle;

import java.util.Locale;

/** What of a bundle an engine computes. */
public enum EnginePart {
  /** The model's forward. */
  MODEL,
  /** The autoencoder's half from latents to pictures. */
  DECODER,
  /** The autoencoder's half from pictures to latents. */
  ENCODER;

  /** As manifests and command lines spell it. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** What the name of its plan begins with, where no other is asked for. */
  public String planPrefix() {
    return this == MODEL ? "engine" : key();
  }

  /**
   * The part of that spelling.
   *
   * @param where what is read, for messages
   * @throws IllegalArgumentException if there is none; lists the known ones
   */
  public static EnginePart parse(String key, String where) {
    for (EnginePart part : values()) {
      if (part.key().equals(key)) {
        return part;
      }
    }
    throw new IllegalArgumentException(
        where + ": expected model, decoder or encoder, found '" + key + "'");
  }
}
