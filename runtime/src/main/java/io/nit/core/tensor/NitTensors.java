package io.nit.core.tensor;

import io.nit.core.config.NitConfig;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Every tensor of a NiT checkpoint, in forward order: the one list that training, export and the
 * reference forward check a file against.
 */
public final class NitTensors {
  private NitTensors() {}

  /**
   * Names and shapes (F32) of a config's tensors.
   *
   * @param projector whether to list the REPA head, which only training uses
   */
  public static Map<String, TensorSpec> of(NitConfig config, boolean projector) {
    Builder b = new Builder();
    long d = config.hiddenSize();
    long p = config.patchSize();
    b.add("x_embedder.proj.weight", d, config.inChannels(), p, p).add("x_embedder.proj.bias", d);
    b.linear("t_embedder.mlp.0", 256, d).linear("t_embedder.mlp.2", d, d);
    b.add("y_embedder.embedding_table.weight", config.labelRows(), d);
    for (int i = 0; i < config.depth(); i++) {
      String block = "blocks." + i;
      if (config.useAdaLnLora()) {
        b.linear(block + ".adaLN_modulation.1", d, config.adaLnLoraDim());
        b.linear(block + ".adaLN_modulation.2", config.adaLnLoraDim(), 6 * d);
      } else {
        b.linear(block + ".adaLN_modulation.1", d, 6 * d);
      }
      b.linear(block + ".attn.qkv", d, 3 * d);
      if (config.qkNorm()) {
        for (String norm : List.of(".attn.q_norm", ".attn.k_norm")) {
          b.add(block + norm + ".weight", config.headDim());
          b.add(block + norm + ".bias", config.headDim());
        }
      }
      b.linear(block + ".attn.proj", d, d);
      b.linear(block + ".mlp.fc1", d, config.mlpHidden());
      b.linear(block + ".mlp.fc2", config.mlpHidden(), d);
    }
    b.linear("final_layer.adaLN_modulation.1", d, 2 * d);
    b.linear("final_layer.linear", d, config.tokenSize());
    if (projector) {
      b.linear("projector.0", d, config.projectorDim());
      b.linear("projector.2", config.projectorDim(), config.projectorDim());
      b.linear("projector.4", config.projectorDim(), config.zDim());
    }
    return b.specs;
  }

  /** Number of parameters of a config. */
  public static long parameters(NitConfig config, boolean projector) {
    return of(config, projector).values().stream().mapToLong(s -> s.shape().elements()).sum();
  }

  /**
   * Compares what a file holds with what a config asks for.
   *
   * @param found the file's tensors by name
   * @param where the file's name, for messages
   * @return one line for every missing, unexpected, misshapen or non-float tensor; empty if all is
   *     well. The projector may be there or not, but not in part.
   */
  public static List<String> differences(
      NitConfig config, Map<String, TensorSpec> found, String where) {
    boolean projector = found.keySet().stream().anyMatch(name -> name.startsWith("projector."));
    Map<String, TensorSpec> expected = of(config, projector);
    return TensorDifferences.of(expected, found, where);
  }

  /**
   * {@link #differences}, thrown.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit, the first twenty with
   *     what was expected and found
   */
  public static void require(NitConfig config, Map<String, TensorSpec> found, String where) {
    TensorDifferences.require(differences(config, found, where), where);
  }

  private static final class Builder {
    private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

    Builder add(String name, long... dims) {
      specs.put(name, new TensorSpec(name, DType.F32, Shape.of(dims)));
      return this;
    }

    Builder linear(String name, long in, long out) {
      return add(name + ".weight", out, in).add(name + ".bias", out);
    }
  }
}
