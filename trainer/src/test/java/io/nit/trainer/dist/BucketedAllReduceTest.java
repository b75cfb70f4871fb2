package io.nit.trainer.dist;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.trainer.model.Weights;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class BucketedAllReduceTest {
  private static final Device CPU = new Device("cpu");
  private static final int ELEMENTS = 1000;

  /** Writes down what is asked of it; a sum doubles the values, as of two equal ranks. */
  private static final class Recorder implements Collectives {
    final List<List<Integer>> started = new ArrayList<>();
    int awaited;

    @Override
    public Ranks ranks() {
      return new Ranks(0, 2, 0, "127.0.0.1", 1);
    }

    @Override
    public void startSum(Collection<Tensor> tensors) {
      started.add(tensors.stream().map(t -> (int) t.numel()).toList());
      tensors.forEach(t -> t.add_(t));
    }

    @Override
    public void awaitSums() {
      awaited++;
    }

    @Override
    public void sum(double[] values) {
      throw new AssertionError("no numbers are summed here");
    }

    @Override
    public void from(int root, Collection<Tensor> tensors) {
      throw new AssertionError("nothing is passed on here");
    }

    @Override
    public void close() {}
  }

  @Test
  void aBucketBeginsWhenItIsFullAndTheRestAtTheEnd() throws Exception {
    Recorder recorder = new Recorder();
    try (PointerScope scope = new PointerScope()) {
      Tensor gradient = Weights.tensor(filled(1), CPU, ELEMENTS);
      BucketedAllReduce sums = new BucketedAllReduce(gradient, recorder, 300);
      for (int step = 0; step < 2; step++) {
        recorder.started.clear();
        sums.ready(900, 1000);
        sums.ready(700, 900);
        assertEquals(List.of(List.of(300)), recorder.started, "neighbours are one sum");
        sums.ready(100, 300);
        sums.ready(500, 500);
        sums.ready(400, 450);
        sums.ready(300, 350);
        assertEquals(List.of(List.of(300), List.of(250, 50)), recorder.started);
        sums.ready(600, 700);
        sums.finish();
        assertEquals(
            List.of(List.of(300), List.of(250, 50), List.of(100, 50, 250)),
            recorder.started,
            "what nobody announced is summed too");
        assertEquals(step + 1, recorder.awaited);
      }
      assertArrayEquals(filled(4), Weights.floats(gradient), "every element once a step");
    }
  }

  @Test
  void theLastBucketsAreSmallerAndNumbersGoWithTheVeryLast() throws Exception {
    Recorder recorder = new Recorder();
    try (PointerScope scope = new PointerScope()) {
      Tensor gradient = Weights.tensor(filled(1), CPU, ELEMENTS);
      Tensor loss = Weights.tensor(new float[] {1, 2, 3}, CPU, 3);
      BucketedAllReduce sums = new BucketedAllReduce(gradient, recorder, 400);
      for (int step = 0; step < 2; step++) {
        recorder.started.clear();
        for (int to = ELEMENTS; to > 0; to -= 50) {
          sums.ready(to - 50, to);
        }
        assertEquals(
            List.of(400, 250, 100, 50, 50, 50, 50),
            recorder.started.stream().map(sizes -> sizes.get(0)).toList());
        sums.finish(List.of(loss));
        assertEquals(List.of(3, 50), recorder.started.get(recorder.started.size() - 1));
      }
      assertArrayEquals(filled(4), Weights.floats(gradient), "every element once a step");
      assertArrayEquals(new float[] {4, 8, 12}, Weights.floats(loss));
    }
  }

  @Test
  void aRangeIsRefusedWhereItIsNoneOrComesAgain() {
    try (PointerScope scope = new PointerScope()) {
      Tensor gradient = Weights.tensor(filled(1), CPU, ELEMENTS);
      BucketedAllReduce sums = new BucketedAllReduce(gradient, new Recorder(), 300);
      assertThrows(IllegalArgumentException.class, () -> sums.ready(-1, 5));
      assertThrows(IllegalArgumentException.class, () -> sums.ready(5, 4));
      assertThrows(IllegalArgumentException.class, () -> sums.ready(990, 1001));
      sums.ready(100, 200);
      for (long[] again : new long[][] {{100, 200}, {150, 160}, {90, 101}, {199, 205}, {50, 300}}) {
        IllegalArgumentException e =
            assertThrows(IllegalArgumentException.class, () -> sums.ready(again[0], again[1]));
        assertEquals(
            "gradient: expected every element once, found " + again[0] + ".." + again[1] + " again",
            e.getMessage());
      }
    }
  }

  @Test
  void threeRanksSumAndGatherOverSockets() throws Exception {
    List<float[]> found =
        LocalRanks.run(
            3,
            group -> {
              try (PointerScope scope = new PointerScope()) {
                int rank = group.ranks().rank();
                Tensor gradient = Weights.tensor(filled(rank + 1), CPU, ELEMENTS);
                BucketedAllReduce sums = new BucketedAllReduce(gradient, group, 128);
                for (int to = ELEMENTS; to > 0; to -= 50) {
                  sums.ready(to - 50, to);
                }
                sums.finish();
                assertArrayEquals(filled(6), Weights.floats(gradient));
                Partition parts = new Partition(ELEMENTS, 3);
                assertEquals(320, parts.size());
                long from = parts.from(rank);
                gradient.narrow(0, from, parts.to(rank) - from).fill_(new Scalar((float) rank));
                group.gather(gradient, parts);
                float[] gathered = Weights.floats(gradient);
                gradient.zero_();
                for (int piece = 0; piece < 7; piece++) {
                  long begin = parts.piece(rank, piece, 7);
                  long count = parts.piece(rank, piece + 1, 7) - begin;
                  gradient.narrow(0, begin, count).fill_(new Scalar((float) rank));
                  group.startGather(gradient, parts, piece, 7);
                }
                group.awaitSums();
                assertArrayEquals(gathered, Weights.floats(gradient), "by pieces");
                return gathered;
              }
            });
    float[] expected = new float[ELEMENTS];
    Arrays.fill(expected, 320, 640, 1);
    Arrays.fill(expected, 640, ELEMENTS, 2);
    for (float[] each : found) {
      assertArrayEquals(expected, each);
    }
  }

  private static float[] filled(float value) {
    float[] values = new float[ELEMENTS];
    Arrays.fill(values, value);
    return values;
  }
}
