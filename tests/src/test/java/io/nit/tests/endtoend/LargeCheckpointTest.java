package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import io.nit.testing.Memory;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A checkpoint of NiT-XL's size: 675 million parameters, 2.7 GB, as a file with a hole. */
class LargeCheckpointTest {
  @TempDir Path folder;

  @Test
  void nitXlIsReadWithoutACopyInHeap() throws IOException {
    NitConfig xl = NitConfig.xl();
    Path file = folder.resolve("xl.safetensors");
    long bytes = writeHeaderAndHole(xl, file);
    assertTrue(bytes > 2_699_000_000L);

    long before = Memory.usedHeap();
    long values = 0;
    try (TensorSource source = TensorSource.open(file)) {
      NitTensors.require(xl, source.specs(), source.where());
      HostTensor[] held = new HostTensor[source.specs().size()];
      int i = 0;
      for (String name : source.specs().keySet()) {
        held[i] = source.tensor(name);
        values += held[i].shape().elements();
        int last = held[i].bytes().limit() - 4;
        assertEquals(0f, held[i].bytes().getFloat(last)); // its last page is really there
        i++;
      }
      long heapMib = (Memory.usedHeap() - before) >> 20;
      assertTrue(heapMib < 16, "MiB of heap while every tensor is held: " + heapMib);
      assertEquals(source.specs().size(), held.length);
    }
    assertEquals(674_861_216L, values);
  }

  private static long writeHeaderAndHole(NitConfig config, Path file) throws IOException {
    StringBuilder header = new StringBuilder("{");
    long at = 0;
    for (TensorSpec spec : NitTensors.of(config, false).values()) {
      long end = at + spec.bytes();
      header
          .append(at == 0 ? "" : ",")
          .append('"')
          .append(spec.name())
          .append("\":{\"dtype\":\"F32\",\"shape\":")
          .append(spec.shape())
          .append(",\"data_offsets\":[")
          .append(at)
          .append(',')
          .append(end)
          .append("]}");
      at = end;
    }
    byte[] json = header.append('}').toString().getBytes(StandardCharsets.UTF_8);
    try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
      out.write(json);
      out.setLength(8 + json.length + at); // a hole takes no disk
    }
    return at;
  }
}
