package io.nit.trainer.fused;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.testing.Errors;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.GpuMemory;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import io.nit.trainer.optim.GradNorm;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The fused step on a GPU: every piece, whole steps, and training with it. Errors are against the
 * same in float32, and at most twice those of plain operations in bfloat16. All errors are printed,
 * and a test goes on after the first that is too large.
 */
@Tag("gpu")
class FusedStepGpuTest {
  private static final FlowMatchingLoss LOSS = new FlowMatchingLoss(true, 0.5);

  /** Below it, an error is one of float32 sums and not of bfloat16. */
  private static final double FLOAT_SUMS = 2e-5;

  private static final PackLayout RAGGED =
      PackLayout.of(new int[] {1, 97, 1, 25, 8, 8, 3}, new int[] {1, 1, 257, 41, 8, 8, 10});

  private static Device cuda;
  private static CudaOps ops;

  @BeforeAll
  static void needsAGpuAndTheKernels() throws IOException {
    String reason = torch.cuda_is_available() ? "" : "libtorch finds no CUDA device";
    if (reason.isEmpty()) {
      cuda = new Device("cuda");
      try {
        ops = new CudaOps(cuda);
      } catch (IOException e) {
        reason = e.getMessage();
      }
    }
    if (!reason.isEmpty()) {
      System.out.println("FusedStepGpuTest skipped: " + reason);
    }
    assumeTrue(reason.isEmpty(), reason);
    Devices.requireTrueFloat32();
    System.out.println("FusedStepGpuTest on " + GpuMemory.deviceName());
  }

  @AfterAll
  static void close() {
    if (ops != null) {
      ops.close();
      ops.close();
    }
  }

  /** Errors as they come; those that are too large are told together at the end. */
  private static final class Verdict {
    private final List<String> tooLarge = new ArrayList<>();

    void add(String what, double error, double plain, double bound) {
      boolean good = error <= bound;
      String line =
          String.format(
              Locale.ROOT,
              "%-58s %.2e  plain bf16 %.2e  bound %.2e%s",
              what,
              error,
              plain,
              bound,
              good ? "" : "  TOO LARGE");
      System.out.println(line);
      if (!good) {
        tooLarge.add(line);
      }
    }

    void check() {
      assertTrue(tooLarge.isEmpty(), () -> String.join("\n", tooLarge));
    }
  }

  private static NitConfig config(int hidden, int heads, int depth) {
    return FusedFixture.config(hidden, heads, depth, Map.of("in_channels", 32));
  }

  // ---------------------------------------------------------------- Pieces

  /** Runs a piece with inputs in a type; gives its outputs. */
  private interface Piece {
    Map<String, Tensor> run(FusedOps ops, ScalarType type);
  }

