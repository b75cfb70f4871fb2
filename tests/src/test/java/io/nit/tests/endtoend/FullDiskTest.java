package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.exporter.cli.Export;
import io.nit.runtime.cli.Run;
import io.nit.testing.Golden;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A disk that is full while a command writes: a memory file system of 256 KiB, where the machine
 * lets the test mount one.
 */
class FullDiskTest {
  @TempDir Path work;
  private Path disk;

  @BeforeEach
  void mountSmallDisk() throws Exception {
    disk = Files.createDirectory(work.resolve("disk"));
    boolean mounted =
        Files.isExecutable(Path.of("/bin/mount"))
            && run("mount", "-t", "tmpfs", "-o", "size=256k", "nit-test", disk.toString()) == 0;
    assumeTrue(mounted, "skipped: this machine lets the test mount no small disk");
  }

  @AfterEach
  void unmount() throws Exception {
    run("umount", disk.toString());
  }

  @Test
  void forwardOnAFullDiskKeepsTheOldOutputAndSaysWhy() throws Exception {
    Path bundle = Bundles.golden(work);
    byte[] old = {1, 2, 3};
    Files.write(disk.resolve("out.safetensors"), old);
    fill();
    Path inputs = work.resolve("in.safetensors");
    try (TensorSource golden = Golden.nitTiny()) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String name : List.of("x", "t", "y", "hw_list")) {
        writer.add(golden.tensor("in." + name).renamed(name));
      }
      writer.write(inputs);
    }
    Processes.Finished failed =
        Processes.run(
            Run.class,
            work,
            "forward",
            "--bundle",
            bundle,
            "--inputs",
            inputs,
            "--output",
            disk.resolve("out.safetensors"));
    assertEquals(1, failed.code(), failed.err());
    assertTrue(failed.err().contains("No space left on device"), failed.err());
    assertTrue(failed.err().contains("out.safetensors"), failed.err());
    assertArrayEquals(old, Files.readAllBytes(disk.resolve("out.safetensors")));
    assertNothingHalfWritten();
  }

  @Test
  void anExportOntoAFullDiskLeavesNoBundle() throws Exception {
    Bundles.golden(work); // writes golden.safetensors with the weights alone
    fill();
    Processes.Finished failed =
        Processes.run(
            Export.class,
            work,
            "--checkpoint",
            work.resolve("golden.safetensors"),
            "--output",
            disk.resolve("bundle"));
    assertEquals(1, failed.code(), failed.err());
    assertTrue(
        failed
            .err()
            .contains(
                "cannot write " + disk.resolve("bundle/model.onnx") + ": No space left on device"),
        failed.err());
    assertTrue(Files.notExists(disk.resolve("bundle/bundle.json")));
    assertNothingHalfWritten();
  }

  private void fill() throws IOException {
    byte[] block = new byte[4096];
    try (var out = Files.newOutputStream(disk.resolve("filler"))) {
      while (true) {
        out.write(block);
      }
    } catch (IOException full) {
      assertTrue(full.getMessage().contains("No space left"), full.getMessage());
    }
  }

  private void assertNothingHalfWritten() throws IOException {
    try (Stream<Path> files = Files.walk(disk)) {
      assertEquals(0, files.filter(f -> f.toString().contains(".tmp-")).count());
    }
  }

  private int run(String... command) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    return process.waitFor(20, TimeUnit.SECONDS) ? process.exitValue() : -1;
  }
}
