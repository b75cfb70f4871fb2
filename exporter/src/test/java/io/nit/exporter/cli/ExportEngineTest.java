package io.nit.exporter.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Place;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.ShellWord;
import io.nit.core.tensor.DType;
import io.nit.core.trt.TensorRt;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.runtime.engine.EngineException;
import io.nit.testing.CapturedRun;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.TinyAutoencoder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class ExportEngineTest {
  private static final NitConfig TINY = TinyBundle.CONFIG;

  @TempDir Path folder;

  private Path bundle;

  @BeforeEach
  void aBundle() throws IOException {
    bundle = folder.resolve("bundle");
    TinyBundle.write(bundle);
  }

  private CapturedRun engine(String... more) {
    return CapturedRun.of(
        new Export(), Stream.concat(Stream.of("engine"), Stream.of(more)).toArray());
  }

  private List<String> left() throws IOException {
    return TinyBundle.names(bundle);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--precision int8 | 2 | --precision: expected one of bf16, f16, f32; found 'int8'",
        "--buckets 512,256 | 2 | --buckets: expected rising numbers of 1 or more, found [512, 256]",
        "--buckets 0 | 2 | --buckets: expected rising numbers",
        "--buckets many | 2 | --buckets",
        "--buckets 512 --max-tokens 512 | 2 |"
            + " --buckets, --max-tokens: expected one of them, found both",
        "--max-tokens 0 | 2 | --max-tokens: expected 1..3000, the bundle's own limit, found 0",
        "--max-tokens 3001 | 2 | --max-tokens: expected 1..3000, the bundle's own limit, found 3001",
        "--max-images 0 | 2 | --max-images: expected 1 or more, found 0",
        "--workspace -1 | 2 | --workspace: expected 0 or more",
        "--optimization-level 6 | 2 | --optimization-level: expected 0..5, found 6",
        "--device -1 | 2 | --device: expected 0 or more, found -1",
        "--output engine.bin | 2 | --output: expected a name that ends with .plan",
        "--small-pack-kernels yes | 2 | --small-pack-kernels: expected auto, on or off, found 'yes'",
        "--small-pack-kernels on --precision f32 | 2 |"
            + " --small-pack-kernels on: expected bf16 or f16, found f32",
        "--small-pack-kernels on --hardware-compatible | 2 |"
            + " --small-pack-kernels on: expected an engine for compute capability 9.0 alone",
        "--small-pack-kernels on --version-compatible | 2 |"
            + " --small-pack-kernels on: expected an engine for one version",
        "--small-pack-kernels on --buckets 4096 | 2 |"
            + " --small-pack-kernels on: expected a bucket of at most 512 tokens, found [4096]",
        "--overwrite --rebuild-on-mismatch | 2 |"
            + " --overwrite, --rebuild-on-mismatch: expected one of them, found both",
        "--colour red | 2 | Unknown option"
      })
  void badUsageIsToldAndNothingIsMade(String options, int code, String message) throws IOException {
    CapturedRun run =
        engine(
            Stream.concat(Stream.of(bundle.toString()), Stream.of(options.split(" ")))
                .toArray(String[]::new));
    assertEquals(code, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
    assertEquals("", run.out());
    assertEquals(List.of("bundle.json", "model.onnx"), left());
  }

  @Test
  void aBundleIsNeededAndMustBeOne() throws IOException {
    CapturedRun run = engine();
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("BUNDLE"), run.err());
    run = engine(folder.resolve("absent").toString());
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("absent"), run.err());
  }

  @Test
  void anEngineThatIsThereIsNotReplacedUnasked() throws IOException {
    Files.write(bundle.resolve("engine-bf16.plan"), new byte[3]);
    CapturedRun run = engine(bundle.toString());
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("engine-bf16.plan"), run.err());
    assertEquals(3, Files.size(bundle.resolve("engine-bf16.plan")));
  }

  @Test
  void withoutAGpuItFailsAndSaysWhatWasLookedFor() throws IOException {
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    CapturedRun run = engine(bundle.toString());
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("error: no engine can be built here: expected"), run.err());
    assertTrue(
        run.err().contains("org.bytedeco:tensorrt") || run.err().contains("CUDA device"),
        run.err());
    assertEquals("", run.out());
    assertEquals(List.of("bundle.json", "model.onnx"), left());
  }

  @Test
  void withoutAGpuNothingTellsWhetherAnEngineFitsAndItStays() throws IOException {
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    Files.write(bundle.resolve("engine-bf16.plan"), new byte[3]);
    CapturedRun run = engine(bundle.toString(), "--rebuild-on-mismatch");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("no engine can be built here"), run.err());
    assertEquals(3, Files.size(bundle.resolve("engine-bf16.plan")));
  }

  private static String parsed(String... flags) {
    EngineFlags parsed = new EngineFlags();
    CommandLine.populateCommand(parsed, flags);
    return parsed.traits() + " | " + parsed.given(true);
  }

  @Test
  void theOptionsOfAnEngineStandInTheLineThatBuildsItAgain() {
    assertEquals("version-compatible no, hardware same, weights fixed | ", parsed());
    assertEquals(
        "version-compatible no, hardware same, weights refittable | --refittable",
        parsed("--refittable"));
    assertEquals(
        "version-compatible yes, hardware ampere-plus, weights stripped | --weight-stripped"
            + " --hardware-compatible --version-compatible",
        parsed("--version-compatible", "--weight-stripped", "--hardware-compatible"));
    assertEquals(
        "version-compatible no, hardware same, weights fixed | --small-pack-kernels off",
        parsed("--small-pack-kernels", "off"));
    assertEquals(
        Path.of("b/engine-bf16-stripped.plan"),
        ExportEngine.standard(Path.of("b"), DType.BF16, Weights.STRIPPED));
    assertEquals(
        Path.of("b/engine-f16.plan"),
        ExportEngine.standard(Path.of("b"), DType.F16, Weights.REFITTABLE));
  }

  private static List<String> lines(Object... words) throws IOException {
    ExportEngine command = new ExportEngine();
    CommandLine.populateCommand(
        command, Stream.of(words).map(Object::toString).toArray(String[]::new));
    return command.exports().stream().map(EngineExport::command).toList();
  }

  @Test
  void theLineThatBuildsAgainHoldsNothingOfThisMachine() throws IOException {
    assertEquals(
        List.of(
            "nit-export engine {bundle} --parts model --precision bf16{output}{device}"
                + " --overwrite"),
        lines(bundle, "--device", "2", "--timing-cache", folder.resolve("timings")));
    assertEquals(
        List.of(
            "nit-export engine {bundle} --parts model --precision f16{output} --buckets 64,128 --workspace 7"
                + "{device} --overwrite"),
        lines(
            bundle,
            "--output",
            folder.resolve("a.plan"),
            "--precision",
            "f16",
            "--buckets",
            "64,128",
            "--workspace",
            "7"));
    Path learned = TinyAutoencoder.bundle(folder.resolve("learned")).folder();
    assertEquals(
        List.of(
            "nit-export engine {bundle} --parts model --precision bf16{output}{device}"
                + " --overwrite",
            "nit-export engine {bundle} --parts decoder --autoencoder-precision f32{output}{device}"
                + " --overwrite",
            "nit-export engine {bundle} --parts encoder --autoencoder-precision f32{output}{device}"
                + " --overwrite"),
        lines(learned, "--autoencoder-precision", "f32"));
  }

  private EngineManifest built(Weights weights, String command) throws IOException {
    plan(TINY, weights);
    return EngineManifest.read(folder.resolve("other.plan")).withCommand(command);
  }

  @Test
  void aRefittedEnginesLineBuildsWhatIsRefittedFirst() throws IOException {
    Path source = folder.resolve("other.plan");
    String built = "nit-export engine {bundle} --refittable{output}{device} --overwrite";
    assertEquals(built, EngineRefit.command(built(Weights.REFITTABLE, built), source));
    String stripped =
        EngineRefit.command(
            built(
                Weights.STRIPPED,
                "nit-export engine {bundle} --weight-stripped{output}{device} --overwrite"),
            source);
    EngineManifest refitted = built(Weights.REFITTABLE, stripped);
    Path tuned = Path.of("/tuned");
    assertEquals(
        "nit-export engine /tuned --weight-stripped --overwrite && nit-export refit"
            + " /tuned/engine-bf16-stripped.plan /tuned --overwrite",
        refitted.command(new Place(tuned.resolve("engine-bf16.plan"), tuned, 0)));
    assertEquals(
        "nit-export engine /tuned --weight-stripped --device 1 --overwrite && nit-export refit"
            + " /tuned/engine-bf16-stripped.plan /tuned --output /tuned/own.plan --device 1"
            + " --overwrite",
        refitted.command(new Place(tuned.resolve("own.plan"), tuned, 1)));
    // What was refitted can be refitted: the line leads to the weights of its last bundle.
    assertEquals(stripped, EngineRefit.command(refitted, tuned.resolve("engine-bf16.plan")));
    // A manifest from before holds the place that it was built in.
    String old = "nit-export engine /old --weight-stripped --overwrite";
    assertEquals(
        old + " && nit-export refit " + source + " /tuned --overwrite",
        built(Weights.FIXED, EngineRefit.command(built(Weights.STRIPPED, old), source))
            .command(new Place(tuned.resolve("engine-bf16.plan"), tuned, 0)));
  }

  private ModelSource source(DType precision, SmallPackKernels smallPacks) throws IOException {
    return new ModelSource(Bundle.open(bundle), precision, smallPacks);
  }

  @Test
  void theGpuDecidesWhetherSmallPacksGetAPlanUnlessItIsNamed() throws Exception {
    BuildOptions options = new BuildOptions(0, List.of(128, 3000), 64, 0, 3, Optional.empty());
    PluginLibrary library =
        new PluginLibrary(
            Path.of("lib.so"),
            PluginLibrary.Source.PROPERTY,
            "0.1.0",
            "13.0",
            List.of("sm_80", "sm_90a"),
            "hash");
    List<String> said = new ArrayList<>();
    for (SmallPackKernels wanted : SmallPackKernels.values()) {
      BuildOptions hopper =
          source(DType.BF16, wanted).optionsOn(options, "9.0", Optional.of(library), said::add);
      assertEquals(
          options.withSmallPlan(wanted != SmallPackKernels.OFF), hopper, wanted.toString());
    }
    assertEquals(List.of(), said);
    ModelSource auto = source(DType.F16, SmallPackKernels.AUTO);
    assertEquals(options, auto.optionsOn(options, "8.9", Optional.of(library), said::add));
    assertEquals(
        List.of(
            "small packs in the plan of all packs: expected a GPU of compute capability 9.0, found"
                + " 8.9"),
        said);
    assertEquals(
        options,
        source(DType.F32, SmallPackKernels.AUTO)
            .optionsOn(options, "9.0", Optional.empty(), said::add));
    ModelSource on = source(DType.BF16, SmallPackKernels.ON);
    assertEquals(
        "--small-pack-kernels on: expected a GPU of compute capability 9.0, found 10.0",
        assertThrows(
                EngineException.class,
                () -> on.optionsOn(options, "10.0", Optional.of(library), said::add))
            .getMessage());
    assertEquals(
        "128 tokens in 64 images (small plan), 3000 tokens in 64 images",
        on.subject(options.withSmallPlan(true)).sizes());
  }

  private void plan(NitConfig config, Weights weights) throws IOException {
    Files.write(folder.resolve("other.plan"), new byte[3]);
    new EngineManifest(
            "other.plan",
            3,
            "hash",
            "model",
            config,
            "BF16",
            List.of(new EngineManifest.Profile(64, 64)),
            new EngineManifest.Host("10.6.0", "12.6", "a GPU", "9.0", Optional.empty()),
            EngineManifest.Traits.NONE.with(weights),
            JsonNodeFactory.instance.arrayNode(),
            "nit-export engine",
            JsonNodeFactory.instance.objectNode())
        .write(folder);
  }

  private CapturedRun refit(Object... more) {
    return CapturedRun.of(
        new Export(),
        Stream.concat(Stream.of("refit", folder.resolve("other.plan"), bundle), Stream.of(more))
            .toArray());
  }

  @Test
  void fixedWeightsAndOtherShapesAreNotRefitted() throws IOException {
    CapturedRun run = refit();
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("other.plan"), run.err());
    plan(TINY, Weights.FIXED);
    run = refit();
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--refittable or --weight-stripped"), run.err());
    plan(TINY.with(Map.of("depth", 2)), Weights.STRIPPED);
    run = refit();
    assertEquals(2, run.code(), run.err());
    assertTrue(
        run.err().contains("expected a model of the shape of")
            && run.err().contains("other.plan; depth: expected 2, found 1"),
        run.err());
    run = refit("--output", "engine.bin");
    assertEquals(2, run.code(), run.err());
    run = refit("--device", "-1");
    assertEquals(2, run.code(), run.err());
    assertEquals(List.of("bundle.json", "model.onnx"), left());
  }

  @Test
  void aRefitDoesNotReplaceAnEngineUnaskedAndNeedsAGpu() throws IOException {
    plan(TINY.withPositionOrder(PositionOrder.RELEASED), Weights.STRIPPED);
    Files.write(bundle.resolve("engine-bf16.plan"), new byte[3]);
    CapturedRun run = refit();
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("engine-bf16.plan"), run.err());
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    run = refit("--overwrite");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("no engine can be built here"), run.err());
    assertEquals(3, Files.size(bundle.resolve("engine-bf16.plan")));
  }

  @Test
  void bucketsEndAtTheBundlesLimit() {
    assertEquals(List.of(128, 512, 1024, 2048, 3000), EngineFlags.standard(3000));
    assertEquals(List.of(128, 512, 1024, 2048, 4096, 8192, 16384), EngineFlags.standard(16384));
    assertEquals(List.of(100), EngineFlags.standard(100));
    assertEquals(List.of(128, 512, 1024, 2048, 3000), buckets(DType.BF16));
    assertEquals(List.of(128, 512, 1024, 2048), buckets(DType.F32));
    assertEquals(List.of(128, 512, 700), buckets(DType.BF16, "--max-tokens", "700"));
    assertEquals(List.of(128, 512, 1024, 2048, 2500), buckets(DType.F32, "--max-tokens", "2500"));
    assertEquals(List.of(7, 4000), buckets(DType.BF16, "--buckets", "7,4000"));
  }

  private static List<Integer> buckets(DType precision, String... flags) {
    EngineFlags parsed = new EngineFlags();
    CommandLine.populateCommand(parsed, flags);
    return parsed.buckets(3000, precision);
  }

  @Test
  void wordsOfTheLineThatBuildsAgainCanBeCopied() {
    assertEquals("bundles/xl-1.plan", ShellWord.of("bundles/xl-1.plan"));
    assertEquals("'my bundle'", ShellWord.of("my bundle"));
    assertEquals("'it'\\''s'", ShellWord.of("it's"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--parts decoder | --parts: expected some of model, which",
        "--parts wheel | --parts: expected model, decoder or encoder, found 'wheel'",
        "--output a.plan --parts model,decoder | --output: expected one part in --parts",
        "--autoencoder-sizes 512 |"
            + " --autoencoder-sizes: expected a decoder or encoder to build, found none",
        "--autoencoder-batch 2 --autoencoder-precision f32 | --autoencoder-precision,"
            + " --autoencoder-batch: expected a decoder or encoder to build, found none",
      })
  void partsThatTheBundleDoesNotHaveAreRefused(String options, String message) {
    CapturedRun run =
        engine(
            Stream.concat(Stream.of(bundle.toString()), Stream.of(options.split(" ")))
                .toArray(String[]::new));
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--autoencoder-sizes 100 | --autoencoder-sizes: expected rising multiples of 8 pixels",
        "--autoencoder-sizes 64,32 | --autoencoder-sizes: expected rising",
        "--autoencoder-batch 0 | --autoencoder-batch: expected 1 or more, found 0",
        "--autoencoder-precision int8 | --autoencoder-precision: expected one of bf16, f16, f32",
      })
  void badSizesOfAnAutoencoderAreTold(String options, String message) throws IOException {
    Path learned = TinyAutoencoder.bundle(folder.resolve("learned")).folder();
    CapturedRun run =
        engine(
            Stream.concat(Stream.of(learned.toString()), Stream.of(options.split(" ")))
                .toArray(String[]::new));
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(message), run.err());
  }

  @ParameterizedTest
  @CsvSource({
    "--weight-stripped, --weight-stripped",
    "--refittable, --refittable",
    "--buckets 512, --buckets",
    "--max-tokens 512, --max-tokens",
    "--max-images 3, --max-images",
    "--small-pack-kernels off, --small-pack-kernels",
    "--weight-stripped --max-images 3, '--max-images, --weight-stripped'"
  })
  void whatSaysNothingOfAnAutoencoderIsRefusedWithoutAModel(String options, String names)
      throws IOException {
    Path learned = TinyAutoencoder.bundle(folder.resolve("learned")).folder();
    for (String parts : List.of("decoder", "decoder,encoder")) {
      CapturedRun run =
          engine(
              Stream.concat(
                      Stream.of(learned.toString(), "--parts", parts),
                      Stream.of(options.split(" ")))
                  .toArray(String[]::new));
      assertEquals(2, run.code(), run.err());
      assertTrue(
          run.err().contains(names + ": expected a model to build, found none among the parts"),
          run.err());
    }
    // With a model, it does not stand in the other parts' lines.
    List<String> lines =
        lines(Stream.concat(Stream.of(learned), Stream.of(options.split(" "))).toArray());
    assertTrue(lines.get(0).contains(options.split(" ")[0]), lines.get(0));
    for (String line : lines.subList(1, 3)) {
      for (String name : names.split(", ")) {
        assertFalse(line.contains(name), line);
      }
    }
  }

  @Test
  void everyPartOfALearnedBundleIsBuiltUnlessAPartIsNamed() throws IOException {
    Path learned = TinyAutoencoder.bundle(folder.resolve("learned")).folder();
    Files.write(learned.resolve("encoder-bf16.plan"), new byte[3]);
    CapturedRun run = engine(learned.toString());
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("encoder-bf16.plan"), run.err());
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    for (String parts : List.of("decoder", "model,decoder")) {
      run = engine(learned.toString(), "--parts", parts);
      assertEquals(1, run.code(), run.err());
      assertTrue(run.err().contains("no engine can be built here"), run.err());
      assertEquals("", run.out());
    }
  }

  @Test
  void anAutoencoderByItselfHasNoModelToBuild() throws IOException {
    Path source = GeneratedDcAe.write(folder.resolve("diffusers"), GeneratedDcAe.small());
    Path exported = folder.resolve("exported");
    CapturedRun run =
        CapturedRun.of(
            new Export(),
            "autoencoder",
            "--autoencoder",
            source,
            "--output",
            exported,
            "--no-verify");
    assertEquals(0, run.code(), run.err());
    run = engine(exported.toString(), "--parts", "model");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--parts: expected some of decoder, encoder"), run.err());
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    run = engine(exported.toString(), "--autoencoder-sizes", "64,128");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("no engine can be built here"), run.err());
  }

  @Test
  void sizesOfAnAutoencoderEndAtWhatTheBundleMakes() {
    assertEquals(List.of(512, 1152, 2048), AutoencoderEngineFlags.standard(32, 4096));
    assertEquals(List.of(512, 1152), AutoencoderEngineFlags.standard(32, 1024));
    assertEquals(List.of(512), AutoencoderEngineFlags.standard(32, 512));
    assertEquals(List.of(512, 1152, 2048), AutoencoderEngineFlags.standard(64, 2000));
    assertEquals(List.of(576), AutoencoderEngineFlags.standard(96, 300));
  }
}
