package io.nit.trainer.autoencoder;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.Decoded;
import io.nit.core.config.DcAeConfig;
import io.nit.testing.DcAeGolden;
import io.nit.testing.DcAeGolden.Facts;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.autoencoder.DcAeCodec.Limits;
import io.nit.trainer.model.ConvolutionKernels;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The network on CUDA: the published one at full width, filled by the generator. */
@Tag("gpu")
class DcAeGpuTest {
  private static final DcAeConfig CONFIG = DcAeConfig.preset("f32c32-sana-1.1");

  /** In units of the tensor's spread: other kernels than the CPU's, sums in another order. */
  private static final double GOLDEN_BOUND = 5e-5;

  private static Device cuda;
  private static DcAe model;

  @TempDir static Path temp;

  @BeforeAll
  static void fill() throws IOException {
    boolean found = torch.cuda_is_available();
    if (!found) {
      System.out.println("DcAeGpuTest skipped: libtorch finds no CUDA device");
    }
    assumeTrue(found, "libtorch finds no CUDA device");
    Devices.requireTrueFloat32();
    cuda = new Device("cuda");
    model = new DcAe(CONFIG, cuda);
    model.load(new GeneratedDcAe(CONFIG));
  }

  @AfterAll
  static void close() {
    if (model != null) {
      model.close();
      torch.globalContext().setAllowTF32CuDNN(true);
    }
  }

  private static Tensor image(int height, int width) {
    return Weights.tensor(GeneratedDcAe.image(height, width), cuda, 1, 3, height, width);
  }

  private static Tensor latent(int h, int w) {
    float[] values = GeneratedDcAe.latent(CONFIG.latentChannels(), h, w);
    return Weights.tensor(values, cuda, 1, CONFIG.latentChannels(), h, w);
  }

  private static double relative(Tensor found, Tensor expected) {
    return Errors.relative(
        Weights.floats(found.to(ScalarType.Float)), Weights.floats(expected.to(ScalarType.Float)));
  }

