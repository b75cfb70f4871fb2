package io.nit.trainer.model;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Float32 tensors between libtorch and host memory or safetensors files. */
public final class Weights {
  private Weights() {}

  /** A tensor's extents. */
  public static Shape shape(Tensor tensor) {
    return Shape.of(tensor.shape());
  }

  /** Name, F32 and shape of a tensor. */
  public static TensorSpec spec(String name, Tensor tensor) {
    return new TensorSpec(name, DType.F32, shape(tensor));
  }

  /**
   * The bytes of a float32 tensor: on the CPU a view of the tensor's own memory, valid as long as
   * the tensor is; from another device a copy.
   */
  public static ByteBuffer bytes(Tensor tensor) {
    if (!tensor.is_cpu()) {
      float[] values = floats(tensor);
      ByteBuffer copy = ByteBuffer.allocate(values.length * Float.BYTES);
      copy.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().put(values);
      return copy.order(ByteOrder.LITTLE_ENDIAN);
    }
    if (!tensor.is_contiguous()) {
      throw new IllegalArgumentException("expected a contiguous tensor");
    }
    BytePointer memory = new BytePointer(tensor.data_ptr()).capacity(tensor.nbytes());
    return memory.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The values of a float32 tensor of any device and layout, copied. */
  public static float[] floats(Tensor tensor) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor host = tensor.detach().cpu().contiguous();
      float[] values = new float[Math.toIntExact(host.numel())];
      new FloatPointer(host.data_ptr()).get(values);
      return values;
    }
  }

  /** A tensor of {@code values} on {@code device}; belongs to the open {@code PointerScope}. */
  public static Tensor tensor(float[] values, Device device, long... dims) {
    return Tensor.create(values, dims).to(device, torch.ScalarType.Float);
  }

  /**
   * An int64 tensor of {@code values} on {@code device}; belongs to the open {@code PointerScope}.
   */
  public static Tensor indices(long[] values, Device device) {
    return Tensor.create(values, values.length).to(device, torch.ScalarType.Long);
  }

  /**
   * A tensor of the host on {@code device}, for a GPU by way of locked memory, which it reads by
   * itself while the host goes on; belongs to the open {@code PointerScope}.
   */
  public static Tensor upload(Tensor host, Device device) {
    if (!device.is_cuda()) {
      return host;
    }
    return host.pin_memory()
        .to(device, host.scalar_type(), true, false, new MemoryFormatOptional());
  }

  /**
   * Copies a host tensor of any float type into one of any float type and the same shape, or
   * integers into int64.
   */
  public static void copy(HostTensor from, Tensor to) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      if (!from.shape().equals(shape(to))) {
        throw new IllegalArgumentException(
            from.name() + ": expected " + shape(to) + ", found " + from.shape());
      }
      torch.ScalarType type = to.scalar_type().intern();
      if (type == torch.ScalarType.Long) {
        to.copy_(Tensor.create(from.toLongs(), to.shape()));
        return;
      }
      FloatBuffer values = from.to(DType.F32).floats();
      boolean direct = to.is_cpu() && type == torch.ScalarType.Float;
      Tensor host = direct ? to : torch.empty(to.shape());
      new BytePointer(host.data_ptr())
          .capacity(host.nbytes())
          .asByteBuffer()
          .order(ByteOrder.LITTLE_ENDIAN)
          .asFloatBuffer()
          .put(values);
      if (host != to) {
        to.copy_(host);
      }
    }
  }

  /**
   * Fills a model from a checkpoint. A file without the REPA head leaves the model's as it is; a
   * head that the model lacks is passed over.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit the config
   */
  public static void load(NitModel model, TensorSource source) throws IOException {
    NitTensors.require(model.config(), source.specs(), source.where());
    load(model.parameters(), source);
  }

  /** Fills those of the tensors that the source has; it is known to fit. */
  public static void load(Map<String, Tensor> tensors, TensorSource source) throws IOException {
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      if (source.has(entry.getKey())) {
        copy(source.tensor(entry.getKey()), entry.getValue());
      }
    }
  }
}
