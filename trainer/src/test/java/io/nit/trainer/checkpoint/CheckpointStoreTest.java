package io.nit.trainer.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.Initializer;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointStoreTest {
  private static final NitConfig CONFIG =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size",
                  8,
                  "depth",
                  1,
                  "num_heads",
                  2,
                  "encoder_depth",
                  1,
                  "in_channels",
                  2,
                  "num_classes",
                  3));

  private static final ModelFile DESCRIPTION =
      new ModelFile(CONFIG.toNode(), Optional.empty(), List.of("a", "b", "c"));

  @TempDir Path folder;
  private NitModel model;
  private NitModel average;
  private AdamW optimizer;
  private CheckpointStore store;

  @BeforeEach
  void open() {
    Device cpu = new Device("cpu");
    model = new NitModel(CONFIG, false, cpu, AttentionPath.forDevice(cpu));
    average = new NitModel(CONFIG, false, cpu, AttentionPath.forDevice(cpu));
    Initializer.initialize(model, 1);
    Initializer.initialize(average, 2);
    optimizer = new AdamW(model.parameters(), AdamW.Options.STANDARD);
    store = new CheckpointStore(folder, 2);
  }

  @AfterEach
  void close() {
    optimizer.close();
    average.close();
    model.close();
  }

  private Path save(long step) throws IOException {
    try (Snapshot snapshot =
        new Snapshot(new Checkpoint.Trained(model, new Ema(average), optimizer))) {
      snapshot.take();
      return store.save(snapshot.values(), DESCRIPTION, state(step));
    }
  }

  static TrainingState state(long step) {
    return new TrainingState(
        step, 0, -5, step, 9, CONFIG.toNode(), new ObjectMapper().createObjectNode());
  }

  private List<String> names() throws IOException {
    return store.list().stream().map(p -> p.getFileName().toString()).toList();
  }

  @Test
  void theLastFewAreKept() throws IOException {
    for (long step : new long[] {5, 10, 12_345_678}) {
      save(step);
    }
    assertEquals(List.of("step-0000010", "step-12345678"), names());
    TrainingState state = store.newest().orElseThrow().state();
    assertEquals(12_345_678, state.step());
    assertEquals(-5, state.seed());
    assertEquals(CONFIG, NitConfig.fromNode(state.config(), "state", PositionOrder.AXIAL));
  }

  @Test
  void milestonesAreKeptBesideTheLastFew() throws IOException {
    store = new CheckpointStore(folder, 2, 20);
    for (long step = 5; step <= 65; step += 5) {
      save(step);
    }
    assertEquals(
        List.of("step-0000020", "step-0000040", "step-0000055", "step-0000060", "step-0000065"),
        names());
  }

  @Test
  void savingAStepAgainReplacesIt() throws IOException {
    Path first = save(5);
    Files.writeString(first.resolve("mark"), "old");
    assertEquals(first, save(5));
    assertFalse(Files.exists(first.resolve("mark")));
    assertEquals(List.of("step-0000005"), names());
  }

  @Test
  void halfWrittenOnesAreNoCheckpointsAndGoWithTheNextSave() throws IOException {
    Path unfinished = Files.createDirectories(folder.resolve(".unfinished-step-0000099"));
    Files.writeString(unfinished.resolve("model.safetensors"), "half");
    assertTrue(store.newest().isEmpty());
    save(1);
    assertFalse(Files.exists(unfinished));
    assertEquals(1, store.newest().orElseThrow().state().step());
  }

  @Test
  void aDamagedNewestOneIsPassedOver() throws IOException {
    save(1);
    Path damaged = save(2);
    try (FileChannel file =
        FileChannel.open(damaged.resolve("optimizer.safetensors"), StandardOpenOption.WRITE)) {
      file.truncate(file.size() - 1);
    }
    assertEquals(1, store.newest().orElseThrow().state().step());
  }

  @Test
  void anEmptyFolderHasNone() throws IOException {
    assertTrue(new CheckpointStore(folder.resolve("absent"), 1).newest().isEmpty());
  }
}
