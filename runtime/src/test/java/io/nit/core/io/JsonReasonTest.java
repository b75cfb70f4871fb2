package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonReasonTest {
  private static String reason(String json) {
    return JsonReason.of(
        assertThrows(JsonProcessingException.class, () -> new ObjectMapper().readTree(json)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{", "{\"a\": 1", "{\"a\": {\"b\": 1}"})
  void aTextThatEndsEarlyIsToldWithoutTheParsersPlaces(String json) {
    assertEquals("Unexpected end-of-input: expected close marker for Object", reason(json));
  }

  @Test
  void otherReasonsStay() {
    assertEquals(
        "Unexpected character (']' (code 93)): expected a valid value (JSON String, Number, Array,"
            + " Object or token 'null', 'true' or 'false')",
        reason("{\"a\": ]"));
  }
}
