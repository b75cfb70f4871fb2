package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.TensorRtException;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.RequestValidator;
import io.nit.runtime.sample.PackedSampler;
import io.nit.runtime.sample.RopeChoice;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run}: pictures from a bundle. */
@Command(
    name = "nit-run",
    mixinStandardHelpOptions = true,
    subcommands = {
      Decode.class,
      Encode.class,
      Forward.class,
      SampleLatents.class,
      Compare.class,
      Info.class
    },
    description = {
      "Samples pictures of any sizes, packed together, from a bundle.",
      "Writes ID.png (with its request in its metadata), a contact-sheet.png, a report.jsonl"
          + " (a row a request) and a summary.json (speed, padding, memory, each device's part);"
          + " pictures that are there already are not made again."
    },
    footer = {
      "",
      "Examples:",
      "  nit-run --bundle bundle --label 3 --size 512x768 --count 8 --output out",
      "  nit-run --bundle bundle --label time heart --size 64x56 72x72 --output out",
      "  nit-run --bundle bundle --label 3 --size 1024x1024 --sampler sde \\",
      "      --steps 250 --guidance 2.5 --guidance-interval 0,0.7 --rope-mode yarn \\",
      "      --rope-reference 16 --output out",
      "  nit-run --bundle bundle --requests requests.jsonl --output out",
      "  nit-run --bundle bundle --requests requests.jsonl --devices all --output out",
      "  nit-run info --bundle bundle",
      "",
      "A line of requests.jsonl (label and size are required, the rest is as the",
      "options say):",
      "  {\"id\": \"a\", \"label\": 3, \"size\": \"512x768\", \"seed\": 1, \"steps\": 50,",
      "   \"sampler\": \"euler\", \"guidance\": 2.5, \"guidance_interval\": [0, 0.7],",
      "   \"rope_mode\": \"yarn\", \"rope_reference\": 16}",
      "",
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C, 143 by",
      "SIGTERM (what is done is kept)."
    })
public final class Run implements Callable<Integer> {
  @Mixin private CommonOptions common;
  @Mixin private ModelOptions model;
  @Mixin private SamplerOptions sampling;
  @Mixin private TilingOptions tiling;

  @Option(
      names = "--label",
      arity = "1..*",
      paramLabel = "CLASS",
      description = "Classes by number or name; each is sampled in each size.")
  private List<String> labels = new ArrayList<>();

  @Option(
      names = "--size",
      arity = "1..*",
      paramLabel = "WxH",
      description = "Sizes, width x height in pixels; 'nit-run info' tells their multiple.")
  private List<String> sizes = new ArrayList<>();

  @Option(
      names = "--count",
      paramLabel = "N",
      defaultValue = "1",
      description = "Pictures of each label and size (default: ${DEFAULT-VALUE}).")
  private int count;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Seed of the first; the others count up (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--requests",
      paramLabel = "FILE",
      description = "Requests, one JSON object a line, in place of --label and --size.")
  private Path requests;

