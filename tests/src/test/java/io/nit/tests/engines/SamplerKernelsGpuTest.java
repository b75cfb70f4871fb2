package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cuda.SamplerKernels;
import io.nit.core.flow.Move;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.TensorRtException;
import io.nit.testing.SamplerTwin;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The sampler's kernels against their twin in Java, bit for bit. */
@Tag("gpu")
class SamplerKernelsGpuTest {
  private static final double[] ODD = {
    0.0, -0.0, Double.MIN_VALUE, -1e-310, 1e-42, 3.4e38, -3.5e38, 1e300, 1.0000000000000002
  };

  @BeforeAll
  static void needsAGpuTensorRtAndTheLibrary() throws IOException, TensorRtException {
    PluginEngines.require(SamplerKernelsGpuTest.class);
    SamplerKernels.load();
    Gpu.open(0);
  }

  /** A step of images of random rules, whose states lie in a random order, and its memory. */
  private static final class Step {
    final int count;
    final int elements;
    final int values; // with those that are guided a second time
    final ByteBuffer table;
    final double[] state;
    final double[] velocity;
    final double[] noise;
    final float[] x;
    final float[] v;

    Step(Random random, int[] lengths) {
      count = lengths.length;
      elements = Arrays.stream(lengths).sum();
      List<Integer> order = new ArrayList<>();
      int[] from = new int[count];
      for (int i = 0; i < count; i++) {
        order.add(i);
      }
      Collections.shuffle(order, random);
      int place = 0;
      for (int i : order) {
        from[i] = place;
        place += lengths[i];
      }
      table =
          ByteBuffer.allocate(count * SamplerKernels.IMAGE_BYTES).order(ByteOrder.nativeOrder());
      int first = 0;
      int second = elements;
      for (int i = 0; i < count; i++) {
        boolean guided = random.nextBoolean();
        Move.Rule rule = Move.Rule.values()[random.nextInt(4)];
        boolean noisy = rule == Move.Rule.DIFFUSE && random.nextInt(4) > 0;
        table.putLong(first).putLong(guided ? second : -1).putLong(from[i]);
        table.putLong(elements + first);
        table.putDouble(0.04 + 0.96 * random.nextDouble()).putDouble(-random.nextDouble());
        table.putDouble(1 + 5 * random.nextDouble());
        table.putDouble(noisy ? random.nextDouble() : 0);
        table.putInt(rule.ordinal()).putInt(0);
        first += lengths[i];
        second += guided ? lengths[i] : 0;
      }
      values = second;
      state = randoms(random, 2 * elements);
      velocity = randoms(random, 2 * elements);
      noise = randoms(random, elements);
      x = new float[values];
      v = new float[values];
      for (int i = 0; i < values; i++) {
        v[i] = (float) (3 * random.nextGaussian());
      }
    }

    private static double[] randoms(Random random, int count) {
      double[] all = new double[count];
      for (int i = 0; i < count; i++) {
        all[i] = random.nextInt(50) == 0 ? ODD[random.nextInt(ODD.length)] : random.nextGaussian();
      }
      return all;
    }
  }

  /** A step's memory on the device. */
  private static final class OnDevice implements AutoCloseable {
    final Step step;
    final CUstream_st stream;
    final Pointer table;
    final Pointer state;
    final Pointer velocity;
    final Pointer noise;
    final Pointer x;
    final Pointer v;
    final BytePointer failed;

    OnDevice(Step step) throws TensorRtException {
      this.step = step;
      stream = Cuda.stream();
      table = upload(new BytePointer(step.table.array()), step.table.capacity());
      state = upload(new DoublePointer(step.state), 8L * step.state.length);
      velocity = upload(new DoublePointer(step.velocity), 8L * step.velocity.length);
      noise = upload(new DoublePointer(step.noise), 8L * step.noise.length);
      x = upload(new FloatPointer(step.x), 4L * step.x.length);
      v = upload(new FloatPointer(step.v), 4L * step.v.length);
      failed = Cuda.allocateHost(4L * step.count, "flags");
      Pointer.memset(failed, 0, 4L * step.count);
    }

    private static Pointer upload(Pointer host, long bytes) throws TensorRtException {
      Pointer memory = Cuda.allocate(bytes, "a test's memory");
      Cuda.check(cudart.cudaMemcpy(memory, host, bytes, cudart.cudaMemcpyHostToDevice), "copy");
      host.close();
      return memory;
    }

    void gather() {
      SamplerKernels.gather(
          table.address(),
          state.address(),
          velocity.address(),
          x.address(),
          step.elements,
          step.count,
          stream.address());
    }

    void advance() {
      SamplerKernels.advance(
          table.address(),
          state.address(),
          velocity.address(),
          v.address(),
          noise.address(),
          failed.address(),
          step.elements,
          step.count,
          stream.address());
    }

