package io.nit.trainer.fused;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * What attention gives and what its backward asks for.
 *
 * @param out [tokens, heads, headDim]
 * @param state the implementation's own
 */
public record Attended(Tensor out, List<Tensor> state) {}
