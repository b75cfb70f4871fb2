package io.nit.trainer.reconstruction;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.Memory;
import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.TrainingFailedException;
import io.nit.trainer.loop.TrainingLoop;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReconstructionTrainerTest {
  private static final Device CPU = new Device("cpu");

  @TempDir Path folder;
  private PictureSet set;
  private HoldOut split;

  @BeforeEach
  void open() throws IOException {
    set = Tiny.set(Tiny.pictures(folder.resolve("data"), 12), 16);
    split = HoldOut.of(set, 2);
  }

  private ReconstructionTrainer trainer(ReconstructionOptions options, String run, int threads) {
    return trainer(options, run, threads, CPU);
  }

  private ReconstructionTrainer trainer(
      ReconstructionOptions options, String run, int threads, Device device) {
    RunFolder to = new RunFolder(folder.resolve(run));
    return new ReconstructionTrainer(Tiny.config(), options, set, split, to, device, threads, 2);
  }

  private TrainingLoop.Outcome run(ReconstructionTrainer trainer, String run) throws IOException {
    try (MetricsLog metrics = MetricsLog.open(folder.resolve(run), trainer.step())) {
      return trainer.run(metrics, StopSignal.none(), true);
    }
  }

  private List<JsonNode> rows(String run, String key) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(run).resolve("metrics.jsonl"))) {
      JsonNode row = new ObjectMapper().readTree(line);
      if (row.has(key)) {
        rows.add(row);
      }
    }
    return rows;
  }

  private static void assertSameWeights(Map<String, Tensor> expected, Map<String, Tensor> found) {
    expected.forEach(
        (name, t) -> assertArrayEquals(Weights.floats(t), Weights.floats(found.get(name)), name));
  }

  /** Trains, and checks that what was held out is given back better and better. */
  private void learns(String run, Precision precision, Device device, int steps, double least)
      throws IOException {
    try (ReconstructionTrainer trainer =
        trainer(Tiny.options(steps, 1000, 10, precision), run, 1, device)) {
      double before = valPsnr(trainer.average(), precision);
      assertEquals(TrainingLoop.Outcome.DONE, run(trainer, run));
      double after = rows(run, "val_psnr").get(0).path("val_psnr").doubleValue();
      assertEquals(after, valPsnr(trainer.average(), precision), 1e-6);
      assertTrue(after > before + least, "val_psnr " + before + " -> " + after);
      List<JsonNode> rows = rows(run, "loss");
      double first = rows.get(0).path("loss").doubleValue();
      double last = rows.get(rows.size() - 1).path("loss").doubleValue();
      assertTrue(last < 0.7 * first, "loss " + first + " -> " + last);
      assertEquals(0, rows.get(rows.size() - 1).path("skipped_steps").intValue());
    }
  }

  private double valPsnr(DcAe model, Precision precision) throws IOException {
    return new Validation(set, split.heldOut(), 16, 4, precision).measure(model).psnr();
  }

  @Test
  void aShortTrainingLowersTheLossAndRaisesThePsnrOfWhatWasHeldOut() throws IOException {
    learns("a", Precision.F32, CPU, 40, 2);
    assertTrue(Files.isRegularFile(folder.resolve("a/samples/step-0000040.png")));
    assertTrue(Files.isRegularFile(folder.resolve("a/loss.png")));
  }

  @Test
  @Tag("gpu")
  void aTrainingInBf16OnCudaLowersTheLoss() throws IOException {
    boolean cuda = torch.cuda_is_available();
    if (!cuda) {
      System.out.println("skipped: a training in bf16 on CUDA, as no CUDA device was found");
    }
    assumeTrue(cuda, "no CUDA device");
    learns("gpu", Precision.BF16, new Device("cuda"), 120, 4);
  }

  @Test
  void aTrainingInBf16OnTheCpuLowersTheLossToo() throws IOException {
    learns("a", Precision.BF16, CPU, 40, 2);
  }

  @Test
  void aResumedRunReachesTheSameBitsAsAnUnbrokenOne() throws IOException {
    try (ReconstructionTrainer unbroken = trainer(Tiny.options(8, 100, 1), "a", 1);
        ReconstructionTrainer first = trainer(Tiny.options(8, 3, 3), "b", 1);
        ReconstructionTrainer second = trainer(Tiny.options(8, 3, 3), "b", 1)) {
      run(unbroken, "a");
      run(first, "b");
      List<Path> checkpoints = new CheckpointStore(folder.resolve("b/checkpoints"), 2).list();
      second.resume(Checkpoint.open(checkpoints.get(0)));
      assertEquals(6, second.step());
      run(second, "b");
      assertSameWeights(unbroken.model().parameters(), second.model().parameters());
      assertSameWeights(unbroken.average().parameters(), second.average().parameters());
      for (String file :
          List.of(
              "checkpoints/step-0000008/optimizer.safetensors",
              "autoencoder/config.json",
              "autoencoder/" + DcAeFolder.WEIGHTS)) {
        Path expected = folder.resolve("a").resolve(file);
        assertEquals(-1, Files.mismatch(expected, folder.resolve("b").resolve(file)), file);
      }
    }
  }

  @Test
  void aStepIsTheSameHoweverManyWorkersShareItsCrops() throws IOException {
    try (ReconstructionTrainer one = trainer(Tiny.options(3, 100, 1), "a", 1);
        ReconstructionTrainer three = trainer(Tiny.options(3, 100, 1), "b", 3)) {
      run(one, "a");
      run(three, "b");
      List<JsonNode> expected = rows("a", "loss");
      List<JsonNode> found = rows("b", "loss");
      for (int i = 0; i < 3; i++) {
        for (String key : List.of("loss", "loss_l1", "loss_gradient", "loss_ssim", "grad_norm")) {
          double want = expected.get(i).path(key).doubleValue();
          assertEquals(want, found.get(i).path(key).doubleValue(), 1e-3 * want, key);
        }
      }
      one.model()
          .parameters()
          .forEach(
              (name, t) -> {
                float[] other = Weights.floats(three.model().parameters().get(name));
                double error = Errors.relative(other, Weights.floats(t));
                assertTrue(error < 1e-2, name + ": relative error " + error);
              });
    }
  }

  @Test
  void theResultIsAFolderInDiffusersLayoutWithTheAverageAndItsLatentsScale() throws IOException {
    try (ReconstructionTrainer trainer = trainer(Tiny.options(2, 100, 1), "a", 1)) {
      run(trainer, "a");
      DcAeFolder result = DcAeFolder.open(folder.resolve("a/autoencoder"));
      try (TensorSource weights = result.openWeights()) {
        assertEquals("pt", weights.metadata().get("format"));
        Map<String, ?> sorted = new TreeMap<>(weights.specs());
        assertEquals(List.copyOf(sorted.keySet()), List.copyOf(weights.specs().keySet()));
      }
      double spread =
          new Validation(set, split.atLeast(32), 16, 4, Precision.F32)
              .latentSpread(trainer.average());
      assertEquals(1 / spread, result.config().scalingFactor(), 1e-5 / spread);
      try (DcAe opened = DcAe.open(result, CPU, Precision.F32)) {
        assertSameWeights(trainer.average().parameters(), opened.parameters());
      }
    }
  }

  @Test
  void aTrainingMayBeginWithTheWeightsOfAnAutoencoder() throws IOException {
    DcAeFolder from = DcAeFolder.open(GeneratedDcAe.write(folder.resolve("init"), Tiny.config()));
    try (ReconstructionTrainer trainer = trainer(Tiny.options(2, 100, 1), "a", 1);
        DcAe opened = DcAe.open(from, CPU, Precision.F32)) {
      trainer.begin(from);
      assertSameWeights(opened.parameters(), trainer.model().parameters());
      assertSameWeights(opened.parameters(), trainer.average().parameters());
    }
  }

  @Test
  void stepsThatAreNotFiniteChangeNothingAndTrainingGoesOnAfterThem() throws IOException {
    String broken = "decoder.conv_out.bias";
    try (ReconstructionTrainer trainer = trainer(Tiny.options(3, 100, 100), "a", 1);
        ReconstructionTrainer untouched = trainer(Tiny.options(3, 100, 100), "b", 1);
        ReconstructionTrainer later = trainer(Tiny.options(5, 100, 100), "a", 1)) {
      // Finite, but every loss is beyond what a float holds.
      fill(trainer.model().parameters().get(broken), Float.MAX_VALUE);
      run(trainer, "a");
      assertEquals(3, rows("a", "skipped_steps").get(0).path("skipped_steps").intValue());
      fill(trainer.model().parameters().get(broken), 0);
      assertSameWeights(untouched.model().parameters(), trainer.model().parameters());
      assertSameWeights(untouched.average().parameters(), trainer.average().parameters());
      Checkpoint checkpoint = newest("a");
      assertEquals(3, checkpoint.state().step());
      assertEquals(0, checkpoint.state().optimizerStep());
      later.resume(checkpoint);
      fill(later.model().parameters().get(broken), 0);
      run(later, "a");
      assertTrue(rows("a", "loss").get(1).path("loss").doubleValue() > 0);
      assertEquals(2, newest("a").state().optimizerStep());
    }
  }

  private Checkpoint newest(String run) throws IOException {
    return new CheckpointStore(folder.resolve(run).resolve("checkpoints"), 2)
        .newest()
        .orElseThrow();
  }

  private static void fill(Tensor tensor, float value) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      tensor.fill_(new Scalar(value));
    }
  }

  @Test
  void tenStepsInARowThatAreNotFiniteEndTheRunNamingTheirPictures() {
    try (ReconstructionTrainer trainer = trainer(Tiny.options(50, 100, 4), "a", 1)) {
      fill(trainer.model().parameters().get("decoder.conv_out.bias"), Float.NaN);
      TrainingFailedException failed =
          assertThrows(TrainingFailedException.class, () -> run(trainer, "a"));
      assertTrue(failed.getMessage().startsWith("step 10: "), failed.getMessage());
      assertTrue(failed.getMessage().contains(".png"), failed.getMessage());
      assertFalse(Files.exists(folder.resolve("a/checkpoints")));
    }
  }

  @Test
  void batchNormsAreRefusedWithTheReason() {
    ReconstructionOptions options = Tiny.options(1, 1, 1);
    String json =
        Tiny.JSON.replaceFirst(
            "\\{", "{\"decoder_norm_types\": " + "[\"batch_norm\", \"rms_norm\", \"rms_norm\"], ");
    DcAeConfig config = DcAeConfig.fromJson(json, "tiny");
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> options.require(config));
    assertTrue(refused.getMessage().contains("statistics of a batch norm"), refused.getMessage());
  }

  @Test
  void sixtyStepsHoldNativeAndHeapMemoryConstant() throws IOException {
    try (ReconstructionTrainer warm = trainer(Tiny.options(10, 5, 5), "warm", 2)) {
      run(warm, "warm");
    }
    long heap = Memory.usedHeap();
    long pointers = Pointer.totalCount();
    // malloc's pools of the workers come and go by up to 40 MiB; a leak grows in every window.
    long moreMib = Long.MAX_VALUE;
    for (int window = 0; window < 3 && moreMib >= 24; window++) {
      long physical = Pointer.physicalBytes();
      try (ReconstructionTrainer trainer = trainer(Tiny.options(60, 30, 10), "a" + window, 2)) {
        run(trainer, "a" + window);
      }
      Memory.usedHeap(); // collected, so that the heap's growth is not counted
      moreMib = (Pointer.physicalBytes() - physical) >> 20;
    }
    long moreHeapKib = Memory.usedHeap() - heap >> 10;
    long morePointers = Pointer.totalCount() - pointers;
    assertTrue(morePointers < 30, "pointers left after 60 steps: " + morePointers);
    assertTrue(moreHeapKib < 4096, "KiB more heap after 60 steps: " + moreHeapKib);
    assertTrue(moreMib < 24, "MiB more after 60 steps: " + moreMib);
  }
}
