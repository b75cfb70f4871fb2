package io.nit.trainer.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Optional;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class CudaProbeTest {
  private static final String MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module 470.82";

  private static void assertSays(String found, CudaProbe probe) {
    assertEquals(
        "expected a CUDA device, found " + found + "; to train on the CPU: --device cpu",
        probe.absent());
  }

  @Test
  void whatIsMissingIsNamed() {
    Optional<String> none = Optional.empty();
    assertSays(
        "no CUDA build of libtorch on the class path or LD_LIBRARY_PATH (mvn -Pgpu has it) and no"
            + " NVIDIA driver",
        new CudaProbe(false, "", 0, 0, none));
    assertSays(
        "no CUDA build of libtorch on the class path or LD_LIBRARY_PATH (mvn -Pgpu has it)",
        new CudaProbe(false, MODULE, 0, 0, none));
    assertSays(
        "no NVIDIA driver (no libcuda.so.1 and no /proc/driver/nvidia/version)",
        new CudaProbe(true, "", 0, 12060, none));
    assertSays(
        "NVIDIA's driver without its libcuda.so.1 (" + MODULE + ")",
        new CudaProbe(true, MODULE, 0, 12060, none));
    assertSays(
        "NVIDIA's driver for CUDA 13.0 but no device",
        new CudaProbe(true, MODULE, 13000, 12060, none));
    assertSays(
        "NVIDIA's driver for CUDA 12.2 but no device (CUDA_VISIBLE_DEVICES is '')",
        new CudaProbe(true, MODULE, 12020, 12060, Optional.of("")));
  }

  @Test
  void anOldDriverIsNamedWithWhatIsNeeded() {
    CudaProbe old = new CudaProbe(true, MODULE, 11040, 12060, Optional.empty());
    String message =
        "NVIDIA's driver is too old: expected one for CUDA 12.0 or newer, as these libraries are of"
            + " CUDA 12.6, found one for CUDA 11.4 ("
            + MODULE
            + ")";
    assertEquals(Optional.of(message), old.driverTooOld());
    assertSays(message, old);
    CudaProbe sameMajor = new CudaProbe(true, "", 12000, 12060, Optional.empty());
    assertEquals(Optional.empty(), sameMajor.driverTooOld());
  }

  @Test
  void aMachineWithoutCudaSaysSo() {
    assumeFalse(torch.cuda_is_available(), "there is a CUDA device");
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Devices.choose("cuda"));
    assertTrue(e.getMessage().startsWith("--device cuda: expected a CUDA device"), e.getMessage());
    assertTrue(Devices.choose("auto", 3).is_cpu());
    assertThrows(IllegalArgumentException.class, () -> Devices.requireGpus("cuda", 2));
    Devices.requireGpus("cpu", 2);
  }
}
