package io.nit.trainer.data;

import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * One image's latents, a safetensors file: {@code latent [2, C, H, W]} (plain and mirrored), {@code
 * label} (one number), and for REPA optionally {@code feature}: {@code [tokens, zDim]} of the plain
 * picture, or {@code [2, tokens, zDim]}. An image with features of the plain picture only is never
 * mirrored when features are asked for.
 */
final class LatentFile implements PackBuilder.Image {
  static final String LATENT = "latent";
  static final String LABEL = "label";
  static final String FEATURE = "feature";

  private final Path path;
  private final int zDim;
  private final HostTensor latent;
  private final long label;
  private final HostTensor feature;

  private LatentFile(Path path, int zDim, HostTensor latent, long label, HostTensor feature) {
    this.path = path;
    this.zDim = zDim;
    this.latent = latent;
    this.label = label;
    this.feature = feature;
  }

  /**
   * Reads a file.
   *
   * @param channels C; 0 to take what the file has
   * @param height H
   * @param width W
   * @param patchSize for the number of tokens
   * @param zDim width of the features; 0 to leave them unread
   * @param classes labels lie below it; 0 if that is not known
   * @throws IOException if it is malformed, or a tensor is missing or has another shape or type;
   *     says what was expected, what was found, and where
   */
  static LatentFile read(
      Path path, int channels, int height, int width, int patchSize, int zDim, int classes)
      throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      TensorSpec spec = require(file, LATENT);
      long c = channels == 0 && spec.shape().rank() == 4 ? spec.shape().dim(1) : channels;
      Shape expected = Shape.of(2, c, height, width);
      if (!spec.shape().equals(expected) || c < 1) {
        throw new IOException(
            LATENT + ": expected " + expected + ", found " + spec.shape() + " in " + path);
      }
      requireFloat(spec, path);
      long label = label(file.tensor(require(file, LABEL).name()), classes, path);
      HostTensor feature = null;
      if (zDim > 0) {
        TensorSpec features = require(file, FEATURE);
        long tokens = (long) (height / patchSize) * (width / patchSize);
        if (!features.shape().equals(Shape.of(tokens, zDim))
            && !features.shape().equals(Shape.of(2, tokens, zDim))) {
          throw new IOException(
              FEATURE
                  + ": expected "
                  + Shape.of(tokens, zDim)
                  + " or "
                  + Shape.of(2, tokens, zDim)
                  + ", found "
                  + features.shape()
                  + " in "
                  + path);
        }
        requireFloat(features, path);
        feature = file.tensor(FEATURE);
      }
      return new LatentFile(path, zDim, file.tensor(LATENT), label, feature);
    }
  }

  private static TensorSpec require(SafetensorsFile file, String name) throws IOException {
    TensorSpec spec = file.specs().get(name);
    if (spec == null) {
      throw new IOException(
          name
              + ": expected a tensor of that name, found "
              + file.specs().keySet()
              + " in "
              + file.where());
    }
    return spec;
  }

  private static void requireFloat(TensorSpec spec, Path path) throws IOException {
    if (!spec.dtype().isFloat()) {
      throw new IOException(
          spec.name() + ": expected a float type, found " + spec.dtype() + " in " + path);
    }
  }

  /** The authors' files hold labels as floats too, whole numbers all the same. */
  private static long label(HostTensor tensor, int classes, Path path) throws IOException {
    if (tensor.shape().elements() != 1 || tensor.dtype() == DType.BOOL) {
      throw new IOException(
          LABEL
              + ": expected one number, found "
              + tensor.dtype()
              + " "
              + tensor.shape()
              + " in "
              + path);
    }
    double value = tensor.toDoubles()[0];
    if (value != Math.rint(value) || value < 0 || (classes > 0 && value >= classes)) {
      throw new IOException(
          LABEL
              + ": expected "
              + (classes > 0 ? "0.." + (classes - 1) : "a whole number of 0 or more")
              + ", found "
              + value
              + " in "
              + path);
    }
    return (long) value;
  }

  /** C. */
  int channels() {
    return (int) latent.shape().dim(1);
  }

  @Override
  public float[] latent(boolean mirrored) {
    return half(latent, mirrored, latent.shape().elements() / 2);
  }

  @Override
  public long label() {
    return label;
  }

  @Override
  public float[] features(boolean mirrored) throws IOException {
    if (feature.shape().rank() == 2) {
      if (mirrored) {
        throw new IOException(FEATURE + ": expected those of the mirrored picture in " + path);
      }
      return feature.toFloats();
    }
    return half(feature, mirrored, feature.shape().dim(1) * zDim);
  }

  @Override
  public boolean canMirror() {
    return feature == null || feature.shape().rank() == 3;
  }

  private static float[] half(HostTensor tensor, boolean second, long elements) {
    int bytes = Math.toIntExact(elements * tensor.dtype().bytes());
    ByteBuffer data = tensor.bytes();
    data.position(second ? bytes : 0).limit(second ? 2 * bytes : bytes);
    long[] dims = tensor.shape().dims();
    Shape shape = Shape.of(Arrays.copyOfRange(dims, 1, dims.length));
    return new HostTensor(new TensorSpec(tensor.name(), tensor.dtype(), shape), data).toFloats();
  }
}
