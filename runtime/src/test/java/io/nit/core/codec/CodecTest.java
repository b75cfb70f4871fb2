package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CodecTest {
  @Test
  void picturesRoundTripExactlyWithoutScale() {
    for (int factor : new int[] {1, 2, 4}) {
      float[] rgb = ramp(3 * 8 * 12);
      SpaceToDepthCodec codec = new SpaceToDepthCodec(factor);
      float[] latent = codec.encode(rgb, 8, 12);
      assertArrayEquals(rgb, codec.decode(latent, 8 / factor, 12 / factor));
    }
  }

  @Test
  void scaleAndShiftAreUndone() {
    SpaceToDepthCodec codec = new SpaceToDepthCodec(4, 1.9f, -0.08f);
    float[] rgb = ramp(3 * 8 * 4);
    float[] latent = codec.encode(rgb, 8, 4);
    assertEquals((rgb[0] + 0.08f) * 1.9f, latent[0], 1e-6f);
    assertTrue(Errors.relative(codec.decode(latent, 2, 1), rgb) < 1e-6);
  }

  @Test
  void channelsLieAsInTorchsPixelUnshuffle() {
    int height = 4;
    int width = 6;
    float[] rgb = ramp(3 * height * width);
    float[] latent = new SpaceToDepthCodec(2).encode(rgb, height, width);
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          int channel = c * 4 + y % 2 * 2 + x % 2;
          assertEquals(
              rgb[(c * height + y) * width + x], latent[(channel * 2 + y / 2) * 3 + x / 2]);
        }
      }
    }
    assertEquals(12, new SpaceToDepthCodec(2).channels());
  }

  @Test
  void sidesMustBeMultiplesOfTheFactor() {
    SpaceToDepthCodec codec = new SpaceToDepthCodec(4);
    assertEquals(
        "image size: expected multiples of 4, found 8x6",
        assertThrows(IllegalArgumentException.class, () -> codec.encode(new float[3 * 6 * 8], 6, 8))
            .getMessage());
    assertThrows(IllegalArgumentException.class, () -> codec.encode(new float[0], 0, 0));
    assertThrows(IllegalArgumentException.class, () -> codec.encode(new float[5], 4, 4));
    assertThrows(IllegalArgumentException.class, () -> codec.decode(new float[5], 1, 1));
  }

  @Test
  void theManifestEntryMakesTheSameCodec() {
    SpaceToDepthCodec codec = new SpaceToDepthCodec(4, 1.9f, -0.08f);
    assertEquals(codec, Codecs.of(codec.toNode(), "bundle.json"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{} | codec.type: expected space-to-depth or dc-ae, found nothing",
        "{\"type\": \"vae\", \"factor\": 4} | codec.type: expected space-to-depth or dc-ae, found vae",
        "{\"type\": \"dc-ae\"} | codec.config: expected a JSON object, found null",
        "{\"type\": \"dc-ae\", \"config\": {}} | codec.config: in_channels: expected an integer",
        "{\"type\": \"space-to-depth\"} | codec.factor: expected an integer",
        "{\"type\": \"space-to-depth\", \"factor\": \"4\"} | codec.factor: expected an integer",
        "{\"type\": \"space-to-depth\", \"factor\": 0} | codec factor: expected 1..64, found 0",
        "{\"type\": \"space-to-depth\", \"factor\": 65} | codec factor: expected 1..64, found 65",
        "{\"type\": \"space-to-depth\", \"factor\": 4, \"scale\": 0} | codec scale and shift",
        "{\"type\": \"space-to-depth\", \"factor\": 4, \"scale\": \"x\"} | codec.scale: expected a number, found \"x\"",
        "{\"type\": \"space-to-depth\", \"factor\": 4, \"shift\": 1e99} | codec scale and shift",
      })
  void badEntriesAreRefusedWithTheirFile(String json, String message)
      throws JsonProcessingException {
    JsonNode node = new ObjectMapper().readTree(json);
    String found =
        assertThrows(IllegalArgumentException.class, () -> Codecs.of(node, "b.json")).getMessage();
    assertTrue(found.startsWith("b.json: ") && found.contains(message), found);
  }

  @Test
  void learnedCodecsAreReadAsTheyAreWritten() {
    DcAeSpec spec = new DcAeSpec(GeneratedDcAe.small(), Optional.of("ab".repeat(32)));
    assertEquals(spec, Codecs.of(spec.toNode(), "bundle.json"));
    assertEquals(8, spec.factor());
    assertEquals(8, spec.channels());
    assertTrue(spec.plain().isEmpty());
    ObjectNode torn = spec.toNode().put("weights_sha256", "123");
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> Codecs.of(torn, "b.json"))
            .getMessage()
            .contains("codec.weights_sha256: expected 64 hexadecimal digits"));
  }

  @Test
  void unpatchifyUndoesPatchify() {
    for (int patch : new int[] {1, 2, 3}) {
      float[] latent = ramp(5 * (2 * patch) * (3 * patch));
      double[] tokens = Errors.widen(Tokens.patchify(latent, 5, 2, 3, patch));
      double[] pack = new double[7 + tokens.length];
      System.arraycopy(tokens, 0, pack, 7, tokens.length);
      assertArrayEquals(latent, Tokens.unpatchify(pack, 7, 5, 2, 3, patch));
    }
  }

  @Test
  void tokensAreRowMajorAndTheirValuesChannelsFirst() {
    // Two channels of 4x6 pixels in patches of 2: pixel (c, y, x) holds 100·c + 10·y + x.
    float[] latent = new float[2 * 4 * 6];
    for (int at = 0; at < latent.length; at++) {
      latent[at] = 100 * (at / 24) + 10 * (at % 24 / 6) + at % 6;
    }
    float[] tokens = Tokens.patchify(latent, 2, 2, 3, 2);
    assertArrayEquals(
        new float[] {24, 25, 34, 35, 124, 125, 134, 135}, // token 5: row 1, column 2
        Arrays.copyOfRange(tokens, 5 * 8, 6 * 8));
  }

  private static float[] ramp(int length) {
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = (float) Math.sin(0.7 * i);
    }
    return values;
  }
}
