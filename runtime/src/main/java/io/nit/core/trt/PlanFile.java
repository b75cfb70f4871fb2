package io.nit.core.trt;

import io.nit.core.io.AtomicFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A file of one or more TensorRT plans, one behind the other. A file of one plan is that plan as
 * TensorRT wrote it. Behind several stands a trailer, little-endian:
 *
 * <pre>
 * int64[n]  bytes of each plan
 * int32     n
 * char[4]   "NiTP"
 * </pre>
 *
 * @param file the file
 * @param parts where each plan stands, in order
 */
public record PlanFile(Path file, List<Part> parts) {
  private static final byte[] MAGIC = "NiTP".getBytes(StandardCharsets.US_ASCII);
  private static final int END = Integer.BYTES + MAGIC.length;
  private static final int MOST_PARTS = 16;

  /**
   * Where a plan stands in the file.
   *
   * @param offset of its first byte
   * @param bytes its length
   */
  public record Part(long offset, long bytes) {}

  /** Copies the list. */
  public PlanFile {
    parts = List.copyOf(parts);
  }

  /**
   * Reads where the plans stand; the plans themselves are not read.
   *
   * @throws NoSuchFileException if there is no such file
   * @throws IOException if it cannot be read, or its trailer does not fit its size
   */
  public static PlanFile read(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "no such plan");
    }
    try (FileChannel in = FileChannel.open(file)) {
      long size = in.size();
      if (size < END) {
        return new PlanFile(file, List.of(new Part(0, size)));
      }
      ByteBuffer end = bytes(file, in, size - END, END);
      int count = end.getInt();
      byte[] magic = new byte[MAGIC.length];
      end.get(magic);
      if (!Arrays.equals(magic, MAGIC)) {
        return new PlanFile(file, List.of(new Part(0, size)));
      }
      long trailer = END + (long) count * Long.BYTES;
      if (count < 1 || count > MOST_PARTS) {
        throw new IOException(
            file + ": expected 1 to " + MOST_PARTS + " plans in it, found " + count);
      }
      if (trailer > size) {
        throw new IOException(
            file
                + ": expected "
                + trailer
                + " bytes or more, as "
                + count
                + " plans have, found "
                + size);
      }
      ByteBuffer lengths = bytes(file, in, size - trailer, count * Long.BYTES);
      List<Part> parts = new ArrayList<>();
      long at = 0;
      for (int i = 0; i < count; i++) {
        long bytes = lengths.getLong();
        if (bytes < 1 || bytes > size - trailer - at) {
          throw new IOException(
              file
                  + ": plan "
                  + i
                  + ": expected 1 to "
                  + (size - trailer - at)
                  + " bytes, found "
                  + bytes);
        }
        parts.add(new Part(at, bytes));
        at += bytes;
      }
      if (at != size - trailer) {
        throw new IOException(
            file + ": expected plans of " + (size - trailer) + " bytes, found " + at);
      }
      return new PlanFile(file, parts);
    }
  }

  private static ByteBuffer bytes(Path file, FileChannel in, long offset, int count)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (in.read(buffer, offset + buffer.position()) < 0) {
        throw new IOException(file + ": it became shorter while it was read");
      }
    }
    return buffer.flip();
  }

  /**
   * Joins plans that lie in files of their own.
   *
   * @param plans the plans, in order; they stay
   * @param target the file to make or replace
   * @throws IOException if a file cannot be read or written; {@code target} is then as it was
   */
  public static PlanFile join(List<Path> plans, Path target) throws IOException {
    AtomicFile.write(target, temporary -> write(plans, temporary));
    return read(target);
  }

  private static void write(List<Path> plans, Path target) throws IOException {
    ByteBuffer trailer =
        ByteBuffer.allocate(plans.size() * Long.BYTES + END).order(ByteOrder.LITTLE_ENDIAN);
    try (FileChannel out =
        FileChannel.open(target, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      for (Path plan : plans) {
        try (FileChannel in = FileChannel.open(plan)) {
          long bytes = in.size();
          for (long at = 0; at < bytes; ) {
            at += in.transferTo(at, bytes - at, out);
          }
          trailer.putLong(bytes);
        }
      }
      if (plans.size() > 1) {
        trailer.putInt(plans.size()).put(MAGIC).flip();
        while (trailer.hasRemaining()) {
          out.write(trailer);
        }
      }
      out.force(true);
    }
  }
}
