/**
 * Sampling of packs: images that are under way ({@link io.nit.runtime.sample.SampledImage}) are
 * moved on together, one forward of the model at a time ({@link
 * io.nit.runtime.sample.PackedSampler}), whatever their sizes, steps, samplers and guidance.
 */
package io.nit.runtime.sample;
