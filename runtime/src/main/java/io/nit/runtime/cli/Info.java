package io.nit.runtime.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.NitTensors;
import io.nit.runtime.RequestValidator;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.trt.TensorRtProvider;
import io.nit.runtime.trt.TensorRtProvider.Listed;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run info}: what a bundle holds and what can run it here. */
@Command(
    name = "info",
    mixinStandardHelpOptions = true,
    description =
        "Shows a bundle: its config, sizes, labels, codec, autoencoder, verification, engines of"
            + " every part with their errors and whether they run here, and backends.",
    footer = {
      "",
      "Examples:",
      "  nit-run info --bundle bundle --json | jq .config.hidden_size",
      "  engines that do not run on the second GPU, and why:",
      "    nit-run info --bundle bundle --device 1 --json | jq '.engines[].reason'"
    })
final class Info implements Callable<Integer> {
  @Mixin private CommonOptions common;

  @Option(names = "--bundle", paramLabel = "DIR", description = "The bundle. Required.")
  private Path folder;

  @Option(names = "--json", description = "As one JSON object.")
  private boolean json;

  @Option(names = "--verify", description = "Also compare every file with its hash, engines too.")
  private boolean verify;

  @Option(
      names = "--device",
      paramLabel = "N",
      defaultValue = "0",
      description = "The GPU that engines and backends are asked for (default: ${DEFAULT-VALUE}).")
  private int device;

  Info() {}

  @Override
  public Integer call() throws Exception {
    EngineOptions options =
        Flags.engine(EngineOptions.DEFAULT.threads(), device, DecodeOptions.STANDARD);
    Bundle bundle = Bundle.open(Flags.required("--bundle", folder));
    if (verify) {
      bundle.verifyHashes();
      verifyPlans(bundle, options.device());
    }
    ObjectNode info = describe(bundle, options);
    System.out.print(json ? info.toPrettyString() + "\n" : text(bundle, info));
    return Cli.DONE;
  }

  /** Compares every engine with its manifest's hash. */
  private static void verifyPlans(Bundle bundle, int device) throws IOException {
    for (EngineManifest.Found found : EngineManifest.allIn(bundle.folder())) {
      EngineManifest engine = found.manifest().orElseThrow(() -> new IOException(found.problem()));
      Optional<EngineManifest.Mismatch> difference = engine.planDifference(bundle.folder());
      if (difference.isPresent()) {
        throw new IOException(
            engine.refusal(
                List.of(difference.get()), EngineManifest.Place.in(found.plan(), device)));
      }
    }
  }

  /** An engine with what was measured, and whether it runs on the GPU. */
  static ObjectNode engine(Listed listed) {
    ObjectNode node = new ObjectMapper().createObjectNode();
    node.put("file", listed.found().plan().getFileName().toString());
    if (listed.found().manifest().isEmpty()) {
      return node.put("error", listed.found().problem());
    }
    EngineManifest engine = listed.found().manifest().get();
    node.put("part", engine.subject().part().key())
        .put("precision", engine.precision())
        .put("profiles", engine.subject().sizes())
        .put("weights", engine.traits().weights().key())
        .put("gpu", engine.builtOn().gpu())
        .put("bytes", engine.planBytes())
        .put("fits", listed.refusal().isEmpty());
    listed.refusal().ifPresent(reason -> node.put("reason", reason));
    node.set("verification", engine.verification());
    return node;
  }

  private static ObjectNode describe(Bundle bundle, EngineOptions options) throws IOException {
    NitConfig config = bundle.config();
    RequestValidator rules = new RequestValidator(bundle, 0, false);
    ObjectNode node = new ObjectMapper().createObjectNode();
    node.put("bundle", bundle.folder().toString());
    node.putObject("model")
        .put("file", bundle.modelFile())
        .put("weights", bundle.weights())
        .put("opset", bundle.opset());
    node.put("parameters", NitTensors.parameters(config, false));
    node.set("config", config.toNode());
    node.put("size_multiple", rules.sizeMultiple());
    node.put("max_tokens", bundle.maxTokens());
    node.put("largest_square", (int) Math.sqrt(bundle.maxTokens()) * rules.sizeMultiple());
    if (config.hasNullClass()) {
      node.put(
          "largest_square_guided", (int) Math.sqrt(bundle.maxTokens() / 2) * rules.sizeMultiple());
    }
    bundle.codec().ifPresent(codec -> node.set("codec", codec.toNode()));
    bundle.autoencoder().ifPresent(files -> node.set("autoencoder", autoencoder(bundle, files)));
    ArrayNode labels = node.putArray("labels");
    bundle.labels().forEach(labels::add);
    node.set("defaults", bundle.defaults().toNode());
    node.set("verification", bundle.verification());
    node.set("provenance", bundle.provenance());
    ArrayNode engines = node.putArray("engines");
    new TensorRtProvider()
        .engines(bundle, options.device())
        .forEach(listed -> engines.add(engine(listed)));
    ArrayNode backends = node.putArray("backends");
    for (EngineProvider provider : Engines.providers()) {
      Optional<String> refusal = provider.refusal(bundle, options);
      ObjectNode backend = backends.addObject();
      backend.put("name", provider.name()).put("available", refusal.isEmpty());
      refusal.ifPresent(reason -> backend.put("reason", reason));
      if (bundle.autoencoder().isPresent()) {
        Optional<String> codec = provider.codecRefusal(bundle, options);
        backend.put("decodes", codec.isEmpty());
        codec.ifPresent(reason -> backend.put("decodes_reason", reason));
      }
    }
    return node;
  }

