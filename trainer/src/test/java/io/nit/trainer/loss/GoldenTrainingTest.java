package io.nit.trainer.loss;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.LinearPath;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.safetensors.TensorSource;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.GradNorm;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The numbers of the authors' own code: forward, loss, gradients, three whole steps. */
class GoldenTrainingTest {
  private static final double TOLERANCE = 2e-5;
  private static final double PROJ_COEFF = 0.5;

  private final NitConfig config = Golden.nitTinyConfig();
  private final Device cpu = new Device("cpu");
  private TensorSource golden;
  private PointerScope scope;
  private NitModel model;
  private PackIndex pack;

  @BeforeEach
  void open() throws IOException {
    golden = Golden.nitTiny();
    scope = new PointerScope();
    model = goldenModel();
    PackLayout layout = PackLayout.ofHwList(Golden.tensor(golden, "in.hw_list").toLongs());
    pack = PackIndex.of(layout, config, new Rope2d(), cpu);
  }

  @AfterEach
  void close() throws IOException {
    model.close();
    scope.close();
    golden.close();
  }

  private NitModel goldenModel() throws IOException {
    NitModel made = new NitModel(config, true, cpu, AttentionPath.forDevice(cpu));
    for (Map.Entry<String, Tensor> entry : made.parameters().entrySet()) {
      Weights.copy(Golden.tensor(golden, "state." + entry.getKey()), entry.getValue());
    }
    return made;
  }

  private Tensor tensor(String name) {
    return Weights.tensor(
        Golden.tensor(golden, name).toFloats(), cpu, golden.specs().get(name).shape().dims());
  }

  private Tensor labels(String name) {
    long[] values = Golden.tensor(golden, name).toLongs();
    return Tensor.create(values, values.length);
  }

  private void close(String name, Tensor found) {
    double error = Errors.relative(Weights.floats(found), Golden.tensor(golden, name).toFloats());
    assertTrue(error <= TOLERANCE, () -> name + ": relative error " + error);
  }

  private void close(String name, double found) {
    double expected = Golden.tensor(golden, name).toFloats()[0];
    assertEquals(expected, found, TOLERANCE * Math.abs(expected), name);
  }

  @Test
  void forwardGivesTheAuthorsVelocityAndFeatures() {
    try (NoGradGuard guard = new NoGradGuard()) {
      NitModel.Output out =
          model.forward(tensor("in.x"), tensor("in.t"), labels("in.y"), pack, true);
      close("out.v", out.v());
      close("out.z", out.z().orElseThrow());
    }
  }

  @Test
  void threeStepsGiveTheAuthorsLossesGradientsWeightsAndAverage() throws IOException {
    FlowMatchingLoss loss = new FlowMatchingLoss(true, PROJ_COEFF);
    float[] draws = Golden.tensor(golden, "train.t_normal").toFloats();
    int images = pack.layout().images();
    try (AdamW optimizer = new AdamW(model.parameters(), AdamW.Options.STANDARD);
        NitModel average = goldenModel()) {
      Ema ema = new Ema(average);
      for (int step = 0; step < 3; step++) {
        float[] t = new float[images];
        for (int i = 0; i < images; i++) {
          t[i] = (float) LinearPath.time(draws[step * images + i], 0, 1);
        }
        FlowMatchingLoss.Terms terms =
            loss.compute(
                model,
                new FlowMatchingLoss.Batch(
                    tensor("train.latents"),
                    tensor("train.noise"),
                    Weights.tensor(t, cpu, images),
                    labels("train.labels"),
                    Optional.of(tensor("train.z_target"))),
                pack);
        close("train.loss_fm." + step, terms.flow().item_double());
        close("train.loss_proj." + step, terms.projection().orElseThrow().item_double());
        for (Tensor parameter : model.parameters().values()) {
          parameter.mutable_grad().reset();
        }
        terms.total().backward();
        if (step == 0) {
          model.parameters().forEach((name, p) -> close("train.grad." + name, p.grad()));
        }
        double norm = GradNorm.of(model.parameters());
        close("train.grad_norm." + step, norm);
        GradNorm.clip(model.parameters(), norm, 1);
        optimizer.step(1e-3);
        ema.update(model, 0.9);
      }
      model.parameters().forEach((name, p) -> close("train.after3." + name, p));
      average.parameters().forEach((name, p) -> close("train.ema3." + name, p));
    }
  }
}
