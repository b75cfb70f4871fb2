package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;
import static io.nit.tests.bench.Arguments.numbers;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.config.DcAeConfig;
import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.DcAeInitializer;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.model.ConvolutionKernels;
import io.nit.trainer.model.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What a shape that was not seen before costs a DC-AE's encoder on libtorch, by cuDNN and by
 * libtorch's own kernels: one row for each model, precision, kernels and number of pictures a call.
 * Every size is encoded three times, all sizes once before any of them again; times are means over
 * the sizes, from a call to the end of its work on the device. Pictures are random, and so are the
 * weights of a preset; every latent is checked to be finite. float32 is without TF32. A larger
 * shape, which no row has, takes what the first call of a model costs. On a CPU there is no such
 * choice, and both kernels are the same ones.
 *
 * <p>Arguments: presets of the family or folders of autoencoders (f32c32-sana-1.1), device (auto),
 * precisions (f32,bf16; on the CPU f32), pictures a call (2,8,1; on the CPU 2), sizes as
 * WIDTHxHEIGHT (twelve of 40 to 96 pixels a side for a factor up to 8, else eight of 352 to 704).
 */
public final class ShapesBenchmark {
  private static final String SMALL =
      "64x64,48x64,64x56,64x72,96x80,88x96,40x64,72x48,96x88,64x96,80x80,64x40";
  private static final String LARGE =
      "512x512,384x512,512x384,416x640,640x416,448x576,576x448,352x704";

  private final DcAe model;
  private final List<int[]> sizes;

  private ShapesBenchmark(DcAe model, List<int[]> sizes) {
    this.model = model;
    this.sizes = sizes;
  }

  private enum Kernels {
    CUDNN("cuDNN", ConvolutionKernels::cudnn),
    OWN("own", ConvolutionKernels::own);

    private final String title;
    private final Supplier<ConvolutionKernels> use;

    Kernels(String title, Supplier<ConvolutionKernels> use) {
      this.title = title;
      this.use = use;
    }
  }

  /** Runs and prints a table. */
  public static void main(String[] args) throws Exception {
    String[] names = argument(args, 0, "f32c32-sana-1.1").split(",");
    Device device = Devices.choose(argument(args, 1, "auto"));
    boolean cuda = device.is_cuda();
    String[] precisions = argument(args, 2, cuda ? "f32,bf16" : "f32").split(",");
    int[] counts = numbers(argument(args, 3, cuda ? "2,8,1" : "2"));
    Devices.requireTrueFloat32();
    if (!cuda) {
      Devices.setThreads(Runtime.getRuntime().availableProcessors());
    }
    System.out.printf(
        "%-24s %-5s %-7s %8s %6s %12s %12s %10s%n",
        "model", "type", "kernels", "pictures", "shapes", "new ms", "worst ms", "again ms");
    for (String name : names) {
      for (String type : precisions) {
        try (DcAe model = open(name, device, Precision.parse(type, device))) {
          String otherwise = model.config().factor() <= 8 ? SMALL : LARGE;
          List<int[]> sizes = sizes(argument(args, 4, otherwise), model.config().factor());
          for (Kernels kernels : Kernels.values()) {
            try (ConvolutionKernels used = kernels.use.get()) {
              new ShapesBenchmark(model, sizes).rows(label(name), kernels, counts);
            }
          }
        }
      }
    }
  }

  /** A folder's last name. */
  private static String label(String name) {
    return Path.of(name).getFileName().toString();
  }

  private static DcAe open(String name, Device device, Precision precision) throws IOException {
    if (Files.isDirectory(Path.of(name))) {
      return DcAe.open(DcAeFolder.open(Path.of(name)), device, precision);
    }
    DcAe model = new DcAe(DcAeConfig.preset(name), device, precision);
    DcAeInitializer.initialize(model, 1);
    return model;
  }

  private static List<int[]> sizes(String list, int factor) {
    List<int[]> sizes = new ArrayList<>();
    for (String size : list.split(",")) {
      int[] sides = Arrays.stream(size.split("x")).mapToInt(Integer::parseInt).toArray();
      if (sides.length != 2 || sides[0] % factor != 0 || sides[1] % factor != 0) {
        throw new IllegalArgumentException(
            "sizes: expected WIDTHxHEIGHT in multiples of " + factor + ", found " + size);
      }
      sizes.add(sides);
    }
    return sizes;
  }

  private void rows(String name, Kernels kernels, int[] counts) {
    int width = sizes.stream().mapToInt(size -> size[0]).max().orElseThrow();
    int height = sizes.stream().mapToInt(size -> size[1]).max().orElseThrow();
    int most = Arrays.stream(counts).max().orElseThrow();
    encode(most, new int[] {width + model.config().factor(), height});
    for (int count : counts) {
      double sum = 0;
      double worst = 0;
      for (int[] size : sizes) {
        double time = encode(count, size);
        sum += time;
        worst = Math.max(worst, time);
      }
      double again = 0;
      for (int round = 0; round < 2; round++) {
        for (int[] size : sizes) {
          again += encode(count, size);
        }
      }
      System.out.printf(
          Locale.ROOT,
          "%-24s %-5s %-7s %8d %6d %12.2f %12.2f %10.2f%n",
          name,
          model.precision().name().toLowerCase(Locale.ROOT),
          kernels.title,
          count,
          sizes.size(),
          sum / sizes.size(),
          worst,
          again / (2 * sizes.size()));
    }
  }

  /** Milliseconds of a call. */
  private double encode(int count, int[] size) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = torch.rand(count, 3, size[1], size[0]).mul(new Scalar(2)).sub(new Scalar(1));
      rgb = rgb.to(model.device(), model.precision().scalarType());
      synchronize();
      long start = System.nanoTime();
      Tensor latent = model.encode(rgb);
      synchronize();
      double time = (System.nanoTime() - start) / 1e6;
      if (!latent.isfinite().all().item_bool()) {
        throw new IllegalStateException("NaN or infinity at " + size[0] + "x" + size[1]);
      }
      return time;
    }
  }

  private void synchronize() {
    if (model.device().is_cuda()) {
      torch.cuda_synchronize();
    }
  }
}
