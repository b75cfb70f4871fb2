package io.nit.trainer.metrics;

import java.util.ArrayList;
import java.util.List;

/**
 * A number over the steps of a run, kept to a few thousand points however long the run: when the
 * store is full, neighbours are averaged and each point stands for twice as many values.
 */
final class Curve {
  private static final int CAPACITY = 4096;

  private final double[] steps = new double[CAPACITY];
  private final double[] values = new double[CAPACITY];
  private int size;
  private int valuesPerPoint = 1;
  private int pending;
  private double stepSum;
  private double valueSum;

  /** Adds a value; one that is not finite is left out, as no axis can show it. */
  void add(long step, double value) {
    if (!Double.isFinite(value)) {
      return;
    }
    stepSum += step;
    valueSum += value;
    if (++pending < valuesPerPoint) {
      return;
    }
    steps[size] = stepSum / pending;
    values[size] = valueSum / pending;
    size++;
    pending = 0;
    stepSum = 0;
    valueSum = 0;
    if (size == CAPACITY) {
      for (int i = 0; i < CAPACITY / 2; i++) {
        steps[i] = (steps[2 * i] + steps[2 * i + 1]) / 2;
        values[i] = (values[2 * i] + values[2 * i + 1]) / 2;
      }
      size = CAPACITY / 2;
      valuesPerPoint *= 2;
    }
  }

  int size() {
    return size;
  }

  List<Double> steps() {
    return boxed(steps);
  }

  List<Double> values() {
    return boxed(values);
  }

  /**
   * Running mean with weights that fall by a factor of e every {@code points} points; the start is
   * not biased towards 0.
   */
  List<Double> smoothed(double points) {
    double keep = Math.exp(-1 / points);
    double sum = 0;
    double weight = 0;
    List<Double> smooth = new ArrayList<>(size);
    for (int i = 0; i < size; i++) {
      sum = keep * sum + values[i];
      weight = keep * weight + 1;
      smooth.add(sum / weight);
    }
    return smooth;
  }

  private List<Double> boxed(double[] from) {
    List<Double> list = new ArrayList<>(size);
    for (int i = 0; i < size; i++) {
      list.add(from[i]);
    }
    return list;
  }
}
