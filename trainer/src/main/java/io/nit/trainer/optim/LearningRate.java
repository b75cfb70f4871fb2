package io.nit.trainer.optim;

import java.util.Locale;

/**
 * Learning rate by step: a linear rise over the warm-up, then the schedule down to the last step.
 *
 * @param schedule the shape after the warm-up
 * @param base the rate at the end of the warm-up
 * @param warmup steps of the rise; the first step takes {@code base / warmup}
 * @param steps steps of the whole training, at which cosine and linear reach 0
 */
public record LearningRate(Schedule schedule, double base, long warmup, long steps) {
  /** Shapes. */
  public enum Schedule {
    /** Stays at the base. */
    CONSTANT,
    /** Half a cosine down to 0. */
    COSINE,
    /** A straight line down to 0. */
    LINEAR;

    /** The spelling on command lines. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Checks every value. */
  public LearningRate {
    if (!(base > 0 && Double.isFinite(base))) {
      throw new IllegalArgumentException("--lr: expected above 0, found " + base);
    }
    if (warmup < 0) {
      throw new IllegalArgumentException("--warmup: expected 0 or more, found " + warmup);
    }
    if (steps < 1) {
      throw new IllegalArgumentException("--steps: expected 1 or more, found " + steps);
    }
  }

  /** The rate of a step, counted from 0. */
  public double at(long step) {
    if (step < warmup) {
      return base * (step + 1) / warmup;
    }
    double done = Math.min(1, (step - warmup) / (double) Math.max(1, steps - warmup));
    return switch (schedule) {
      case CONSTANT -> base;
      case COSINE -> base * 0.5 * (1 + Math.cos(Math.PI * done));
      case LINEAR -> base * (1 - done);
    };
  }
}
