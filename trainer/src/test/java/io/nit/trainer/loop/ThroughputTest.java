package io.nit.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class ThroughputTest {
  @Test
  void itIsTheMeanOfTheLastHundredSteps() {
    Throughput throughput = new Throughput();
    assertEquals(Double.NaN, throughput.tokensPerSecond());
    throughput.add(0, 7);
    assertEquals(Double.NaN, throughput.tokensPerSecond());
    assertEquals(0, throughput.steps());
    throughput.add(500_000_000, 100);
    assertEquals(200, throughput.tokensPerSecond());
    long nanos = 500_000_000;
    for (int step = 0; step < 100; step++) {
      nanos += 1_000_000_000;
      throughput.add(nanos, 30);
    }
    assertEquals(100, throughput.steps());
    assertEquals(30, throughput.tokensPerSecond());
  }
}
