package io.nit.tests.engines;

import io.nit.core.trt.Cuda;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;

/** Nearly all memory of the device, down to pieces of a MiB: for tests of what happens without. */
final class Hoard implements AutoCloseable {
  private static final long MIB = 1L << 20;

  private final List<Pointer> taken = new ArrayList<>();

  /**
   * Takes it.
   *
   * @param leave bytes that stay free
   */
  Hoard(long leave) {
    for (long piece = 1L << 32; piece >= MIB; ) {
      Pointer memory = new Pointer();
      boolean room = Cuda.freeBytes() >= leave + piece;
      if (room && cudart.cudaMalloc(memory, piece) == cudart.cudaSuccess) {
        taken.add(memory);
      } else {
        cudart.cudaGetLastError();
        piece /= 2;
      }
    }
    System.out.printf("  %d MiB of device memory left free%n", Cuda.freeBytes() / MIB);
  }

  @Override
  public void close() {
    taken.forEach(Cuda::free);
    taken.clear();
  }
}
