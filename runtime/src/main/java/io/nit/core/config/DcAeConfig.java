package io.nit.core.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.JsonReason;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;

/**
 * The shape of a DC-AE, the deep-compression autoencoder whose latents NiT works on, as diffusers'
 * {@code config.json} of an {@code AutoencoderDC} says it (arXiv 2410.10733). Immutable; every
 * instance is valid.
 *
 * <p>Stage 0 has the picture's resolution and each later one half of the one before, in the encoder
 * and in the decoder alike; the decoder runs them from the last to the first. A first stage of 0
 * layers is left out: the picture then enters and leaves through a strided convolution.
 *
 * @param latentChannels channels of the latent ({@code latent_channels})
 * @param attentionHeadDim channels of an attention head ({@code attention_head_dim})
 * @param encoder the encoder's stages
 * @param decoder the decoder's stages, in the encoder's order
 * @param pixelUnshuffle whether downsampling is a convolution and a pixel-unshuffle, not a strided
 *     convolution ({@code downsample_block_type})
 * @param interpolate whether upsampling is nearest interpolation and a convolution, not a
 *     convolution and a pixel-shuffle ({@code upsample_block_type})
 * @param encoderOutShortcut whether channel means are added to the latent ({@code
 *     encoder_out_shortcut})
 * @param decoderInShortcut whether the latent's channels are repeated onto the decoder's first
 *     tensor ({@code decoder_in_shortcut})
 * @param decoderConvAct what stands before the last convolution ({@code decoder_conv_act_fn})
 * @param scalingFactor what an encoder's output is multiplied with to be a latent of about unit
 *     spread ({@code scaling_factor})
 */
