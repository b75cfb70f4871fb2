package io.nit.trainer.model;

import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where libtorch computes, and with how many threads. */
public final class Devices {
  private static final Logger LOG = LoggerFactory.getLogger(Devices.class);

  private Devices() {}

  /**
   * The device of a {@code --device} spelling; says in the log which and why.
   *
   * @param name {@code auto} (CUDA where there is one), {@code cpu} or {@code cuda}
   * @throws IllegalArgumentException if the spelling is unknown or there is no such device
   */
  public static Device choose(String name) {
    boolean cuda = torch.cuda_is_available();
    switch (name) {
      case "cpu" -> LOG.info("device: cpu, as asked for");
      case "auto" ->
          LOG.info(
              "device: {}", cuda ? "cuda, as there is one" : "cpu, as no CUDA device was found");
      case "cuda" -> {
        if (!cuda) {
          throw new IllegalArgumentException(
              "--device cuda: expected a CUDA device and libtorch's CUDA build (mvn -Pgpu), found none");
        }
        LOG.info("device: cuda, as asked for");
      }
      default ->
          throw new IllegalArgumentException(
              "--device: expected one of auto, cpu, cuda; found '" + name + "'");
    }
    return new Device(cuda && !name.equals("cpu") ? "cuda" : "cpu");
  }

  /**
   * Turns TF32 off for this process: CUDA's products and convolutions of float32 are computed in
   * float32 then, where cuDNN would take 10 bits of the mantissa. Work in bf16 and on the CPU is as
   * it was.
   */
  public static void requireTrueFloat32() {
    torch.globalContext().setAllowTF32CuDNN(false);
    torch.globalContext().setAllowTF32CuBLAS(false);
  }

  /**
   * Sets the threads of libtorch's and OpenBLAS' work on the CPU. One thread gives the same bits
   * every time.
   */
  public static void setThreads(int threads) {
    if (threads < 1 || threads > 1024) {
      throw new IllegalArgumentException("--threads: expected 1..1024, found " + threads);
    }
    torch.set_num_threads(threads);
    openblas_nolapack.blas_set_num_threads(threads);
  }
}
