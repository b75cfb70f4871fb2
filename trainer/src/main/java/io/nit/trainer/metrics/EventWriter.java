package io.nit.trainer.metrics;

import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Writes a TensorBoard event file: a row of TFRecords, each an {@code Event} message. A record's
 * bytes, little-endian:
 *
 * <pre>
 * 0     8 bytes  n, length of the message
 * 8     4 bytes  masked CRC32C of those 8 bytes
 * 12    n bytes  the message
 * 12+n  4 bytes  masked CRC32C of the message
 * </pre>
 *
 * <p>The mask is {@code rotateRight(crc, 15) + 0xa282ead8}. The field numbers are those of
 * TensorFlow's {@code event.proto} and {@code summary.proto}. Each record reaches the file before
 * the call returns, so that a killed run keeps what it logged.
 */
final class EventWriter implements Closeable {
  private static final int EVENT_WALL_TIME = 1;
  private static final int EVENT_STEP = 2;
  private static final int EVENT_FILE_VERSION = 3;
  private static final int EVENT_SUMMARY = 5;
  private static final int EVENT_SESSION_LOG = 7;
  private static final int SESSION_STATUS = 1;
  private static final int SESSION_START = 1;
  private static final int SUMMARY_VALUE = 1;
  private static final int VALUE_TAG = 1;
  private static final int VALUE_SIMPLE = 2;
  private static final int VALUE_IMAGE = 4;
  private static final int IMAGE_HEIGHT = 1;
  private static final int IMAGE_WIDTH = 2;
  private static final int IMAGE_COLORSPACE = 3;
  private static final int IMAGE_ENCODED = 4;
  private static final int RGB = 3;

  private final OutputStream out;

  /** Fields of a message. */
  private interface Fields {
    void writeTo(CodedOutputStream out) throws IOException;
  }

  /**
   * Starts a file.
   *
   * @param file its name must hold {@code tfevents} for TensorBoard to find it
   * @param wallTime seconds since 1970
   */
  EventWriter(Path file, double wallTime) throws IOException {
    out = Files.newOutputStream(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    try {
      record(wallTime, 0, event -> event.writeString(EVENT_FILE_VERSION, "brain.Event:2"));
    } catch (IOException e) {
      out.close();
      throw e;
    }
  }

  /** Tells TensorBoard to forget, from earlier files of the run, {@code step} and later ones. */
  void restart(double wallTime, long step) throws IOException {
    record(
        wallTime,
        step,
        event ->
            event.writeByteArray(
                EVENT_SESSION_LOG, message(log -> log.writeEnum(SESSION_STATUS, SESSION_START))));
  }

  /** Numbers of a step by tag. */
  void scalars(double wallTime, long step, Map<String, Double> values) throws IOException {
    byte[] summary =
        message(
            out -> {
              for (Map.Entry<String, Double> entry : values.entrySet()) {
                out.writeByteArray(
                    SUMMARY_VALUE,
                    message(
                        value -> {
                          value.writeString(VALUE_TAG, entry.getKey());
                          value.writeFloat(VALUE_SIMPLE, entry.getValue().floatValue());
                        }));
              }
            });
    record(wallTime, step, event -> event.writeByteArray(EVENT_SUMMARY, summary));
  }

  /** A picture of a step, as PNG bytes. */
  void image(double wallTime, long step, String tag, int height, int width, byte[] png)
      throws IOException {
    byte[] image =
        message(
            out -> {
              out.writeInt32(IMAGE_HEIGHT, height);
              out.writeInt32(IMAGE_WIDTH, width);
              out.writeInt32(IMAGE_COLORSPACE, RGB);
              out.writeByteArray(IMAGE_ENCODED, png);
            });
    byte[] value =
        message(
            out -> {
              out.writeString(VALUE_TAG, tag);
              out.writeByteArray(VALUE_IMAGE, image);
            });
    byte[] summary = message(out -> out.writeByteArray(SUMMARY_VALUE, value));
    record(wallTime, step, event -> event.writeByteArray(EVENT_SUMMARY, summary));
  }

  private void record(double wallTime, long step, Fields what) throws IOException {
    byte[] event =
        message(
            out -> {
              out.writeDouble(EVENT_WALL_TIME, wallTime);
              out.writeInt64(EVENT_STEP, step);
              what.writeTo(out);
            });
    ByteBuffer framed = ByteBuffer.allocate(16 + event.length).order(ByteOrder.LITTLE_ENDIAN);
    framed.putLong(event.length);
    framed.putInt(maskedCrc(framed.array(), 8));
    framed.put(event);
    framed.putInt(maskedCrc(event, event.length));
    out.write(framed.array());
  }

  private static byte[] message(Fields fields) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    fields.writeTo(out);
    out.flush();
    return bytes.toByteArray();
  }

  static int maskedCrc(byte[] bytes, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, 0, length);
    return Integer.rotateRight((int) crc.getValue(), 15) + 0xa282ead8;
  }

  @Override
  public void close() throws IOException {
    out.close();
  }
}
