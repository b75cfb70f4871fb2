package io.nit.trainer.dist;

/** Told which elements of the flat gradient a backward has finished, as soon as it has. */
@FunctionalInterface
public interface GradientReady {
  void ready(long fromElement, long toElement);
}
