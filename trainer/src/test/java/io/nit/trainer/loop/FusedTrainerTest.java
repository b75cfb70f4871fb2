package io.nit.trainer.loop;

import static io.nit.trainer.loop.SmallRun.config;
import static io.nit.trainer.loop.SmallRun.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.StopSignal;
import io.nit.testing.Errors;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.LocalRanks;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A trainer whose steps are fused, on the CPU, against one whose steps are autograd's. */
class FusedTrainerTest {
  private static final Device CPU = new Device("cpu");
  private static final StepOptions FUSED = new StepOptions(StepOptions.Path.FUSED, false);
  private static final StepOptions CHECKPOINTING = new StepOptions(StepOptions.Path.FUSED, true);
  private static final StepOptions REFERENCE = new StepOptions(StepOptions.Path.REFERENCE, false);

  @TempDir Path folder;

  @BeforeAll
  static void oneThread() {
    Devices.setThreads(1);
  }

  private Trainer trainer(TrainOptions options, String run, StepOptions how) {
    return trainer(options, run, how, Collectives.alone(), false);
  }

  private Trainer trainer(
      TrainOptions options, String run, StepOptions how, Collectives group, boolean sharded) {
    return new Trainer(
        config(),
        options,
        new SyntheticData(7, 1),
        new RunFolder(folder.resolve(run)),
        CPU,
        1,
        group,
        sharded,
        how);
  }

  private void run(Trainer trainer, String run) throws IOException {
    try (MetricsLog metrics = MetricsLog.open(folder.resolve(run), trainer.step())) {
      trainer.run(metrics, Optional.empty(), StopSignal.none(), true);
    }
  }

  private static Map<String, float[]> floats(Map<String, Tensor> parameters) {
    Map<String, float[]> values = new TreeMap<>();
    parameters.forEach((name, t) -> values.put(name, Weights.floats(t)));
    return values;
  }

  private static void assertClose(Map<String, float[]> expected, Map<String, float[]> found) {
    expected.forEach(
        (name, values) -> {
          double error = Errors.relative(found.get(name), values);
          assertTrue(error < 1e-3, name + ": relative error " + error);
        });
  }

