package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;
import static io.nit.tests.bench.Arguments.numbers;

import io.nit.core.config.DcAeConfig;
import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.DcAeInitializer;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.model.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * DC-AE's encoder and decoder on libtorch, one row for each precision, size and batch. Weights and
 * pictures are random; every result is checked to be finite. TFLOP/s count the multiplications and
 * additions of convolutions and attention, each as one. float32 is without TF32; cuDNN picks its
 * kernels by trial in the warm-up. {@code tests/bench/dcae_pytorch.py} measures the same rows in
 * Python.
 *
 * <p>Memory: on CUDA what the device has in use, which libtorch's allocator does not give back, so
 * that a row shows the most of all rows up to it; else the process's peak in the row.
 *
 * <p>Arguments: device (auto), sizes (256,512,1024), batches (1), precisions (f32,bf16; on the CPU
 * f32), rounds (10), preset (f32c32-sana-1.1).
 */
public final class AutoencoderBenchmark {
  private static final int WARM_UP = 3;

  private AutoencoderBenchmark() {}

  /** Runs and prints a table. */
  public static void main(String[] args) throws Exception {
    Device device = Devices.choose(argument(args, 0, "auto"));
    int[] sizes = numbers(argument(args, 1, "256,512,1024"));
    int[] batches = numbers(argument(args, 2, "1"));
    String[] precisions = argument(args, 3, device.is_cuda() ? "f32,bf16" : "f32").split(",");
    int rounds = Integer.parseInt(argument(args, 4, "10"));
    DcAeConfig config = DcAeConfig.preset(argument(args, 5, "f32c32-sana-1.1"));
    Devices.requireTrueFloat32();
    torch.globalContext().setBenchmarkCuDNN(true);
    if (!device.is_cuda()) {
      Devices.setThreads(Runtime.getRuntime().availableProcessors());
    }
    System.out.printf(
        "%-7s %-5s %-11s %5s %10s %10s %10s %9s %10s%n",
        "", "type", "size", "batch", "median ms", "best ms", "images/s", "TFLOP/s", "memory MiB");
    for (String name : precisions) {
      Precision precision = Precision.parse(name, device);
      try (DcAe model = new DcAe(config, device, precision)) {
        DcAeInitializer.initialize(model, 1);
        for (int size : sizes) {
          for (int batch : batches) {
            rows(model, precision, size, batch, rounds);
          }
        }
      }
    }
  }

  private static void rows(DcAe model, Precision precision, int size, int batch, int rounds)
      throws IOException, InterruptedException {
    DcAeConfig config = model.config();
    int cells = size / config.factor();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = torch.rand(batch, 3, size, size).mul(new Scalar(2));
      rgb = rgb.sub(new Scalar(1)).to(model.device(), precision.scalarType());
      Tensor latent = torch.randn(batch, config.latentChannels(), cells, cells);
      latent = latent.to(model.device(), precision.scalarType());
      AutoencoderCost cost = AutoencoderCost.of(config, size, size);
      row("encode", model, precision, rgb, model::encode, batch * cost.encode(), size, rounds);
      row("decode", model, precision, latent, model::decode, batch * cost.decode(), size, rounds);
    }
  }

  private static void row(
      String what,
      DcAe model,
      Precision precision,
      Tensor in,
      UnaryOperator<Tensor> network,
      double macs,
      int size,
      int rounds)
      throws IOException, InterruptedException {
    boolean cuda = model.device().is_cuda();
    double[] times = new double[rounds];
    if (!cuda) {
      Files.writeString(Path.of("/proc/self/clear_refs"), "5"); // the peak begins anew
    }
    for (int i = -WARM_UP; i < rounds; i++) {
      try (PointerScope scope = new PointerScope()) {
        synchronize(cuda);
        long start = System.nanoTime();
        Tensor out = network.apply(in);
        synchronize(cuda);
        double time = (System.nanoTime() - start) / 1e6;
        if (!out.isfinite().all().item_bool()) {
          throw new IllegalStateException(what + ": NaN or infinity at " + size);
        }
        if (i >= 0) {
          times[i] = time;
        }
      }
    }
    Arrays.sort(times);
    double median = times[rounds / 2];
    System.out.printf(
        Locale.ROOT,
        "%-7s %-5s %-11s %5d %10.2f %10.2f %10.2f %9.2f %10d%n",
        what,
        precision.name().toLowerCase(Locale.ROOT),
        size + "x" + size,
        in.size(0),
        median,
        times[0],
        in.size(0) / median * 1e3,
        2 * macs / median / 1e9,
        cuda ? deviceMiB() : peakMiB());
  }

  private static void synchronize(boolean cuda) {
    if (cuda) {
      torch.cuda_synchronize();
    }
  }

  private static long peakMiB() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmHWM:"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
            .sum()
        / 1024;
  }

  private static long deviceMiB() throws IOException, InterruptedException {
    Process smi =
        new ProcessBuilder("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
            .start();
    String text = new String(smi.getInputStream().readAllBytes());
    smi.waitFor();
    return Long.parseLong(text.lines().findFirst().orElse("0").trim());
  }
}
