package io.nit.trainer.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.Initializer;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class CheckpointWriterTest {
  private static final String BIAS = "final_layer.linear.bias";

  @TempDir Path folder;
  private NitConfig config;
  private NitModel model;
  private NitModel average;
  private FlatParameters weights;
  private AdamW optimizer;

  @BeforeEach
  void open() {
    Map<String, Object> tiny =
        Map.of("hidden_size", 8, "depth", 1, "num_heads", 2, "encoder_depth", 1);
    config = NitConfig.s().with(tiny).with(Map.of("in_channels", 2, "num_classes", 3));
    Device cpu = new Device("cpu");
    model = new NitModel(config, false, cpu, AttentionPath.forDevice(cpu));
    average = new NitModel(config, false, cpu, AttentionPath.forDevice(cpu));
    weights = new FlatParameters(model.parameters(), true);
    Initializer.initialize(model, 1);
    optimizer = new AdamW(weights, AdamW.Options.STANDARD);
  }

  @AfterEach
  void close() {
    optimizer.close();
    weights.close();
    average.close();
    model.close();
  }

  private CheckpointWriter writer(Path to) {
    return new CheckpointWriter(
        new CheckpointStore(to, 2),
        new ModelFile(config.toNode(), Optional.empty(), List.of()),
        new Snapshot(new Checkpoint.Trained(model, new Ema(average), optimizer)),
        true);
  }

  private TrainingState state(long step) {
    return new TrainingState(
        step, 0, 1, step, 9, config.toNode(), new ObjectMapper().createObjectNode());
  }

  private void fillBias(float value) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor bias = model.parameters().get(BIAS);
      bias.zero_().add_(Weights.tensor(new float[] {value}, new Device("cpu"), 1));
    }
  }

  private float[] bias(long step) throws IOException {
    Path file = folder.resolve(String.format("step-%07d/model.safetensors", step));
    try (TensorSource source = SafetensorsFile.open(file)) {
      return source.tensor(BIAS).toFloats();
    }
  }

  @Test
  void whatIsWrittenIsTheStateOfItsStepWhateverTheStepsDoMeanwhile() throws IOException {
    try (CheckpointWriter writer = writer(folder)) {
      for (long step = 1; step <= 4; step++) {
        fillBias(step);
        writer.save(state(step));
        fillBias(-1); // the next step goes on at once
        writer.report();
      }
      writer.finish();
      writer.finish();
    }
    assertEquals(2, new CheckpointStore(folder, 2).list().size());
    for (long step = 3; step <= 4; step++) {
      float[] found = bias(step);
      float[] expected = new float[found.length];
      Arrays.fill(expected, step);
      assertArrayEquals(expected, found);
    }
  }

  @Test
  void closingWaitsForTheCheckpointThatIsBeingWritten() throws IOException {
    CheckpointWriter writer = writer(folder);
    writer.save(state(7));
    writer.close();
    writer.close();
    assertEquals(7, new CheckpointStore(folder, 2).newest().orElseThrow().state().step());
  }

  @Test
  void aFailureIsReportedAtTheNextStepAndOnce() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "no folder");
    try (CheckpointWriter writer = writer(file)) {
      writer.report();
      writer.save(state(1));
      IOException failure =
          assertThrows(
              IOException.class,
              () -> {
                while (true) {
                  writer.report();
                  Thread.sleep(1);
                }
              });
      assertTrue(failure.toString().contains(file.toString()), failure.toString());
      writer.report();
      writer.save(state(2));
      assertThrows(IOException.class, () -> writer.save(state(3)), "the one before is asked for");
      assertFalse(Files.isDirectory(file));
    }
  }
}