public record DcAeConfig(
    int latentChannels,
    int attentionHeadDim,
    List<Stage> encoder,
    List<Stage> decoder,
    boolean pixelUnshuffle,
    boolean interpolate,
    boolean encoderOutShortcut,
    boolean decoderInShortcut,
    Activation decoderConvAct,
    double scalingFactor) {

  /** Channels of a picture. */
  public static final int IN_CHANNELS = 3;

  /** The class that diffusers' configs name. */
  public static final String CLASS_NAME = "AutoencoderDC";

  /** The name of the config file in diffusers' folder layout. */
  public static final String FILE = "config.json";

  private static final int MAX_STAGES = 8;
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
  private static final Set<String> KEYS =
      Set.of(
          "in_channels",
          "latent_channels",
          "attention_head_dim",
          "encoder_block_types",
          "decoder_block_types",
          "encoder_block_out_channels",
          "decoder_block_out_channels",
          "encoder_layers_per_block",
          "decoder_layers_per_block",
          "encoder_qkv_multiscales",
          "decoder_qkv_multiscales",
          "upsample_block_type",
          "downsample_block_type",
          "decoder_norm_types",
          "decoder_act_fns",
          "encoder_out_shortcut",
          "decoder_in_shortcut",
          "decoder_conv_act_fn",
          "scaling_factor");

  private static final int[] F32 = {128, 256, 512, 512, 1024, 1024};
  private static final int[] F64 = {128, 256, 512, 512, 1024, 1024, 2048};
  private static final int[] F128 = {128, 256, 512, 512, 1024, 1024, 2048, 2048};

  /** The published family by name, such as {@code f32c32-sana-1.1}. */
  public static final Map<String, DcAeConfig> PRESETS = presets();

  /** What a stage is built of. */
  public enum Block {
    /** Two convolutions with a residual. */
    RES_BLOCK("ResBlock"),
    /** Multi-scale linear attention and a gated convolution, each with a residual. */
    EFFICIENT_VIT("EfficientViTBlock");

    private final String key;

    Block(String key) {
      this.key = key;
    }

    /** The spelling in configs. */
    public String key() {
      return key;
    }
  }

  /** Normalisations. */
  public enum Norm {
    /** Root mean square over the channels, per pixel, with weight and bias. */
    RMS_NORM,
    /** Batch normalisation with the statistics of the checkpoint. */
    BATCH_NORM;

    /** The spelling in configs. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Activations. */
  public enum Activation {
    /** x·sigmoid(x). */
    SILU,
    /** max(x, 0). */
    RELU;

    /** The spelling in configs. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * A run of blocks at one resolution.
   *
   * @param block what the blocks are
   * @param channels their channels C
   * @param layers how many there are
   * @param multiscales kernel sizes of the attention's extra branches; empty for {@link
   *     Block#RES_BLOCK}
   * @param norm their normalisation
   * @param act their activation; attention blocks have their own
   */
  public record Stage(
      Block block, int channels, int layers, List<Integer> multiscales, Norm norm, Activation act) {
    /** Copies the list. */
    public Stage {
      multiscales = List.copyOf(multiscales);
    }
  }

  /** Checks every value; messages name the key. */
  public DcAeConfig {
    encoder = List.copyOf(encoder);
    decoder = List.copyOf(decoder);
    range("latent_channels", latentChannels, 1, 4096);
    range("attention_head_dim", attentionHeadDim, 1, 1024);
    if (!(scalingFactor > 0 && Double.isFinite(scalingFactor))) {
      throw new IllegalArgumentException(
          "scaling_factor: expected above 0 and finite, found " + scalingFactor);
    }
    if (decoder.size() != encoder.size()) {
      throw new IllegalArgumentException(
          "decoder_block_out_channels: expected "
              + encoder.size()
              + " stages as in the encoder, found "
              + decoder.size());
    }
    stages("encoder", encoder, attentionHeadDim);
    stages("decoder", decoder, attentionHeadDim);
    for (int i = 0; i < encoder.size(); i++) {
      if (encoder.get(i).norm != Norm.RMS_NORM || encoder.get(i).act != Activation.SILU) {
        throw new IllegalArgumentException(
            "encoder stage " + i + ": expected rms_norm and silu, which the family always has");
      }
    }
    for (int i = 0; i + 1 < encoder.size(); i++) {
      if (encoder.get(i).layers > 0) {
        transition("encoder", encoder.get(i).channels, encoder.get(i + 1).channels);
      }
      if (decoder.get(i).layers > 0) {
        transition("decoder", decoder.get(i).channels, decoder.get(i + 1).channels);
      }
    }
    if (pixelUnshuffle && encoder.get(0).layers == 0) {
      multiple("encoder_block_out_channels", encoder.get(1).channels, 4);
    }
    if (encoderOutShortcut) {
      multiple("encoder_block_out_channels", last(encoder).channels, latentChannels);
    }
    if (decoderInShortcut) {
      multiple("decoder_block_out_channels", last(decoder).channels, latentChannels);
    }
  }

  private static void stages(String side, List<Stage> stages, int headDim) {
    range(side + "_block_out_channels: stages", stages.size(), 2, MAX_STAGES);
    for (int i = 0; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      range(side + "_block_out_channels", stage.channels, 1, 1 << 14);
      range(side + "_layers_per_block", stage.layers, i == 0 ? 0 : 1, 256);
      if (stage.block == Block.EFFICIENT_VIT) {
        multiple(side + "_block_out_channels (attention_head_dim)", stage.channels, headDim);
        if (stage.norm != Norm.RMS_NORM) {
          throw new IllegalArgumentException(
              side
                  + "_norm_types: expected rms_norm in stages of EfficientViTBlock, found "
                  + stage.norm.key());
        }
      } else if (!stage.multiscales.isEmpty()) {
        throw new IllegalArgumentException(
            side
                + "_qkv_multiscales: expected none in stages of ResBlock, found "
                + stage.multiscales);
      }
      for (int kernel : stage.multiscales) {
        if (kernel < 1 || kernel > 31 || kernel % 2 == 0) {
          throw new IllegalArgumentException(
              side + "_qkv_multiscales: expected odd kernel sizes of 1..31, found " + kernel);
        }
      }
    }
  }

  /** Averaging and duplicating channels across a change of resolution needs whole groups. */
  private static void transition(String side, int fine, int coarse) {
    if (4 * fine % coarse != 0) {
      throw new IllegalArgumentException(
          side
              + "_block_out_channels: expected a stage's channels to divide four times those of the"
              + " stage before, found "
              + fine
              + " and "
              + coarse);
    }
    multiple(side + "_block_out_channels", coarse, 4);
  }

  private static void range(String key, long value, long min, long max) {
    if (value < min || value > max) {
      throw new IllegalArgumentException(
          key + ": expected " + min + ".." + max + ", found " + value);
    }
  }

  private static void multiple(String key, int value, int of) {
    if (value % of != 0) {
      throw new IllegalArgumentException(
          key + ": expected multiples of " + of + ", found " + value);
    }
  }

  private static Stage last(List<Stage> stages) {
    return stages.get(stages.size() - 1);
  }

  /** Pixels on a side of a latent pixel: 2^(stages-1). */
  public int factor() {
    return 1 << (encoder.size() - 1);
  }

  /** Channels of the coarsest encoder stage. */
  public int encoderWidth() {
    return last(encoder).channels;
  }

  /** Channels of the coarsest decoder stage. */
  public int decoderWidth() {
    return last(decoder).channels;
  }

  /** The finest encoder stage that has blocks. */
  public int firstEncoderStage() {
    return encoder.get(0).layers > 0 ? 0 : 1;
  }

  /** The finest decoder stage that has blocks. */
  public int firstDecoderStage() {
    return decoder.get(0).layers > 0 ? 0 : 1;
  }

  /** Whether any stage has batch normalisation, whose statistics only a checkpoint has. */
  public boolean hasBatchNorm() {
    return decoder.stream().anyMatch(stage -> stage.norm == Norm.BATCH_NORM && stage.layers > 0);
  }

  /** This config with another scaling factor. */
  public DcAeConfig withScalingFactor(double factor) {
    return new DcAeConfig(
        latentChannels,
        attentionHeadDim,
        encoder,
        decoder,
        pixelUnshuffle,
        interpolate,
        encoderOutShortcut,
        decoderInShortcut,
        decoderConvAct,
        factor);
  }

  /**
   * A published config by name; case and a leading {@code dc-ae-} do not matter.
   *
   * @throws IllegalArgumentException listing the known ones
   */
  public static DcAeConfig preset(String name) {
    String key = name.toLowerCase(Locale.ROOT).replaceFirst("^dc-ae-", "");
    DcAeConfig found = PRESETS.get(key);
    if (found == null) {
      throw new IllegalArgumentException(
          "expected one of " + String.join(", ", PRESETS.keySet()) + "; found '" + name + "'");
    }
    return found;
  }

  /**
   * Reads a {@code config.json}.
   *
   * @throws IOException if the file cannot be read
   * @throws IllegalArgumentException if it is no config of this family; names the key
   */
  public static DcAeConfig read(Path file) throws IOException {
    return fromJson(TextFile.read(file), file.toString());
  }

  /** {@link #read} of a text; {@code where} stands in messages. */
  public static DcAeConfig fromJson(String json, String where) {
    try {
      return fromNode(JSON.readTree(json), where);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(where + ": expected JSON, found: " + JsonReason.of(e), e);
    }
  }

  /** {@link #read} of a parsed object; {@code where} stands in messages. */
  public static DcAeConfig fromNode(JsonNode node, String where) {
    try {
      return parse(node);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(where + ": " + e.getMessage(), e);
    }
  }

  private static DcAeConfig parse(JsonNode node) {
    if (node == null || !node.isObject()) {
      throw new IllegalArgumentException("expected a JSON object, found " + node);
    }
    if (!node.path("_class_name").asText(CLASS_NAME).equals(CLASS_NAME)) {
      throw new IllegalArgumentException(
          "_class_name: expected " + CLASS_NAME + ", found " + node.get("_class_name"));
    }
    Set<String> unknown = new TreeSet<>();
    node.fieldNames()
        .forEachRemaining(
            key -> {
              if (!key.startsWith("_") && !KEYS.contains(key)) {
                unknown.add(key);
              }
            });
    if (!unknown.isEmpty()) {
      throw new IllegalArgumentException(
          "expected the keys of " + CLASS_NAME + ", found also " + unknown);
    }
    int inChannels = integer("in_channels", node.get("in_channels"));
    if (inChannels != IN_CHANNELS) {
      throw new IllegalArgumentException("in_channels: expected 3 (RGB), found " + inChannels);
    }
    List<Stage> decoder = stages(node, "decoder");
    List<Stage> encoder = stages(node, "encoder");
    return new DcAeConfig(
        integer("latent_channels", node.get("latent_channels")),
        integer("attention_head_dim", node.get("attention_head_dim"), 32),
        encoder,
        decoder,
        text(node, "downsample_block_type", "pixel_unshuffle").equals("pixel_unshuffle"),
        text(node, "upsample_block_type", "pixel_shuffle").equals("interpolate"),
        flag(node, "encoder_out_shortcut"),
        flag(node, "decoder_in_shortcut"),
        choice("decoder_conv_act_fn", node, "relu", Activation.values(), Activation::key),
        number(node, "scaling_factor"));
  }

  private static List<Stage> stages(JsonNode node, String side) {
    JsonNode channels = list(node, side + "_block_out_channels");
    int count = channels.size();
    JsonNode layers = list(node, side + "_layers_per_block", count);
    JsonNode scales = list(node, side + "_qkv_multiscales", count);
    JsonNode types = perStage(node, side + "_block_types", "ResBlock", count);
    boolean free = side.equals("decoder"); // an encoder's norms and activations are always these
    JsonNode norms = perStage(free ? node : null, side + "_norm_types", "rms_norm", count);
    JsonNode acts = perStage(free ? node : null, side + "_act_fns", "silu", count);
    List<Stage> stages = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      List<Integer> kernels = new ArrayList<>();
      String scalesKey = side + "_qkv_multiscales";
      for (JsonNode kernel : scales.get(i)) {
        kernels.add(integer(scalesKey, kernel));
      }
      stages.add(
          new Stage(
              choice(side + "_block_types", types.get(i), Block.values(), Block::key),
              integer(side + "_block_out_channels", channels.get(i)),
              integer(side + "_layers_per_block", layers.get(i)),
              kernels,
              choice(side + "_norm_types", norms.get(i), Norm.values(), Norm::key),
              choice(side + "_act_fns", acts.get(i), Activation.values(), Activation::key)));
    }
    return stages;
  }

  private static JsonNode list(JsonNode node, String key, int size) {
    JsonNode list = list(node, key);
    if (list.size() != size) {
      throw new IllegalArgumentException(
          key + ": expected " + size + " entries, one a stage, found " + list.size());
    }
    return list;
  }

  private static JsonNode list(JsonNode node, String key) {
    JsonNode list = node.path(key);
    if (!list.isArray() || list.isEmpty() || list.size() > MAX_STAGES) {
      throw new IllegalArgumentException(
          key
              + ": expected a list of 2.."
              + MAX_STAGES
              + " stages, found "
              + (list.isMissingNode() ? "nothing" : list));
    }
    return list;
  }

  /** A list, or one value for all stages. */
  private static JsonNode perStage(JsonNode node, String key, String otherwise, int count) {
    JsonNode value = node == null ? null : node.get(key);
    if (value != null && value.isArray()) {
      return list(node, key, count);
    }
    ArrayNode all = JSON.createArrayNode();
    for (int i = 0; i < count; i++) {
      if (value == null) {
        all.add(otherwise);
      } else {
        all.add(value);
      }
    }
    return all;
  }

  private static <T> T choice(
      String key, JsonNode node, String otherwise, T[] values, Function<T, String> spelling) {
    JsonNode value = node.has(key) ? node.get(key) : JSON.getNodeFactory().textNode(otherwise);
    return choice(key, value, values, spelling);
  }

  private static <T> T choice(
      String key, JsonNode value, T[] values, Function<T, String> spelling) {
    List<String> known = new ArrayList<>();
    for (T candidate : values) {
      known.add(spelling.apply(candidate));
      if (value.isTextual() && value.textValue().equals(spelling.apply(candidate))) {
        return candidate;
      }
    }
    throw new IllegalArgumentException(
        key + ": expected one of " + String.join(", ", known) + "; found " + value);
  }

  private static int integer(String key, JsonNode value, int otherwise) {
    return value == null ? otherwise : integer(key, value);
  }

  private static int integer(String key, JsonNode value) {
    if (value == null || !value.isInt()) {
      throw new IllegalArgumentException(
          key + ": expected an integer, found " + (value == null ? "nothing" : value));
    }
    return value.intValue();
  }

  private static double number(JsonNode node, String key) {
    JsonNode value = node.path(key);
    if (!value.isMissingNode() && !value.isNumber()) {
      throw new IllegalArgumentException(key + ": expected a number, found " + value);
    }
    return value.asDouble(1);
  }

  private static String text(JsonNode node, String key, String otherwise) {
    JsonNode value = node.path(key);
    if (!value.isMissingNode() && !value.isTextual()) {
      throw new IllegalArgumentException(key + ": expected a string, found " + value);
    }
    return value.asText(otherwise);
  }

  private static boolean flag(JsonNode node, String key) {
    JsonNode value = node.path(key);
    if (!value.isMissingNode() && !value.isBoolean()) {
      throw new IllegalArgumentException(key + ": expected true or false, found " + value);
    }
    return value.asBoolean(true);
  }

  /** The config as diffusers writes it, keys sorted. */
  public ObjectNode toNode() {
    Map<String, JsonNode> sorted = new TreeMap<>();
    ObjectNode node = JSON.createObjectNode();
    node.put("_class_name", CLASS_NAME).put("_diffusers_version", "0.33.0");
    node.put("in_channels", IN_CHANNELS).put("latent_channels", latentChannels);
    node.put("attention_head_dim", attentionHeadDim).put("scaling_factor", scalingFactor);
    node.put("downsample_block_type", pixelUnshuffle ? "pixel_unshuffle" : "Conv");
    node.put("upsample_block_type", interpolate ? "interpolate" : "pixel_shuffle");
    stagesTo(node, "encoder", encoder);
    stagesTo(node, "decoder", decoder);
    node.set("decoder_norm_types", oneOrAll(decoder, stage -> stage.norm.key()));
    node.set("decoder_act_fns", oneOrAll(decoder, stage -> stage.act.key()));
    // Keys that older versions of diffusers do not know, where they say nothing new.
    if (!encoderOutShortcut) {
      node.put("encoder_out_shortcut", false);
    }
    if (!decoderInShortcut) {
      node.put("decoder_in_shortcut", false);
    }
    if (decoderConvAct != Activation.RELU) {
      node.put("decoder_conv_act_fn", decoderConvAct.key());
    }
    node.properties().forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
    return JSON.createObjectNode().setAll(sorted);
  }

  private static void stagesTo(ObjectNode node, String side, List<Stage> stages) {
    ArrayNode types = node.putArray(side + "_block_types");
    ArrayNode channels = node.putArray(side + "_block_out_channels");
    ArrayNode layers = node.putArray(side + "_layers_per_block");
    ArrayNode scales = node.putArray(side + "_qkv_multiscales");
    for (Stage stage : stages) {
      types.add(stage.block.key());
      channels.add(stage.channels);
      layers.add(stage.layers);
      stage.multiscales.forEach(scales.addArray()::add);
    }
  }

  private static JsonNode oneOrAll(List<Stage> stages, Function<Stage, String> spelling) {
    ArrayNode all = JSON.createArrayNode();
    stages.forEach(stage -> all.add(spelling.apply(stage)));
    return stages.stream().map(spelling).distinct().count() == 1 ? all.get(0) : all;
  }

  // ---------------------------------------------------------------- the published family

  private static Map<String, DcAeConfig> presets() {
    Map<String, DcAeConfig> all = new LinkedHashMap<>();
    all.put("f32c32-sana-1.0", sana());
    all.put("f32c32-sana-1.1", sana());
    all.put("f32c32-in-1.0", first(F32, 32, 0.3189));
    all.put("f32c32-mix-1.0", first(F32, 32, 0.4552));
    all.put("f64c128-in-1.0", first(F64, 128, 0.2889));
    all.put("f64c128-mix-1.0", first(F64, 128, 0.4538));
    all.put("f128c512-in-1.0", first(F128, 512, 0.4883));
    all.put("f128c512-mix-1.0", first(F128, 512, 0.3620));
    all.put("lite-f32c32-sana-1.1", lite());
    return Collections.unmodifiableMap(all);
  }

  private static DcAeConfig sana() {
    List<Stage> encoder = halves(F32, new int[] {2, 2, 2, 3, 3, 3}, List.of(5), Norm.RMS_NORM);
    List<Stage> decoder = halves(F32, new int[] {3, 3, 3, 3, 3, 3}, List.of(5), Norm.RMS_NORM);
    return new DcAeConfig(
        32, 32, encoder, decoder, false, true, true, true, Activation.RELU, 0.41407);
  }

  /** The family before SANA: no extra branches, and batch norm in the decoder's fine stages. */
  private static DcAeConfig first(int[] channels, int latent, double scalingFactor) {
    int[] up = {0, 4, 8, 2, 2, 2, 2, 2};
    int[] down = {0, 5, 10, 2, 2, 2, 2, 2};
    List<Stage> encoder = halves(channels, up, List.of(), Norm.RMS_NORM);
    List<Stage> decoder = halves(channels, down, List.of(), Norm.BATCH_NORM);
    return new DcAeConfig(
        latent, 32, encoder, decoder, true, false, true, true, Activation.RELU, scalingFactor);
  }

  private static DcAeConfig lite() {
    List<Stage> decoder = new ArrayList<>();
    int[] layers = {0, 3, 5, 4, 4, 4};
    for (int i = 0; i < F32.length; i++) {
      decoder.add(residual(F32[i], layers[i], Norm.RMS_NORM));
    }
    return new DcAeConfig(
        32, 32, sana().encoder, decoder, false, false, true, true, Activation.SILU, 0.41407);
  }

  /** Three stages of ResBlock, then stages of EfficientViTBlock. */
  private static List<Stage> halves(
      int[] channels, int[] layers, List<Integer> multiscales, Norm fineNorm) {
    List<Stage> stages = new ArrayList<>();
    for (int i = 0; i < channels.length; i++) {
      stages.add(
          i < 3
              ? residual(channels[i], layers[i], fineNorm)
              : new Stage(
                  Block.EFFICIENT_VIT,
                  channels[i],
                  layers[i],
                  multiscales,
                  Norm.RMS_NORM,
                  Activation.SILU));
    }
    return stages;
  }

  private static Stage residual(int channels, int layers, Norm norm) {
    Activation act = norm == Norm.BATCH_NORM ? Activation.RELU : Activation.SILU;
    return new Stage(Block.RES_BLOCK, channels, layers, List.of(), norm, act);
  }
}
