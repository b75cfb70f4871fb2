package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.codec.CodecSpec;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class PrefetchingLoaderTest {
  /** Packs that hold their own number; the loading thread runs {@code before} first. */
  private static final class Numbered implements TrainingData {
    final AtomicInteger loaded = new AtomicInteger();
    private final Before before;

    interface Before {
      void load(int pack) throws Exception;
    }

    Numbered(Before before) {
      this.before = before;
    }

    @Override
    public int packs() {
      return 10;
    }

    @Override
    public int images() {
      return 10;
    }

    @Override
    public int channels() {
      return 1;
    }

    @Override
    public int featureDim() {
      return 0;
    }

    @Override
    public TrainingPack load(int pack, Philox choice) throws IOException {
      try {
        before.load(pack);
      } catch (InterruptedException e) {
        throw new IOException(e);
      } catch (IOException | RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new AssertionError(e);
      }
      loaded.incrementAndGet();
      return new TrainingPack(
          PackLayout.of(new int[] {1}, new int[] {1}),
          new float[] {(float) choice.uniform(0)},
          new long[] {0},
          Optional.empty(),
          new int[] {pack});
    }

    @Override
    public Optional<CodecSpec> codec() {
      return Optional.empty();
    }

    @Override
    public List<String> labels() {
      return List.of();
    }

    @Override
    public int classes() {
      return 0;
    }

    @Override
    public void close() {}
  }

  private static Philox choices(long place) {
    return new Philox(3, place);
  }

  @Test
  void packsComeInOrderWhateverThreadIsFaster() throws IOException {
    PackOrder order = new PackOrder(10, 7, 0, 1);
    Numbered data = new Numbered(pack -> Thread.sleep(pack % 3));
    try (PrefetchingLoader<TrainingPack> loader =
        new PrefetchingLoader<>(
            data, order, 4, PrefetchingLoaderTest::choices, (pack, place) -> pack, 4, 6)) {
      for (long place = 4; place < 34; place++) {
        TrainingPack pack = loader.next();
        assertEquals(order.pack(place), pack.rows()[0]);
        assertEquals((float) choices(place).uniform(0), pack.latents()[0]);
      }
    }
  }

  @Test
  void noMorePacksAreReadAheadThanAsked() throws Exception {
    Numbered data = new Numbered(pack -> {});
    try (PrefetchingLoader<TrainingPack> loader =
        new PrefetchingLoader<>(
            data,
            new PackOrder(10, 7, 0, 1),
            0,
            PrefetchingLoaderTest::choices,
            (pack, place) -> pack,
            4,
            3)) {
      loader.next();
      loader.next();
      Thread.sleep(100);
      assertTrue(data.loaded.get() <= 2 + 3, "loaded " + data.loaded.get());
    }
  }

  @Test
  void aFailureSurfacesAtItsPlaceInTheConsumer() throws IOException {
    PackOrder order = new PackOrder(10, 7, 0, 1);
    int bad = order.pack(2);
    Numbered data =
        new Numbered(
            pack -> {
              if (pack == bad) {
                throw new IOException("latents/7.safetensors: truncated");
              }
            });
    try (PrefetchingLoader<TrainingPack> loader =
        new PrefetchingLoader<>(
            data, order, 0, PrefetchingLoaderTest::choices, (pack, place) -> pack, 2, 4)) {
      loader.next();
      loader.next();
      assertEquals(
          "latents/7.safetensors: truncated",
          assertThrows(IOException.class, loader::next).getMessage());
    }
  }

  @Test
  void theTimeThatTheConsumerWaitsIsCounted() throws Exception {
    Numbered data = new Numbered(pack -> Thread.sleep(50));
    try (PrefetchingLoader<Long> loader =
        new PrefetchingLoader<>(
            data,
            new PackOrder(10, 7, 0, 1),
            5,
            PrefetchingLoaderTest::choices,
            (pack, place) -> place,
            1,
            1)) {
      assertEquals(5, loader.next());
      assertEquals(6, loader.next());
      long waited = loader.takeWaited();
      assertTrue(waited > TimeUnit.MILLISECONDS.toNanos(20), "waited " + waited);
      assertEquals(0, loader.takeWaited());
    }
  }

  @Test
  void whatNobodyTookIsClosed() throws Exception {
    AtomicInteger made = new AtomicInteger();
    AtomicInteger closed = new AtomicInteger();
    Numbered data = new Numbered(pack -> {});
    try (PrefetchingLoader<AutoCloseable> loader =
        new PrefetchingLoader<>(
            data,
            new PackOrder(10, 7, 0, 1),
            0,
            PrefetchingLoaderTest::choices,
            (pack, place) -> {
              made.incrementAndGet();
              return closed::incrementAndGet;
            },
            2,
            3)) {
      loader.next().close();
      while (made.get() < 4) {
        Thread.sleep(5);
      }
    }
    assertEquals(made.get(), closed.get());
  }

  @Test
  void closingInterruptsAThreadThatHangs() throws Exception {
    CountDownLatch started = new CountDownLatch(1);
    CountDownLatch left = new CountDownLatch(1);
    Numbered data =
        new Numbered(
            pack -> {
              started.countDown();
              try {
                Thread.sleep(TimeUnit.HOURS.toMillis(1));
              } finally {
                left.countDown();
              }
            });
    PrefetchingLoader<TrainingPack> loader =
        new PrefetchingLoader<>(
            data,
            new PackOrder(10, 7, 0, 1),
            0,
            PrefetchingLoaderTest::choices,
            (pack, place) -> pack,
            1,
            2);
    started.await();
    loader.close();
    loader.close();
    assertTrue(left.await(0, TimeUnit.SECONDS));
    assertFalse(assertThrows(IllegalStateException.class, loader::next).getMessage().isEmpty());
  }
}
