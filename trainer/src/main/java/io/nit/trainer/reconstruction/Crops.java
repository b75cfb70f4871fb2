package io.nit.trainer.reconstruction;

import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.Precision;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Crops as tensors; all of them belong to the open {@code PointerScope}. */
final class Crops {
  private Crops() {}

  /**
   * Some crops of a batch, [count, 3, crop, crop] float32 in [-1, 1]. They travel as bytes, to a
   * GPU from page-locked memory, so that nobody waits for the copy.
   */
  static Tensor onDevice(CropBatch batch, int from, int count, Device device) {
    int bytes = batch.cropBytes();
    long crop = batch.crop();
    TensorOptions options =
        new TensorOptions(ScalarType.Byte).pinned_memory(new BoolOptional(device.is_cuda()));
    Tensor host =
        torch.empty(
            new long[] {count, crop, crop, 3}, options, new MemoryFormatOptional()); // uint8
    new BytePointer(host.data_ptr())
        .capacity((long) count * bytes)
        .put(batch.rgb(), from * bytes, count * bytes);
    return host.to(device, ScalarType.Byte, true, false, new MemoryFormatOptional())
        .permute(0, 3, 1, 2)
        .contiguous()
        .to(ScalarType.Float)
        .div_(new Scalar(127.5f))
        .sub_(new Scalar(1f)); // [count, 3, crop, crop]
  }

  /** A picture through encoder and decoder, float32; not clamped. */
  static Tensor reconstruct(DcAe model, Tensor x, Precision precision) {
    return model.decode(model.encode(x.to(precision.scalarType()))).to(ScalarType.Float);
  }

  /** To [-1, 1]. */
  static Tensor clamp(Tensor y) {
    return y.clamp(new ScalarOptional(new Scalar(-1f)), new ScalarOptional(new Scalar(1f)));
  }
}