  private static ObjectNode autoencoder(Bundle bundle, AutoencoderFiles files) {
    ObjectNode node = files.toNode();
    if (bundle.codec().orElseThrow() instanceof DcAeSpec spec) {
      node.put("parameters", DcAeTensors.parameters(spec.config()));
      node.put("scaling_factor", spec.config().scalingFactor());
      spec.weightsSha256().ifPresent(hash -> node.put("weights_sha256", hash));
    }
    return node;
  }

  private static String autoencoder(JsonNode node) {
    String fallback =
        node.has("decoder_f32")
            ? ", and in F32 by " + node.get("decoder_f32").asText() + " where it overflows"
            : "";
    return String.format(
        Locale.ROOT,
        "%,d parameters, %s weights, scaling factor %s; encoder %s; decoder %s in %s%s; weights"
            + " sha256 %s",
        node.get("parameters").asLong(),
        node.get("weights").asText(),
        node.get("scaling_factor").asText(),
        node.path("encoder").asText("none"),
        node.get("decoder").asText(),
        node.get("compute").asText(),
        fallback,
        node.path("weights_sha256").asText("not known"));
  }

  private static String text(Bundle bundle, ObjectNode info) {
    NitConfig config = bundle.config();
    StringBuilder text = new StringBuilder();
    line(text, "bundle", bundle.folder());
    line(
        text,
        "model",
        String.format(
            Locale.ROOT,
            "%s, %s weights, opset %d, %,d parameters",
            bundle.modelFile(),
            bundle.weights(),
            bundle.opset(),
            info.get("parameters").asLong()));
    line(
        text,
        "network",
        String.format(
            Locale.ROOT,
            "depth %d, hidden %d, %d heads of %d, patch %d, %d latent channels, positions %s, RoPE %s",
            config.depth(),
            config.hiddenSize(),
            config.numHeads(),
            config.headDim(),
            config.patchSize(),
            config.inChannels(),
            config.positionOrder().key(),
            config.customFreqs().key()));
    line(
        text,
        "sizes",
        "width and height in multiples of "
            + info.get("size_multiple")
            + (bundle.codec().isPresent() ? " pixels" : " latent pixels (no codec)")
            + ", up to "
            + bundle.maxTokens()
            + " tokens a forward: "
            + square(info.get("largest_square"))
            + (info.has("largest_square_guided")
                ? ", with guidance " + square(info.get("largest_square_guided"))
                : ""));
    line(text, "codec", bundle.codec().map(CodecSpec::describe).orElse("none: latents only"));
    if (info.has("autoencoder")) {
      line(text, "autoencoder", autoencoder(info.get("autoencoder")));
    }
    line(
        text,
        "labels",
        config.numClasses()
            + (config.hasNullClass() ? " and the null class" : ", no null class: no guidance")
            + (bundle.labels().isEmpty() ? "" : ": " + String.join(", ", bundle.labels())));
    line(text, "defaults", info.get("defaults"));
    bundle.verification().forEach(entry -> line(text, "verified", verified(entry)));
    line(text, "provenance", bundle.provenance());
    info.get("engines").forEach(engine -> engine(text, engine));
    info.get("backends")
        .forEach(
            backend ->
                line(
                    text,
                    "backend",
                    backend.get("name").asText()
                        + ": "
                        + backend.path("reason").asText("available")
                        + (backend.has("decodes")
                            ? "; autoencoder: " + backend.path("decodes_reason").asText("available")
                            : "")));
    return text.toString();
  }

  /** The lines of an engine. */
  static void engine(StringBuilder text, JsonNode engine) {
    String file = engine.get("file").asText();
    if (engine.has("error")) {
      line(text, "engine", file + ": its manifest cannot be read: " + engine.get("error").asText());
      return;
    }
    line(
        text,
        "engine",
        String.format(
            Locale.ROOT,
            "%s, %s, %s, %d MiB, weights %s, for %s; profiles of %s; %s",
            file,
            engine.get("part").asText(),
            engine.get("precision").asText(),
            engine.get("bytes").asLong() >> 20,
            engine.get("weights").asText(),
            engine.get("gpu").asText(),
            engine.get("profiles").asText(),
            engine.get("fits").asBoolean()
                ? "runs here"
                : "does not run here: " + engine.get("reason").asText()));
    if (engine.get("verification").isEmpty()) {
      line(text, "verified", file + ": no");
    }
    engine
        .get("verification")
        .forEach(entry -> line(text, "verified", file + ": " + verified(entry)));
  }

  private static String verified(JsonNode entry) {
    return entry.path("backend").asText()
        + " against "
        + entry.path("against").asText()
        + " on "
        + pack(entry.path("pack").asText())
        + ": relative error "
        + error(entry.path("relative"))
        + (entry.has("ratio") ? ", " + entry.get("ratio").asText() + " times PyTorch's own" : "")
        + ", largest "
        + error(entry.path("max_abs"))
        + (entry.has("psnr_db") ? ", PSNR " + entry.get("psnr_db").asText() + " dB" : "");
  }

  /** Sizes alone, {@code 3x5 1x1}, are those of a forward's images. */
  private static String pack(String sizes) {
    return sizes.matches("[0-9x ]+") ? "images of " + sizes + " tokens" : sizes;
  }

  private static String error(JsonNode value) {
    return String.format(Locale.ROOT, "%.2e", value.asDouble());
  }

  private static String square(JsonNode side) {
    return side.asText() + "x" + side.asText();
  }

  private static void line(StringBuilder text, String name, Object value) {
    text.append(String.format(Locale.ROOT, "%-12s%s%n", name, value));
  }
}
