package io.nit.samples;

import io.nit.core.image.Png;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * How do I make pictures from my own Java application? Opens a bundle, asks for three pictures of
 * different sizes, which share the model's forwards, and writes each as it is done.
 *
 * <pre>EmbedPipeline BUNDLE OUTPUT [STEPS]</pre>
 */
public final class EmbedPipeline {
  private EmbedPipeline() {}

  /** Runs the sample: exit codes are 0 done, 1 failed and 2 bad usage. */
  public static void main(String[] args) throws Exception {
    Sample.main("EmbedPipeline BUNDLE OUTPUT [STEPS]", 2, 3, args, EmbedPipeline::run);
  }

  private static void run(String[] args) throws Exception {
    Path bundle = Path.of(args[0]);
    Path output = Path.of(args[1]);

    // Opening loads the model, which takes native memory until the pipeline is closed: an
    // application opens it once and shares it between its threads.
    try (NitPipeline pipeline = NitPipeline.open(bundle)) {
      int unit = pipeline.rules().sizeMultiple(); // sides are multiples of this many pixels

      Map<String, ImageRequest> wanted = new LinkedHashMap<>();
      wanted.put("square", request(pipeline, args).size(6 * unit, 6 * unit).seed(1).build());
      wanted.put("wide", request(pipeline, args).size(9 * unit, 4 * unit).seed(2).build());
      wanted.put("tall", request(pipeline, args).size(4 * unit, 9 * unit).seed(3).build());

      // Submitting returns at once; requests that are under way at the same time share packs.
      List<CompletableFuture<Void>> written = new ArrayList<>();
      wanted.forEach(
          (name, request) ->
              written.add(
                  pipeline
                      .submit(request)
                      .thenAccept(result -> write(output.resolve(name + ".png"), result))));
      CompletableFuture.allOf(written.toArray(CompletableFuture<?>[]::new)).join();
    }
  }

  /** A request of class 0 with the bundle's defaults. */
  private static ImageRequest.Builder request(NitPipeline pipeline, String[] args) {
    ImageRequest.Builder request = pipeline.request().label(0);
    return args.length > 2 ? request.steps(Integer.parseInt(args[2])) : request;
  }

  private static void write(Path file, ImageResult result) {
    try {
      Png.write(file, result.image().orElseThrow(), Map.of("request", result.request().toJson()));
      System.out.println(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
