package io.nit.exporter.onnx;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * A DC-AE's checkpoint in which the projections of every attention to queries, keys and values, [C,
 * C] each, can also be had as one tensor, [3·C, C], {@code …attn.to_qkv.weight}.
 */
final class JoinedProjections extends TensorView {
  /** What follows the attention's name in the name of the joined tensor. */
  static final String SUFFIX = ".to_qkv.weight";

  /** What follows it in the names of the three, in the order that they are joined in. */
  static final List<String> PARTS = List.of(".to_q.weight", ".to_k.weight", ".to_v.weight");

  JoinedProjections(TensorSource from) {
    super(from);
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    if (!name.endsWith(SUFFIX)) {
      return super.tensor(name);
    }
    String attention = name.substring(0, name.length() - SUFFIX.length());
    HostTensor first = super.tensor(attention + PARTS.get(0));
    DType type = first.dtype();
    long columns = first.shape().dim(1);
    ByteBuffer values =
        ByteBuffer.allocate(PARTS.size() * first.bytes().remaining())
            .order(ByteOrder.LITTLE_ENDIAN);
    for (String part : PARTS) {
      values.put(super.tensor(attention + part).to(type).bytes());
    }
    values.flip();
    Shape shape = Shape.of(values.remaining() / type.bytes() / columns, columns);
    return new HostTensor(new TensorSpec(name, type, shape), values);
  }
}
