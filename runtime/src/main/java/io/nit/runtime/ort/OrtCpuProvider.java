package io.nit.runtime.ort;

/** ONNX Runtime on the CPU, the backend that runs everywhere. */
public final class OrtCpuProvider extends OrtBackend {
  /** Made by the service loader. */
  public OrtCpuProvider() {
    super(OrtDevice.CPU, 10);
  }
}
