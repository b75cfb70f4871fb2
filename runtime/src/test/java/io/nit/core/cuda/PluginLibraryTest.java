package io.nit.core.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.ResourceLock;
import org.junit.jupiter.api.parallel.Resources;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@ResourceLock(Resources.SYSTEM_PROPERTIES)
class PluginLibraryTest {
  private static final String TEXT =
      "\u007fELF....NIT_PLUGINS{version=1.2.3;cuda=13.0;architectures=sm_80,sm_86,sm_90a}\0...";

  @TempDir Path temp;

  private final String libraryPath = System.getProperty("java.library.path");

  @AfterEach
  void restore() {
    System.clearProperty(PluginLibrary.LIBRARY_PROPERTY);
    System.setProperty("java.library.path", libraryPath);
  }

  private Path file(String content) throws IOException {
    return Files.write(
        temp.resolve("libnit_plugins.so"), content.getBytes(StandardCharsets.ISO_8859_1));
  }

  @Test
  void thePropertyNamesAPrebuiltLibrary() throws IOException {
    Path file = file(TEXT);
    System.setProperty(PluginLibrary.LIBRARY_PROPERTY, file.toString());
    PluginLibrary library = PluginLibrary.find();
    assertEquals(file, library.file());
    assertEquals(PluginLibrary.Source.PROPERTY, library.source());
    assertEquals("1.2.3", library.version());
    assertEquals("13.0", library.cuda());
    assertEquals(List.of("sm_80", "sm_86", "sm_90a"), library.architectures());
    assertEquals(64, library.sha256().length());
    assertEquals(
        "libnit_plugins.so 1.2.3, CUDA 13.0, sm_80 sm_86 sm_90a, "
            + file
            + " (system property nit.plugins.library)",
        library.toString());
  }

  @Test
  void aPropertyThatNamesNothingIsNotPassedOver() throws IOException {
    Path there = file(TEXT);
    System.setProperty("java.library.path", temp.toString());
    System.setProperty(PluginLibrary.LIBRARY_PROPERTY, there + ".missing");
    FileNotFoundException e = assertThrows(FileNotFoundException.class, () -> PluginLibrary.find());
    assertEquals(
        "-Dnit.plugins.library: expected a file, found none at " + there + ".missing",
        e.getMessage());
  }

  @Test
  void theLibraryPathIsTheLastPlace() throws IOException {
    Path file = file(TEXT);
    System.setProperty("java.library.path", "/nowhere:" + temp);
    PluginLibrary library = PluginLibrary.find();
    assertEquals(file, library.file());
    assertEquals(PluginLibrary.Source.LIBRARY_PATH, library.source());
  }

  @Test
  void whatWasLookedForIsNamed() {
    System.setProperty("java.library.path", "/nowhere");
    FileNotFoundException e = assertThrows(FileNotFoundException.class, () -> PluginLibrary.find());
    assertEquals(
        "expected libnit_plugins.so, found none: -Dnit.plugins.library is not set, the class path"
            + " has no io/nit/plugins/linux-x86_64/libnit_plugins.so (jar nit-plugins-trt, built"
            + " where nvcc is), java.library.path is [/nowhere]",
        e.getMessage());
  }

  @Test
  void aFileThatIsNotOursIsRefused() throws IOException {
    Path file = file("MZ not a library");
    System.setProperty(PluginLibrary.LIBRARY_PROPERTY, file.toString());
    IOException e = assertThrows(IOException.class, () -> PluginLibrary.find());
    assertEquals(file + ": expected an ELF library, found 16 other bytes", e.getMessage());

    file("\u007fELF and somebody else's code");
    e = assertThrows(IOException.class, () -> PluginLibrary.find());
    assertEquals(
        file + ": expected NIT_PLUGINS{version=...} in it, found nothing of the kind",
        e.getMessage());
    file("");
    assertThrows(IOException.class, () -> PluginLibrary.find());
  }

  @ParameterizedTest
  @CsvSource({
    "8, 0, sm_80", "8, 6, sm_86", "8, 7, sm_86", "8, 9, sm_89", "9, 0, sm_90a", "10, 0, sm_100",
    "10, 3, sm_100", "12, 0, sm_120", "12, 1, sm_120", "7, 5,", "11, 0,", "9, 1,"
  })
  void aGpuGetsTheClosestCodeThatRunsOnIt(int major, int minor, String expected)
      throws IOException {
    Path file =
        file(
            "\u007fELF NIT_PLUGINS{version=1;cuda=13.0;architectures="
                + "sm_80,sm_86,sm_89,sm_90a,sm_100,sm_120}");
    PluginLibrary library = PluginLibrary.read(file, PluginLibrary.Source.PROPERTY);
    assertEquals(Optional.ofNullable(expected), library.architectureFor(major, minor));
    if (expected == null) {
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class, () -> library.requireArchitecture(major, minor));
      assertTrue(
          e.getMessage()
              .endsWith(
                  ": expected code for compute capability "
                      + major
                      + "."
                      + minor
                      + ", found sm_80, sm_86, sm_89, sm_90a, sm_100, sm_120; build it with mvn -pl"
                      + " plugins-trt package -Dnit.architectures="
                      + major
                      + minor),
          e.getMessage());
    } else {
      assertEquals(expected, library.requireArchitecture(major, minor));
    }
  }
}
