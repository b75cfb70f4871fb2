/**
 * What a training run reports while it runs: {@code metrics.jsonl}, TensorBoard event files and
 * {@code loss.png}, all behind {@link io.nit.trainer.metrics.MetricsLog}.
 */
package io.nit.trainer.metrics;
