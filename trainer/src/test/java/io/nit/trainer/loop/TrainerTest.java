package io.nit.trainer.loop;

import static io.nit.trainer.loop.SmallRun.config;
import static io.nit.trainer.loop.SmallRun.options;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.NonFiniteDecodeException;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.image.RgbImage;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.NitTensors;
import io.nit.testing.Errors;
import io.nit.testing.Memory;
import io.nit.testing.SyntheticWeights;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.data.PackOrder;
import io.nit.trainer.data.TrainingPack;
import io.nit.trainer.dist.LocalRanks;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.GradNorm;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.LongStream;
import javax.imageio.ImageIO;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TrainerTest {
  private static final Device CPU = new Device("cpu");

  @TempDir Path folder;

  @BeforeAll
  static void oneThread() {
    Devices.setThreads(1);
  }

  private Trainer trainer(SyntheticData data, TrainOptions options, String run) {
    return new Trainer(config(), options, data, new RunFolder(folder.resolve(run)), CPU, 1);
  }

  private TrainingLoop.Outcome run(Trainer trainer, String run, StopSignal stop)
      throws IOException {
    try (MetricsLog metrics = MetricsLog.open(folder.resolve(run), trainer.step())) {
      return trainer.run(metrics, Optional.empty(), stop, true);
    }
  }

  private static void assertSameWeights(Map<String, Tensor> expected, Map<String, Tensor> found) {
    expected.forEach(
        (name, t) -> assertArrayEquals(Weights.floats(t), Weights.floats(found.get(name)), name));
  }

  @Test
  void aResumedRunReachesTheSameBitsAsAnUnbrokenOne() throws IOException {
    SyntheticData data = new SyntheticData(5, 1);
    try (Trainer unbroken = trainer(data, options(8, 2, 100), "a");
        Trainer first = trainer(data, options(8, 2, 3), "b");
        Trainer second = trainer(data, options(8, 2, 3), "b")) {
      run(unbroken, "a", StopSignal.none());
      run(first, "b", StopSignal.none());
      List<Path> checkpoints = new CheckpointStore(folder.resolve("b/checkpoints"), 2).list();
      assertEquals(List.of("step-0000006", "step-0000008"), names(checkpoints));
      second.resume(Checkpoint.open(checkpoints.get(0)));
      assertEquals(6, second.step());
      run(second, "b", StopSignal.none());
      assertEquals(8, second.step());
      assertSameWeights(unbroken.model().parameters(), second.model().parameters());
      assertSameWeights(unbroken.average().parameters(), second.average().parameters());
      for (String file : List.of("model", "ema", "optimizer")) {
        String name = "checkpoints/step-0000008/" + file + ".safetensors";
        assertEquals(
            -1,
            Files.mismatch(folder.resolve("a").resolve(name), folder.resolve("b").resolve(name)));
      }
    }
  }

  private static List<String> names(List<Path> paths) {
    return paths.stream().map(p -> p.getFileName().toString()).toList();
  }

  @Test
  void theGradientOfTwoPacksIsThatOfOnePackWithAllTheirImages() throws IOException {
    SyntheticData data = new SyntheticData(2, 1);
    TrainOptions options = options(1, 2, 100);
    Draws draws = new Draws(options.seed());
    PackOrder order = new PackOrder(data.packs(), options.seed(), 0, 1);
    List<Shard> packs = new ArrayList<>();
    for (int place = 0; place < 2; place++) {
      TrainingPack pack = data.load(order.pack(place), draws.mirror(place));
      packs.add(
          Shard.of(
              pack,
              draws.noise(place, pack.latents().length),
              draws.times(place, pack.layout().images(), options.timeMean(), options.timeStd()),
              draws.dropLabels(place, pack.labels(), options.labelDropout(), 3)));
    }
    assertNotEquals(packs.get(0).layout().tokens(), packs.get(1).layout().tokens());
    Shard both = joined(packs.get(0), packs.get(1));
    assertTrue(
        Arrays.stream(both.labels()).anyMatch(label -> label == 3), "one has the null class");
    try (Trainer trainer = trainer(data, options, "a");
        NitModel model = new NitModel(config(), false, CPU, AttentionPath.forDevice(CPU));
        PointerScope scope = new PointerScope()) {
      for (NitModel each : List.of(trainer.model(), model)) {
        Weights.load(each, new SyntheticWeights(config(), false));
      }
      run(trainer, "a", StopSignal.none());
      int tokens = both.layout().tokens();
      FlowMatchingLoss.Batch batch =
          new FlowMatchingLoss.Batch(
              Weights.tensor(both.latents(), CPU, tokens, SyntheticData.CHANNELS, 1, 1),
              Weights.tensor(both.noise(), CPU, tokens, SyntheticData.CHANNELS, 1, 1),
              Weights.tensor(both.times(), CPU, both.layout().images()),
              Weights.indices(both.labels(), CPU),
              Optional.empty());
      PackIndex index = PackIndex.of(both.layout(), config(), new Rope2d(), CPU);
      options.loss().compute(model, batch, index).total().backward();
      double norm = GradNorm.of(model.parameters());
      assertTrue(norm > 1, "gradient norm " + norm + ": the trainer clipped at 1");
      float[] all = new float[0];
      float[] expected = new float[0];
      for (String name : model.parameters().keySet()) {
        float[] found = Weights.floats(trainer.model().parameters().get(name).grad());
        float[] clipped = Weights.floats(model.parameters().get(name).grad());
        for (int i = 0; i < clipped.length; i++) {
          clipped[i] /= (float) norm;
        }
        // In some tensors, as the bias of k, large terms all but cancel each other.
        double error = Errors.relative(found, clipped);
        assertTrue(error <= 1e-5, name + ": relative error " + error);
        all = joined(all, found);
        expected = joined(expected, clipped);
      }
      assertTrue(Errors.relative(all, expected) <= 1e-6, "" + Errors.relative(all, expected));
    }
  }

  private static Shard joined(Shard a, Shard b) {
    int images = a.layout().images();
    int[] h = new int[images + b.layout().images()];
    int[] w = new int[h.length];
    for (int i = 0; i < h.length; i++) {
      PackLayout layout = i < images ? a.layout() : b.layout();
      h[i] = layout.h(i < images ? i : i - images);
      w[i] = layout.w(i < images ? i : i - images);
    }
    return new Shard(
        PackLayout.of(h, w),
        joined(a.latents(), b.latents()),
        joined(a.noise(), b.noise()),
        joined(a.times(), b.times()),
        LongStream.concat(Arrays.stream(a.labels()), Arrays.stream(b.labels())).toArray(),
        Optional.empty());
  }

  private static float[] joined(float[] a, float[] b) {
    float[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }

  @Test
  void aStepIsTheSameHoweverManyWorkersShareItsPacks() throws IOException {
    SyntheticData data = new SyntheticData(5, 1);
    RunFolder several = new RunFolder(folder.resolve("b"));
    try (Trainer one = trainer(data, options(3, 2, 100), "a");
        Trainer three = new Trainer(config(), options(3, 2, 100), data, several, CPU, 3)) {
      run(one, "a", StopSignal.none());
      run(three, "b", StopSignal.none());
      one.model()
          .parameters()
          .forEach(
              (name, t) -> {
                double error =
                    Errors.relative(
                        Weights.floats(three.model().parameters().get(name)), Weights.floats(t));
                assertTrue(error < 1e-3, name + ": relative error " + error);
              });
    }
  }

  /** What a rank ends with: every weight, the average's too, and the steps. */
  private record Trained(Map<String, float[]> model, Map<String, float[]> average, long step) {
    static Trained of(Trainer trainer) {
      return new Trained(
          floats(trainer.model().parameters()),
          floats(trainer.average().parameters()),
          trainer.step());
    }

    private static Map<String, float[]> floats(Map<String, Tensor> parameters) {
      Map<String, float[]> values = new TreeMap<>();
      parameters.forEach((name, t) -> values.put(name, Weights.floats(t)));
      return values;
    }
  }

  private List<Trained> together(
      int ranks, SyntheticData data, TrainOptions options, String run, Optional<Path> from)
      throws Exception {
    return together(ranks, data, options, run, from, false);
  }

  private List<Trained> together(
      int ranks,
      SyntheticData data,
      TrainOptions options,
      String run,
      Optional<Path> from,
      boolean sharded)
      throws Exception {
    return LocalRanks.run(
        ranks,
        group -> {
          RunFolder runFolder = new RunFolder(folder.resolve(run));
          boolean leads = group.ranks().leads();
          try (Trainer trainer =
                  new Trainer(
                      config(),
                      options,
                      data,
                      runFolder,
                      CPU,
                      1,
                      group,
                      sharded,
                      StepOptions.AUTO);
              MetricsLog metrics =
                  leads ? MetricsLog.open(folder.resolve(run), 0) : MetricsLog.none()) {
            if (leads && from.isPresent()) {
              trainer.resume(Checkpoint.open(from.get()));
            }
            trainer.run(metrics, Optional.empty(), StopSignal.none(), true);
            return Trained.of(trainer);
          }
        });
  }

  private static void assertClose(Map<String, float[]> expected, Map<String, float[]> found) {
    expected.forEach(
        (name, values) -> {
          double error = Errors.relative(found.get(name), values);
          assertTrue(error < 1e-3, name + ": relative error " + error);
        });
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void processesThatTrainTogetherReachWhatOneReachesThatTakesTheirPacks(int ranks)
      throws Exception {
    SyntheticData data = new SyntheticData(7, 1);
    List<Trained> found = together(ranks, data, options(4, 1, 100), "b", Optional.empty());
    try (Trainer alone = trainer(data, options(4, ranks, 100), "a")) {
      run(alone, "a", StopSignal.none());
      Trained expected = Trained.of(alone);
      assertClose(expected.model(), found.get(0).model());
      assertClose(expected.average(), found.get(0).average());
    }
    for (Trained other : found) {
      assertEquals(4, other.step());
      found.get(0).model().forEach((n, v) -> assertArrayEquals(v, other.model().get(n), n));
      found.get(0).average().forEach((n, v) -> assertArrayEquals(v, other.average().get(n), n));
    }
    List<Double> losses = losses("b");
    List<Double> expectedLosses = losses("a");
    assertEquals(4, losses.size());
    for (int i = 0; i < 4; i++) {
      assertEquals(expectedLosses.get(i), losses.get(i), 1e-4 * expectedLosses.get(i));
    }
  }

  private List<Double> losses(String run) throws IOException {
    ObjectMapper json = new ObjectMapper();
    List<Double> losses = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(run).resolve("metrics.jsonl"))) {
      losses.add(json.readTree(line).get("loss").asDouble());
    }
    return losses;
  }

  @Test
  void aResumedRunOfSeveralReachesTheSameBitsAsAnUnbrokenOne() throws Exception {
    SyntheticData data = new SyntheticData(5, 1);
    Trained unbroken = together(2, data, options(6, 1, 100), "a", Optional.empty()).get(0);
    together(2, data, options(6, 1, 3), "b", Optional.empty());
    List<Trained> resumed =
        together(
            2,
            data,
            options(6, 1, 100),
            "c",
            Optional.of(folder.resolve("b/checkpoints/step-0000003")));
    for (Trained each : resumed) {
      assertEquals(6, each.step());
      unbroken.model().forEach((n, v) -> assertArrayEquals(v, each.model().get(n), n));
      unbroken.average().forEach((n, v) -> assertArrayEquals(v, each.average().get(n), n));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void aShardedOptimizerReachesTheSameBitsAndWritesTheSameCheckpoints(int ranks) throws Exception {
    SyntheticData data = new SyntheticData(7, 1);
    TrainOptions options = options(6, 1, 3);
    List<Trained> whole = together(ranks, data, options, "whole", Optional.empty(), false);
    List<Trained> parts = together(ranks, data, options, "parts", Optional.empty(), true);
    for (Trained each : parts) {
      assertEquals(6, each.step());
      whole.get(0).model().forEach((n, v) -> assertArrayEquals(v, each.model().get(n), n));
      whole.get(0).average().forEach((n, v) -> assertArrayEquals(v, each.average().get(n), n));
    }
    for (String step : List.of("step-0000003", "step-0000006")) {
      for (String file : List.of("model", "ema", "optimizer")) {
        String name = "checkpoints/" + step + "/" + file + ".safetensors";
        Path expected = folder.resolve("whole").resolve(name);
        assertEquals(-1, Files.mismatch(expected, folder.resolve("parts").resolve(name)), name);
      }
    }
    // And goes on from one, as the same number of ranks and as another, sharded or not.
    Optional<Path> half = Optional.of(folder.resolve("parts/checkpoints/step-0000003"));
    List<Trained> goneOn = together(ranks, data, options, "on", half, true);
    for (Trained each : goneOn) {
      whole.get(0).model().forEach((n, v) -> assertArrayEquals(v, each.model().get(n), n));
    }
    List<Trained> asFour = together(4, data, options(4, 1, 100), "four", half, true);
    List<Trained> asFourWhole = together(4, data, options(4, 1, 100), "four-whole", half, false);
    asFourWhole
        .get(0)
        .model()
        .forEach((n, v) -> assertArrayEquals(v, asFour.get(3).model().get(n)));
  }

  @Test
  void anotherNumberOfProcessesGoesOnInTheSameDataOrder() throws Exception {
    SyntheticData data = new SyntheticData(50, 1);
    together(2, data, options(4, 1, 2), "two", Optional.empty());
    Path half = folder.resolve("two/checkpoints/step-0000002");
    assertEquals(4, Checkpoint.open(half).state().position());
    // One process that takes two packs a step has the same packs from there on.
    try (Trainer alone = trainer(data, options(4, 2, 100), "one")) {
      alone.resume(Checkpoint.open(half));
      run(alone, "one", StopSignal.none());
      List<Double> together = losses("two");
      List<Double> goneOn = losses("one");
      assertEquals(together.get(2), goneOn.get(0), 1e-4 * together.get(2));
      assertEquals(together.get(3), goneOn.get(1), 1e-4 * together.get(3));
    }
  }

  @Test
  void theResultHoldsTheAverageAndSaysWhatItIs() throws IOException {
    try (Trainer trainer = trainer(new SyntheticData(3, 1), options(2, 1, 100), "a")) {
      assertEquals(TrainingLoop.Outcome.DONE, run(trainer, "a", StopSignal.none()));
      try (TensorSource result = SafetensorsFile.open(folder.resolve("a/model.safetensors"))) {
        NitTensors.require(config(), result.specs(), result.where());
        assertEquals("[\"red\",\"green\",\"blue\"]", result.metadata().get("labels"));
        assertEquals("2", result.metadata().get("step"));
        assertTrue(result.metadata().get("codec").contains("space-to-depth"));
        String bias = "final_layer.linear.bias";
        assertArrayEquals(
            Weights.floats(trainer.average().parameters().get(bias)),
            result.tensor(bias).toFloats());
      }
    }
  }

  @Test
  void aStopEndsAfterTheRunningStepWithACheckpointAndNoResult() throws IOException {
    StopSignal stop = StopSignal.none();
    stop.request(15);
    try (Trainer trainer = trainer(new SyntheticData(3, 1), options(5, 1, 100), "a")) {
      assertEquals(TrainingLoop.Outcome.STOPPED, run(trainer, "a", stop));
      assertTrue(new CheckpointStore(folder.resolve("a/checkpoints"), 2).newest().isPresent());
      assertFalse(Files.exists(folder.resolve("a/model.safetensors")));
    }
  }

  @Test
  void stepsThatAreNotFiniteChangeNothingAndTenInARowEndTheRunNamingTheirRows() {
    SyntheticData data = new SyntheticData(3, 1);
    data.breakIt();
    try (Trainer trainer = trainer(data, options(50, 1, 100), "a");
        Trainer untouched = trainer(data, options(50, 1, 100), "b")) {
      TrainingFailedException failed =
          assertThrows(TrainingFailedException.class, () -> run(trainer, "a", StopSignal.none()));
      assertEquals(10, trainer.step());
      assertTrue(failed.getMessage().contains("data rows ["), failed.getMessage());
      assertSameWeights(untouched.model().parameters(), trainer.model().parameters());
      assertSameWeights(untouched.average().parameters(), trainer.average().parameters());
    }
  }

  @Test
  void aCheckpointOfAnotherConfigIsRefusedNamingTheKeys() throws IOException {
    SyntheticData data = new SyntheticData(3, 1);
    try (Trainer trainer = trainer(data, options(1, 1, 1), "a")) {
      run(trainer, "a", StopSignal.none());
    }
    Checkpoint checkpoint =
        new CheckpointStore(folder.resolve("a/checkpoints"), 2).newest().orElseThrow();
    NitConfig other = config().with(Map.of("depth", 1, "mlp_ratio", 2.0));
    try (Trainer trainer =
        new Trainer(other, options(1, 1, 1), data, new RunFolder(folder), CPU, 1)) {
      IllegalArgumentException refused =
          assertThrows(IllegalArgumentException.class, () -> trainer.resume(checkpoint));
      assertTrue(refused.getMessage().contains("depth: expected 1, found 2"), refused.getMessage());
      assertTrue(
          refused.getMessage().contains("mlp_ratio: expected 2.0, found 4.0"),
          refused.getMessage());
    }
  }

  @Test
  void sampleGridsAreDrawnOnTheWayFromTheAverage() throws IOException {
    SyntheticData data = new SyntheticData(3, 1);
    SampleGrid grid =
        new SampleGrid(
            List.of(new int[] {2, 3}, new int[] {4, 1}),
            new long[] {0, 2},
            3,
            new Guidance(2, 0, 1),
            5,
            data.codec().flatMap(CodecSpec::plain).orElseThrow());
    try (Trainer trainer = trainer(data, options(2, 1, 100), "a");
        MetricsLog metrics = MetricsLog.open(folder.resolve("a"), 0)) {
      Weights.load(trainer.model(), new SyntheticWeights(config(), false));
      trainer.run(metrics, Optional.of(grid), StopSignal.none(), true);
      BufferedImage file = ImageIO.read(folder.resolve("a/samples/step-0000002.png").toFile());
      byte[] drawn = RgbImage.of(file).rgb();
      assertArrayEquals(grid.draw(trainer.average(), data.labels()).rgb(), drawn);
      assertFalse(
          Arrays.equals(grid.draw(trainer.model(), data.labels()).rgb(), drawn),
          "the weights in training and their average draw other pictures");
    }
  }

  @Test
  void aSampleThatCannotBeDecodedIsDrawnGreyAndTheTrainingGoesOn() throws IOException {
    SyntheticData data = new SyntheticData(3, 1);
    LatentCodec real = data.codec().flatMap(CodecSpec::plain).orElseThrow();
    LatentCodec overflowing =
        new LatentCodec() {
          @Override
          public CodecSpec spec() {
            return real.spec();
          }

          @Override
          public float[] encode(float[] rgb, int height, int width) {
            return real.encode(rgb, height, width);
          }

          @Override
          public float[] decode(float[] latent, int latentH, int latentW) {
            throw new NonFiniteDecodeException(latent, latentH, latentW);
          }
        };
    SampleGrid grid =
        new SampleGrid(
            List.of(new int[] {16, 16}), new long[] {0}, 1, new Guidance(1, 0, 1), 5, overflowing);
    try (Trainer trainer = trainer(data, options(2, 1, 1), "a");
        MetricsLog metrics = MetricsLog.open(folder.resolve("a"), 0)) {
      assertEquals(
          TrainingLoop.Outcome.DONE,
          trainer.run(metrics, Optional.of(grid), StopSignal.none(), true));
      BufferedImage file = ImageIO.read(folder.resolve("a/samples/step-0000002.png").toFile());
      int grey = 0;
      for (int i = 0; i < file.getWidth() * file.getHeight(); i++) {
        int rgb = file.getRGB(i % file.getWidth(), i / file.getWidth()) & 0xffffff;
        grey += rgb == 0x808080 || rgb == 0x7f7f7f ? 1 : 0;
      }
      int side = 16 * real.factor();
      assertTrue(grey >= side * side, grey + " grey pixels");
    }
  }

  @Test
  void twoHundredStepsHoldNativeAndHeapMemoryConstant() throws IOException {
    SyntheticData data = new SyntheticData(4, 1);
    try (Trainer warm = trainer(data, options(40, 1, 20), "warm")) {
      run(warm, "warm", StopSignal.none());
    }
    long heap = Memory.usedHeap();
    long pointers = Pointer.totalCount();
    long physical = Pointer.physicalBytes();
    try (Trainer trainer = trainer(data, options(200, 1, 100), "a")) {
      run(trainer, "a", StopSignal.none());
    }
    long moreHeapKib = Memory.usedHeap() - heap >> 10;
    long morePointers = Pointer.totalCount() - pointers;
    long moreMib = (Pointer.physicalBytes() - physical) >> 20;
    // A step makes about a thousand pointers and 3 MiB of tensors: one kept of either would show.
    assertTrue(morePointers < 100, "pointers left after 200 steps: " + morePointers);
    // A step makes some 100 KiB of arrays.
    assertTrue(moreHeapKib < 4096, "KiB more heap after 200 steps: " + moreHeapKib);
    assertTrue(moreMib < 64, "MiB more after 200 steps: " + moreMib);
  }
}
