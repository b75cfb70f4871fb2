package io.nit.runtime.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import io.nit.testing.PlainBundle;
import io.nit.testing.TinyAutoencoder;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.slf4j.LoggerFactory;

class EnginesTest {
  private static final Bundle BUNDLE =
      PlainBundle.of(Path.of("bundle"), NitConfig.s(), "model.onnx", "F32", 64, List.of());

  private static VelocityEngine open(String backend, EngineProvider... providers) throws Exception {
    return Engines.openModel(BUNDLE, backend, EngineOptions.DEFAULT, List.of(providers)).engine();
  }

  @Test
  void autoTakesThePreferredThatDoesNotRefuse() throws Exception {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    assertSame(cpu.engine, open("auto", gpu, cpu));
  }

  @Test
  void autoNeverTakesABackendThatMustBeAskedFor() throws Exception {
    Fake slow = new Fake("slow", EngineProvider.BY_NAME_ONLY, null);
    assertThrows(EngineException.class, () -> open("auto", slow));
    assertSame(slow.engine, open("slow", slow));
  }

  @Test
  void aNamedBackendThatRefusesIsNotReplaced() {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    String message = assertThrows(EngineException.class, () -> open("gpu", gpu, cpu)).getMessage();
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
  void backendsSayThemselvesWhetherTheyRunOnAGpu() {
    Map<String, Boolean> said = new TreeMap<>();
    Engines.providers().forEach(each -> said.put(each.name(), Engines.runsOnGpu(each.name())));
    assertEquals(
        Map.of("tensorrt", true, "ort-cuda", true, "ort-cpu", false, "reference", false), said);
    assertFalse(Engines.runsOnGpu("tpu"));
  }

  @Test
  void whenAllRefuseEveryReasonIsGiven() {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, "no library");
    assertEquals(
        "no backend can run bundle: gpu (no device); cpu (no library)",
        assertThrows(EngineException.class, () -> open("auto", gpu, cpu)).getMessage());
  }

  @Test
  void autoGoesOnWhereABackendCannotOpenTheModelAndANamedOneFails() throws Exception {
    Fake gpu = new Fake("gpu", 20, null);
    gpu.broken = new EngineException("the plan is corrupt");
    Fake cpu = new Fake("cpu", 10, null);
    assertSame(cpu.engine, open("auto", gpu, cpu));
    assertSame(gpu.broken, assertThrows(EngineException.class, () -> open("gpu", gpu, cpu)));
  }

  @Test
  void whereTheOnlyOneThatDoesNotRefuseFailsItsReasonIsGiven() {
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    cpu.broken = new EngineException("no memory");
    assertSame(cpu.broken, assertThrows(EngineException.class, () -> open("auto", gpu, cpu)));
  }

  @Test
  void whereSeveralFailEveryReasonIsGiven() {
    Fake gpu = new Fake("gpu", 20, null);
    gpu.broken = new EngineException("the plan is corrupt");
    Fake cpu = new Fake("cpu", 10, null);
    cpu.broken = new EngineException("no memory");
    EngineException failed = assertThrows(EngineException.class, () -> open("auto", gpu, cpu));
    assertEquals(
        "no backend can run bundle: gpu (it could not be opened: the plan is corrupt);"
            + " cpu (it could not be opened: no memory)",
        failed.getMessage());
    assertEquals(List.of(gpu.broken, cpu.broken), List.of(failed.getSuppressed()));
  }

  private static Bundle learned() {
    return new Bundle(
        Path.of("bundle"),
        TinyAutoencoder.MODEL,
        "model.onnx",
        "F32",
        18,
        Optional.of(new DcAeSpec(TinyAutoencoder.CONFIG, Optional.empty())),
        Optional.of(
            new AutoencoderFiles(
                Optional.of("encoder.onnx"),
                "decoder.onnx",
                Optional.empty(),
                DType.F32,
                DType.F32)),
        List.of(),
        64,
        Bundle.SamplingDefaults.STANDARD,
        List.of(),
        JsonNodeFactory.instance.arrayNode(),
        JsonNodeFactory.instance.objectNode());
  }

