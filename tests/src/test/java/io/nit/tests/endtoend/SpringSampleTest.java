package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.samples.spring.NitServer;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.boot.logging.LoggingSystem;
import org.springframework.context.ConfigurableApplicationContext;

class SpringSampleTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir static Path folder;
  private static final HttpClient CLIENT = HttpClient.newHttpClient();
  private static Path bundle;
  private static ConfigurableApplicationContext server;

  @BeforeAll
  static void start() throws Exception {
    // The other tests of this JVM keep their logging.
    System.setProperty(LoggingSystem.SYSTEM_PROPERTY, LoggingSystem.NONE);
    bundle = Bundles.pictures(folder, 1);
    server = server("--nit.max-pending=8");
  }

  @AfterAll
  static void stop() {
    if (server != null) {
      server.close();
    }
    System.clearProperty(LoggingSystem.SYSTEM_PROPERTY);
  }

  @Test
  void aPictureHasTheSizeAskedForAndTheSameBytesForTheSameSeed() throws Exception {
    String wish =
        "{\"label\": \"dog\", \"width\": 24, \"height\": 36, \"steps\": 3,"
            + " \"guidanceScale\": 1.5, \"seed\": 7}";
    HttpResponse<byte[]> first = post(server, wish);
    assertEquals(200, first.statusCode(), () -> text(first));
    assertEquals("image/png", first.headers().firstValue("Content-Type").orElseThrow());
    BufferedImage image = ImageIO.read(new ByteArrayInputStream(first.body()));
    assertEquals(24, image.getWidth());
    assertEquals(36, image.getHeight());

    List<CompletableFuture<HttpResponse<byte[]>>> together = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      together.add(CLIENT.sendAsync(request(server, wish), BodyHandlers.ofByteArray()));
    }
    for (CompletableFuture<HttpResponse<byte[]>> other : together) {
      assertArrayEquals(first.body(), other.get(60, TimeUnit.SECONDS).body());
    }
  }

  @Test
  void aRequestWithoutSeedDrawsOne() throws Exception {
    String wish = "{\"label\": 0, \"width\": 16, \"height\": 16, \"steps\": 2}";
    assertNotEquals(text(post(server, wish)), text(post(server, wish)));
  }

  @Test
  void whatDoesNotFitIsAnsweredWithExpectedAndFound() throws Exception {
    assertRefused(
        "size: expected multiples of 4, found 26x24",
        "{\"label\": 1, \"width\": 26, \"height\": 24}");
    assertRefused(
        "label: expected 0..3 or a name: cat, dog, fish, the, zebra; found 'cow'",
        "{\"label\": \"cow\", \"width\": 24, \"height\": 24}");
    assertRefused(
        "width, height: expected pixels, found 24, null", "{\"label\": 1, \"width\": 24}");
    assertRefused(
        "label: expected a class by number or name, found none", "{\"width\": 24, \"height\": 24}");
    assertRefused(
        "steps: expected at most 250, found 251",
        "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 251}");
    assertRefused("seed: expected a whole number, found \"abc\"", "{\"seed\": \"abc\"}");
    assertRefused("width: expected a whole number, found \"24\"", "{\"width\": \"24\"}");
    assertRefused("width: expected a whole number, found 24.5", "{\"width\": 24.5}");
    assertRefused(
        "height: expected a whole number, found {\"px\":24}", "{\"height\": {\"px\": 24}}");
    assertRefused("steps: expected a whole number, found [1]", "{\"steps\": [1]}");
    assertRefused("guidanceScale: expected a number, found true", "{\"guidanceScale\": true}");
    assertRefused(
        "label: expected a class by number or name, found [\"cat\"]", "{\"label\": [\"cat\"]}");
    assertRefused("expected a JSON object, found: [1]", "[1]");
    assertRefused("expected a JSON object, found: null", "null");
    assertRefused("expected a JSON object, found: 'NaN', which JSON has not", "{\"width\": NaN}");
    assertRefused(
        "colour: expected one of guidanceScale, height, label, seed, steps, width",
        "{\"colour\": 1}");
    assertRefused(
        "width: expected a whole number of 0..2147483647, found 99999999999",
        "{\"width\": 99999999999}");
    assertRefused(
        "seed: expected a whole number of -9223372036854775808..9223372036854775807, found"
            + " 99999999999999999999",
        "{\"seed\": 99999999999999999999}");
    assertRefused(
        "expected a JSON object, found: the key 'width' twice", "{\"width\": 24, \"width\": 32}");
    assertRefused(
        "expected a JSON object, found: Unrecognized token 'more'",
        "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 1} more");
    assertRefused("expected a JSON object, found: more after its end", "{} {}");
    assertRefused("expected a JSON object, found: Unexpected end-of-input: ", "{");
    assertRefused("expected a JSON object, found: none", "");
    assertEquals(
        200,
        post(server, "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 1, \"seed\": null}")
            .statusCode(),
        "null is the default");
  }

  @Test
  void theModelTellsWhatToAskFor() throws Exception {
    HttpRequest request = HttpRequest.newBuilder(address(server).resolve("/v1/model")).build();
    JsonNode model = JSON.readTree(CLIENT.send(request, BodyHandlers.ofString()).body());
    assertEquals("pictures-1", model.get("bundle").textValue());
    assertEquals("ort-cpu", model.get("backend").textValue());
    assertEquals(4, model.get("classes").intValue());
    assertEquals("zebra", model.get("labels").get(3).textValue());
    assertEquals(4, model.get("sizeMultiple").intValue());
  }

  @Test
  void tooManyAreTurnedAwayTheSlowAreGivenUpAndClosingClosesThePipeline() throws Exception {
    NitPipeline pipeline;
    ImageRequest request;
    CompletableFuture<HttpResponse<byte[]>> underWay;
    try (ConfigurableApplicationContext small =
        server("--nit.max-pending=1", "--nit.max-steps=100000", "--nit.timeout=2s")) {
      pipeline = small.getBean(NitPipeline.class);
      request = pipeline.request().label(0).size(24, 24).build();
      String endless =
          "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 100000, \"seed\": 1}";
      CompletableFuture<HttpResponse<byte[]>> slow =
          CLIENT.sendAsync(request(small, endless), BodyHandlers.ofByteArray());
      awaitForward(pipeline, 0);
      assertUnavailable("at most 1 pending", post(small, endless));
      assertUnavailable("not done within PT2S", slow.get(60, TimeUnit.SECONDS));
      String quick = "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 1}";
      assertEquals(200, post(small, quick).statusCode(), "after the slow one was given up");

      long before = pipeline.stats().forwards();
      String last = quick.replace("\"steps\": 1", "\"steps\": 100");
      underWay = CLIENT.sendAsync(request(small, last), BodyHandlers.ofByteArray());
      awaitForward(pipeline, before);
    }
    assertEquals(200, underWay.get(60, TimeUnit.SECONDS).statusCode(), "a stop finishes it first");
    assertThrows(IllegalStateException.class, () -> pipeline.submit(request));
  }

  @Test
  void aStartWithoutBundleNamesTheSetting() {
    Throwable cause = assertThrows(Exception.class, () -> NitServer.start("--server.port=0"));
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    assertTrue(cause.getMessage().startsWith("nit.bundle: expected the folder"), cause.toString());
  }

  /** In a JVM of its own, where ONNX Runtime's shutdown hook could end it in mid-forward. */
  @ParameterizedTest
  @ValueSource(strings = {"TERM", "INT"})
  void aSignalFinishesWhatIsUnderWayAndIsTheServersNormalEnd(String signal) throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = free.getLocalPort();
    }
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            NitServer.class.getName(),
            "--server.port=" + port,
            "--nit.bundle=" + bundle,
            "--nit.threads=1",
            "--nit.max-steps=100000");
    builder.environment().put("CLASSPATH", classPath());
    Path log = folder.resolve("server.log");
    Process process = builder.redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      URI address = URI.create("http://127.0.0.1:" + port);
      awaitAnswer(process, address.resolve("/v1/model"), log);
      String wish = "{\"label\": 1, \"width\": 24, \"height\": 24, \"steps\": 5000}";
      CompletableFuture<HttpResponse<byte[]>> underWay =
          CLIENT.sendAsync(request(address, wish), BodyHandlers.ofByteArray());
      Thread.sleep(2000); // it has arrived by then
      new ProcessBuilder("kill", "-" + signal, "" + process.pid()).start().waitFor();
      assertEquals(200, underWay.get(60, TimeUnit.SECONDS).statusCode());
      assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running after the stop");
      assertEquals(0, process.exitValue(), () -> read(log));
    } finally {
      process.destroyForcibly();
    }
  }

  private static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }

  private static void awaitAnswer(Process process, URI uri, Path log) throws Exception {
    HttpRequest probe = HttpRequest.newBuilder(uri).build();
    for (int i = 0; i < 600; i++) {
      try {
        assertEquals(200, CLIENT.send(probe, BodyHandlers.discarding()).statusCode());
        return;
      } catch (ConnectException e) {
        assertTrue(process.isAlive(), () -> read(log));
        Thread.sleep(100);
      }
    }
    fail("no answer within a minute: " + read(log));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void awaitForward(NitPipeline pipeline, long before) throws Exception {
    for (int i = 0; pipeline.stats().forwards() == before; i++) {
      assertTrue(i < 1000, "the request did not start");
      Thread.sleep(10);
    }
  }

  private static ConfigurableApplicationContext server(String... settings) {
    List<String> all = new ArrayList<>(List.of(settings));
    all.addAll(List.of("--server.port=0", "--nit.threads=1", "--nit.backend=ort-cpu"));
    all.add("--nit.bundle=" + bundle);
    return NitServer.start(all.toArray(String[]::new));
  }

  private static URI address(ConfigurableApplicationContext server) {
    String port = server.getEnvironment().getRequiredProperty("local.server.port");
    return URI.create("http://127.0.0.1:" + port);
  }

  private static HttpRequest request(ConfigurableApplicationContext server, String json) {
    return request(address(server), json);
  }

  private static HttpRequest request(URI address, String json) {
    return HttpRequest.newBuilder(address.resolve("/v1/images"))
        .header("Content-Type", "application/json")
        .header("Accept", "image/png")
        .POST(HttpRequest.BodyPublishers.ofString(json))
        .build();
  }

  private static HttpResponse<byte[]> post(ConfigurableApplicationContext server, String json)
      throws Exception {
    return CLIENT.send(request(server, json), BodyHandlers.ofByteArray());
  }

  private static String text(HttpResponse<byte[]> response) {
    return new String(response.body(), StandardCharsets.ISO_8859_1);
  }

  private static void assertRefused(String message, String json) throws Exception {
    assertProblem(400, message, post(server, json));
  }

  private static void assertUnavailable(String message, HttpResponse<byte[]> response)
      throws Exception {
    assertProblem(503, message, response);
    assertEquals("5", response.headers().firstValue("Retry-After").orElseThrow());
  }

  private static void assertProblem(int status, String message, HttpResponse<byte[]> response)
      throws Exception {
    assertEquals(status, response.statusCode(), () -> text(response));
    assertEquals(
        "application/problem+json", response.headers().firstValue("Content-Type").orElseThrow());
    String detail = JSON.readTree(response.body()).get("detail").textValue();
    assertFalse(detail.matches("(?s).*(java|jackson|Integer|Long|Double|Feature|Node).*"), detail);
    assertTrue(detail.contains(message), detail);
  }
}
