package io.nit.trainer.dist;

import io.nit.trainer.model.Devices;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.bytedeco.cuda.global.cublas;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * One rank of a group over NCCL, as a process: checks every collective and prints how fast they
 * are; with the argument {@code die} rank 1 ends without a word and the others wait for it.
 */
public final class NcclWork {
  private static final long GIB_OF_FLOATS = 1L << 28;
  private static final int SIDE = 8192;
  private static final int PRODUCTS = 20;

  private NcclWork() {}

  /** Runs; the exit code is 0 if all is right. */
  public static void main(String[] args) throws IOException {
    Ranks ranks = Ranks.of(System.getenv());
    Device device = Devices.choose("cuda", ranks.localRank());
    try (NcclCollectives group = NcclCollectives.meet(ranks, device, Duration.ofMinutes(2));
        NoGradGuard guard = new NoGradGuard()) {
      if (args.length > 0 && args[0].equals("die")) {
        waitForTheDead(group, device);
      }
      checkSums(group, device);
      checkBucketsBesideOtherWork(group, device);
      measure(group, device);
      group.leave();
    }
    System.exit(0);
  }

  private static void waitForTheDead(NcclCollectives group, Device device) throws IOException {
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor = torch.ones(1 << 20).to(device, torch.ScalarType.Float);
      for (int i = 0; ; i++) {
        if (i == 3 && group.ranks().rank() == 1) {
          Runtime.getRuntime().halt(9);
        }
        group.sum(List.of(tensor));
        torch.cuda_synchronize(device.index());
      }
    }
  }

  private static void require(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private static void requireAll(Tensor tensor, float expected, String what) {
    float low = (float) tensor.min().item_double();
    float high = (float) tensor.max().item_double();
    require(
        low == expected && high == expected,
        what + ": expected " + expected + ", found " + low + " to " + high);
  }

  private static void requireGathered(Tensor whole, Partition parts, String what) {
    for (int each = 0; each < parts.parts(); each++) {
      long count = parts.to(each) - parts.from(each);
      if (count > 0) {
        Tensor part = whole.narrow(0, parts.from(each), count);
        requireAll(part, each + 1f, what + " of " + parts.elements() + ", part " + each);
      }
    }
  }

  private static void checkSums(NcclCollectives group, Device device) throws IOException {
    int rank = group.ranks().rank();
    int world = group.ranks().worldSize();
    float all = world * (world + 1) / 2f;
    try (PointerScope scope = new PointerScope()) {
      Tensor small = torch.ones(7).to(device, torch.ScalarType.Float).mul(new Scalar(rank + 1f));
      Tensor large =
          torch.ones((1 << 22) + 5).to(device, torch.ScalarType.Float).mul(new Scalar(rank + 1f));
      group.sum(List.of(small, large));
      requireAll(small, all, "sum of 7");
      requireAll(large, all, "sum of 4 Mi");
      for (int owner = 0; owner < world; owner++) {
        small.fill_(new Scalar(rank + 1f));
        large.fill_(new Scalar(rank + 1f));
        group.startSum(List.of(small, large), owner);
        group.awaitSums();
        if (rank == owner) {
          requireAll(small, all, "sum of 7 for one");
          requireAll(large, all, "sum of 4 Mi for one");
        }
      }
      double[] numbers = {rank, 1};
      group.sum(numbers);
      require(numbers[1] == world, "sum of numbers: " + Arrays.toString(numbers));

      small.fill_(new Scalar(rank + 10f));
      group.from(world - 1, List.of(small, large.fill_(new Scalar((float) rank))));
      requireAll(small, world + 9f, "from the last rank");
      requireAll(large, world - 1f, "from the last rank");

      for (long elements : new long[] {64L * world, 1000, 1 << 20, (1 << 20) + 77, 50}) {
        Partition parts = new Partition(elements, world);
        Tensor whole = torch.zeros(elements).to(device, torch.ScalarType.Float);
        long from = parts.from(rank);
        whole.narrow(0, from, parts.to(rank) - from).fill_(new Scalar(rank + 1f));
        group.gather(whole, parts);
        requireGathered(whole, parts, "gathering");
        whole.zero_();
        for (int piece = 0; piece < 3; piece++) {
          long begin = parts.piece(rank, piece, 3);
          long count = parts.piece(rank, piece + 1, 3) - begin;
          whole.narrow(0, begin, count).fill_(new Scalar(rank + 1f));
          group.startGather(whole, parts, piece, 3);
        }
        for (int piece = 0; piece < 3; piece++) {
          group.awaitGather(piece);
          for (int each = 0; each < world; each++) {
            long begin = parts.piece(each, piece, 3);
            long count = parts.piece(each, piece + 1, 3) - begin;
            if (count > 0) {
              requireAll(whole.narrow(0, begin, count), each + 1f, "piece " + piece);
            }
          }
        }
        group.awaitSums();
        requireGathered(whole, parts, "gathering by pieces");
      }
      float[] odd = new float[1001];
      for (int i = 0; i < odd.length; i++) {
        odd[i] = (float) Math.sin(i + 0.3 * rank);
      }
      Tensor values = Weights.tensor(odd, device, odd.length);
      group.sum(List.of(values));
      float[] found = Weights.floats(values);
      for (int i = 0; i < odd.length; i++) {
        double expected = 0;
        for (int each = 0; each < world; each++) {
          expected += Math.sin(i + 0.3 * each);
        }
        require(Math.abs(expected - found[i]) < 1e-5, "sum of sines at " + i + ": " + found[i]);
      }
    }
    System.out.println("rank " + rank + ": all collectives are right");
  }

  private static void checkBucketsBesideOtherWork(NcclCollectives group, Device device)
      throws IOException {
    int world = group.ranks().worldSize();
    int parts = 16;
    long size = (64L << 20) / parts;
    try (PointerScope scope = new PointerScope()) {
      Tensor gradient = torch.zeros(parts * size).to(device, torch.ScalarType.Float);
      Tensor busy = torch.ones(4096, 4096).to(device, torch.ScalarType.Float);
      BucketedAllReduce sums = new BucketedAllReduce(gradient, group, 3 * size);
      for (int step = 1; step <= 5; step++) {
        for (int part = parts - 1; part >= 0; part--) {
          try (PointerScope each = new PointerScope()) {
            // Made late on the stream, so that a sum that did not wait for it would be wrong.
            Tensor late = busy.matmul(busy).narrow(0, 0, 1).mean().mul(new Scalar(1f / 4096));
            gradient.narrow(0, part * size, size).copy_(late.mul(new Scalar((float) step)));
          }
          sums.ready(part * size, (part + 1) * size);
        }
        sums.finish();
        requireAll(gradient, (float) world * step, "bucketed sum of step " + step);
      }
    }
    System.out.println("rank " + group.ranks().rank() + ": bucketed sums are right");
  }

  private interface Work {
    void run() throws IOException;
  }

  private static double seconds(Device device, Work work) throws IOException {
    work.run();
    torch.cuda_synchronize(device.index());
    long start = System.nanoTime();
    work.run();
    torch.cuda_synchronize(device.index());
    return (System.nanoTime() - start) / 1e9;
  }

  private static void limitProducts(int multiprocessors) {
    int status =
        cublas.cublasSetSmCountTarget(torch_cuda.getCurrentCUDABlasHandle(), multiprocessors);
    require(status == cublas.CUBLAS_STATUS_SUCCESS, "cublasSetSmCountTarget: status " + status);
  }

  private static void measure(NcclCollectives group, Device device) throws IOException {
    int world = group.ranks().worldSize();
    try (PointerScope scope = new PointerScope()) {
      Tensor gradient = torch.zeros(GIB_OF_FLOATS).to(device, torch.ScalarType.Float);
      Tensor a = torch.ones(SIDE, SIDE).to(device, torch.ScalarType.BFloat16);
      Work products =
          () -> {
            for (int i = 0; i < PRODUCTS; i++) {
              try (PointerScope each = new PointerScope()) {
                a.matmul(a);
              }
            }
          };
      BucketedAllReduce sums =
          new BucketedAllReduce(gradient, group, BucketedAllReduce.BUCKET_ELEMENTS);
      long part = GIB_OF_FLOATS / PRODUCTS;
      Work both =
          () -> {
            for (int i = PRODUCTS - 1; i >= 0; i--) {
              try (PointerScope each = new PointerScope()) {
                a.matmul(a);
              }
              sums.ready(i * part, (i + 1) * part);
            }
            sums.finish();
          };
      double sum = seconds(device, () -> group.sum(List.of(gradient)));
      double alone = seconds(device, products);
      group.takeTimes();
      double together = seconds(device, both);
      Collectives.Times times = group.takeTimes().orElseThrow();
      require(times.waited() >= 0 && times.busy() >= 0, "times of the sums: " + times);
      int left = torch_cuda.getCurrentDeviceProperties().multiProcessorCount();
      left -= group.multiprocessors();
      limitProducts(left);
      double fewer = seconds(device, products);
      double apart = seconds(device, both);
      limitProducts(0);
      if (group.ranks().leads()) {
        System.out.printf(
            Locale.ROOT,
            "products on %d multiprocessors: %.1f ms, with the sums beside them %.1f ms%n",
            left,
            fewer * 1e3,
            apart * 1e3);
        System.out.printf(
            Locale.ROOT,
            "all-reduce of 1 GiB: %.1f ms, %.0f GB/s on the bus; %d products of %d: %.1f ms;"
                + " both with buckets of 64 MiB: %.1f ms, of which %.1f ms waiting for sums that"
                + " took %.1f ms%n",
            sum * 1e3,
            4.0 * GIB_OF_FLOATS * 2 * (world - 1) / world / sum / 1e9,
            PRODUCTS,
            SIDE,
            alone * 1e3,
            together * 1e3,
            times.waited() / 2 * 1e3, // of two runs
            times.busy() / 2 * 1e3);
      }
    }
  }
}
