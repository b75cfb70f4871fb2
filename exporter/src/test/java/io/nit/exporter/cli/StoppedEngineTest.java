package io.nit.exporter.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.testing.Signals;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Stops {@code nit-export engine} in a process of its own while TensorRT is at work. In TensorRT's
 * place are classes of the same names and a native library that crashes, as TensorRT does, when it
 * is unloaded under a build.
 */
@Timeout(180)
class StoppedEngineTest {
  private static final String LIBRARY =
      "__attribute__((destructor)) static void unloaded(void) { *(volatile int*)8 = 1; }\n";

  private static final Map<String, String> STAND_INS =
      Map.of(
          "TensorRt",
          """
          package io.nit.core.trt;

          public final class TensorRt {
            public static java.util.Optional<String> refusal(int device) {
              return java.util.Optional.empty();
            }
          }
          """,
          "Gpu",
          """
          package io.nit.core.trt;

          public final class Gpu {
            public static Gpu open(int device) {
              return new Gpu();
            }

            public String computeCapability() {
              return "9.0";
            }
          }
          """,
          "EngineBuilder",
          """
          package io.nit.exporter.trt;

          import io.nit.core.cuda.PluginLibrary;
          import io.nit.core.io.AtomicFile;
          import java.io.IOException;
          import java.nio.file.Files;
          import java.nio.file.Path;
          import java.util.Optional;
          import java.util.function.Consumer;

          public final class EngineBuilder {
            public record Built() {}

            public static Built build(
                TrtNetwork model,
                Optional<PluginLibrary> plugins,
                BuildOptions options,
                Path plan,
                Consumer<String> progress)
                throws IOException {
              System.load(System.getProperty("test.library"));
              Files.writeString(plan.resolveSibling(".half.plan"), "half a plan");
              AtomicFile.write(options.timingCache().orElseThrow(), EngineBuilder::block);
              return new Built();
            }

            private static void block(Path temporary) throws IOException {
              Files.writeString(temporary, "half a cache");
              System.err.println("building");
              if (Boolean.getBoolean("test.halt")) {
                Runtime.getRuntime().halt(3);
              }
              while (true) {
                Thread.onSpinWait();
              }
            }
          }
          """);

  @TempDir Path folder;

  private Path bundle;
  private Path classes;
  private Path library;

  @BeforeEach
  void aBundleAndTheStandIns() throws Exception {
    bundle = folder.resolve("bundle");
    TinyBundle.write(bundle);
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    assumeTrue(compiler != null, "skipped: no Java compiler here");
    classes = Files.createDirectories(folder.resolve("classes"));
    List<String> arguments = new ArrayList<>();
    arguments.addAll(List.of("-proc:none", "-cp", System.getProperty("java.class.path")));
    arguments.addAll(List.of("-d", classes.toString()));
    for (Map.Entry<String, String> source : STAND_INS.entrySet()) {
      Path file = folder.resolve(source.getKey() + ".java");
      arguments.add(Files.writeString(file, source.getValue()).toString());
    }
    assertEquals(0, compiler.run(null, null, null, arguments.toArray(String[]::new)));
    library = folder.resolve("libcrashes.so");
    Path source = Files.writeString(folder.resolve("crashes.c"), LIBRARY);
    try {
      Process cc =
          new ProcessBuilder("cc", "-shared", "-fPIC", "-o", library.toString(), source.toString())
              .inheritIO()
              .start();
      assumeTrue(cc.waitFor() == 0, "skipped: cc makes no library here");
    } catch (IOException e) {
      assumeTrue(false, "skipped: no cc here: " + e.getMessage());
    }
  }

  private Process start(String... options) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Xmx256m", "-XX:-CreateCoredumpOnCrash", "-Dtest.library=" + library));
    command.addAll(List.of(options));
    command.addAll(List.of(Export.class.getName(), "engine", bundle.toString()));
    command.addAll(List.of("--precision", "f32", "--no-verify", "--quiet"));
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    builder
        .environment()
        .put("CLASSPATH", classes + File.pathSeparator + System.getProperty("java.class.path"));
    builder.redirectOutput(folder.resolve("out").toFile());
    builder.redirectError(folder.resolve("err").toFile());
    return builder.start();
  }

  private List<String> told() throws IOException {
    return Files.readAllLines(folder.resolve("err"));
  }

  private void awaitBuild(Process process) throws Exception {
    while (!told().contains("building")) {
      assertTrue(process.isAlive(), () -> "it ended: " + lines("err"));
      Thread.sleep(20);
    }
  }

  private String lines(String file) {
    try {
      return Files.readString(folder.resolve(file));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @ParameterizedTest
  @CsvSource({"INT, 2", "TERM, 15", "HUP, 1"})
  void aSignalEndsTheBuildAndNothingIsLeft(String name, int signal) throws Exception {
    Signals.requireHeard(name);
    List<String> before = TinyBundle.names(bundle);
    Process process = start();
    try {
      awaitBuild(process);
      assertNotEquals(before, TinyBundle.names(bundle));
      new ProcessBuilder("kill", "-" + name, String.valueOf(process.pid())).start().waitFor();
      assertTrue(process.waitFor(60, TimeUnit.SECONDS), "it goes on after SIG" + name);
    } finally {
      process.destroyForcibly();
    }
    assertEquals(128 + signal, process.exitValue(), lines("err"));
    assertEquals(List.of("building", "stopped; nothing was written"), told());
    assertEquals("", lines("out"));
    assertEquals(before, TinyBundle.names(bundle));
    assertEquals(List.of(), crashReports());
  }

  /** Why the process ends by the signal: the ways out that Java has run into the library. */
  @Test
  void aHaltCrashesInTheLibrary() throws Exception {
    Process process = start("-Dtest.halt=true");
    assertTrue(process.waitFor(60, TimeUnit.SECONDS));
    assertNotEquals(3, process.exitValue());
    assertEquals(1, crashReports().size());
  }

  private List<String> crashReports() throws IOException {
    return TinyBundle.names(folder).stream().filter(name -> name.startsWith("hs_err")).toList();
  }
}
