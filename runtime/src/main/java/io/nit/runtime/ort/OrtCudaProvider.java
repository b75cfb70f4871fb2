package io.nit.runtime.ort;

/** ONNX Runtime on an NVIDIA GPU, where its CUDA build is on the class path. */
public final class OrtCudaProvider extends OrtBackend {
  /** Made by the service loader. */
  public OrtCudaProvider() {
    super(OrtDevice.CUDA, 20);
  }
}
