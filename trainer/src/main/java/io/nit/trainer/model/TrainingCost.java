package io.nit.trainer.model;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import java.util.OptionalDouble;

/**
 * What a step must compute, and what a GPU could: model FLOPs utilisation is the first over the
 * second. A multiplication and an addition count as two; modulations are counted per image,
 * attention within images, and nothing that is computed twice counts twice.
 */
public final class TrainingCost {
  private static final int WAVES = 256; // values of a time's embedding

  private TrainingCost() {}

  /**
   * FLOPs of forward and backward of a pack: three times the forward's.
   *
   * @param projector whether the REPA head counts
   */
  public static double flops(NitConfig config, PackLayout layout, boolean projector) {
    double d = config.hiddenSize();
    double depth = config.depth();
    double token = 2 * d * config.tokenSize() + depth * (4 * d * d + 2 * d * config.mlpHidden());
    if (projector) {
      double width = config.projectorDim();
      token += d * width + width * width + width * config.zDim();
    }
    double rank = config.adaLnLoraDim();
    double modulation = rank > 0 ? d * rank + rank * 6 * d : 6 * d * d;
    double image = depth * modulation + 2 * d * d + WAVES * d + d * d;
    double pairs = 0;
    for (int i = 0; i < layout.images(); i++) {
      pairs += (double) layout.tokens(i) * layout.tokens(i);
    }
    double forward = layout.tokens() * token + layout.images() * image + depth * 2 * pairs * d;
    return 3 * 2 * forward;
  }

  /**
   * Dense bfloat16 FLOPs a second of a GPU by its data sheet.
   *
   * @param name as the driver calls it
   */
  public static OptionalDouble peak(String name) {
    Object[][] sheet = {
      {"H100 PCIe", 756e12},
      {"H100 NVL", 835e12},
      {"H100", 989.4e12},
      {"H200", 989.4e12},
      {"H20", 148e12},
      {"GH200", 989.4e12},
      {"B200", 2250e12},
      {"A100", 312e12},
      {"L40S", 362e12},
      {"L40", 181e12},
      {"RTX 4090", 165.2e12}
    };
    for (Object[] row : sheet) {
      if (name.contains((String) row[0])) {
        return OptionalDouble.of((Double) row[1]);
      }
    }
    return OptionalDouble.empty();
  }
}
