package io.nit.core.codec;

/**
 * A latent's size in latent pixels.
 *
 * @param h height
 * @param w width
 */
public record LatentSize(int h, int w) {}