  /** Two backends that run codecs; the first runs this model only as far as it has engines. */
  private static List<EngineProvider> engines(String noDecoder, String noEncoder) {
    Fake gpu = new Fake("gpu", 30, null);
    gpu.codecs = true;
    gpu.codecRefusal = Optional.ofNullable(noDecoder);
    gpu.encoderRefusal = Optional.ofNullable(noEncoder);
    Fake cpu = new Fake("cpu", 10, null);
    cpu.codecs = true;
    return List.of(gpu, cpu);
  }

  private static String codedBy(String backend, List<EngineProvider> providers) throws Exception {
    try (LatentCodec codec =
        Engines.openCodec(learned(), backend, EngineOptions.DEFAULT, providers, Map.of())
            .orElseThrow()) {
      codec.decode(new float[1], 1, 1);
      codec.encode(new float[1], 1, 1);
    }
    return providers.stream().map(p -> p.name() + ((Fake) p).calls).toList().toString();
  }

  @Test
  void aCodecIsChosenByItsOwnEnginesAndNotByTheModels() throws Exception {
    assertEquals("[gpu[decode, encode, close], cpu[]]", codedBy("auto", engines(null, null)));
    assertEquals(
        "[gpu[], cpu[decode, encode, close]]", codedBy("auto", engines("no decoder", "none")));
    List<EngineProvider> without = engines("no decoder", "none");
    String message =
        assertThrows(EngineException.class, () -> codedBy("gpu", without)).getMessage();
    assertEquals("backend gpu cannot run bundle: no decoder", message);
  }

  @Test
  void aCodecOfABackendThatRunsNoneIsOpenedOnThePreferredThatDoes() throws Exception {
    Fake none = new Fake("none", 40, null);
    List<EngineProvider> able = new ArrayList<>(engines(null, null));
    able.add(0, none);
    assertEquals("[none[], gpu[decode, encode, close], cpu[]]", codedBy("none", able));
    List<EngineProvider> named = new ArrayList<>(engines(null, null));
    named.add(0, none);
    assertEquals("[none[], gpu[], cpu[decode, encode, close]]", codedBy("cpu", named));
    List<EngineProvider> lost = new ArrayList<>(engines("no device", "no device"));
    lost.add(0, none);
    assertEquals("[none[], gpu[], cpu[decode, encode, close]]", codedBy("none", lost));
  }

  @Test
  void autoDecodesElsewhereWhereTheCodecCannotBeOpened() throws Exception {
    List<EngineProvider> all = engines(null, null);
    ((Fake) all.get(0)).brokenCodec = new EngineException("the plan is corrupt");
    assertEquals("[gpu[], cpu[decode, encode, close]]", codedBy("auto", all));
    assertThrows(EngineException.class, () -> codedBy("gpu", all));
  }

  @Test
  void autoEncodesElsewhereWhereThePreferredOnlyDecodesAndANamedBackendDoesNot() throws Exception {
    assertEquals(
        "[gpu[decode, close], cpu[encode, close]]", codedBy("auto", engines(null, "no encoder")));
    assertEquals("[gpu[decode, encode, close], cpu[]]", codedBy("gpu", engines(null, "none")));
  }

  @Test
  void aQuestionThatFailsLeavesNoCodecOpen() {
    for (int failing = 0; failing < 2; failing++) {
      List<EngineProvider> providers = engines(null, "no encoder");
      ((Fake) providers.get(failing)).encoderFailure = new IllegalStateException("lost device");
      assertThrows(IllegalStateException.class, () -> codedBy("auto", providers));
      assertEquals(List.of("close"), ((Fake) providers.get(0)).calls);
      assertEquals(List.of(), ((Fake) providers.get(1)).calls);
    }
  }

  /** What the choice of a model and then of its codec logs. */
  private static List<String> logged(List<EngineProvider> providers) throws Exception {
    Logger logger = (Logger) LoggerFactory.getLogger(Engines.class);
    ListAppender<ILoggingEvent> lines = new ListAppender<>();
    lines.start();
    Level level = logger.getLevel();
    logger.setLevel(Level.INFO);
    logger.addAppender(lines);
    try {
      EngineOptions options = EngineOptions.DEFAULT;
      Engines.OpenedModel model = Engines.openModel(learned(), "auto", options, providers);
      Engines.openCodec(learned(), "auto", options, providers, model.passedOver());
    } finally {
      logger.detachAppender(lines);
      logger.setLevel(level);
    }
    return lines.list.stream().map(ILoggingEvent::getFormattedMessage).toList();
  }

