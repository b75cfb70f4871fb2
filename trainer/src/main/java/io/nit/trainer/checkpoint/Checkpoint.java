package io.nit.trainer.checkpoint;

import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.model.Network;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * A complete checkpoint on disk:
 *
 * <pre>
 * step-0000100/model.safetensors      weights by checkpoint key
 *              ema.safetensors        their moving average, likewise
 *              optimizer.safetensors  exp_avg.KEY and exp_avg_sq.KEY of every parameter; step, I64 [1]
 *              state.json             {@link TrainingState}
 * </pre>
 *
 * @param folder the checkpoint's folder
 * @param state what {@code state.json} says
 */
public record Checkpoint(Path folder, TrainingState state) {
  static final String MODEL = "model.safetensors";
  static final String EMA = "ema.safetensors";
  static final String OPTIMIZER = "optimizer.safetensors";
  static final String STATE = "state.json";
  private static final String EXP_AVG = "exp_avg.";
  private static final String EXP_AVG_SQ = "exp_avg_sq.";
  private static final String STEP = "step";

  /**
   * What a checkpoint saves and restores.
   *
   * @param model the weights that are trained
   * @param ema their moving average
   * @param optimizer its moments and step
   */
  public record Trained(Network model, Ema ema, AdamW optimizer) {}

  /**
   * Opens a checkpoint's folder.
   *
   * @throws IOException if a file is missing, truncated or not what was written; names it
   */
  public static Checkpoint open(Path folder) throws IOException {
    TrainingState state = TrainingState.read(folder.resolve(STATE));
    for (String file : new String[] {MODEL, EMA, OPTIMIZER}) {
      SafetensorsFile.open(folder.resolve(file)).close();
    }
    return new Checkpoint(folder, state);
  }

  /** Whether a folder looks like a checkpoint; {@link #open} tells whether it is whole. */
  public static boolean isOne(Path folder) {
    return Files.isRegularFile(folder.resolve(STATE));
  }

  /**
   * Fills model, average and optimizer; of an optimizer that keeps a part of the moments the steps
   * alone, as {@link #restoreParts} fills those.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit
   */
  public void restore(Trained trained) throws IOException {
    restoreWeights(MODEL, trained.model());
    restoreWeights(EMA, trained.ema().model());
    try (TensorSource source = SafetensorsFile.open(folder.resolve(OPTIMIZER))) {
      AdamW optimizer = trained.optimizer();
      restoreMoments(source, EXP_AVG, optimizer.expAvg());
      restoreMoments(source, EXP_AVG_SQ, optimizer.expAvgSq());
      long[] steps = source.tensor(STEP).toLongs();
      if (steps.length != 1 || steps[0] != state.optimizerStep()) {
        throw new IllegalArgumentException(
            source.where() + ": step: expected [" + state.optimizerStep() + "] as in " + STATE);
      }
      optimizer.restoreSteps(steps[0]);
    }
  }

  /**
   * Gives every rank its part of the moments.
   *
   * @param checkpoint on rank 0, empty on the others
   * @param part what this rank keeps
   */
  public static void restoreParts(
      Optional<Checkpoint> checkpoint, AdamW.Part part, Collectives group) throws IOException {
    try (TensorSource source =
        checkpoint.isPresent()
            ? SafetensorsFile.open(checkpoint.get().folder().resolve(OPTIMIZER))
            : null) {
      restorePart(source, EXP_AVG, part, part.expAvg(), group);
      restorePart(source, EXP_AVG_SQ, part, part.expAvgSq(), group);
    }
  }

  private static void restorePart(
      TensorSource source, String prefix, AdamW.Part part, Tensor moments, Collectives group)
      throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Map<String, Tensor> values = part.layout().views(part.layout().values());
      for (Map.Entry<String, Long> start : part.layout().starts().entrySet()) {
        try (PointerScope each = new PointerScope()) {
          Tensor whole = torch.empty_like(values.get(start.getKey()));
          if (source != null) {
            Weights.copy(source.tensor(prefix + start.getKey()), whole);
          }
          group.from(0, List.of(whole));
          long from = Math.max(start.getValue(), part.from());
          long to = Math.min(start.getValue() + whole.numel(), part.to());
          if (from < to) {
            Tensor kept = whole.flatten().narrow(0, from - start.getValue(), to - from);
            moments.narrow(0, from - part.from(), to - from).copy_(kept);
          }
        }
      }
    }
  }

  private void restoreWeights(String file, Network network) throws IOException {
    try (TensorSource source = SafetensorsFile.open(folder.resolve(file))) {
      network.restore(source);
    }
  }

  private static void restoreMoments(
      TensorSource source, String prefix, Map<String, Tensor> moments) throws IOException {
    for (Map.Entry<String, Tensor> entry : moments.entrySet()) {
      Weights.copy(source.tensor(prefix + entry.getKey()), entry.getValue());
    }
  }

  /** Writes the four files into an existing folder. */
  static void write(Path folder, Snapshot.Values values, ModelFile description, TrainingState state)
      throws IOException {
    description.write(folder.resolve(MODEL), values.model(), state.step());
    description.write(folder.resolve(EMA), values.average(), state.step());
    SafetensorsWriter writer = new SafetensorsWriter();
    addMoments(writer, EXP_AVG, values.expAvg());
    addMoments(writer, EXP_AVG_SQ, values.expAvgSq());
    writer.add(HostTensor.of(STEP, new long[] {values.optimizerSteps()}, 1));
    writer.write(folder.resolve(OPTIMIZER));
    state.write(folder.resolve(STATE));
  }

  private static void addMoments(
      SafetensorsWriter writer, String prefix, Map<String, Tensor> moments) {
    moments.forEach(
        (name, t) -> writer.add(Weights.spec(prefix + name, t), () -> Weights.bytes(t)));
  }

  /** Bytes that a checkpoint of these values takes, about. */
  static long bytes(Snapshot.Values values) {
    long parameters = values.model().values().stream().mapToLong(Tensor::numel).sum();
    return 4L * Float.BYTES * parameters;
  }
}
