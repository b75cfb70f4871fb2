package io.nit.core.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.JsonReason;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The shape of a NiT network, under the authors' names: what decides which tensors a checkpoint has
 * and what the forward computes. Immutable; every instance is valid.
 *
 * @param patchSize side of a token's latent patch, in latent pixels ({@code patch_size})
 * @param inChannels latent channels C ({@code in_channels})
 * @param hiddenSize token width D ({@code hidden_size})
 * @param depth number of blocks ({@code depth})
 * @param numHeads attention heads ({@code num_heads}); headDim = hiddenSize / numHeads, a multiple
 *     of 4
 * @param mlpRatio width of the MLP over the token width ({@code mlp_ratio})
 * @param classDropoutProb chance in training that a label becomes the null class ({@code
 *     class_dropout_prob}); above 0 the label table has a row for the null class
 * @param numClasses labels are 0..numClasses-1; numClasses is the null class ({@code num_classes})
 * @param encoderDepth the REPA head reads the tokens after this block, counted from 1 ({@code
 *     encoder_depth})
 * @param projectorDim width of the REPA head ({@code projector_dim})
 * @param zDim width of the features that the REPA head predicts ({@code z_dim})
 * @param qkNorm LayerNorm over headDim on q and k ({@code qk_norm})
 * @param useAdaLnLora the modulation of a block is cut in two Linears of rank {@code adaLnLoraDim}
 *     ({@code use_adaln_lora})
 * @param adaLnLoraDim that rank ({@code adaln_lora_dim}); 0 without AdaLN-LoRA
 * @param customFreqs stretching of the rotary frequencies ({@code custom_freqs})
 * @param theta base of the rotary frequencies ({@code theta})
 * @param maxPeLenH length of the first axis in tokens that frequencies are stretched for, or 0 for
 *     each image's own ({@code max_pe_len_h})
 * @param maxPeLenW the same for the second axis ({@code max_pe_len_w})
 * @param decouple each axis is stretched by its own length, not both by the longer ({@code
 *     decouple})
 * @param oriMaxPeLen length in tokens that the model was trained up to, or 0 if not known ({@code
 *     ori_max_pe_len})
 * @param positionOrder which axis position a token gets ({@code position_order}, ours)
 */