  @Test
  void everyStageAndBothEndsGiveTheReferencesNumbers() {
    for (int[] size : DcAeGolden.SIZES) {
      int height = size[0];
      int width = size[1];
      Map<String, Facts> stages = DcAeGolden.stages(height, width);
      Map<String, Double> differences = new LinkedHashMap<>();
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        model.observe(
            (name, output) -> {
              if (stages.containsKey(name)) {
                double difference = stages.get(name).difference(Weights.floats(output));
                differences.put(name, difference);
              }
            });
        Tensor latent = model.encode(image(height, width));
        Tensor decoded = model.decode(latent(height / CONFIG.factor(), width / CONFIG.factor()));
        model.observe(null); // the stages' numbers are of the two above
        Tensor again = model.decode(latent);
        Map.of("latent", latent, "dec_of_z", decoded, "roundtrip", again)
            .forEach(
                (name, found) -> {
                  Facts facts = DcAeGolden.of(height, width, name);
                  differences.put(name, facts.difference(Weights.floats(found)));
                });
      } finally {
        model.observe(null);
      }
      System.out.println("CUDA " + height + "x" + width + ", in spreads: " + differences);
      assertEquals(stages.size() + 3, differences.size());
      differences.forEach(
          (name, difference) ->
              assertTrue(difference <= GOLDEN_BOUND, name + " differs by " + difference));
    }
  }

  @Test
  void bf16IsCloseToF32() {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = image(512, 768);
      Tensor latent = model.encode(rgb);
      double encoding = relative(model.encode(rgb.to(ScalarType.BFloat16)), latent);
      Tensor picture = model.decode(latent);
      double decoding = relative(model.decode(latent.to(ScalarType.BFloat16)), picture);
      System.out.printf("CUDA bf16 against f32: encode %.2e, decode %.2e%n", encoding, decoding);
      // A hundred roundings of 2^-9 each, independent, are 2e-2; the shortcuts damp them.
      assertTrue(encoding < 0.05, "encode differs by " + encoding);
      assertTrue(decoding < 0.05, "decode differs by " + decoding);
      assertTrue(encoding > 0 && decoding > 0, "bf16 was not computed in");
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"F32", "BF16"})
  void channelsLastGivesTheContiguousNumbers(Precision precision) {
    double bound = precision == Precision.F32 ? 1e-5 : 0.02;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = image(256, 320).to(precision.scalarType());
      Tensor z = latent(8, 10).to(precision.scalarType());
      Tensor latent = model.encode(rgb);
      Tensor picture = model.decode(z);
      model.setChannelsLast(false);
      double encoding = relative(latent, model.encode(rgb));
      double decoding = relative(picture, model.decode(z));
      System.out.printf("%s channels last: %.2e, %.2e%n", precision, encoding, decoding);
      assertTrue(encoding <= bound, "encode differs by " + encoding);
      assertTrue(decoding <= bound, "decode differs by " + decoding);
    } finally {
      model.setChannelsLast(true);
    }
  }

  /** In bf16 by their error against f32: what rounds otherwise drifts apart as far as that. */
  @ParameterizedTest
  @EnumSource(
      value = Precision.class,
      names = {"F32", "BF16"})
  void libtorchsOwnKernelsGiveCudnnsNumbers(Precision precision) {
    boolean same = true;
    StringJoiner wrong = new StringJoiner("; ");
    for (int[] size : new int[][] {{256, 320}, {96, 160}, {32, 32}}) {
      int height = size[0];
      int width = size[1];
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        Tensor rgb = image(height, width);
        // A batch whose second picture is another: these kernels take one after the other.
        rgb = torch.cat(new TensorVector(rgb, rgb.neg()), 0);
        Tensor z = latent(height / CONFIG.factor(), width / CONFIG.factor());
        z = torch.cat(new TensorVector(z, z.neg()), 0);
        final Tensor latent = model.encode(rgb);
        final Tensor picture = model.decode(z);
        rgb = rgb.to(precision.scalarType());
        z = z.to(precision.scalarType());
        Tensor[] cudnn = {model.encode(rgb), model.decode(z)};
        Tensor[] found;
        try (ConvolutionKernels own = ConvolutionKernels.own()) {
          found = new Tensor[] {model.encode(rgb), model.decode(z)};
        }
        for (int i = 0; i < found.length; i++) {
          Tensor expected = i == 0 ? latent : picture;
          double apart = relative(found[i], cudnn[i]);
          double error = relative(found[i], expected);
          double cudnnError = relative(cudnn[i], expected);
          String line =
              String.format(
                  Locale.ROOT,
                  "%s %s %dx%d, own kernels: %.2e from cuDNN; error against f32 %.2e, cuDNN's %.2e",
                  precision,
                  i == 0 ? "encode" : "decode",
                  height,
                  width,
                  apart,
                  error,
                  cudnnError);
          System.out.println(line);
          same &= apart == 0;
          if (!(precision == Precision.F32 ? apart <= 1e-5 : error <= 2 * cudnnError)) {
            wrong.add(line);
          }
        }
      }
    }
    assertEquals("", wrong.toString());
    assertFalse(same, "the same bits: was it the same kernels?");
  }

  @Test
  void everyMemberOfTheFamilyGivesTheCpusNumbers() throws IOException {
    for (Map.Entry<String, DcAeConfig> member : Family.members().entrySet()) {
      DcAeConfig config = member.getValue();
      int h = 2 * config.factor();
      int w = 3 * config.factor();
      float[] rgb = GeneratedDcAe.image(h, w);
      try (DcAe here = new DcAe(config, cuda);
          DcAe there = new DcAe(config, new Device("cpu"));
          PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        here.load(new GeneratedDcAe(config));
        there.load(new GeneratedDcAe(config));
        Tensor latent = there.encode(Weights.tensor(rgb, there.device(), 1, 3, h, w));
        Tensor picture = there.decode(latent);
        assertGives(here, rgb, h, w, latent, picture, member.getKey());
        try (ConvolutionKernels own = ConvolutionKernels.own()) {
          assertGives(here, rgb, h, w, latent, picture, member.getKey() + ", own kernels");
        }
      }
    }
  }

  private static void assertGives(
      DcAe here, float[] rgb, int h, int w, Tensor latent, Tensor picture, String what) {
    double encoding = relative(here.encode(Weights.tensor(rgb, cuda, 1, 3, h, w)), latent);
    assertTrue(encoding < 1e-4, what + ": encode differs by " + encoding);
    double decoding = relative(here.decode(latent.to(cuda, ScalarType.Float)), picture);
    assertTrue(decoding < 1e-4, what + ": decode differs by " + decoding);
  }

  @Test
  void whatOverflowsInHalfPrecisionIsDecodedAgainInSinglePrecision() throws IOException {
    DcAeConfig config = GeneratedDcAe.small();
    DcAeFolder files = DcAeFolder.open(GeneratedDcAe.write(temp.resolve("small"), config));
    try (DcAeCodec half = DcAeCodec.open(files, cuda, Precision.F16, Limits.STANDARD);
        DcAeCodec single = DcAeCodec.open(files, cuda, Precision.F32, Limits.STANDARD)) {
      float[] latent = GeneratedDcAe.latent(config.latentChannels(), 2, 3);
      assertFalse(half.decodeBatch(List.of(latent), 2, 3).get(0).retried());
      for (int i = 0; i < latent.length; i++) {
        latent[i] *= 1e5f;
      }
      Decoded found = half.decodeBatch(List.of(latent), 2, 3).get(0);
      assertTrue(found.retried());
      assertTrue(Errors.relative(found.rgb(), single.decode(latent, 2, 3)) < 1e-5);
    }
  }

  @Test
  void manyDecodesNeedNoMoreDeviceMemoryThanAFew() throws Exception {
    long before = 0;
    for (int i = 0; i < 220; i++) {
      if (i == 20) {
        before = usedMiB();
      }
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        Tensor picture = model.decode(latent(8, 8).to(ScalarType.BFloat16));
        assertTrue(picture.isfinite().all().item_bool());
      }
    }
    long after = usedMiB();
    System.out.println("device memory before " + before + " MiB, after " + after + " MiB");
    assertTrue(after <= before, "device memory grew from " + before + " to " + after + " MiB");
  }

  /** Of the whole device, so the machine is to have no other work on it. */
  private static long usedMiB() throws Exception {
    torch.cuda_synchronize();
    Process smi =
        new ProcessBuilder("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
            .start();
    String text = new String(smi.getInputStream().readAllBytes()).trim();
    assertEquals(0, smi.waitFor(), text);
    return Long.parseLong(text.lines().findFirst().orElseThrow().trim());
  }
}