    double[] doubles(Pointer memory, int count) throws TensorRtException {
      Cuda.synchronize(stream, "kernels");
      double[] values = new double[count];
      try (DoublePointer host = new DoublePointer(count)) {
        Cuda.check(
            cudart.cudaMemcpy(host, memory, 8L * count, cudart.cudaMemcpyDeviceToHost), "copy");
        host.get(values);
      }
      return values;
    }

    float[] floats(Pointer memory, int count) throws TensorRtException {
      Cuda.synchronize(stream, "kernels");
      float[] values = new float[count];
      try (FloatPointer host = new FloatPointer(count)) {
        Cuda.check(
            cudart.cudaMemcpy(host, memory, 4L * count, cudart.cudaMemcpyDeviceToHost), "copy");
        host.get(values);
      }
      return values;
    }

    int[] failed() throws TensorRtException {
      Cuda.synchronize(stream, "kernels");
      int[] flags = new int[step.count];
      failed.asByteBuffer().order(ByteOrder.nativeOrder()).asIntBuffer().get(flags);
      return flags;
    }

    @Override
    public void close() {
      for (Pointer memory : new Pointer[] {table, state, velocity, noise, x, v}) {
        Cuda.free(memory);
      }
      Cuda.freeHost(failed);
      Cuda.destroy(stream);
    }
  }

  private static int[] lengths(Random random, int count, int most) {
    return random.ints(count, 1, most + 1).toArray();
  }

  /** NaN of any kind are the same: their bits are the hardware's choice. */
  private static long differences(double[] found, double[] expected) {
    long count = 0;
    for (int i = 0; i < found.length; i++) {
      count += Double.doubleToLongBits(found[i]) != Double.doubleToLongBits(expected[i]) ? 1 : 0;
    }
    return count;
  }

  @Test
  void everyValueHasTheTwinsBits() throws Exception {
    Random random = new Random(1);
    int[][] packs = new int[40][];
    for (int i = 0; i < packs.length; i++) {
      packs[i] = lengths(random, 1 + random.nextInt(i < 30 ? 12 : 300), i % 3 == 0 ? 3000 : 300);
    }
    long different = 0;
    long compared = 0;
    for (int i = 0; i < packs.length; i++) {
      Step step = new Step(random, packs[i]);
      if (i % 4 == 3) {
        step.v[random.nextInt(step.values)] = Float.NaN;
        step.v[random.nextInt(step.values)] = Float.NEGATIVE_INFINITY;
      }
      int[] failed = new int[step.count];
      try (OnDevice device = new OnDevice(step)) {
        device.gather();
        device.advance();
        double[] state = device.doubles(device.state, step.state.length);
        double[] velocity = device.doubles(device.velocity, step.velocity.length);
        float[] x = device.floats(device.x, step.values);
        int[] flags = device.failed();
        SamplerTwin.gather(
            step.table, step.state, step.velocity, step.x, step.elements, step.count);
        SamplerTwin.advance(
            step.table,
            step.state,
            step.velocity,
            step.v,
            step.noise,
            failed,
            step.elements,
            step.count);
        long here = differences(state, step.state) + differences(velocity, step.velocity);
        compared += 2L * state.length;
        different += here;
        if (here > 0) {
          System.out.printf("  pack %d of %d images: %d values differ%n", i, step.count, here);
        }
        assertArrayEquals(step.x, x, "the model's input of pack " + i);
        assertArrayEquals(failed, flags, "flags of pack " + i);
        assertEquals(Arrays.stream(failed).sum() > 0, i % 4 == 3, "which packs hold NaN: " + i);
      }
    }
    System.out.printf("  %d of %d values differ from Java's%n", different, compared);
    assertEquals(0, different);
  }

  @Test
  void theTwoPassesOfAStepTakeMicroseconds() throws Exception {
    for (int[] pack :
        List.of(
            new int[] {256 * 32}, // one picture of 512 pixels
            lengths(new Random(2), 60, 16_384 * 32 / 30))) {
      Step step = new Step(new Random(3), pack);
      try (OnDevice device = new OnDevice(step)) {
        CUevent_st begun = Cuda.event();
        CUevent_st ended = Cuda.event();
        int rounds = 200;
        for (int i = -20; i < rounds; i++) {
          if (i == 0) {
            cudart.cudaEventRecord(begun, device.stream);
          }
          device.gather();
          device.advance();
        }
        cudart.cudaEventRecord(ended, device.stream);
        Cuda.synchronize(device.stream, "kernels");
        float[] millis = new float[1];
        Cuda.check(cudart.cudaEventElapsedTime(millis, begun, ended), "time");
        System.out.printf(
            Locale.ROOT,
            "  %d images, %d values: gather and advance %.1f us%n",
            step.count,
            step.elements,
            millis[0] / rounds * 1e3);
        assertTrue(millis[0] > 0);
        Cuda.destroy(begun);
        Cuda.destroy(ended);
      }
    }
  }
}