  @Test
  void autoLogsALineForEachBackendPassedOverAndNoReasonTwice() throws Exception {
    Fake trt = new Fake("trt", 30, "no engine");
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    List<EngineProvider> all = List.of(trt, gpu, cpu);
    for (EngineProvider each : all) {
      ((Fake) each).codecs = true;
    }
    List<String> model =
        List.of(
            "trt passed over: no engine",
            "gpu passed over: no device",
            "backend idle (auto): does nothing");
    List<String> expected = new ArrayList<>(model);
    expected.add("autoencoder: backend cpu (auto)");
    assertEquals(expected, logged(all));
    trt.codecRefusal = Optional.of("no decoder");
    expected.add(model.size(), "autoencoder: trt passed over: no decoder");
    assertEquals(expected, logged(all));
    assertEquals(List.of(2, 2, 2), all.stream().map(each -> ((Fake) each).asked).toList());
  }

  @Test
  void aBackendThatFailedIsLoggedLikeThoseThatRefuse() throws Exception {
    Fake gpu = new Fake("gpu", 20, null);
    gpu.broken = new EngineException("the plan is corrupt");
    Fake cpu = new Fake("cpu", 10, null);
    gpu.codecs = true;
    cpu.codecs = true;
    assertEquals(
        List.of(
            "gpu passed over: it could not be opened: the plan is corrupt",
            "backend idle (auto): does nothing",
            "autoencoder: backend gpu (auto)"),
        logged(List.of(gpu, cpu)));
  }

  @Test
  void autoLogsWhyABackendRunsNoCodecThatWasNotAskedForTheModel() throws Exception {
    Fake trt = new Fake("trt", 30, null);
    Fake gpu = new Fake("gpu", 20, "no device");
    Fake cpu = new Fake("cpu", 10, null);
    trt.codecRefusal = Optional.of("no decoder");
    for (Fake each : List.of(trt, gpu, cpu)) {
      each.codecs = true;
    }
    assertEquals(
        List.of(
            "backend idle (auto): does nothing",
            "autoencoder: trt passed over: no decoder",
            "autoencoder: gpu passed over: no device",
            "autoencoder: backend cpu (auto)"),
        logged(List.of(trt, gpu, cpu)));
  }

  private static final class Fake implements EngineProvider {
    private final String name;
    private final int preference;
    private final String refusal;
    private final VelocityEngine engine = new Idle();
    private final List<String> calls = new ArrayList<>();
    private int asked; // whether it can run the model
    private boolean codecs;
    private EngineException broken; // how opening fails, if it does
    private EngineException brokenCodec;
    private Optional<String> codecRefusal = Optional.empty();
    private Optional<String> encoderRefusal = Optional.empty();
    private RuntimeException encoderFailure;

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
    public boolean runsOnGpu() {
      return false;
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
      asked++;
      return Optional.ofNullable(refusal);
    }

    @Override
    public Optional<String> codecRefusal(Bundle bundle, EngineOptions options) {
      return codecRefusal.or(() -> Optional.ofNullable(refusal));
    }

    @Override
    public Optional<String> encoderRefusal(Bundle bundle, EngineOptions options) {
      if (encoderFailure != null) {
        throw encoderFailure;
      }
      return encoderRefusal;
    }

    @Override
    public LatentCodec openCodec(Bundle bundle, EngineOptions options) throws EngineException {
      if (brokenCodec != null) {
        throw brokenCodec;
      }
      return new LatentCodec() {
        @Override
        public CodecSpec spec() {
          return bundle.codec().orElseThrow();
        }

        @Override
        public float[] encode(float[] rgb, int height, int width) {
          calls.add("encode");
          return rgb;
        }

        @Override
        public float[] decode(float[] latent, int latentH, int latentW) {
          calls.add("decode");
          return latent;
        }

        @Override
        public void close() {
          calls.add("close");
        }
      };
    }

    @Override
    public VelocityEngine open(Bundle bundle, EngineOptions options) throws EngineException {
      if (broken != null) {
        throw broken;
      }
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
