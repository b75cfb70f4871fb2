package io.nit.runtime;

/**
 * What a pipeline has done so far.
 *
 * @param images latents finished
 * @param forwards forwards of the model, and of the one that guides it
 * @param tokens tokens that went through them
 * @param modelSeconds time inside the model
 * @param javaSeconds the sampling thread's time outside the model while it had work: packing,
 *     rotary tables, sampler updates, starting noise
 */
public record PipelineStats(
    long images, long forwards, long tokens, double modelSeconds, double javaSeconds) {}
