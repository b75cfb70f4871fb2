package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the launchers do before java starts: here java is a script that tells its locale. */
class LauncherTest {
  private static final Path ENVIRONMENT = Path.of("../scripts/lib/environment").toAbsolutePath();

  @TempDir Path folder;

  private String home;
  private String java;

  @BeforeEach
  void makeJava() throws IOException {
    Path jdk = Files.createDirectories(folder.resolve("jdk/bin")).getParent().toRealPath();
    Path script = Files.writeString(jdk.resolve("bin/java"), "#!/bin/sh\necho \"$LC_ALL\"\n");
    Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
    home = jdk.toString();
    java = script.toString();
  }

  private String start(int code, Map<String, String> locale) throws Exception {
    String line = "set -euo pipefail; . '" + ENVIRONMENT + "'; start classes Main";
    ProcessBuilder builder = new ProcessBuilder("bash", "-c", line).redirectErrorStream(true);
    builder.environment().keySet().removeIf(key -> key.startsWith("LC_") || key.equals("LANG"));
    builder.environment().putAll(locale);
    builder.environment().put("JAVA_HOME", home);
    Process process = builder.start();
    String told = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(code, process.waitFor(), told);
    return told.strip();
  }

  @Test
  void withoutALocaleWordsAndPathsAreUtf8() throws Exception {
    assertEquals("C.UTF-8", start(0, Map.of()));
    assertEquals("C.UTF-8", start(0, Map.of("LANG", "C")));
    assertEquals("C.UTF-8", start(0, Map.of("LANG", "de_DE.UTF-8", "LC_ALL", "POSIX")));
    assertEquals("", start(0, Map.of("LANG", "C.UTF-8")));
  }

  @Test
  void anOlderJavaIsToldByItsVersionAndPlace() throws Exception {
    Path release = Path.of(home, "release");
    Files.writeString(release, "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"11.0.25\"\n");
    assertEquals(
        "error: expected java 17 or newer, found 11 in " + java + "; install one, or set JAVA_HOME",
        start(1, Map.of()));
    Files.writeString(release, "JAVA_VERSION=\"1.8.0_422\"\n");
    start(1, Map.of());
    Files.writeString(release, "JAVA_VERSION=\"17.0.15\"\n");
    start(0, Map.of());
    Files.writeString(release, "JAVA_VERSION=\"25-ea\"\n");
    start(0, Map.of());
  }
}