  private List<Double> column(String run, String name) throws IOException {
    ObjectMapper json = new ObjectMapper();
    List<Double> values = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(run).resolve("metrics.jsonl"))) {
      values.add(json.readTree(line).get(name).asDouble());
    }
    return values;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void fusedStepsReachWhatReferenceStepsReach(boolean checkpointing) throws IOException {
    try (Trainer reference = trainer(options(6, 2, 100), "a", REFERENCE);
        Trainer fused = trainer(options(6, 2, 100), "b", checkpointing ? CHECKPOINTING : FUSED)) {
      run(reference, "a");
      run(fused, "b");
      assertEquals(6, fused.step());
      assertClose(floats(reference.model().parameters()), floats(fused.model().parameters()));
      assertClose(floats(reference.average().parameters()), floats(fused.average().parameters()));
      for (String name : List.of("loss", "loss_flow", "grad_norm")) {
        List<Double> expected = column("a", name);
        List<Double> found = column("b", name);
        assertEquals(expected.size(), found.size());
        for (int i = 0; i < expected.size(); i++) {
          assertEquals(expected.get(i), found.get(i), 1e-3 * expected.get(i), name);
        }
      }
    }
  }

  @Test
  void aResumedRunReachesTheSameBitsAsAnUnbrokenOne() throws IOException {
    try (Trainer unbroken = trainer(options(6, 1, 100), "a", FUSED);
        Trainer first = trainer(options(6, 1, 3), "b", FUSED);
        Trainer second = trainer(options(6, 1, 100), "c", FUSED)) {
      run(unbroken, "a");
      run(first, "b");
      second.resume(Checkpoint.open(folder.resolve("b/checkpoints/step-0000003")));
      run(second, "c");
      Map<String, float[]> found = floats(second.model().parameters());
      floats(unbroken.model().parameters())
          .forEach((name, values) -> assertArrayEquals(values, found.get(name), name));
    }
  }

  /** Every rank's weights and averages. */
  private List<Map<String, float[]>> together(
      int ranks, TrainOptions options, String run, boolean sharded, Optional<Path> from)
      throws Exception {
    return LocalRanks.run(
        ranks,
        group -> {
          boolean leads = group.ranks().leads();
          try (Trainer trainer = trainer(options, run, FUSED, group, sharded);
              MetricsLog metrics =
                  leads ? MetricsLog.open(folder.resolve(run), 0) : MetricsLog.none()) {
            if (leads && from.isPresent()) {
              trainer.resume(Checkpoint.open(from.get()));
            }
            trainer.run(metrics, Optional.empty(), StopSignal.none(), true);
            Map<String, float[]> all = floats(trainer.model().parameters());
            floats(trainer.average().parameters()).forEach((n, v) -> all.put("average " + n, v));
            return all;
          }
        });
  }

  @Test
  void processesThatTrainTogetherReachWhatOneReachesThatTakesTheirPacks() throws Exception {
    List<Map<String, float[]>> found =
        together(2, options(4, 1, 100), "b", false, Optional.empty());
    try (Trainer alone = trainer(options(4, 2, 100), "a", FUSED)) {
      run(alone, "a");
      assertClose(floats(alone.model().parameters()), found.get(0));
    }
    found.get(0).forEach((n, v) -> assertArrayEquals(v, found.get(1).get(n), n));
    List<Double> expected = column("a", "loss");
    List<Double> losses = column("b", "loss");
    for (int i = 0; i < 4; i++) {
      assertEquals(expected.get(i), losses.get(i), 1e-4 * expected.get(i));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void aShardedOptimizerReachesTheSameAndGoesOnFromItsCheckpoints(int ranks) throws Exception {
    TrainOptions options = options(6, 1, 3);
    Map<String, float[]> whole = together(ranks, options, "whole", false, Optional.empty()).get(0);
    List<Map<String, float[]>> parts = together(ranks, options, "parts", true, Optional.empty());
    Optional<Path> half = Optional.of(folder.resolve("parts/checkpoints/step-0000003"));
    List<Map<String, float[]>> goneOn = together(ranks, options, "on", true, half);
    for (List<Map<String, float[]>> run : List.of(parts, goneOn)) {
      for (Map<String, float[]> each : run) {
        whole.forEach((name, values) -> assertArrayEquals(values, each.get(name), 1e-6f, name));
      }
    }
  }

  @Test
  void stepsThatAreNotFiniteChangeNothingAndTenInARowEndTheRunNamingTheirRows() {
    SyntheticData data = new SyntheticData(3, 1);
    data.breakIt();
    RunFolder run = new RunFolder(folder.resolve("a"));
    try (Trainer trainer =
        new Trainer(
            config(), options(50, 1, 100), data, run, CPU, 1, Collectives.alone(), false, FUSED)) {
      Map<String, float[]> before = floats(trainer.model().parameters());
      TrainingFailedException failed =
          assertThrows(TrainingFailedException.class, () -> run(trainer, "a"));
      assertEquals(10, trainer.step());
      assertTrue(failed.getMessage().contains("data rows ["), failed.getMessage());
      Map<String, float[]> after = floats(trainer.model().parameters());
      before.forEach((name, values) -> assertArrayEquals(values, after.get(name), name));
    }
  }

  @Test
  void whatDoesNotFitIsRefusedWithItsFlag() {
    StepOptions wrong = new StepOptions(StepOptions.Path.REFERENCE, true);
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> trainer(options(1, 1, 1), "a", wrong).close())
            .getMessage();
    assertTrue(message.startsWith("--activation-checkpointing: expected"), message);
    message =
        assertThrows(IllegalArgumentException.class, () -> StepOptions.Path.parse("fast"))
            .getMessage();
    assertTrue(message.startsWith("--step: expected one of auto, fused, reference"), message);
  }
}
