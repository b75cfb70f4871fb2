package io.nit.runtime.sample;

import io.nit.core.flow.Trajectory;

/**
 * An image under way.
 *
 * @param h height in tokens
 * @param w width in tokens
 * @param label 0..numClasses-1, or numClasses for the null class
 * @param rope its rotary frequencies
 * @param trajectory its state, [h·w, C, p, p] values
 */
public record SampledImage(int h, int w, long label, RopeChoice rope, Trajectory trajectory) {}
