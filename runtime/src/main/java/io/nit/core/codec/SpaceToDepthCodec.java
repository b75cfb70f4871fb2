package io.nit.core.codec;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;

/**
 * A codec without learned weights: every factor×factor block of pixels becomes the channels of one
 * latent pixel, so nothing is lost. Channel order {@code c·f² + i·f + j}, i the row and j the
 * column inside the block, as torch's {@code pixel_unshuffle}; latent = (pixel - shift)·scale.
 *
 * @param factor block side f
 * @param scale brings pixels to about unit spread
 * @param shift mean pixel value, in [-1, 1]
 */
public record SpaceToDepthCodec(int factor, float scale, float shift)
    implements CodecSpec, LatentCodec {
  /** The name in manifests. */
  public static final String TYPE = "space-to-depth";

  /** Checks the values. */
  public SpaceToDepthCodec {
    if (factor < 1 || factor > 64) {
      throw new IllegalArgumentException("codec factor: expected 1..64, found " + factor);
    }
    if (!(scale > 0 && Float.isFinite(scale) && Float.isFinite(shift))) {
      throw new IllegalArgumentException(
          "codec scale and shift: expected above 0 and finite, found " + scale + " and " + shift);
    }
  }

  /** With pixels as they are: scale 1, shift 0. */
  public SpaceToDepthCodec(int factor) {
    this(factor, 1, 0);
  }

  @Override
  public CodecSpec spec() {
    return this;
  }

  @Override
  public Optional<LatentCodec> plain() {
    return Optional.of(this);
  }

  @Override
  public String type() {
    return TYPE;
  }

  @Override
  public String describe() {
    return TYPE + " f" + factor + "c" + channels() + ", scale " + scale + ", shift " + shift;
  }

  @Override
  public int channels() {
    return 3 * factor * factor;
  }

  @Override
  public float[] encode(float[] rgb, int height, int width) {
    if (height < factor || width < factor || height % factor != 0 || width % factor != 0) {
      throw new IllegalArgumentException(
          "image size: expected multiples of " + factor + ", found " + width + "x" + height);
    }
    check(rgb.length, 3L * height * width);
    int h = height / factor;
    int w = width / factor;
    float[] latent = new float[rgb.length];
    int at = 0;
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < height; y++) {
        int row = rowStart(c, y, h, w);
        for (int x = 0; x < w; x++) {
          for (int j = 0; j < factor; j++) {
            latent[row + j * h * w + x] = (rgb[at++] - shift) * scale;
          }
        }
      }
    }
    return latent;
  }

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    check(latent.length, (long) channels() * latentH * latentW);
    int height = latentH * factor;
    float[] rgb = new float[latent.length];
    int at = 0;
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < height; y++) {
        int row = rowStart(c, y, latentH, latentW);
        for (int x = 0; x < latentW; x++) {
          for (int j = 0; j < factor; j++) {
            rgb[at++] = latent[row + j * latentH * latentW + x] / scale + shift;
          }
        }
      }
    }
    return rgb;
  }

  /** Where the first value of pixel row (c, y) lies in a latent of h×w. */
  private int rowStart(int c, int y, int h, int w) {
    int firstChannel = (c * factor + y % factor) * factor;
    return (firstChannel * h + y / factor) * w;
  }

  private static void check(int found, long expected) {
    if (found != expected) {
      throw new IllegalArgumentException("expected " + expected + " values, found " + found);
    }
  }

  @Override
  public ObjectNode toNode() {
    return JsonNodeFactory.instance
        .objectNode()
        .put("type", TYPE)
        .put("factor", factor)
        .put("scale", scale)
        .put("shift", shift);
  }
}
