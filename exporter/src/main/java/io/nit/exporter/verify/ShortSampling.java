package io.nit.exporter.verify;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tokens;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Trajectory;
import io.nit.core.image.RgbImage;
import io.nit.core.tensor.Parity;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** A few steps of Euler's method from the same noise by two forwards, and the pictures of both. */
final class ShortSampling {
  private static final int STEPS = 4;

  private ShortSampling() {}

  /** The first pack of a single image, whose tokens are the noise. */
  static Optional<VerificationPack> pack(List<VerificationPack> packs) {
    return packs.stream().filter(pack -> pack.inputs().layout().images() == 1).findFirst();
  }

  /** The latent, [C, H, W], that is reached from a pack's one image. */
  static float[] latent(VelocityEngine engine, VerificationPack pack) throws EngineException {
    ForwardInputs in = pack.inputs();
    double[] start = new double[in.x().remaining()];
    for (int i = 0; i < start.length; i++) {
      start[i] = in.x().get(in.x().position() + i);
    }
    Trajectory trajectory = new Trajectory(SamplerKind.EULER, STEPS, Guidance.NONE, start, null);
    FloatBuffer tokens = FloatBuffer.allocate(start.length);
    FloatBuffer v = FloatBuffer.allocate(start.length);
    while (!trajectory.done()) {
      tokens.clear();
      for (double value : trajectory.x()) {
        tokens.put((float) value);
      }
      float[] t = {(float) trajectory.t()};
      engine.forward(
          new ForwardInputs(in.layout(), tokens.flip(), t, in.y(), in.rope()), v.clear());
      trajectory.advance(v.array(), 0, null, 0);
    }
    NitConfig config = engine.config();
    return Tokens.unpatchify(
        trajectory.x(),
        0,
        config.inChannels(),
        in.layout().h(0),
        in.layout().w(0),
        config.patchSize());
  }

  /**
   * How far two latents are apart, and their pictures where the bundle has a codec.
   *
   * @param against what made {@code expected}
   * @param backend what made {@code found}
   * @param bound for the latents; pictures are for information
   */
  static List<Verification> compare(
      Bundle bundle,
      VerificationPack pack,
      String against,
      String backend,
      OptionalDouble bound,
      float[] found,
      float[] expected)
      throws IOException, EngineException {
    String name = STEPS + " steps of " + pack.name();
    List<Verification> all = new ArrayList<>();
    all.add(entry(against, backend, name, bound, found, expected, Parity.psnr(found, expected)));
    Optional<LatentCodec> codec =
        Engines.openCodec(bundle, ExportVerifier.BACKEND, EngineOptions.DEFAULT);
    if (codec.isPresent()) {
      try (LatentCodec open = codec.get()) {
        int p = bundle.config().patchSize();
        int h = pack.inputs().layout().h(0) * p;
        int w = pack.inputs().layout().w(0) * p;
        float[] picture = open.decode(found, h, w);
        float[] other = open.decode(expected, h, w);
        int f = open.factor();
        double psnr =
            Parity.psnr(
                RgbImage.ofPlanes(picture, h * f, w * f).rgb(),
                RgbImage.ofPlanes(other, h * f, w * f).rgb());
        String ofPicture = name + ", picture";
        OptionalDouble none = OptionalDouble.empty();
        all.add(entry(against, backend, ofPicture, none, picture, other, psnr));
      }
    }
    return all;
  }

  private static Verification entry(
      String against,
      String backend,
      String name,
      OptionalDouble bound,
      float[] found,
      float[] expected,
      double psnr) {
    Parity parity = Parity.of(found, expected);
    return new Verification(
        against,
        backend,
        name,
        parity.maxAbs(),
        parity.relative(),
        bound,
        OptionalDouble.empty(),
        OptionalDouble.of(psnr));
  }
}
