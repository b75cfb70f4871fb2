package io.nit.runtime.trt;

import io.nit.core.cuda.SamplerKernels;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.StepInputs;
import io.nit.runtime.trt.LatentPlaces.Placed;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * The states of the images under way, on the device, in double precision; {@link LatentPlaces} says
 * where.
 *
 * <p>A step is {@link #place}, {@link #gather}, the forward, {@link #advance}. Works on its owner's
 * stream and under its owner's lock; the owner waits for the copies of {@link #place} before it
 * calls that again.
 */
final class ResidentLatents implements AutoCloseable {
  /** What the host reads of a step, pinned: there are as many as steps may be under way. */
  private final class Results implements AutoCloseable {
    private CUevent_st ended;
    private BytePointer failed; // [images] int32, written by the kernel itself
    private BytePointer latents; // [capacity] float64, by place in the pack
    private ByteBuffer failedView;
    private DoubleBuffer latentsView;

    Results(int images) throws TensorRtException {
      try {
        ended = Cuda.event();
        failed = Cuda.allocateHost((long) images * Integer.BYTES, "flags of a step");
        latents = Cuda.allocateHost((long) capacity * Double.BYTES, "latents that are done");
        failedView = view(failed);
        latentsView = view(latents).asDoubleBuffer();
      } catch (TensorRtException | RuntimeException | Error e) {
        close();
        throw e;
      }
    }

    @Override
    public void close() {
      Cuda.destroy(ended);
      Cuda.freeHost(failed);
      Cuda.freeHost(latents);
    }
  }

  /** A step under way. */
  final class UnderWay {
    private final Results results;
    private final List<Placed> images;
    private final boolean[] finite;
    private final double[][] latents; // of those that are done
    private boolean over;
    private TensorRtException failure;

    private UnderWay(Results results, List<Placed> images) {
      this.results = results;
      this.images = images;
      this.finite = new boolean[images.size()];
      this.latents = new double[images.size()][];
    }

    /**
     * Waits for it and takes what came of it.
     *
     * @throws TensorRtException if it failed; the same at the second call
     */
    void await() throws TensorRtException {
      if (!over) {
        try {
          Cuda.check(cudart.cudaEventSynchronize(results.ended), "a step of " + images.size());
        } catch (TensorRtException e) {
          failure = e;
          awaitAll();
        }
        over = true;
        idle.add(results);
        if (failure == null) {
          take();
        }
      }
      if (failure != null) {
        throw failure;
      }
    }

    private void take() {
      for (int i = 0; i < finite.length; i++) {
        Placed image = images.get(i);
        finite[i] = results.failedView.getInt(i * Integer.BYTES) == 0;
        if (image.move().last()) {
          latents[i] = new double[image.image().elements()];
          results.latentsView.position(image.first()).get(latents[i]);
        }
      }
    }

    boolean finite(int image) {
      requireOver();
      return finite[image];
    }

    double[] latent(int image) {
      requireOver();
      if (latents[image] == null) {
        throw new IllegalStateException("image " + image + ": its latent was not brought");
      }
      return latents[image];
    }

    private void requireOver() {
      if (!over || failure != null) {
        throw new IllegalStateException("the step was not waited for, or failed");
      }
    }
  }

  private final CUstream_st stream;
  private final int capacity;
  private final List<Results> results = new ArrayList<>();
  private final Deque<Results> idle = new ArrayDeque<>();
  private final LatentPlaces places;
  private Pointer state; // [3, capacity] float64: two halves, and those that come
  private Pointer velocity; // [2, capacity] float64
  private BytePointer arrivals; // [capacity] float64, pinned
  private DoubleBuffer arrivalsView;
  private Binding noise; // [capacity] float64, by place in the pack
  private Binding table;

  private List<Placed> step; // between place and advance
  private int elements; // of its images, counted once

  /**
   * Takes the memory.
   *
   * @param tokens of the largest pack
   * @param mostImages of a pack
   * @throws TensorRtException if there is too little memory
   */
  ResidentLatents(CUstream_st stream, int tokens, int tokenSize, int mostImages)
      throws TensorRtException {
    this.stream = stream;
    this.capacity = Math.multiplyExact(tokens, tokenSize);
    this.places = new LatentPlaces(capacity, tokenSize);
    long bytes = Math.multiplyExact(capacity, Double.BYTES); // within what a buffer may hold
    try {
      state = Cuda.allocate(3 * bytes, "latents of " + tokens + " tokens");
      velocity = Cuda.allocate(2 * bytes, "velocities of " + tokens + " tokens");
      arrivals = Cuda.allocateHost(bytes, "starting noise");
      arrivalsView = view(arrivals).asDoubleBuffer();
      noise = new Binding("noise", bytes);
      table = new Binding("images", (long) mostImages * SamplerKernels.IMAGE_BYTES);
      for (int i = 0; i < ResidentSampling.MOST_STEPS; i++) {
        results.add(new Results(mostImages));
      }
      idle.addAll(results);
    } catch (TensorRtException | RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /** Device memory that the states of so many tokens take. */
  static long bytes(long tokens, int tokenSize) {
    return 6 * tokens * tokenSize * Double.BYTES;
  }

  /**
   * Starts the copies of what a step needs: its description, those that come, noise.
   *
   * @throws IllegalStateException if too many steps are under way, or as {@link LatentPlaces#place}
   */
  void place(StepInputs in) throws TensorRtException {
    if (idle.isEmpty()) {
      throw new IllegalStateException(
          "expected at most " + ResidentSampling.MOST_STEPS + " steps under way");
    }
    step = places.place(in);
    Placed end = step.get(step.size() - 1);
    elements = end.first() + end.image().elements();
    ByteBuffer rows = table.host(step.size() * SamplerKernels.IMAGE_BYTES);
    DoubleBuffer coming = arrivalsView.clear();
    DoubleBuffer noisy = noise.host(elements * Double.BYTES).asDoubleBuffer();
    boolean anyNoise = false;
    for (Placed placed : step) {
      placed.write(rows);
      if (placed.from() >= places.arrivals()) {
        coming.put(placed.image().x());
      }
      if (placed.move().spread() > 0) {
        noisy.position(placed.first()).put(placed.image().noise());
        anyNoise = true;
      }
    }
    table.upload(rows.position(), stream);
    if (coming.position() > 0) {
      copy(
          at(state, places.arrivals()),
          arrivals,
          coming.position(),
          cudart.cudaMemcpyHostToDevice,
          "starting noise");
    }
    if (anyNoise) {
      noise.upload((long) elements * Double.BYTES, stream);
    }
  }

  private void copy(Pointer to, Pointer from, int values, int kind, String what)
      throws TensorRtException {
    Cuda.check(
        cudart.cudaMemcpyAsync(to, from, (long) values * Double.BYTES, kind, stream),
        "copy of " + what);
  }

  /** Writes the model's input. */
  void gather(Pointer x) {
    SamplerKernels.gather(
        table.device().address(),
        state.address(),
        velocity.address(),
        x.address(),
        elements,
        step.size(),
        stream.address());
  }

  /** Moves the images on by the model's output, and starts the copies of those that are done. */
  UnderWay advance(Pointer v) throws TensorRtException {
    Results taken = idle.element();
    for (int i = 0; i < step.size(); i++) {
      taken.failedView.putInt(i * Integer.BYTES, 0);
    }
    SamplerKernels.advance(
        table.device().address(),
        state.address(),
        velocity.address(),
        v.address(),
        noise.device().address(),
        taken.failed.address(),
        elements,
        step.size(),
        stream.address());
    try {
      for (Placed placed : step) {
        if (placed.move().last()) {
          copy(
              at(taken.latents, placed.first()),
              at(state, placed.to()),
              placed.image().elements(),
              cudart.cudaMemcpyDeviceToHost,
              "a latent");
        }
      }
      Cuda.check(cudart.cudaEventRecord(taken.ended, stream), "CUDA event");
    } catch (TensorRtException e) {
      awaitAll(); // the kernel is queued, and the next step takes the same results
      throw e;
    }
    idle.remove();
    places.moved(step);
    return new UnderWay(taken, step);
  }

  /** Waits after a failure until nothing writes results any more; what that tells is known. */
  private void awaitAll() {
    cudart.cudaStreamSynchronize(stream);
  }

  private static Pointer at(Pointer base, long value) {
    return new BytePointer(base).position(value * Double.BYTES);
  }

  private static ByteBuffer view(BytePointer pinned) {
    return pinned.asByteBuffer().order(ByteOrder.nativeOrder());
  }

  /** Frees its memory; may be called twice, when no step is under way on the device. */
  @Override
  public void close() {
    results.forEach(Results::close);
    for (Binding binding : new Binding[] {noise, table}) {
      if (binding != null) {
        binding.close();
      }
    }
    Cuda.freeHost(arrivals);
    Cuda.free(velocity);
    Cuda.free(state);
  }
}
