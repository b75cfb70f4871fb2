package io.nit.runtime;

/**
 * What a pipeline has done so far.
 *
 * @param images latents finished
 * @param forwards forwards of the model, and of the one that guides it
 * @param tokens tokens that went through them, of images
 * @param paddedTokens tokens of no image that went through them beside those, where a backend
 *     rounds packs up to fewer sizes
 * @param modelSeconds the sampling thread's time inside the model, or waiting for it
 * @param javaSeconds the sampling thread's time outside the model while it had work: packing,
 *     rotary tables, sampler updates, starting noise; where latents stay with the model, it
 *     computes meanwhile
 * @param decodeSeconds the decoding thread's time, which runs beside the others
 * @param retriedDecodes pictures that were decoded again in single precision
 */
public record PipelineStats(
    long images,
    long forwards,
    long tokens,
    long paddedTokens,
    double modelSeconds,
    double javaSeconds,
    double decodeSeconds,
    long retriedDecodes) {
  /** Of a pipeline that has done nothing. */
  static final PipelineStats NONE = new PipelineStats(0, 0, 0, 0, 0, 0, 0, 0);

  /** What two pipelines have done together. */
  public PipelineStats plus(PipelineStats other) {
    return new PipelineStats(
        images + other.images,
        forwards + other.forwards,
        tokens + other.tokens,
        paddedTokens + other.paddedTokens,
        modelSeconds + other.modelSeconds,
        javaSeconds + other.javaSeconds,
        decodeSeconds + other.decodeSeconds,
        retriedDecodes + other.retriedDecodes);
  }

  /** The part of the tokens that went through the models which belong to no image, 0 to 1. */
  public double paddedShare() {
    return paddedTokens == 0 ? 0 : (double) paddedTokens / (tokens + paddedTokens);
  }

  /** With what the decoding thread has done. */
  PipelineStats withDecoding(double seconds, long retried) {
    return new PipelineStats(
        images, forwards, tokens, paddedTokens, modelSeconds, javaSeconds, seconds, retried);
  }
}
