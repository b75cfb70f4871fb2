package io.nit.samples;

import io.nit.core.image.Png;
import io.nit.runtime.CancellationToken;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.ProgressListener;
import io.nit.runtime.SamplingException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * How do I run a batch, show its progress and stop it? Asks for one picture of every class, counts
 * steps while they are sampled, and gives up after a number of seconds.
 *
 * <pre>BatchRequests BUNDLE OUTPUT STEPS SECONDS</pre>
 */
public final class BatchRequests {
  private BatchRequests() {}

  /** Runs the sample: exit codes are 0 done, stopped in time included, 1 failed and 2 bad usage. */
  public static void main(String[] args) throws Exception {
    Sample.main("BatchRequests BUNDLE OUTPUT STEPS SECONDS", 4, 4, args, BatchRequests::run);
  }

  private static void run(String[] args) throws Exception {
    Path output = Path.of(args[1]);
    int steps = Integer.parseInt(args[2]);
    long seconds = Long.parseLong(args[3]);

    // A token budget below the bundle's bounds memory: requests that do not fit wait for their
    // turn.
    try (NitPipeline pipeline =
        NitPipeline.builder(Path.of(args[0])).threads(2).maxTokens(256).open()) {
      List<ImageRequest> batch = new ArrayList<>();
      int unit = pipeline.rules().sizeMultiple();
      for (int label = 0; label < pipeline.config().numClasses(); label++) {
        int width = (4 + label % 5) * unit;
        batch.add(
            pipeline.request().label(label).size(width, 6 * unit).seed(label).steps(steps).build());
      }

      // Called on the sampling thread after every step of every request: be quick.
      AtomicLong done = new AtomicLong();
      ProgressListener listener = (request, step, of) -> done.incrementAndGet();

      // Any thread may cancel; here a timer does.
      CancellationToken cancellation = new CancellationToken();
      Thread timer = new Thread(() -> cancelAfter(seconds, cancellation));
      timer.setDaemon(true);
      timer.start();

      try {
        for (ImageResult result : pipeline.generate(batch, listener, cancellation)) {
          write(output, result);
        }
        System.out.println(done + " steps, " + batch.size() + " pictures in " + output);
      } catch (CancellationException e) {
        System.out.println("stopped after " + done + " steps");
      } catch (SamplingException e) {
        // Some requests failed, for example with NaN in their latents; the others are still there.
        for (ImageResult result : e.completed()) {
          write(output, result);
        }
        throw e;
      }
    }
  }

  private static void write(Path output, ImageResult result) throws IOException {
    Path file = output.resolve("class-" + result.request().label() + ".png");
    Png.write(file, result.image().orElseThrow(), Map.of());
  }

  private static void cancelAfter(long seconds, CancellationToken cancellation) {
    try {
      TimeUnit.SECONDS.sleep(seconds);
      cancellation.cancel();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
