package io.nit.trainer.data;

import java.util.Locale;
import javax.imageio.ImageReader;
import javax.imageio.event.IIOReadWarningListener;

/**
 * Takes note when a decoder filled in pixels for bytes that were missing: JPEG decoders only warn
 * and paint the rest grey.
 */
final class TruncationListener implements IIOReadWarningListener {
  private String message;

  @Override
  public void warningOccurred(ImageReader source, String warning) {
    String lower = warning.toLowerCase(Locale.ROOT);
    if (lower.contains("premature end") || lower.contains("truncated")) {
      message = warning;
    }
  }

  /** The decoder's words, or null if the file was whole. */
  String message() {
    return message;
  }
}
