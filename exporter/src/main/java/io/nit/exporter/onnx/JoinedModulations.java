package io.nit.exporter.onnx;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * A NiT checkpoint in which the AdaLN layers of all blocks and of the final layer, one behind the
 * other, can also be had as one layer, [(6·depth + 2)·D, D]. It stands in heap while it is written,
 * in the type that it is stored in.
 */
final class JoinedModulations extends TensorView {
  /** Name of the joined weight. */
  static final String WEIGHT = "adaLN_modulation.weight";

  /** Name of the joined bias. */
  static final String BIAS = "adaLN_modulation.bias";

  private final NitConfig config;
  private final DType type;

  JoinedModulations(TensorSource from, NitConfig config, DType type) {
    super(from);
    this.config = config;
    this.type = type;
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    if (!name.equals(WEIGHT) && !name.equals(BIAS)) {
      return super.tensor(name);
    }
    long rows = (long) config.modulationParts() * config.hiddenSize();
    Shape shape = name.equals(WEIGHT) ? Shape.of(rows, config.hiddenSize()) : Shape.of(rows);
    ByteBuffer values =
        ByteBuffer.allocate(Math.toIntExact(shape.elements() * type.bytes()))
            .order(ByteOrder.LITTLE_ENDIAN);
    String part = name.substring(name.lastIndexOf('.'));
    for (String layer : layers()) {
      values.put(super.tensor(layer + part).to(type).bytes());
    }
    return new HostTensor(new TensorSpec(name, type, shape), values.flip());
  }

  private List<String> layers() {
    List<String> layers = new ArrayList<>();
    for (int i = 0; i < config.depth(); i++) {
      layers.add("blocks." + i + ".adaLN_modulation.1");
    }
    layers.add("final_layer.adaLN_modulation.1");
    return layers;
  }
}
