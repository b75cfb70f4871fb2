package io.nit.trainer.loop;

import java.util.Locale;

/**
 * How a step is computed.
 *
 * @param path which code computes it
 * @param checkpointing whether the fused path keeps only each block's input for the backward, and
 *     computes the block again: a quarter more work, a fraction of the activations' memory
 */
public record StepOptions(Path path, boolean checkpointing) {
  /** The default. */
  public static final StepOptions AUTO = new StepOptions(Path.AUTO, false);

  /** Which code computes a step. */
  public enum Path {
    /** Fused on CUDA where it takes the model, else reference. */
    AUTO,
    /** The written-out backward: on CUDA our kernels in bfloat16, on a CPU plain operations. */
    FUSED,
    /** Autograd over the module, in float32. */
    REFERENCE;

    /** The spelling on command lines. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }

    /**
     * Reads a spelling.
     *
     * @throws IllegalArgumentException if it is none
     */
    public static Path parse(String name) {
      for (Path path : values()) {
        if (path.key().equals(name)) {
          return path;
        }
      }
      throw new IllegalArgumentException(
          "--step: expected one of auto, fused, reference; found '" + name + "'");
    }
  }
}