public record NitConfig(
    int patchSize,
    int inChannels,
    int hiddenSize,
    int depth,
    int numHeads,
    double mlpRatio,
    double classDropoutProb,
    int numClasses,
    int encoderDepth,
    int projectorDim,
    int zDim,
    boolean qkNorm,
    boolean useAdaLnLora,
    int adaLnLoraDim,
    CustomFreqs customFreqs,
    double theta,
    int maxPeLenH,
    int maxPeLenW,
    boolean decouple,
    int oriMaxPeLen,
    PositionOrder positionOrder) {

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  /** Keys of the authors' configs that say nothing about the network's function. */
  private static final Set<String> IGNORED =
      Set.of("input_size", "use_checkpoint", "online_rope", "max_cached_len", "fused_attn");

  private static final List<String> KEYS =
      List.of(
          "patch_size",
          "in_channels",
          "hidden_size",
          "depth",
          "num_heads",
          "mlp_ratio",
          "class_dropout_prob",
          "num_classes",
          "encoder_depth",
          "projector_dim",
          "z_dim",
          "qk_norm",
          "use_adaln_lora",
          "adaln_lora_dim",
          "custom_freqs",
          "theta",
          "max_pe_len_h",
          "max_pe_len_w",
          "decouple",
          "ori_max_pe_len",
          "position_order");

  /** The published sizes by name, smallest first: {@code NiT-S} … {@code NiT-XXL}. */
  public static final Map<String, NitConfig> PRESETS = presets();

  /** Checks every value. */
  public NitConfig {
    positive("patch_size", patchSize, 64);
    positive("in_channels", inChannels, 4096);
    positive("hidden_size", hiddenSize, 1 << 16);
    positive("depth", depth, 1024);
    positive("num_heads", numHeads, 1024);
    positive("num_classes", numClasses, 1 << 24);
    positive("projector_dim", projectorDim, 1 << 16);
    positive("z_dim", zDim, 1 << 16);
    if (hiddenSize % numHeads != 0) {
      throw new IllegalArgumentException(
          "hidden_size (" + hiddenSize + ") is not divisible by num_heads (" + numHeads + ")");
    }
    if (hiddenSize / numHeads % 4 != 0) {
      throw new IllegalArgumentException(
          "head_dim = hidden_size / num_heads: expected a multiple of 4 (two axes of adjacent pairs), found "
              + hiddenSize / numHeads);
    }
    if (!(mlpRatio > 0 && mlpRatio * hiddenSize >= 1 && mlpRatio <= 64)) {
      throw new IllegalArgumentException("mlp_ratio: expected above 0, found " + mlpRatio);
    }
    if (!(classDropoutProb >= 0 && classDropoutProb < 1)) {
      throw new IllegalArgumentException(
          "class_dropout_prob: expected in [0, 1), found " + classDropoutProb);
    }
    if (encoderDepth < 1 || encoderDepth > depth) {
      throw new IllegalArgumentException(
          "encoder_depth: expected 1.." + depth + " (depth), found " + encoderDepth);
    }
    if (useAdaLnLora) {
      positive("adaln_lora_dim", adaLnLoraDim, 1 << 16);
    } else if (adaLnLoraDim != 0) {
      throw new IllegalArgumentException(
          "adaln_lora_dim: expected none without use_adaln_lora, found " + adaLnLoraDim);
    }
    if (!(theta > 1 && Double.isFinite(theta))) {
      throw new IllegalArgumentException("theta: expected above 1, found " + theta);
    }
    notNegative("max_pe_len_h", maxPeLenH);
    notNegative("max_pe_len_w", maxPeLenW);
    notNegative("ori_max_pe_len", oriMaxPeLen);
    if (oriMaxPeLen == 1) {
      throw new IllegalArgumentException("ori_max_pe_len: expected at least 2, found 1");
    }
    if (customFreqs.needsReferenceLength() && oriMaxPeLen == 0) {
      throw new IllegalArgumentException(
          "custom_freqs '"
              + customFreqs.key()
              + "' needs ori_max_pe_len, the longest side in tokens that was trained on");
    }
  }

  /** NiT-S: 33 M parameters. */
  public static NitConfig s() {
    return of(384, 12, 6, 768, 4, 768);
  }

  /** NiT-B: 131 M parameters. */
  public static NitConfig b() {
    return of(768, 12, 12, 2048, 4, 1280);
  }

  /** NiT-L: 457 M parameters. */
  public static NitConfig l() {
    return of(1024, 24, 16, 2048, 6, 1280);
  }

  /** NiT-XL: 675 M parameters, head_dim 72. */
  public static NitConfig xl() {
    return of(1152, 28, 16, 2048, 8, 1280);
  }

  /** NiT-XXL: 1.7 G parameters. */
  public static NitConfig xxl() {
    return of(1536, 40, 24, 2048, 8, 1280);
  }

  private static NitConfig of(
      int hidden, int depth, int heads, int projector, int encoderDepth, int zDim) {
    return new NitConfig(
        1,
        32,
        hidden,
        depth,
        heads,
        4.0,
        0.1,
        1000,
        encoderDepth,
        projector,
        zDim,
        true,
        false,
        0,
        CustomFreqs.NORMAL,
        10_000,
        0,
        0,
        false,
        0,
        PositionOrder.AXIAL);
  }

  private static Map<String, NitConfig> presets() {
    Map<String, NitConfig> all = new LinkedHashMap<>();
    all.put("NiT-S", s());
    all.put("NiT-B", b());
    all.put("NiT-L", l());
    all.put("NiT-XL", xl());
    all.put("NiT-XXL", xxl());
    return java.util.Collections.unmodifiableMap(all);
  }

  /**
   * A preset by its name, case aside, with or without {@code NiT-}: {@code xl}, {@code NiT-XL}.
   *
   * @throws IllegalArgumentException listing the presets, if there is none of that name
   */
  public static NitConfig preset(String name) {
    String key = name.toUpperCase(Locale.ROOT);
    NitConfig config = PRESETS.get("NiT-" + (key.startsWith("NIT-") ? key.substring(4) : key));
    if (config == null) {
      throw new IllegalArgumentException(
          "preset: expected one of s, b, l, xl, xxl; found '" + name + "'");
    }
    return config;
  }

  /** Width of one attention head: hiddenSize / numHeads. */
  public int headDim() {
    return hiddenSize / numHeads;
  }

  /**
   * Shifts, scales and gates of the whole network, each of hiddenSize values: six a block and two
   * of the final layer.
   */
  public int modulationParts() {
    return 6 * depth + 2;
  }

  /** Width of the MLP: ⌊hiddenSize · mlpRatio⌋, as the authors cut it. */
  public int mlpHidden() {
    return (int) (hiddenSize * mlpRatio);
  }

  /** Values of one token, C·p·p. */
  public int tokenSize() {
    return inChannels * patchSize * patchSize;
  }

  /** Whether the label table has a row for the null class, which guidance needs. */
  public boolean hasNullClass() {
    return classDropoutProb > 0;
  }

  /** Rows of the label table. */
  public int labelRows() {
    return numClasses + (hasNullClass() ? 1 : 0);
  }

  /** This config with another position order. */
  public NitConfig withPositionOrder(PositionOrder order) {
    return fromNode(toNode().put("position_order", order.key()), "NitConfig", order);
  }

  /** This config with the given keys replaced; values as in the JSON form. */
  public NitConfig with(Map<String, Object> changes) {
    ObjectNode node = toNode();
    changes.forEach((key, value) -> node.set(key, JSON.valueToTree(value)));
    return fromNode(node, "NitConfig", positionOrder);
  }

  /**
   * The JSON form, one object with the authors' key names; lengths that are not set are left out.
   */
  public String toJson() {
    return toNode().toPrettyString();
  }

  /** The JSON form as a tree. */
  public ObjectNode toNode() {
    ObjectNode node = JSON.createObjectNode();
    node.put("patch_size", patchSize)
        .put("in_channels", inChannels)
        .put("hidden_size", hiddenSize)
        .put("depth", depth)
        .put("num_heads", numHeads)
        .put("mlp_ratio", mlpRatio)
        .put("class_dropout_prob", classDropoutProb)
        .put("num_classes", numClasses)
        .put("encoder_depth", encoderDepth)
        .put("projector_dim", projectorDim)
        .put("z_dim", zDim)
        .put("qk_norm", qkNorm)
        .put("use_adaln_lora", useAdaLnLora);
    if (useAdaLnLora) {
      node.put("adaln_lora_dim", adaLnLoraDim);
    }
    node.put("custom_freqs", customFreqs.key()).put("theta", theta);
    if (maxPeLenH > 0) {
      node.put("max_pe_len_h", maxPeLenH);
    }
    if (maxPeLenW > 0) {
      node.put("max_pe_len_w", maxPeLenW);
    }
    node.put("decouple", decouple);
    if (oriMaxPeLen > 0) {
      node.put("ori_max_pe_len", oriMaxPeLen);
    }
    return node.put("position_order", positionOrder.key());
  }

  /**
   * Reads a config file. Keys that are absent take NiT's values (patch_size 1, in_channels 32, 1000
   * classes, …); hidden_size, depth and num_heads must be there. The authors' {@code
   * network.params} nesting is accepted.
   *
   * @param order the position order where the file names none: {@code RELEASED} when importing a
   *     released checkpoint, {@code AXIAL} for a new model
   * @throws IOException if the file cannot be read
   * @throws IllegalArgumentException if it is not JSON, or has an unknown key or a bad value; names
   *     file and key
   */
  public static NitConfig read(Path file, PositionOrder order) throws IOException {
    return fromJson(TextFile.read(file), file.toString(), order);
  }

  /** {@link #read} from a string; {@code where} stands in messages. */
  public static NitConfig fromJson(String json, String where, PositionOrder order) {
    try {
      return fromNode(JSON.readTree(json), where, order);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          where + ": expected a JSON object with NiT's config, found: " + JsonReason.of(e), e);
    }
  }

  /** {@link #read} from a tree; {@code where} stands in messages. */
  public static NitConfig fromNode(JsonNode tree, String where, PositionOrder order) {
    if (tree == null || !tree.isObject()) {
      throw new IllegalArgumentException(
          where + ": expected a JSON object with NiT's config, found " + kind(tree));
    }
    JsonNode node = tree;
    for (String level : List.of("model", "network", "params")) {
      if (node.path(level).isObject()) {
        node = node.get(level);
      }
    }
    Set<String> unknown = new TreeSet<>();
    for (Iterator<String> names = node.fieldNames(); names.hasNext(); ) {
      String name = names.next();
      if (!KEYS.contains(name) && !IGNORED.contains(name)) {
        unknown.add(name);
      }
    }
    if (!unknown.isEmpty()) {
      throw new IllegalArgumentException(
          where + ": unknown config keys " + unknown + "; known are " + KEYS);
    }
    Reader in = new Reader(node, where);
    try {
      int depth = in.integer("depth", null);
      return new NitConfig(
          in.integer("patch_size", 1),
          in.integer("in_channels", 32),
          in.integer("hidden_size", null),
          depth,
          in.integer("num_heads", null),
          in.number("mlp_ratio", 4.0),
          in.number("class_dropout_prob", 0.1),
          in.integer("num_classes", 1000),
          in.integer("encoder_depth", Math.min(4, depth)),
          in.integer("projector_dim", 2048),
          in.integer("z_dim", 768),
          in.bool("qk_norm", false),
          in.bool("use_adaln_lora", false),
          in.integer("adaln_lora_dim", 0),
          CustomFreqs.parse(in.text("custom_freqs", "normal")),
          in.number("theta", 10_000),
          in.integer("max_pe_len_h", 0),
          in.integer("max_pe_len_w", 0),
          in.bool("decouple", false),
          in.integer("ori_max_pe_len", 0),
          node.hasNonNull("position_order")
              ? PositionOrder.parse(in.text("position_order", ""))
              : order);
    } catch (IllegalArgumentException e) {
      String message = e.getMessage();
      throw message.startsWith(where) ? e : new IllegalArgumentException(where + ": " + message, e);
    }
  }

  private static void positive(String key, int value, int max) {
    if (value < 1 || value > max) {
      throw new IllegalArgumentException(key + ": expected 1.." + max + ", found " + value);
    }
  }

  private static void notNegative(String key, int value) {
    if (value < 0) {
      throw new IllegalArgumentException(key + ": expected 1 or more, found " + value);
    }
  }

  private static String kind(JsonNode node) {
    return node == null || node.isMissingNode()
        ? "nothing"
        : node.getNodeType().name().toLowerCase(Locale.ROOT);
  }

  private record Reader(JsonNode node, String where) {
    int integer(String key, Integer otherwise) {
      JsonNode value = value(key, otherwise);
      if (value == null) {
        return otherwise;
      }
      if (!value.canConvertToExactIntegral() || !value.canConvertToInt()) {
        throw wrong(key, "an integer", value);
      }
      return value.intValue();
    }

    double number(String key, double otherwise) {
      JsonNode value = value(key, otherwise);
      if (value == null) {
        return otherwise;
      }
      if (!value.isNumber()) {
        throw wrong(key, "a number", value);
      }
      return value.doubleValue();
    }

    boolean bool(String key, boolean otherwise) {
      JsonNode value = value(key, otherwise);
      if (value == null) {
        return otherwise;
      }
      if (!value.isBoolean()) {
        throw wrong(key, "true or false", value);
      }
      return value.booleanValue();
    }

    String text(String key, String otherwise) {
      JsonNode value = value(key, otherwise);
      if (value == null) {
        return otherwise;
      }
      if (!value.isTextual()) {
        throw wrong(key, "a string", value);
      }
      return value.textValue();
    }

    private JsonNode value(String key, Object otherwise) {
      JsonNode value = node.get(key);
      if (value != null && !value.isNull()) {
        return value;
      }
      if (otherwise == null) {
        throw new IllegalArgumentException(
            where + ": " + key + ": expected an integer, found nothing");
      }
      return null;
    }

    private IllegalArgumentException wrong(String key, String expected, JsonNode found) {
      return new IllegalArgumentException(
          where + ": " + key + ": expected " + expected + ", found " + found);
    }
  }
}