  private static Map<String, float[]> outputs(Piece piece, FusedOps ops, ScalarType type) {
    Map<String, float[]> values = new LinkedHashMap<>();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      piece
          .run(ops, type)
          .forEach((name, t) -> values.put(name, Weights.floats(t.to(ScalarType.Float))));
    }
    return values;
  }

  private static void compare(Verdict verdict, String name, Piece piece) {
    try (FusedOps plain = new ReferenceOps()) {
      Map<String, float[]> expected = outputs(piece, plain, ScalarType.Float);
      Map<String, float[]> rounded = outputs(piece, plain, ScalarType.BFloat16);
      Map<String, float[]> found = outputs(piece, ops, ScalarType.BFloat16);
      expected.forEach(
          (output, values) -> {
            double error = Errors.relative(found.get(output), values);
            double ofPlain = Errors.relative(rounded.get(output), values);
            verdict.add(name + ": " + output, error, ofPlain, Math.max(2 * ofPlain, FLOAT_SUMS));
          });
    } catch (RuntimeException e) {
      System.out.println(name + ": " + e);
      verdict.tooLarge.add(name + ": " + e);
    }
  }

  /** Random values that bfloat16 holds exactly, in a type. */
  private static Tensor values(int seed, ScalarType type, long... dims) {
    Tensor values = FusedFixture.normals(new Random(seed), cuda, dims);
    return values.to(ScalarType.BFloat16).to(type);
  }

  private static Tensor empty(ScalarType type, long... dims) {
    return torch.zeros(dims).to(cuda, type).fill_(new Scalar(Float.NaN));
  }

  @ParameterizedTest
  @ValueSource(ints = {384, 1152, 1536})
  void everyPieceIsWithinTwiceThePlainError(int hidden) {
    Verdict verdict = new Verdict();
    int headDim = hidden == 1152 ? 72 : 64;
    int heads = hidden / headDim;
    try (PointerScope outer = new PointerScope()) {
      NitConfig config = config(hidden, heads, 1);
      FusedPack pack = FusedPack.of(RAGGED, config, new Rope2d(), cuda);
      long n = pack.tokens();
      long b = pack.images();
      long d = hidden;
      long w = 4 * d;
      System.out.println("pieces, hidden " + hidden + ", " + RAGGED);
      compare(
          verdict,
          "adaLn",
          (o, t) -> {
            Tensor m = values(2, t, b, 6 * d);
            Tensor out = empty(t, n, d);
            o.adaLn(values(1, t, n, d), m.narrow(1, 0, d), m.narrow(1, d, d), pack, out);
            return Map.of("out", out);
          });
      compare(
          verdict,
          "gatedAdaLn",
          (o, t) -> {
            Tensor m = values(2, t, b, 6 * d);
            Tensor out = empty(t, n, d);
            Tensor residual = empty(t, n, d);
            Tensor y = values(3, t, n, d);
            o.gatedAdaLn(
                values(1, t, n, d),
                y,
                m.narrow(1, 5 * d, d),
                m.narrow(1, 0, d),
                m.narrow(1, d, d),
                pack,
                residual,
                out);
            return Map.of("residual", residual, "out", out);
          });
      compare(
          verdict,
          "gatedAdaLn, two strides",
          (o, t) -> {
            Tensor m = values(2, t, b, 6 * d);
            Tensor last = values(4, t, b, 2 * d);
            Tensor out = empty(t, n, d);
            Tensor residual = empty(t, n, d);
            o.gatedAdaLn(
                values(1, t, n, d),
                values(3, t, n, d),
                m.narrow(1, 5 * d, d),
                last.narrow(1, 0, d),
                last.narrow(1, d, d),
                pack,
                residual,
                out);
            return Map.of("residual", residual, "out", out);
          });
      for (boolean residual : new boolean[] {true, false}) {
        compare(
            verdict,
            "adaLnBackward" + (residual ? "" : ", no residual"),
            (o, t) -> {
              Tensor m = values(2, t, b, 6 * d);
              Tensor dx = residual ? values(4, t, n, d) : empty(t, n, d);
              Tensor out = empty(t, n, d);
              Tensor dm = empty(ScalarType.Float, b, 6 * d);
              o.adaLnBackward(
                  values(1, t, n, d).add(new Scalar(1f)).to(ScalarType.BFloat16).to(t),
                  values(3, t, n, d),
                  residual ? Optional.of(dx) : Optional.empty(),
                  m.narrow(1, 3 * d, d),
                  m.narrow(1, 4 * d, d),
                  pack,
                  dx,
                  out,
                  dm.narrow(1, 3 * d, d),
                  dm.narrow(1, 4 * d, d));
              return Map.of(
                  "dx",
                  dx,
                  "out",
                  out,
                  "dShift",
                  dm.narrow(1, 3 * d, d),
                  "dScale",
                  dm.narrow(1, 4 * d, d));
            });
      }
      for (boolean accumulate : new boolean[] {false, true}) {
        String also = accumulate ? ", accumulating" : "";
        compare(
            verdict,
            "gatedResidualBackward" + also,
            (o, t) -> {
              Tensor m = values(2, t, b, 6 * d);
              Tensor dm = empty(ScalarType.Float, b, 6 * d);
              Tensor dy = empty(t, n, d);
              Tensor bias = values(5, ScalarType.Float, d);
              o.gatedResidualBackward(
                  values(1, t, n, d),
                  values(3, t, n, d),
                  m.narrow(1, 2 * d, d),
                  pack,
                  dy,
                  dm.narrow(1, 2 * d, d),
                  bias,
                  accumulate);
              return Map.of("dy", dy, "dGate", dm.narrow(1, 2 * d, d), "dBias", bias);
            });
        compare(
            verdict,
            "geluBackward" + also,
            (o, t) -> {
              Tensor x = values(1, t, n, w).mul_(new Scalar(2f));
              Tensor dOut = values(2, t, n, w);
              Tensor bias = values(5, ScalarType.Float, w);
              o.geluBackward(x, dOut, dOut, x, bias, accumulate);
              return Map.of("dx", dOut, "out", x, "dBias", bias);
            });
        compare(
            verdict,
            "biasGradient" + also,
            (o, t) -> {
              Tensor bias = values(5, ScalarType.Float, 3 * d);
              o.biasGradient(values(1, t, n, 3 * d), bias, accumulate);
              return Map.of("dBias", bias);
            });
        compare(
            verdict,
            "weightGradient" + also,
            (o, t) -> {
              Tensor gradient = values(5, ScalarType.Float, w, d);
              o.weightGradient(values(1, t, n, w), values(2, t, n, d), gradient, accumulate);
              return Map.of("gradient", gradient);
            });
        for (boolean normed : new boolean[] {true, false}) {
          compare(
              verdict,
              "rotateBackward" + (normed ? "" : ", no norm") + also,
              (o, t) -> {
                Tensor[] gradients = new Tensor[3];
                for (int i = 0; i < 3; i++) {
                  gradients[i] = values(i, t, n, heads, headDim);
                }
                Tensor target = values(9, ScalarType.Float, 4, headDim);
                Tensor dqkv = empty(t, n, 3, heads, headDim);
                o.rotateBackward(
                    gradients,
                    values(4, t, n, 3, heads, headDim),
                    normed ? Optional.of(norm(values(8, t, 4, headDim))) : Optional.empty(),
                    pack,
                    dqkv,
                    normed ? Optional.of(norm(target)) : Optional.empty(),
                    accumulate);
                return Map.of("dqkv", dqkv, "dNorm", target);
              });
        }
      }
      compare(
          verdict,
          "gelu",
          (o, t) -> {
            Tensor out = empty(t, n, w);
            o.gelu(values(1, t, n, w), out);
            return Map.of("out", out);
          });
      compare(
          verdict,
          "linear and inputGradient",
          (o, t) -> {
            Tensor out = empty(t, n, w);
            Tensor dx = empty(t, n, d);
            Tensor weight = values(2, t, w, d).mul_(new Scalar(0.03125f));
            o.linear(values(1, t, n, d), weight, values(3, t, w), out);
            o.inputGradient(values(4, t, n, w), weight, dx);
            return Map.of("out", out, "dx", dx);
          });
      for (boolean normed : new boolean[] {true, false}) {
        compare(
            verdict,
            "rotate" + (normed ? "" : ", no norm"),
            (o, t) -> {
              Tensor out = empty(t, n, 2, heads, headDim);
              o.rotate(
                  values(4, t, n, 3, heads, headDim),
                  normed ? Optional.of(norm(values(8, t, 4, headDim))) : Optional.empty(),
                  pack,
                  out);
              return Map.of("q and k", out);
            });
      }
      compare(
          verdict,
          "attention",
          (o, t) -> {
            Tensor qk = values(1, t, n, 2, heads, headDim);
            Tensor q = qk.select(1, 0);
            Tensor k = qk.select(1, 1);
            Tensor v = values(2, t, n, 3, heads, headDim).select(1, 2);
            Attended attended = o.attend(q, k, v, pack);
            Tensor[] gradients =
                o.attendBackward(values(3, t, n, heads, headDim), q, k, v, attended, pack);
            return Map.of(
                "out", attended.out(),
                "dq", gradients[0],
                "dk", gradients[1],
                "dv", gradients[2]);
          });
      compare(
          verdict,
          "update",
          (o, t) -> {
            long elements = 64 * 1001;
            Tensor p = values(1, ScalarType.Float, elements);
            Tensor m = values(3, ScalarType.Float, elements);
            Tensor v = values(4, ScalarType.Float, elements).square_();
            Tensor average = values(5, ScalarType.Float, elements);
            Tensor copy = empty(ScalarType.BFloat16, elements);
            float[] scalars = {0.5f, 1, 1e-2f, 0.8f, 0.999f, 0.1f};
            o.update(
                new FusedOps.UpdateTensors(
                    p,
                    values(2, ScalarType.Float, elements),
                    m,
                    v,
                    Optional.of(average),
                    Optional.of(copy)),
                Weights.tensor(scalars, cuda, 6),
                0.9,
                0.95,
                1e-6);
            Tensor one = p.to(ScalarType.BFloat16).sub(copy).add(new Scalar(1f));
            return Map.of("weights", p, "m", m, "v", v, "average", average, "copy", one);
          });
    }
    verdict.check();
  }

  private static QkNorm norm(Tensor rows) {
    return new QkNorm(rows.select(0, 0), rows.select(0, 1), rows.select(0, 2), rows.select(0, 3));
  }

  // ---------------------------------------------------------------- Whole steps

  private static Map<String, float[]> stepGradients(
      NitConfig config, FusedOps used, ScalarType type, boolean checkpointing, double[] loss) {
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, true, cuda, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedNit fused = new FusedNit(model, flat, used, type, checkpointing)) {
      FlowMatchingLoss.Batch batch = FusedFixture.batch(config, RAGGED, true, cuda, 2);
      FusedPack pack = FusedPack.of(RAGGED, config, new Rope2d(), cuda);
      flat.gradients().fill_(new Scalar(3f));
      FusedNit.Losses losses = fused.backward(LOSS, batch, pack, 1, true, GradientReady.NOBODY);
      loss[0] = losses.total().item_double();
      return FusedFixture.gradients(model);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {384, 1152})
  void everyGradientOfAWholeStepIsWithinTwiceThePlainError(int hidden) {
    NitConfig config = config(hidden, hidden == 1152 ? 16 : 6, 3).with(Map.of("encoder_depth", 2));
    double[] loss = new double[4];
    Verdict verdict = new Verdict();
    try (FusedOps plain = new ReferenceOps()) {
      double[] one = new double[1];
      Map<String, float[]> expected = stepGradients(config, plain, ScalarType.Float, false, one);
      loss[0] = one[0];
      Map<String, float[]> rounded = stepGradients(config, plain, ScalarType.BFloat16, false, one);
      loss[1] = one[0];
      Map<String, float[]> found = stepGradients(config, ops, ScalarType.BFloat16, false, one);
      loss[2] = one[0];
      Map<String, float[]> again = stepGradients(config, ops, ScalarType.BFloat16, true, one);
      loss[3] = one[0];
      System.out.println(
          "losses: float32, plain bf16, fused, fused with checkpointing: " + Arrays.toString(loss));
      expected.forEach(
          (name, values) -> {
            double error = Errors.relative(found.get(name), values);
            double ofPlain = Errors.relative(rounded.get(name), values);
            verdict.add(name, error, ofPlain, Math.max(2 * ofPlain, FLOAT_SUMS));
            // FlashAttention's dq is summed in no fixed order, so the two are not the same bits.
            double difference = Errors.relative(again.get(name), found.get(name));
            if (difference > 0.5 * ofPlain) {
              verdict.add("checkpointing, " + name, difference, ofPlain, 0.5 * ofPlain);
            }
          });
    }
    verdict.check();
    assertEquals(loss[0], loss[2], Math.max(2 * Math.abs(loss[1] - loss[0]), 2e-3 * loss[0]));
  }

  // ---------------------------------------------------------------- Training

  private static final int STEPS = 100;

  /** Random latents of a few classes, the same for every path; a new noise every step. */
  private static FlowMatchingLoss.Batch trainingBatch(NitConfig config, PackLayout layout, int at) {
    FlowMatchingLoss.Batch draws = FusedFixture.batch(config, layout, false, cuda, 1000 + at);
    FlowMatchingLoss.Batch fixed = FusedFixture.batch(config, layout, false, cuda, at % 4);
    return new FlowMatchingLoss.Batch(
        fixed.latents(), draws.noise(), draws.t(), fixed.labels(), Optional.empty());
  }

  @Test
  void productsThatLeaveMultiprocessorsFreeAreAsExact() {
    NitConfig config = config(1152, 16, 3).with(Map.of("encoder_depth", 2));
    double[] loss = new double[1];
    Verdict verdict = new Verdict();
    try (FusedOps plain = new ReferenceOps()) {
      Map<String, float[]> expected = stepGradients(config, plain, ScalarType.Float, false, loss);
      Map<String, float[]> rounded = stepGradients(config, plain, ScalarType.BFloat16, false, loss);
      for (int spared : new int[] {4, 24, 0}) {
        ops.spare(spared);
        Map<String, float[]> found = stepGradients(config, ops, ScalarType.BFloat16, false, loss);
        expected.forEach(
            (name, values) -> {
              double ofPlain = Errors.relative(rounded.get(name), values);
              double error = Errors.relative(found.get(name), values);
              String what = name + " with " + spared + " left free";
              verdict.add(what, error, ofPlain, Math.max(2 * ofPlain, FLOAT_SUMS));
            });
      }
    } finally {
      ops.spare(0);
    }
    verdict.check();
  }

  @Test
  void aLossCurveIsThatOfThePlainPath() {
    NitConfig config = config(384, 6, 4);
    PackLayout layout = PackLayout.of(new int[] {8, 5, 12, 16}, new int[] {8, 9, 7, 16});
    double[] plain = new double[STEPS];
    double[] found = new double[STEPS];
    FlowMatchingLoss loss = new FlowMatchingLoss(true, 0);
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, cuda, 1);
        NitModel averaged = FusedFixture.model(config, false, cuda, 1);
        AdamW optimizer = new AdamW(model.parameters(), AdamW.Options.STANDARD)) {
      Ema ema = new Ema(averaged);
      for (int step = 0; step < STEPS; step++) {
        try (PointerScope each = new PointerScope()) {
          model.parameters().values().forEach(p -> p.mutable_grad().reset());
          plain[step] =
              FusedFixture.autograd(model, loss, trainingBatch(config, layout, step), layout, 1);
          GradNorm.clip(model.parameters(), GradNorm.of(model.parameters()), 1);
          optimizer.step(3e-4);
          ema.update(model, 0.9);
        }
      }
    }
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, cuda, 1);
        NitModel averaged = FusedFixture.model(config, false, cuda, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FlatParameters average = new FlatParameters(averaged.parameters(), false);
        AdamW optimizer = new AdamW(flat, AdamW.Options.STANDARD);
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.BFloat16, false)) {
      FusedUpdate update =
          new FusedUpdate(flat, Optional.of(average), optimizer, fused.copy(), ops);
      FusedPack pack = FusedPack.of(layout, config, new Rope2d(), cuda);
      for (int step = 0; step < STEPS; step++) {
        try (PointerScope each = new PointerScope()) {
          FlowMatchingLoss.Batch batch = trainingBatch(config, layout, step);
          Tensor total = fused.backward(loss, batch, pack, 1, true, GradientReady.NOBODY).total();
          Tensor result = update.step(3e-4, 1, 0.9, total);
          found[step] = total.item_double();
          assertEquals(1, Weights.floats(result)[1]);
        }
      }
      assertEquals(STEPS, optimizer.steps());
    }
    double apart = 0;
    for (int step = 0; step < STEPS; step++) {
      if (step % 10 == 0 || step == STEPS - 1) {
        System.out.printf(
            Locale.ROOT, "step %3d loss %.5f fused %.5f%n", step, plain[step], found[step]);
      }
      apart = Math.max(apart, Math.abs(found[step] - plain[step]) / plain[step]);
    }
    System.out.printf(Locale.ROOT, "largest relative difference of a loss %.2e%n", apart);
    assertTrue(plain[STEPS - 1] < 0.9 * plain[0], "the model did not learn");
    assertTrue(apart < 0.02, "losses differ by " + apart);
  }

  @ParameterizedTest
  @ValueSource(ints = {64, 72})
  void attentionsBackwardInPartsIsThatOfThePack(int headDim) {
    Verdict verdict = new Verdict();
    int heads = 8;
    int[] h = new int[120];
    int[] w = new int[h.length];
    for (int i = 0; i < h.length; i++) {
      h[i] = i >= 50 && i < 53 ? 31 + i % 2 : 1 + i % 7;
      w[i] = i >= 50 && i < 53 ? 33 : 9;
    }
    PackLayout layout = PackLayout.of(h, w);
    NitConfig config = config(heads * headDim, heads, 1);
    try (PointerScope scope = new PointerScope()) {
      FusedPack pack = FusedPack.of(layout, config, new Rope2d(), cuda);
      assertEquals(List.of(0, 50, 53), pack.split().stream().map(FusedPack.Part::image).toList());
      long n = layout.tokens();
      compare(
          verdict,
          "attention in parts, headDim " + headDim,
          (o, t) -> {
            Tensor qk = values(1, t, n, 2, heads, headDim);
            Tensor q = qk.select(1, 0);
            Tensor k = qk.select(1, 1);
            Tensor v = values(2, t, n, 3, heads, headDim).select(1, 2);
            Tensor dOut = values(3, t, n, heads, headDim);
            Attended attended = o.attend(q, k, v, pack);
            TensorVector dq = new TensorVector();
            TensorVector dk = new TensorVector();
            TensorVector dv = new TensorVector();
            for (FusedPack.Part part : pack.parts()) {
              Tensor[] gradients = o.attendBackward(dOut, q, k, v, attended, pack, part);
              dq.push_back(gradients[0]);
              dk.push_back(gradients[1]);
              dv.push_back(gradients[2]);
            }
            return Map.of("dq", torch.cat(dq, 0), "dk", torch.cat(dk, 0), "dv", torch.cat(dv, 0));
          });
    }
    verdict.check();
  }

  @Test
  void twoHundredStepsOfChangingPacksKeepTheirMemory() {
    NitConfig config = config(384, 6, 4);
    FlowMatchingLoss loss = new FlowMatchingLoss(true, 0);
    Random random = new Random(1);
    long settled = 0;
    long allocated = 0;
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, cuda, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        AdamW optimizer = new AdamW(flat, AdamW.Options.STANDARD);
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.BFloat16, false)) {
      FusedUpdate update = new FusedUpdate(flat, Optional.empty(), optimizer, fused.copy(), ops);
      for (int step = 0; step < 200; step++) {
        int images = step == 0 ? 12 : 1 + random.nextInt(12);
        int[] h = new int[images];
        int[] w = new int[images];
        for (int i = 0; i < images; i++) {
          h[i] = step == 0 ? 32 : 1 + random.nextInt(32);
          w[i] = step == 0 ? 32 : 1 + random.nextInt(32);
        }
        try (PointerScope each = new PointerScope()) {
          PackLayout layout = PackLayout.of(h, w);
          FlowMatchingLoss.Batch batch = FusedFixture.batch(config, layout, false, cuda, step);
          FusedPack pack = FusedPack.of(layout, config, new Rope2d(), cuda);
          Tensor total = fused.backward(loss, batch, pack, 1, true, GradientReady.NOBODY).total();
          update.step(1e-4, 1, 0.9, total);
        }
        if (step == 100) {
          torch.cuda_synchronize();
          settled = GpuMemory.reserved();
          allocated = GpuMemory.allocated();
        }
      }
      torch.cuda_synchronize();
      System.out.printf(
          Locale.ROOT,
          "MiB after 100 and 200 steps: in tensors %.1f and %.1f, taken %.1f and %.1f%n",
          allocated / 0x1p20,
          GpuMemory.allocated() / 0x1p20,
          settled / 0x1p20,
          GpuMemory.reserved() / 0x1p20);
      assertEquals(allocated, GpuMemory.allocated());
      assertTrue(GpuMemory.reserved() - settled <= 64 << 20, "memory grew");
      assertEquals(200, optimizer.steps());
    }
  }
}
