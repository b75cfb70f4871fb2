package io.nit.trainer.model;

import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where libtorch computes, and with how many threads. */
public final class Devices {
  private static final Logger LOG = LoggerFactory.getLogger(Devices.class);

  private Devices() {}

  /** The device of a {@code --device} spelling, on CUDA the first one. */
  public static Device choose(String name) {
    return choose(name, 0);
  }

  /**
   * The device of a {@code --device} spelling; says in the log which and why. A GPU becomes the
   * calling thread's current one.
   *
   * @param name {@code auto} (CUDA where there is one), {@code cpu} or {@code cuda}
   * @param localRank which GPU of this host; where a scheduler shows each process one GPU alone, it
   *     is that one
   * @throws IllegalArgumentException if the spelling is unknown or there is no such device
   */
  public static Device choose(String name, int localRank) {
    boolean cuda = wantsCuda(name);
    boolean asked = !name.equals("auto");
    if (!cuda) {
      LOG.info("device: cpu, {}", asked ? "as asked for" : "as no CUDA device was found");
      return new Device("cpu");
    }
    int gpus = (int) torch.cuda_device_count();
    int index = gpus == 1 ? 0 : localRank;
    if (index >= gpus) {
      throw new IllegalArgumentException(
          "LOCAL_RANK: expected 0.." + (gpus - 1) + ", one process a GPU, found " + localRank);
    }
    LOG.info("device: GPU {} of {}, {}", index, gpus, asked ? "as asked for" : "as there is one");
    torch_cuda.set_device((byte) index);
    return new Device("cuda:" + index);
  }

  /**
   * Checks that there is a GPU for each process of this host, if they are to run on GPUs.
   *
   * @param name as of {@link #choose(String, int)}
   * @throws IllegalArgumentException if there are fewer GPUs, or no such device
   */
  public static void requireGpus(String name, int processes) {
    if (wantsCuda(name) && torch.cuda_device_count() < processes) {
      throw new IllegalArgumentException(
          "--nproc: expected at most "
              + torch.cuda_device_count()
              + ", as each process takes a GPU of its own, found "
              + processes
              + "; several processes on the CPU: --device cpu");
    }
  }

  private static boolean wantsCuda(String name) {
    boolean found = torch.cuda_is_available();
    switch (name) {
      case "cpu":
        return false;
      case "auto":
        if (!found) {
          // A GPU that cannot be used is worth a word; a machine without one is not.
          CudaProbe.look().driverTooOld().ifPresent(why -> LOG.warn("{}", why));
        }
        return found;
      case "cuda":
        if (!found) {
          throw new IllegalArgumentException("--device cuda: " + CudaProbe.look().absent());
        }
        return true;
      default:
        throw new IllegalArgumentException(
            "--device: expected one of auto, cpu, cuda; found '" + name + "'");
    }
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
