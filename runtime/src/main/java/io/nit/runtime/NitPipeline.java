package io.nit.runtime;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.Bundle.SamplingDefaults;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.LatentSize;
import io.nit.core.codec.Tiling;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Closing;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.sample.PackedSampler;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A model bundle, loaded and ready to sample. Requests may come from any thread at any time; those
 * under way share packs under a token budget, and each result depends on its own request alone. One
 * thread samples, another decodes; where decoding falls behind, sampling waits.
 *
 * <p>The pipeline owns the model's native memory: close it. Closing ends what is under way, be it
 * sampled or decoded, waits for the forward in progress, and may be done twice and from any thread.
 */
public final class NitPipeline implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NitPipeline.class);

  private final Bundle bundle;
  private final RequestValidator rules;
  private final VelocityEngine engine;
  private final Optional<VelocityEngine> guide;
  private final SamplingLoop loop;
  private final DecodingLoop decoding;
  private final Thread samplingThread;
  private final Thread decodingThread;

  /** A pipeline that keeps latents with the model where that is possible. */
  NitPipeline(
      Bundle bundle,
      VelocityEngine engine,
      Optional<VelocityEngine> guide,
      Optional<LatentCodec> codec,
      int maxTokens) {
    this(bundle, engine, guide, new PackedSampler(engine, guide), codec, maxTokens);
  }

  private NitPipeline(
      Bundle bundle,
      VelocityEngine engine,
      Optional<VelocityEngine> guide,
      PackedSampler sampler,
      Optional<LatentCodec> codec,
      int maxTokens) {
    this.bundle = bundle;
    this.engine = engine;
    this.guide = guide;
    this.rules = new RequestValidator(bundle, limit(maxTokens), guide.isPresent());
    this.decoding = new DecodingLoop(codec, bundle.config());
    this.loop =
        new SamplingLoop(
            sampler,
            bundle.config(),
            rules.maxTokens(),
            Math.min(
                engine.maxImages(), guide.map(VelocityEngine::maxImages).orElse(Integer.MAX_VALUE)),
            decoding::add);
    this.samplingThread = daemon(this::sample, "nit-sampling");
    this.decodingThread = daemon(this::decode, "nit-decoding");
    samplingThread.start();
    decodingThread.start();
  }

  /** What was asked for, or the bundle's, as far as the engines go. */
  private int limit(int asked) {
    int wanted = asked == 0 ? bundle.maxTokens() : asked;
    int most =
        Math.min(
            engine.maxTokens(), guide.map(VelocityEngine::maxTokens).orElse(Integer.MAX_VALUE));
    if (most < wanted) {
      LOG.info("packs hold at most {} tokens, as the engine was built for, not {}", most, wanted);
    }
    return Math.min(most, wanted);
  }

  /**
   * Opens a bundle with the builder's defaults.
   *
   * @param bundle a folder made by {@code nit-export}
   * @throws IOException if a file is missing or cannot be read
   * @throws EngineException if no backend can run the model
   */
  public static NitPipeline open(Path bundle) throws IOException, EngineException {
    return builder(bundle).open();
  }

  /** Starts to open a bundle. */
  public static Builder builder(Path bundle) {
    return new Builder(bundle);
  }

  /** Settings of a pipeline. */
  public static final class Builder {
    private final Path folder;
    private String backend = Engines.AUTO;
    private int threads;
    private int device;
    private int maxTokens;
    private boolean latentsOnHost;
    private boolean warmUp;
    private final List<int[]> warmUpSizes = new ArrayList<>(); // width, height
    private Path autoGuidance;
    private Tiling decodeTiling = Tiling.STANDARD;
    private long decodeBatchPixels = DecodeOptions.STANDARD.batchPixels();

    private Builder(Path folder) {
      this.folder = folder;
    }

    /** The backend's name; {@code auto}, the default, takes the best that can run the model. */
    public Builder backend(String name) {
      backend = name;
      return this;
    }

    /** CPU threads of a forward; 0, the default, for every core. */
    public Builder threads(int count) {
      threads = count;
      return this;
    }

    /** The GPU's number, for backends that run on one; 0, the default, for the first. */
    public Builder device(int number) {
      device = number;
      return this;
    }

    /** Tokens of one forward, at most the bundle's {@code max_tokens}; 0, the default, for that. */
    public Builder maxTokens(int tokens) {
      maxTokens = tokens;
      return this;
    }

    /**
     * Copies latents from and to the host at every step, and moves them on there, where the backend
     * would keep them on the GPU; for comparisons: a picture's bits are the same.
     */
    public Builder latentsOnHost() {
      latentsOnHost = true;
      return this;
    }

    /**
     * Makes the backend ready for packs of all sizes before {@link #open} returns, as a server
     * wants it: on TensorRT about half a minute, in which else the first packs of each size would
     * share. Its decoder is made ready for the largest picture of its smallest profile, or for the
     * sizes that {@link #warmUp(int, int)} names, whose profiles' memory is then taken at once,
     * after a line in the log that says how much.
     */
    public Builder warmUp() {
      warmUp = true;
      return this;
    }

    /**
     * {@link #warmUp()}, with the decoder made ready for pictures of a size, decoded one by one;
     * may be called for several sizes. {@link #open} fails where the memory for them is not there.
     */
    public Builder warmUp(int width, int height) {
      warmUpSizes.add(new int[] {width, height});
      return warmUp();
    }

    /** The bundle of a weaker model whose prediction guidance leads away from. */
    public Builder autoGuidanceModel(Path bundle) {
      autoGuidance = bundle;
      return this;
    }

    /** How a learned autoencoder decodes large pictures; by default {@link Tiling#STANDARD}. */
    public Builder decodeTiling(Tiling tiling) {
      decodeTiling = tiling;
      return this;
    }

    /**
     * Pixels of the pictures of one size that a learned autoencoder decodes together; 0, the
     * default, for each alone, so that a picture never depends on what is decoded beside it.
     */
    public Builder decodeBatchPixels(long pixels) {
      decodeBatchPixels = pixels;
      return this;
    }

    /**
     * Loads the model.
     *
     * @return the pipeline, which the caller closes
     * @throws IllegalArgumentException if a setting does not fit, or the backend's name is unknown
     * @throws IOException if a file is missing or cannot be read
     * @throws EngineException if the backend cannot run the model
     */
    public NitPipeline open() throws IOException, EngineException {
      EngineOptions options =
          new EngineOptions(threads, device, new DecodeOptions(decodeTiling, decodeBatchPixels));
      Bundle bundle = Bundle.open(folder);
      if (bundle.autoencoder().isPresent()) {
        decodeTiling.require(bundle.codec().orElseThrow().factor());
      }
      RequestValidator rules =
          new RequestValidator(bundle, maxTokens, autoGuidance != null); // refused before loading
      warmUpSizes.forEach(size -> rules.checkSize(size[0], size[1]));
      Optional<Bundle> guideBundle =
          autoGuidance == null ? Optional.empty() : Optional.of(Bundle.open(autoGuidance));
      if (guideBundle.isPresent()) {
        PackedSampler.checkGuide(bundle.config(), guideBundle.get().config());
      }
      Engines.OpenedModel opened = Engines.openModel(bundle, backend, options);
      VelocityEngine engine = opened.engine();
      Optional<VelocityEngine> guide = Optional.empty();
      Optional<LatentCodec> codec = Optional.empty();
      try {
        if (guideBundle.isPresent()) {
          guide = Optional.of(Engines.open(guideBundle.get(), backend, options));
        }
        PackedSampler sampler =
            latentsOnHost ? PackedSampler.onHost(engine, guide) : new PackedSampler(engine, guide);
        if (warmUp) {
          engine.warmUp();
          guide.ifPresent(VelocityEngine::warmUp);
        }
        codec = Engines.openCodecAfterModel(bundle, opened, options);
        if (warmUp && codec.isPresent()) {
          makeReady(codec.get(), warmUpSizes);
        }
        return new NitPipeline(bundle, engine, guide, sampler, codec, maxTokens);
      } catch (IOException | EngineException | RuntimeException | Error e) {
        Optional<VelocityEngine> openedGuide = guide;
        Optional<LatentCodec> openedCodec = codec;
        Closing.after(
            e,
            engine::close,
            () -> openedGuide.ifPresent(VelocityEngine::close),
            () -> openedCodec.ifPresent(LatentCodec::close));
        throw e;
      }
    }
  }

  /** Makes a codec ready for pictures of some sizes, width first. */
  static void makeReady(LatentCodec codec, List<int[]> sizes) throws EngineException {
    int f = codec.factor();
    try {
      codec.warmUp(sizes.stream().map(size -> new LatentSize(size[1] / f, size[0] / f)).toList());
    } catch (CodecException e) {
      throw new EngineException(e.getMessage(), e);
    }
  }

  /** The model's shape. */
  public NitConfig config() {
    return bundle.config();
  }

  /** Names of the classes by label; may be empty. */
  public List<String> labels() {
    return bundle.labels();
  }

  /** The backend that runs the model, for example {@code ort-cpu}. */
  public String backend() {
    return engine.backend();
  }

  /** What a request must fit. */
  public RequestValidator rules() {
    return rules;
  }

  /** A request with the bundle's defaults; label and size are still to be set. */
  public ImageRequest.Builder request() {
    SamplingDefaults defaults = bundle.defaults();
    ImageRequest.Builder request = ImageRequest.builder(defaults);
    return rules.canGuide() ? request : request.guidanceScale(1);
  }

  /** What has been done so far. */
  public PipelineStats stats() {
    return loop.stats().withDecoding(decoding.seconds(), decoding.retried());
  }

  /**
   * What ended the pipeline by itself, as an error of the backend's library: every request fails
   * from then on. Known before the first request fails by it.
   *
   * @return empty while the pipeline runs, and if it was closed
   */
  public Optional<Throwable> failure() {
    return loop.failure().or(decoding::failure);
  }

  /** {@link #submit(ImageRequest, ProgressListener)} without a listener. */
  public CompletableFuture<ImageResult> submit(ImageRequest request) {
    return submit(request, ProgressListener.NONE);
  }

  /**
   * Queues a request.
   *
   * @return completes on the decoding thread with the result, or exceptionally with a {@link
   *     SamplingException} if the request failed, also with an error that ended the pipeline, or a
   *     {@link CancellationException} if the pipeline was closed; cancelling it takes the request
   *     out
   * @throws IllegalArgumentException if the request does not fit the model; names what does not
   * @throws IllegalStateException after {@link #close}, or once an error has ended the pipeline
   *     ({@link #failure})
   */
  public CompletableFuture<ImageResult> submit(ImageRequest request, ProgressListener listener) {
    Ticket ticket = new Ticket(rules.check(request), rules, listener);
    loop.add(ticket);
    return ticket.future;
  }

  /**
   * Serves a batch and waits for it. Every request is checked before any is queued.
   *
   * @return the results in the order of the requests
   * @throws IllegalArgumentException if a request does not fit the model; none is queued then
   * @throws SamplingException if requests failed, once the others are done; it has their results
   * @throws CancellationException if {@code cancellation} was asked for or the pipeline was closed
   * @throws InterruptedException if the thread was interrupted; the batch is taken out then
   */
  public List<ImageResult> generate(
      List<ImageRequest> requests, ProgressListener listener, CancellationToken cancellation)
      throws SamplingException, InterruptedException {
    requests.forEach(rules::check);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    try {
      for (ImageRequest request : requests) {
        futures.add(submit(request, listener));
      }
      CompletableFuture<Void> all =
          CompletableFuture.allOf(futures.toArray(CompletableFuture<?>[]::new));
      while (!finished(all)) {
        if (cancellation.isCancelled()) {
          throw new CancellationException("the batch was cancelled");
        }
      }
      return results(futures);
    } finally {
      futures.forEach(future -> future.cancel(true));
    }
  }

  private static boolean finished(CompletableFuture<Void> all) throws InterruptedException {
    try {
      all.get(20, TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException | CancellationException e) {
      return true; // told apart request by request
    }
    return true;
  }

  private static List<ImageResult> results(List<CompletableFuture<ImageResult>> futures)
      throws SamplingException, InterruptedException {
    List<ImageResult> done = new ArrayList<>();
    List<Throwable> failures = new ArrayList<>();
    for (CompletableFuture<ImageResult> future : futures) {
      try {
        done.add(future.get());
      } catch (ExecutionException e) {
        failures.add(e.getCause());
      }
    }
    if (!failures.isEmpty()) {
      throw new SamplingException(
          failures.size()
              + " of "
              + futures.size()
              + " requests failed; the first: "
              + failures.get(0).getMessage(),
          failures.get(0),
          done);
    }
    return done;
  }

  private void sample() {
    try {
      loop.run();
    } catch (RuntimeException | Error e) {
      Closing.after(e, () -> decoding.end(e));
      throw e;
    } finally {
      Closing.all(engine::close, () -> guide.ifPresent(VelocityEngine::close), decoding::close);
    }
  }

  /** What cannot be decoded need not be sampled: each of the two threads ends the other. */
  private void decode() {
    try {
      decoding.run();
    } catch (RuntimeException | Error e) {
      loop.end(e);
      throw e;
    }
  }

  @Override
  public void close() {
    loop.close();
    decoding.close();
    Thread current = Thread.currentThread();
    if (current == samplingThread || current == decodingThread) {
      return; // called by a callback: the threads end by themselves once it returns
    }
    boolean interrupted = false;
    for (boolean ended = false; !ended; ) {
      try {
        samplingThread.join();
        decodingThread.join();
        ended = true;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      current.interrupt();
    }
  }

  private static Thread daemon(Runnable work, String name) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    return thread;
  }
}
