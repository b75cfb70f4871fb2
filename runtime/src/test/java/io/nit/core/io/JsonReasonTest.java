package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonReasonTest {
  private static final ObjectMapper STRICT =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static String reason(String json) {
    return JsonReason.of(assertThrows(JsonProcessingException.class, () -> STRICT.readTree(json)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{", "{\"a\": 1", "{\"a\": {\"b\": 1}"})
  void aTextThatEndsEarlyIsToldWithoutTheParsersPlaces(String json) {
    assertEquals("Unexpected end-of-input: expected close marker for Object", reason(json));
  }

  @Test
  void theParsersClassesAndSettingsAreNotNamed() {
    assertEquals("'NaN', which JSON has not", reason("{\"a\": NaN}"));
    assertEquals("more after its end", reason("{} {}"));
    assertEquals("the key 'a' twice", reason("{\"a\": 1, \"a\": 2}"));
  }

  @Test
  void aLongValueIsCutOff() {
    ObjectMapper json = new ObjectMapper();
    assertEquals("[1]", JsonReason.found(json.createArrayNode().add(1)));
    String found = JsonReason.found(json.getNodeFactory().textNode("x".repeat(1000)));
    assertEquals("\"" + "x".repeat(79) + " ...", found);
  }

  @Test
  void otherReasonsStay() {
    assertEquals(
        "Unexpected character (']' (code 93)): expected a valid value (JSON String, Number, Array,"
            + " Object or token 'null', 'true' or 'false')",
        reason("{\"a\": ]"));
  }
}
