package io.nit.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The golden numbers of DC-AE f32c32 at full width: what diffusers' implementation gives with the
 * weights, picture and latent of {@link GeneratedDcAe}.
 */
public final class DcAeGolden {
  private static final JsonNode GOLDEN = read();

  /** Heights and widths of the pictures there are numbers of. */
  public static final List<int[]> SIZES = List.of(new int[] {64, 96}, new int[] {192, 192});

  private DcAeGolden() {}

  private static JsonNode read() {
    try {
      return new ObjectMapper().readTree(Golden.file("golden/dcae/golden.json").toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * What is known of a tensor.
   *
   * @param shape its extents, batch of 1 included
   * @param mean over all values
   * @param std spread of all values
   * @param absMax largest magnitude
   * @param first the first values
   * @param last the last values
   */
  public record Facts(
      List<Integer> shape, double mean, double std, double absMax, double[] first, double[] last) {
    private static Facts of(JsonNode node) {
      List<Integer> shape = new ArrayList<>();
      node.get("shape").forEach(extent -> shape.add(extent.asInt()));
      return new Facts(
          shape,
          node.get("mean").asDouble(),
          node.get("std").asDouble(),
          node.get("absmax").asDouble(),
          doubles(node.get("first")),
          doubles(node.get("last")));
    }

    private static double[] doubles(JsonNode node) {
      double[] values = new double[node.size()];
      for (int i = 0; i < values.length; i++) {
        values[i] = node.get(i).asDouble();
      }
      return values;
    }

    /**
     * Largest difference of any known number from that of {@code values}, over the tensor's spread.
     */
    public double difference(float[] values) {
      double sum = 0;
      double squares = 0;
      double largest = 0;
      for (float value : values) {
        sum += value;
        largest = Math.max(largest, Math.abs(value));
      }
      double average = sum / values.length;
      for (float value : values) {
        squares += (value - average) * (value - average);
      }
      double worst = Math.abs(average - mean);
      worst = Math.max(worst, Math.abs(Math.sqrt(squares / values.length) - std));
      worst = Math.max(worst, Math.abs(largest - absMax));
      for (int i = 0; i < first.length; i++) {
        worst = Math.max(worst, Math.abs(values[i] - first[i]));
      }
      for (int i = 0; i < last.length; i++) {
        worst = Math.max(worst, Math.abs(values[values.length - last.length + i] - last[i]));
      }
      return Double.isNaN(sum) ? Double.POSITIVE_INFINITY : worst / std;
    }
  }

  private static JsonNode size(int height, int width) {
    return GOLDEN.get(height + "x" + width);
  }

  /** {@code input}, {@code z}, {@code latent}, {@code dec_of_z} or {@code roundtrip}. */
  public static Facts of(int height, int width, String name) {
    return Facts.of(size(height, width).get(name));
  }

  /** The outputs of modules, by the module's name in the checkpoint. */
  public static Map<String, Facts> stages(int height, int width) {
    Map<String, Facts> all = new LinkedHashMap<>();
    size(height, width)
        .get("stages")
        .properties()
        .forEach(entry -> all.put(entry.getKey(), Facts.of(entry.getValue())));
    return all;
  }

  /** The first values of tensors that the generator makes. */
  public static Map<String, double[]> weights() {
    Map<String, double[]> all = new LinkedHashMap<>();
    GOLDEN
        .get("weights_check")
        .properties()
        .forEach(entry -> all.put(entry.getKey(), Facts.doubles(entry.getValue())));
    return all;
  }
}
