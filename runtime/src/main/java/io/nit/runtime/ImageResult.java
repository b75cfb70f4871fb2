package io.nit.runtime;

import io.nit.core.image.RgbImage;
import java.util.Optional;

/**
 * A finished request.
 *
 * @param request what was asked for
 * @param image the picture; empty if the bundle has no codec
 * @param latent [C, latentHeight, latentWidth], as the codec takes it
 * @param latentHeight latent pixels
 * @param latentWidth latent pixels
 * @param forwards forwards of the model it took part in
 * @param waitingSeconds from the submit until it joined a pack
 * @param beginningSeconds of {@code samplingSeconds}, until its first step was begun: starting
 *     noise, rotary tables, what the model computes ahead; where latents go over the host a step is
 *     over once it is begun, and that one is in it
 * @param samplingSeconds from when it joined a pack until its latent was done; others shared that
 *     time
 * @param handingSeconds from then until its decode began, behind others'
 * @param decodingSeconds decoding of the latent to bytes; those decoded with it share that time
 * @param tiles tiles that the picture was decoded in; 1 for one decoded whole, 0 without a picture
 * @param decodeRetried whether the picture came out with NaN or infinity first and was decoded
 *     again in single precision
 */
public record ImageResult(
    ImageRequest request,
    Optional<RgbImage> image,
    float[] latent,
    int latentHeight,
    int latentWidth,
    int forwards,
    double waitingSeconds,
    double beginningSeconds,
    double samplingSeconds,
    double handingSeconds,
    double decodingSeconds,
    int tiles,
    boolean decodeRetried) {}
