package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.fused.CudaOps;
import io.nit.trainer.fused.FusedNit;
import io.nit.trainer.fused.FusedOps;
import io.nit.trainer.fused.FusedPack;
import io.nit.trainer.fused.FusedUpdate;
import io.nit.trainer.fused.ReferenceOps;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.GpuMemory;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.TrainingCost;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import io.nit.trainer.optim.GradNorm;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.IntFunction;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAEvent;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.cuda.CUDAStreamGuard;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * Training steps with AdamW, clipping at 1 and the moving average, on a GPU; weights and latents
 * are random, and no step waits for the host. One row for each path and pack: milliseconds a step
 * between CUDA events, of which forward (with the loss and the last layer's backward), backward and
 * update; the host's own time to queue a step; tokens a second; model FLOPs utilisation as in
 * {@link TrainingCost}; the most bytes in tensors. Packs that change are made ahead on a thread of
 * their own, as the trainer makes them.
 *
 * <p>Two lines below it say what makes packs comparable and where the memory is: images and their
 * lengths, of which the mean weighted by tokens is what attention costs a token; the useful FLOPs,
 * attention's among them, and milliseconds for each of their TFLOP; the host's time to make a pack;
 * the most bytes in tensors in forward, backward and update, and what they hold after each; bytes
 * taken from the GPU; the allocator's calls of the driver after the warm-up, which should be 0.
 *
 * <p>Paths: {@code fused}, {@code checkpointing} (fused, with activation checkpointing), {@code
 * plain} (the fused step's pieces as libtorch operations in bf16), {@code tf32} and {@code f32}
 * (autograd over the module, the oracle of the fused step, products in TF32 or not), {@code
 * pytorch} (the script that the environment's NIT_PYTORCH_BASELINE names, for example {@code
 * "python3 pytorch_baseline.py"}; packs of one layout only), {@code pieces} (the time of every
 * piece of the fused step by itself). Packs: {@code mixed} of 16104 tokens, {@code 256px}, {@code
 * 512px}, {@code 1024px}, {@code 2048px} of 16384, {@code random}: a new mix every step, of long
 * images, and {@code drawn}: a new mix every step of lengths drawn as those of {@code mixed},
 * longest first as the packer lays them.
 *
 * <p>Arguments: preset (xl), paths (fused,tf32,pytorch,pieces), packs (mixed,drawn,random), steps
 * (30), tokens that a random mix is cut to (16104).
 */
public final class TrainBenchmark {
  private static final int WARM_UP = 5;
  private static final FlowMatchingLoss LOSS = new FlowMatchingLoss(true, 0);

  private TrainBenchmark() {}

  /** Runs and prints a table. */
  public static void main(String[] args) throws Exception {
    if (!torch.cuda_is_available()) {
      System.err.println(
          "bench train: expected a CUDA device and libtorch's CUDA build (-Pgpu), found none");
      System.exit(1);
    }
    NitConfig config = NitConfig.preset(argument(args, 0, "xl"));
    List<String> paths = List.of(argument(args, 1, "fused,tf32,pytorch,pieces").split(","));
    List<String> packs = List.of(argument(args, 2, "mixed,drawn,random").split(","));
    int steps = Integer.parseInt(argument(args, 3, "30"));
    int tokens = Integer.parseInt(argument(args, 4, "16104"));
    Device device = new Device("cuda");
    String gpu = GpuMemory.deviceName();
    System.out.println(gpu + ", NiT-" + argument(args, 0, "xl") + ", medians of " + steps);
    System.out.printf(
        "%-14s %-7s %7s %8s %8s %8s %8s %8s %8s %9s %6s %9s%n",
        "path",
        "pack",
        "tokens",
        "ms",
        "slowest",
        "forward",
        "backward",
        "update",
        "host",
        "tokens/s",
        "MFU",
        "peak GiB");
    for (String path : paths) {
      try {
        switch (path) {
          case "fused", "checkpointing", "plain" ->
              fused(config, device, packs, steps, tokens, path);
          case "tf32", "f32" -> autograd(config, device, packs, steps, tokens, path);
          case "pytorch" -> pytorch(packs);
          case "pieces" -> PieceTimes.print(config, device, layout(packs.get(0), tokens, 0));
          default ->
              throw new IllegalArgumentException(
                  "path: expected fused, checkpointing, plain, tf32, f32, pytorch or pieces, found "
                      + path);
        }
      } catch (RuntimeException | IOException e) {
        System.out.println(path + ": " + e.getMessage());
        e.printStackTrace();
      }
    }
  }

  private static void pytorch(List<String> packs) throws IOException, InterruptedException {
    String command = System.getenv(PyTorchRows.COMMAND);
    if (command == null || command.isBlank()) {
      System.out.println("pytorch: no baseline, " + PyTorchRows.COMMAND + " names no command");
      return;
    }
    GpuMemory.releaseUnused(); // what the paths before have kept is the other process's
    for (PyTorchRows.Row row : PyTorchRows.measure(command, packs)) {
      System.out.printf(
          Locale.ROOT,
          "%-14s %-7s %7d %8.1f %8s %8s %8s %8s %8s %9.0f %6s %9.2f%n",
          "pytorch",
          row.pack(),
          row.tokens(),
          row.ms(),
          "",
          "",
          "",
          "",
          "",
          row.tokensPerSecond(),
          "",
          row.peakGiB());
    }
  }

  // ---------------------------------------------------------------- Packs

  /** 16104 tokens in images of five sizes. */
  static PackLayout mixed() {
    return repeated(new int[][] {{64, 8, 8}, {16, 16, 16}, {4, 32, 32}, {6, 24, 14}, {6, 10, 30}});
  }

  /** Groups of equal images, each {count, h, w}. */
  static PackLayout repeated(int[][] groups) {
    List<int[]> sizes = new ArrayList<>();
    for (int[] group : groups) {
      for (int i = 0; i < group[0]; i++) {
        sizes.add(new int[] {group[1], group[2]});
      }
    }
    return layout(sizes);
  }

  private static PackLayout layout(List<int[]> sizes) {
    return PackLayout.of(
        sizes.stream().mapToInt(s -> s[0]).toArray(), sizes.stream().mapToInt(s -> s[1]).toArray());
  }

  /** A pack by name; {@code step} makes the random ones differ. */
  private static PackLayout layout(String name, int tokens, int step) {
    return switch (name) {
      case "mixed" -> mixed();
      case "256px" -> repeated(new int[][] {{256, 8, 8}});
      case "512px" -> repeated(new int[][] {{64, 16, 16}});
      case "1024px" -> repeated(new int[][] {{16, 32, 32}});
      case "2048px" -> repeated(new int[][] {{4, 64, 64}});
      case "random" -> random(tokens, step);
      case "drawn" -> drawn(tokens, step);
      default ->
          throw new IllegalArgumentException(
              "pack: expected mixed, 256px, 512px, 1024px, 2048px, random or drawn, found " + name);
    };
  }

  /** Images of 4 to 40 tokens a side until one does not fit, which is cut to what is left. */
  private static PackLayout random(int tokens, int step) {
    Random random = new Random(step);
    List<int[]> sizes = new ArrayList<>();
    int left = tokens;
    while (left > 0) {
      int h = 4 + random.nextInt(37);
      int w = 4 + random.nextInt(37);
      if (h * w > left) {
        h = 1;
        w = left;
      }
      sizes.add(new int[] {h, w});
      left -= h * w;
    }
    return layout(sizes);
  }

  /**
   * Images of {@link #mixed}'s sizes, each side one token more or less or as it is, in the same
   * proportions by tokens, until the pack is full; the last one is cut to what is left.
   */
  private static PackLayout drawn(int tokens, int step) {
    Random random = new Random(step);
    PackLayout mixed = mixed();
    List<Integer> order = new ArrayList<>();
    List<int[]> sizes = new ArrayList<>();
    int left = tokens;
    while (left > 0) {
      if (order.isEmpty()) {
        for (int i = 0; i < mixed.images(); i++) {
          order.add(i);
        }
        Collections.shuffle(order, random);
      }
      int image = order.remove(order.size() - 1);
      int h = mixed.h(image) - 1 + random.nextInt(3);
      int w = mixed.w(image) - 1 + random.nextInt(3);
      if (h * w > left) {
        h = 1;
        w = left;
      }
      sizes.add(new int[] {h, w});
      left -= h * w;
    }
    sizes.sort(Comparator.comparingInt(s -> -s[0] * s[1]));
    return layout(sizes);
  }

  // ---------------------------------------------------------------- Steps

  private static NitModel model(NitConfig config, Device device) {
    NitModel model = new NitModel(config, false, device, AttentionPath.forDevice(device));
    try (NoGradGuard guard = new NoGradGuard()) {
      model.parameters().values().forEach(p -> p.normal_(0, 0.02, new GeneratorOptional()));
    }
    return model;
  }

  /** Data of any pack: parts of what was drawn once. */
  private record Data(Tensor latents, Tensor noise, Tensor t, Tensor labels) {
    static Data of(NitConfig config, Device device, long tokens) {
      int p = config.patchSize();
      long[] dims = {tokens, config.inChannels(), p, p};
      return new Data(
          torch.randn(dims).to(device, ScalarType.Float),
          torch.randn(dims).to(device, ScalarType.Float),
          torch.rand(tokens).to(device, ScalarType.Float),
          torch.zeros(tokens).to(device, ScalarType.Long));
    }

    FlowMatchingLoss.Batch batch(PackLayout layout) {
      return new FlowMatchingLoss.Batch(
          latents.narrow(0, 0, layout.tokens()),
          noise.narrow(0, 0, layout.tokens()),
          t.narrow(0, 0, layout.images()),
          labels.narrow(0, 0, layout.images()),
          Optional.empty());
    }
  }

  /** Events around a step's parts, for as many steps as are asked for. */
  private static final class Clock {
    private final List<CUDAEvent[]> steps = new ArrayList<>();
    private final List<Double> host = new ArrayList<>();
    private final List<Double> making = new ArrayList<>(); // a pack, on the host
    private final List<PackLayout> packs = new ArrayList<>();
    private final Memory memory = new Memory();
    private double flops;
    private long tokens;

    CUDAEvent[] next() {
      CUDAEvent[] events = new CUDAEvent[4];
      for (int i = 0; i < events.length; i++) {
        events[i] = new CUDAEvent(0); // with timing
      }
      steps.add(events);
      return events;
    }

    private double median(int from, int to) {
      double[] times =
          steps.stream().skip(WARM_UP).mapToDouble(e -> e[from].elapsed_time(e[to])).toArray();
      Arrays.sort(times);
      return times[times.length / 2];
    }

    /** Counts a pack in; of the warm-up's nothing is counted. */
    void pack(NitConfig config, PackLayout layout) {
      if (steps.size() > WARM_UP) {
        flops += TrainingCost.flops(config, layout, false);
        tokens += layout.tokens();
        packs.add(layout);
      }
    }

    void row(String path, String pack, NitConfig config) {
      torch.cuda_synchronize();
      int counted = steps.size() - WARM_UP;
      double[] between = new double[counted - 1];
      for (int i = 0; i < between.length; i++) {
        between[i] = steps.get(WARM_UP + i)[0].elapsed_time(steps.get(WARM_UP + i + 1)[0]);
      }
      double slowest = Arrays.stream(between).max().orElse(0);
      Arrays.sort(between);
      double ms = between[between.length / 2];
      double tokensAStep = (double) tokens / counted;
      System.out.printf(
          Locale.ROOT,
          "%-14s %-7s %7.0f %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f %9.0f %6s %9.2f%n",
          path,
          pack,
          tokensAStep,
          ms,
          slowest,
          median(0, 1),
          median(1, 2),
          median(2, 3),
          median(host),
          tokensAStep / ms * 1e3,
          utilisation(flops / counted / ms * 1e3),
          memory.peak() / 0x1p30);
      double length = 0;
      double pairs = 0;
      int least = Integer.MAX_VALUE;
      int longest = 0;
      int images = 0;
      for (PackLayout layout : packs) {
        for (int i = 0; i < layout.images(); i++, images++) {
          int n = layout.tokens(i);
          length += n;
          pairs += (double) n * n;
          least = Math.min(least, n);
          longest = Math.max(longest, n);
        }
      }
      double attention = 12.0 * config.depth() * config.hiddenSize() * pairs; // 3 times 4·D·n²
      System.out.printf(
          Locale.ROOT,
          "  images a pack %.0f, tokens an image %d to %d, mean %.0f, by tokens %.0f; useful %.2f"
              + " TFLOP, attention's %.2f; %.3f ms a TFLOP; a pack on the host %.1f ms%n",
          (double) images / counted,
          least,
          longest,
          length / images,
          pairs / length,
          flops / counted / 1e12,
          attention / counted / 1e12,
          ms / (flops / counted / 1e12),
          median(making));
      System.out.println("  " + memory);
    }

    private static double median(List<Double> values) {
      double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
      return sorted.length == 0 ? 0 : sorted[sorted.length / 2];
    }
  }

  /** What the allocator did; it is asked between the queueing of a step's parts. */
  private static final class Memory {
    private static final List<String> PHASES = List.of("forward", "backward", "update");
    private final long[] peaks = new long[PHASES.size()];
    private final long[] after = new long[PHASES.size()];
    private final long before = GpuMemory.allocated();
    private GpuMemory.DriverCalls warm;
    private GpuMemory.DriverCalls last;

    void begin(int step) {
      if (step == WARM_UP) {
        warm = GpuMemory.driverCalls();
      }
      GpuMemory.resetPeak();
    }

    void end(int phase) {
      peaks[phase] = Math.max(peaks[phase], GpuMemory.peak());
      after[phase] = GpuMemory.allocated();
      GpuMemory.resetPeak();
      last = GpuMemory.driverCalls();
    }

    long peak() {
      return Arrays.stream(peaks).max().orElse(0);
    }

    @Override
    public String toString() {
      StringBuilder line = new StringBuilder("GiB in tensors: ");
      line.append(String.format(Locale.ROOT, "%.2f before", before / 0x1p30));
      for (int i = 0; i < peaks.length; i++) {
        line.append(
            String.format(
                Locale.ROOT,
                "; %s %.2f, then %.2f",
                PHASES.get(i),
                peaks[i] / 0x1p30,
                after[i] / 0x1p30));
      }
      GpuMemory.DriverCalls calls = last.since(warm);
      return line.append(
              String.format(
                  Locale.ROOT,
                  "; taken %.2f; cudaMalloc %d, cudaFree %d, retries %d",
                  GpuMemory.reserved() / 0x1p30,
                  calls.allocations(),
                  calls.frees(),
                  calls.retries()))
          .toString();
    }
  }

  /** A pack that a thread has put on the GPU ahead of its step, and what that took. */
  private record Ahead(PackLayout layout, FusedPack pack, double milliseconds, PointerScope owned) {
    static Ahead of(
        PackLayout layout, NitConfig config, Rope2d rope, Device device, CUDAStream stream) {
      long began = System.nanoTime();
      try (PointerScope scope = new PointerScope();
          CUDAStreamGuard guard = new CUDAStreamGuard(stream.unwrap())) {
        FusedPack pack = FusedPack.of(layout, config, rope, device);
        stream.synchronize();
        return new Ahead(layout, pack, (System.nanoTime() - began) / 1e6, scope.extend());
      }
    }

    /** Frees the tensors once the work that is queued on them is done. */
    void close() {
      try (PointerScope scope = new PointerScope()) {
        Stream stream = torch_cuda.getCurrentCUDAStream().unwrap();
        pack.tensors().forEach(tensor -> tensor.record_stream(stream));
      }
      owned.close();
    }
  }

  /** The share of what the GPU could do, if its data sheet is known. */
  private static String utilisation(double flopsPerSecond) {
    OptionalDouble peak = TrainingCost.peak(GpuMemory.deviceName());
    return peak.isEmpty()
        ? ""
        : String.format(Locale.ROOT, "%.1f%%", 100 * flopsPerSecond / peak.getAsDouble());
  }

  private static void fused(
      NitConfig config, Device device, List<String> packs, int steps, int tokens, String path)
      throws IOException {
    boolean checkpointing = path.equals("checkpointing");
    try (PointerScope scope = new PointerScope();
        NitModel model = model(config, device);
        NitModel averaged = model(config, device);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FlatParameters average = new FlatParameters(averaged.parameters(), false);
        AdamW optimizer = new AdamW(flat, AdamW.Options.STANDARD);
        FusedOps ops = path.equals("plain") ? new ReferenceOps() : new CudaOps(device);
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.BFloat16, checkpointing)) {
      FusedUpdate update =
          new FusedUpdate(flat, Optional.of(average), optimizer, fused.copy(), ops);
      Data data = Data.of(config, device, 16384);
      Rope2d rope = new Rope2d();
      CUDAStream copies = torch_cuda.getStreamFromPool();
      ExecutorService maker = Executors.newSingleThreadExecutor();
      try {
        for (String name : packs) {
          steps(
              config, device, name, steps, tokens, path, fused, update, data, rope, copies, maker);
        }
      } finally {
        maker.shutdown();
      }
    }
  }

  private static void steps(
      NitConfig config,
      Device device,
      String name,
      int steps,
      int tokens,
      String path,
      FusedNit fused,
      FusedUpdate update,
      Data data,
      Rope2d rope,
      CUDAStream copies,
      ExecutorService maker) {
    boolean changing = name.equals("random") || name.equals("drawn");
    int all = WARM_UP + steps;
    Clock clock = new Clock();
    IntFunction<Future<Ahead>> make =
        step ->
            maker.submit(() -> Ahead.of(layout(name, tokens, step), config, rope, device, copies));
    Deque<Future<Ahead>> ahead = new ArrayDeque<>();
    ahead.add(make.apply(0));
    if (changing) {
      ahead.add(make.apply(1));
    }
    for (int step = 0; step < all; step++) {
      Ahead next = join(changing ? ahead.remove() : ahead.peek());
      if (changing && step + 2 < all) {
        ahead.add(make.apply(step + 2));
      }
      try (PointerScope each = new PointerScope()) {
        CUDAEvent[] events = clock.next();
        for (CUDAEvent event : events) {
          event.retainReference();
        }
        clock.memory.begin(step);
        long began = System.nanoTime();
        events[0].record();
        clock.pack(config, next.layout);
        boolean[] turned = {false};
        GradientReady turn =
            (from, to) -> {
              if (!turned[0]) {
                turned[0] = true;
                events[1].record();
                clock.memory.end(0);
              }
            };
        FlowMatchingLoss.Batch batch = data.batch(next.layout);
        Tensor loss = fused.backward(LOSS, batch, next.pack, 1, true, turn).total();
        events[2].record();
        clock.memory.end(1);
        update.step(5e-5, 1, 0.9999, loss);
        events[3].record();
        clock.memory.end(2);
        clock.host.add((System.nanoTime() - began) / 1e6);
      }
      if (step >= WARM_UP) {
        clock.making.add(next.milliseconds);
      }
      if (changing || step + 1 == all) {
        next.close();
      }
      if (step % 4 == 3) {
        torch.cuda_synchronize(); // the host stays a few steps ahead at most
      }
    }
    clock.row(path, name, config);
  }

  private static Ahead join(Future<Ahead> pack) {
    try {
      return pack.get();
    } catch (InterruptedException | ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void autograd(
      NitConfig config, Device device, List<String> packs, int steps, int tokens, String path) {
    boolean tf32 = path.equals("tf32");
    torch.globalContext().setAllowTF32CuBLAS(tf32);
    try (PointerScope scope = new PointerScope();
        NitModel model = model(config, device);
        NitModel averaged = model(config, device);
        AdamW optimizer = new AdamW(model.parameters(), AdamW.Options.STANDARD)) {
      Ema ema = new Ema(averaged);
      Data data = Data.of(config, device, 16384);
      Rope2d rope = new Rope2d();
      for (String name : packs) {
        Clock clock = new Clock();
        for (int step = 0; step < WARM_UP + steps; step++) {
          try (PointerScope each = new PointerScope()) {
            CUDAEvent[] events = clock.next();
            for (CUDAEvent event : events) {
              event.retainReference();
            }
            PackLayout layout = layout(name, tokens, step);
            clock.memory.begin(step);
            long began = System.nanoTime();
            events[0].record();
            clock.pack(config, layout);
            model.parameters().values().forEach(p -> p.mutable_grad().reset());
            PackIndex pack = PackIndex.of(layout, config, rope, device);
            Tensor total = LOSS.compute(model, data.batch(layout), pack).total();
            events[1].record();
            clock.memory.end(0);
            total.backward();
            events[2].record();
            clock.memory.end(1);
            double norm = GradNorm.of(model.parameters());
            GradNorm.clip(model.parameters(), norm, 1);
            optimizer.step(5e-5);
            ema.update(model, 0.9999);
            events[3].record();
            clock.memory.end(2);
            clock.host.add((System.nanoTime() - began) / 1e6);
          }
        }
        clock.row(path, name, config);
      }
    } finally {
      torch.globalContext().setAllowTF32CuBLAS(false);
    }
  }
}
