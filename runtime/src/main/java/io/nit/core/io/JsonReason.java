package io.nit.core.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.util.regex.Pattern;

/** What is wrong with a JSON text, as a user reads it. */
public final class JsonReason {
  /** Jackson's place of a text that it does not show. */
  private static final Pattern PLACE = Pattern.compile(" \\(start marker at \\[Source[^]]*]\\)");

  private JsonReason() {}

  /** The parser's words without the place in the text. */
  public static String of(JsonProcessingException e) {
    return PLACE.matcher(e.getOriginalMessage()).replaceAll("");
  }
}
