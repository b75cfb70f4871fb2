package io.nit.runtime.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class EnginesTest {
  private static final Bundle BUNDLE =
      new Bundle(
          Path.of("bundle"),
          NitConfig.s(),
          "model.onnx",
          "F32",
          18,
          Optional.empty(),
          Optional.empty(),
          List.of(),
          64,
          Bundle.SamplingDefaults.STANDARD,
          List.of(),
          JsonNodeFactory.instance.arrayNode(),
          JsonNodeFactory.instance.objectNode());

  @Test
  void autoTakesThePreferredThatDoesNotRefuse() throws Exception {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    assertSame(cpu.engine, Engines.open(BUNDLE, "auto", EngineOptions.DEFAULT, List.of(gpu, cpu)));
  }

  @Test
  void autoNeverTakesABackendThatMustBeAskedFor() throws Exception {
    Fake slow = new Fake("slow", EngineProvider.BY_NAME_ONLY, null);
    assertThrows(
        EngineException.class,
        () -> Engines.open(BUNDLE, "auto", EngineOptions.DEFAULT, List.of(slow)));
    assertSame(slow.engine, Engines.open(BUNDLE, "slow", EngineOptions.DEFAULT, List.of(slow)));
  }

  @Test
  void aNamedBackendThatRefusesIsNotReplaced() {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    String message =
        assertThrows(
                EngineException.class,
                () -> Engines.open(BUNDLE, "gpu", EngineOptions.DEFAULT, List.of(gpu, cpu)))
            .getMessage();
    assertTrue(message.contains("gpu") && message.contains("no device"), message);
  }

  @Test
  void anUnknownNameListsTheKnownOnes() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> Engines.open(BUNDLE, "tpu", EngineOptions.DEFAULT))
            .getMessage();
    assertTrue(message.contains("ort-cpu") && message.contains("'tpu'"), message);
  }

  @Test
  void whenAllRefuseEveryReasonIsGiven() {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, "no library");
    assertEquals(
        "no backend can run bundle: gpu (no device); cpu (no library)",
        assertThrows(
                EngineException.class,
                () -> Engines.open(BUNDLE, "auto", EngineOptions.DEFAULT, List.of(gpu, cpu)))
            .getMessage());
  }

  @Test
  void aCodecRunsOnTheBackendAskedForOrOnThePreferredThatRunsCodecs() throws Exception {
    Fake engines = new Fake("engines", 30, null);
    Fake gpu = new Fake("gpu", 20, null);
    Fake cpu = new Fake("cpu", 10, null);
    gpu.codecs = true;
    cpu.codecs = true;
    List<EngineProvider> all = List.of(engines, gpu, cpu);
    EngineOptions options = EngineOptions.DEFAULT;
    assertSame(gpu, Engines.codecProvider(BUNDLE, "engines", options, all));
    assertSame(gpu, Engines.codecProvider(BUNDLE, "auto", options, all));
    assertSame(cpu, Engines.codecProvider(BUNDLE, "cpu", options, all));
    Fake lost = new Fake("gpu", 20, "no device");
    lost.codecs = true;
    all = List.of(engines, lost, cpu);
    assertSame(cpu, Engines.codecProvider(BUNDLE, "engines", options, all));
    List<EngineProvider> named = all;
    assertThrows(EngineException.class, () -> Engines.codecProvider(BUNDLE, "gpu", options, named));
  }

  private static final class Fake implements EngineProvider {
    private final String name;
    private final int preference;
    private final String refusal;
    private final VelocityEngine engine = new Idle();
    private boolean codecs;

    Fake(String name, int preference, String refusal) {
      this.name = name;
      this.preference = preference;
      this.refusal = refusal;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public int preference() {
      return preference;
    }

    @Override
    public boolean runsCodecs() {
      return codecs;
    }

    @Override
    public Optional<String> refusal(Bundle bundle, EngineOptions options) {
      return Optional.ofNullable(refusal);
    }

    @Override
    public VelocityEngine open(Bundle bundle, EngineOptions options) {
      return engine;
    }
  }

  private static final class Idle implements VelocityEngine {
    @Override
    public String backend() {
      return "idle";
    }

    @Override
    public String description() {
      return "does nothing";
    }

    @Override
    public NitConfig config() {
      return BUNDLE.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) {}

    @Override
    public void close() {}
  }
}