  @Option(names = "--output", paramLabel = "DIR", description = "Folder for pictures. Required.")
  private Path output;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Tokens of one forward, which bounds memory; 0 for the bundle's (default:"
              + " ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--devices",
      paramLabel = "N,N,...|all",
      description =
          "GPUs that share the requests, one worker each, in place of --device; one that cannot be"
              + " opened or is lost leaves them to the others. Backends on the CPU run as many"
              + " workers.")
  private String devices;

  /** Made by picocli. */
  public Run() {}

  /** Runs the command and exits. */
  public static void main(String[] args) {
    Cli.main(new Run(), args);
  }

  @Override
  public Integer call() throws Exception {
    Path to = Flags.required("--output", output);
    checkChoice();
    List<Integer> chosen = devices();
    Bundle bundle = Bundle.open(model.folder());
    if (bundle.codec().isEmpty()) {
      throw new IllegalArgumentException(
          bundle.folder() + ": expected a codec, found none: use nit-run sample-latents");
    }
    List<Bundle> models = new ArrayList<>(List.of(bundle));
    NitPipeline.Builder pipeline =
        NitPipeline.builder(bundle.folder())
            .backend(model.backend())
            .threads(model.threads())
            .maxTokens(maxTokens)
            .decodeTiling(tiling.tiling(bundle));
    if (sampling.autoGuidance().isPresent()) {
      Bundle guide = Bundle.open(sampling.autoGuidance().get());
      PackedSampler.checkGuide(bundle.config(), guide.config());
      models.add(guide);
      pipeline.autoGuidanceModel(guide.folder());
    }
    RequestList wanted = wanted(bundle, models.size() > 1);
    PictureFolder folder = PictureFolder.open(to, ModelHash.of(models, tiling.tiling(bundle)));
    StopSignal stop = StopSignal.install();
    return new SampleJob(to, folder, wanted, pipeline, chosen, common.quiet()).run(stop);
  }

  private void checkChoice() {
    if (requests == null && (labels.isEmpty() || sizes.isEmpty())) {
      throw new IllegalArgumentException("missing --label and --size, or --requests; see --help");
    }
    if (requests != null && !(labels.isEmpty() && sizes.isEmpty() && count == 1)) {
      throw new IllegalArgumentException(
          "--requests: expected without --label, --size and --count, found both");
    }
    if (count < 1 || count > 1_000_000) {
      throw new IllegalArgumentException("--count: expected 1..1000000, found " + count);
    }
  }

  /** The devices that are asked for, each once. */
  private List<Integer> devices() {
    if (devices == null) {
      return List.of(model.device());
    }
    if (model.device() != 0) {
      throw new IllegalArgumentException("--devices: expected without --device, found both");
    }
    if (devices.equals("all")) {
      return IntStream.range(0, gpus()).boxed().toList();
    }
    List<Integer> found = new ArrayList<>();
    for (String word : devices.split(",", -1)) {
      if (!word.matches("[0-9]{1,3}") || found.contains(Integer.valueOf(word))) {
        throw new IllegalArgumentException(
            "--devices: expected all, or different numbers such as 0,1, found " + devices);
      }
      found.add(Integer.valueOf(word));
    }
    return found;
  }

  private static int gpus() {
    try {
      return Gpu.count();
    } catch (TensorRtException e) {
      throw new IllegalArgumentException("--devices all: " + e.getMessage(), e);
    } catch (LinkageError e) {
      throw new IllegalArgumentException(
          "--devices all: expected CUDA's jars (a build with -Pgpu) and a driver, found none", e);
    }
  }

  private RequestList wanted(Bundle bundle, boolean autoGuided) throws Exception {
    RequestValidator rules =
        Flags.parsed("--max-tokens", () -> new RequestValidator(bundle, maxTokens, autoGuided));
    Bundle.SamplingDefaults defaults = bundle.defaults();
    double scale = rules.canGuide() ? defaults.guidance() : 1;
    Guidance guidance =
        sampling.guidance(new Guidance(scale, defaults.guidanceLow(), defaults.guidanceHigh()));
    SamplerKind sampler = sampling.sampler(defaults.sampler());
    int steps = sampling.steps(defaults.steps());
    RopeChoice rope = sampling.rope();
    RequestList list =
        new RequestList(
            rules,
            () -> {
              ImageRequest.Builder request =
                  ImageRequest.builder(defaults)
                      .seed(seed)
                      .steps(steps)
                      .sampler(sampler)
                      .guidance(guidance)
                      .ropeReference(rope.referenceLength());
              rope.mode().ifPresent(request::ropeMode);
              return request;
            });
    if (requests == null) {
      sampling.checkRopeReference(bundle.config());
      list.addProduct(labels, sizes, count, seed);
    } else {
      list.addFile(requests);
    }
    return list;
  }
}
