package io.nit.runtime.trt;

import io.nit.core.config.NitConfig;
import io.nit.core.cuda.SamplerKernels;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.StepInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.trt.LatentPlaces.Placed;
import io.nit.testing.SamplerTwin;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * What {@link ResidentLatents} does, without a GPU: a thread stands for the device's stream, plain
 * Java for the kernels. The memory begins as NaN, so that a place that is read before it was
 * written shows.
 */
public final class TwinSampling implements ResidentSampling {
  /** Steps that were under way when one was begun, with it. */
  public volatile int mostUnderWay;

  /** If not null, steps cannot be begun for this reason. */
  public volatile String refusal;

  private final VelocityEngine engine;
  private final NitConfig config;
  private final LatentPlaces places;
  private final int capacity;
  private final double[] state;
  private final double[] velocity;
  private final ExecutorService device =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread thread = new Thread(task, "device");
            thread.setDaemon(true);
            return thread;
          });
  private int underWay;

  /** Memory for packs of so many tokens; forwards are the engine's. */
  public TwinSampling(VelocityEngine engine, int tokens) {
    this.engine = engine;
    this.config = engine.config();
    this.capacity = tokens * config.tokenSize();
    this.places = new LatentPlaces(capacity, config.tokenSize());
    this.state = new double[3 * capacity];
    this.velocity = new double[2 * capacity];
    Arrays.fill(state, Double.NaN);
    Arrays.fill(velocity, Double.NaN);
  }

  @Override
  public synchronized Step begin(StepInputs in) throws EngineException {
    if (underWay == MOST_STEPS) {
      throw new IllegalStateException("expected at most " + MOST_STEPS + " steps under way");
    }
    if (refusal != null) {
      throw new EngineException(refusal);
    }
    List<Placed> placed = places.place(in);
    ByteBuffer table = ByteBuffer.allocate(placed.size() * SamplerKernels.IMAGE_BYTES);
    double[] coming = new double[capacity];
    double[] noise = new double[capacity];
    Arrays.fill(noise, Double.NaN);
    int arrived = 0;
    for (Placed one : placed) {
      one.write(table);
      if (one.from() >= places.arrivals()) {
        System.arraycopy(one.image().x(), 0, coming, arrived, one.image().elements());
        arrived += one.image().elements();
      }
      if (one.move().spread() > 0) {
        System.arraycopy(one.image().noise(), 0, noise, one.first(), one.image().elements());
      }
    }
    places.moved(placed);
    Running step = new Running(placed, table, coming, arrived, noise);
    step.end = CompletableFuture.runAsync(() -> step.run(in), device);
    underWay++;
    mostUnderWay = Math.max(mostUnderWay, underWay);
    return step;
  }

  private final class Running implements Step {
    private final List<Placed> placed;
    private final ByteBuffer table;
    private final double[] coming;
    private final int arrived;
    private final double[] noise;
    private final int[] failed;
    private final double[][] latents;
    private CompletableFuture<Void> end;
    private boolean over;

    Running(List<Placed> placed, ByteBuffer table, double[] coming, int arrived, double[] noise) {
      this.placed = placed;
      this.table = table;
      this.coming = coming;
      this.arrived = arrived;
      this.noise = noise;
      this.failed = new int[placed.size()];
      this.latents = new double[placed.size()][];
    }

    void run(StepInputs in) {
      Placed last = placed.get(placed.size() - 1);
      int elements = last.first() + last.image().elements();
      int values = in.layout().tokens() * config.tokenSize();
      float[] x = new float[values];
      FloatBuffer v = FloatBuffer.allocate(values);
      System.arraycopy(coming, 0, state, places.arrivals(), arrived);
      SamplerTwin.gather(table, state, velocity, x, elements, placed.size());
      try {
        engine.forward(
            new ForwardInputs(in.layout(), FloatBuffer.wrap(x), in.t(), in.y(), in.rope()), v);
      } catch (EngineException e) {
        throw new CompletionException(e);
      }
      SamplerTwin.advance(
          table, state, velocity, v.array(), noise, failed, elements, placed.size());
      for (int i = 0; i < latents.length; i++) {
        Placed one = placed.get(i);
        if (one.move().last()) {
          int from = (int) one.to();
          latents[i] = Arrays.copyOfRange(state, from, from + one.image().elements());
        }
      }
    }

    @Override
    public void await() throws EngineException {
      try {
        end.join();
      } catch (CompletionException e) {
        if (e.getCause() instanceof EngineException failure) {
          throw failure;
        }
        throw e;
      } finally {
        synchronized (TwinSampling.this) {
          underWay -= over ? 0 : 1;
          over = true;
        }
      }
    }

    @Override
    public boolean finite(int image) {
      return failed[image] == 0;
    }

    @Override
    public double[] latent(int image) {
      return latents[image];
    }
  }
}
