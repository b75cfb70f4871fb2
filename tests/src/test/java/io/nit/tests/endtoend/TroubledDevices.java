package io.nit.tests.endtoend;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.ort.OrtCpuProvider;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** Backends of troubled devices: ONNX Runtime on the CPU, with what GPUs have been seen to do. */
public final class TroubledDevices {
  /** A class that {@link Killing} does not survive, and whose pictures of {@link Numb} are NaN. */
  static final int BAD_LABEL = 3;

  private static final List<Class<? extends EngineProvider>> ALL =
      List.of(
          Lost.class,
          Dying.class,
          Killing.class,
          Small.class,
          Absent.class,
          Numb.class,
          Mixed.class);

  private TroubledDevices() {}

  /** Makes a folder that offers them on a class path. */
  static Path offer(Path folder) throws IOException {
    Path services = Files.createDirectories(folder.resolve("META-INF/services"));
    Files.writeString(
        services.resolve(EngineProvider.class.getName()),
        ALL.stream().map(one -> one.getName() + "\n").collect(Collectors.joining()));
    return folder;
  }

  private abstract static class Provider implements EngineProvider {
    private final OrtCpuProvider cpu = new OrtCpuProvider();
    private final String name;

    Provider(String name) {
      this.name = name;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public boolean runsOnGpu() {
      return false;
    }

    @Override
    public int preference() {
      return BY_NAME_ONLY;
    }

    @Override
    public Optional<String> refusal(Bundle bundle, EngineOptions options) {
      return Optional.empty();
    }

    @Override
    public VelocityEngine open(Bundle bundle, EngineOptions options)
        throws IOException, EngineException {
      return new Device(cpu.open(bundle, options), this, options.device());
    }

    /** Before the device's forward of this number, from 1. */
    void before(int device, ForwardInputs in, int forward) throws EngineException {}

    String backend(int device) {
      return name;
    }

    int maxTokens(int device) {
      return Integer.MAX_VALUE;
    }

    boolean givesNan(int label) {
      return false;
    }
  }

  /** All devices but 0 fail every forward, as a GPU that has fallen off its bus does. */
  public static final class Lost extends Provider {
    /** Made by the service loader. */
    public Lost() {
      super("lost");
    }

    @Override
    void before(int device, ForwardInputs in, int forward) throws EngineException {
      if (device > 0) {
        throw new EngineException("the device is lost");
      }
    }
  }

  /** An error of its library ends what samples on device 1, at the third forward. */
  public static final class Dying extends Provider {
    /** Made by the service loader. */
    public Dying() {
      super("dying");
    }

    @Override
    void before(int device, ForwardInputs in, int forward) {
      if (device == 1 && forward == 3) {
        throw new NoClassDefFoundError("a library's, which the thread's handler prints");
      }
    }
  }

  /** A request that ends whatever device samples it. */
  public static final class Killing extends Provider {
    /** Made by the service loader. */
    public Killing() {
      super("killing");
    }

    @Override
    void before(int device, ForwardInputs in, int forward) {
      if (Arrays.stream(in.y()).anyMatch(label -> label == BAD_LABEL)) {
        throw new NoClassDefFoundError("a library's, which the thread's handler prints");
      }
    }
  }

  /** Engines for fewer tokens than the bundle's: 64 on device 0, 16 on the others. */
  public static final class Small extends Provider {
    /** Made by the service loader. */
    public Small() {
      super("small");
    }

    @Override
    int maxTokens(int device) {
      return device == 0 ? 64 : 16;
    }
  }

  /** Only device 0 can be opened. */
  public static final class Absent extends Provider {
    /** Made by the service loader. */
    public Absent() {
      super("absent");
    }

    @Override
    public VelocityEngine open(Bundle bundle, EngineOptions options)
        throws IOException, EngineException {
      if (options.device() > 0) {
        throw new EngineException("no memory is free on " + options.device());
      }
      return super.open(bundle, options);
    }
  }

  /** One class gives NaN on all devices. */
  public static final class Numb extends Provider {
    /** Made by the service loader. */
    public Numb() {
      super("numb");
    }

    @Override
    boolean givesNan(int label) {
      return label == BAD_LABEL;
    }
  }

  /** A GPU, and what {@code auto} makes of the others: one on another backend, one on the CPU. */
  public static final class Mixed extends Provider {
    private static final List<String> BACKENDS = List.of("tensorrt", "ort-cuda", "ort-cpu");

    /** Made by the service loader. */
    public Mixed() {
      super("mixed");
    }

    @Override
    String backend(int device) {
      return BACKENDS.get(device);
    }
  }

  private static final class Device implements VelocityEngine {
    private final VelocityEngine engine;
    private final Provider provider;
    private final int device;
    private int forwards;

    Device(VelocityEngine engine, Provider provider, int device) {
      this.engine = engine;
      this.provider = provider;
      this.device = device;
    }

    @Override
    public String backend() {
      return provider.backend(device);
    }

    @Override
    public String description() {
      return "troubled";
    }

    @Override
    public NitConfig config() {
      return engine.config();
    }

    @Override
    public int maxTokens() {
      return provider.maxTokens(device);
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      provider.before(device, in, ++forwards);
      int first = v.position();
      engine.forward(in, v);
      for (int image = 0; image < in.y().length; image++) {
        if (provider.givesNan((int) in.y()[image])) {
          v.put(first + in.layout().start(image) * config().tokenSize(), Float.NaN);
        }
      }
    }

    @Override
    public void close() {
      engine.close();
    }
  }
}
