package io.nit.core.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What is wrong with a JSON text, as a user reads it. */
public final class JsonReason {
  /** Characters of a value that a message shows; a request may hold megabytes. */
  private static final int SHOWN = 80;

  /** The parser's words that speak of its classes and settings, and ours for them. */
  private static final Map<Pattern, String> WORDS = new LinkedHashMap<>();

  static {
    // The place of a text that it does not show.
    WORDS.put(Pattern.compile(" \\(start marker at \\[Source[^]]*]\\)"), "");
    WORDS.put(Pattern.compile("(?s)Duplicate field '(.*?)'.*"), "the key '$1' twice");
    WORDS.put(Pattern.compile("(?s)Trailing token .*"), "more after its end");
    WORDS.put(Pattern.compile("(?s)Non-standard token '(.*?)'.*"), "'$1', which JSON has not");
  }

  private JsonReason() {}

  /** The parser's words without the place in the text, and without its classes and settings. */
  public static String of(JsonProcessingException e) {
    String reason = e.getOriginalMessage();
    for (Map.Entry<Pattern, String> words : WORDS.entrySet()) {
      Matcher matcher = words.getKey().matcher(reason);
      reason = matcher.replaceAll(words.getValue());
    }
    return reason;
  }

  /** A value that does not fit as JSON has it, cut off where it is long. */
  public static String found(JsonNode value) {
    String text = value.toString();
    return text.length() <= SHOWN ? text : text.substring(0, SHOWN) + " ...";
  }

  /**
   * What an integer should have been that does not fit.
   *
   * @param value any JSON
   * @param least the least and
   * @param most the largest number that fit
   */
  public static String expectedWhole(JsonNode value, long least, long most) {
    return value.isIntegralNumber() ? "a whole number of " + least + ".." + most : "a whole number";
  }
}
