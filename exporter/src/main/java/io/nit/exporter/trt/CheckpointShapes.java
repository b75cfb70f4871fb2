package io.nit.exporter.trt;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A graph's weights under the extents that a checkpoint has: a graph groups those of a convolution
 * in another way, never the order of their values.
 */
final class CheckpointShapes extends TensorView {
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

  CheckpointShapes(TensorSource from, Map<String, TensorSpec> checkpoint) {
    super(from);
    from.specs().forEach((name, spec) -> specs.put(name, shaped(spec, checkpoint.get(name))));
  }

  private static TensorSpec shaped(TensorSpec found, TensorSpec known) {
    boolean sameValues = known != null && known.shape().elements() == found.shape().elements();
    return sameValues ? new TensorSpec(found.name(), found.dtype(), known.shape()) : found;
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return specs;
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    TensorSpec spec = specs.get(name);
    return spec == null ? super.tensor(name) : new HostTensor(spec, super.tensor(name).bytes());
  }
}
