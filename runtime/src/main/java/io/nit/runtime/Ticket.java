package io.nit.runtime;

import io.nit.runtime.sample.SampledImage;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;

/** A request on its way through the pipeline. Its mutable part belongs to the sampling thread. */
final class Ticket {
  final ImageRequest request;
  final int label;
  final int h; // tokens
  final int w;
  final long forwardTokens;
  final ProgressListener listener;
  final CompletableFuture<ImageResult> future = new CompletableFuture<>();
  final long submitted = System.nanoTime();

  SampledImage image;
  long admitted;
  long begun; // its first step; 0 before
  long sampled;
  int forwards;

  Ticket(ImageRequest request, RequestValidator rules, ProgressListener listener) {
    this.request = request;
    this.listener = listener;
    label = rules.label(request.label());
    h = rules.tokensHigh(request);
    w = rules.tokensWide(request);
    forwardTokens = rules.forwardTokens(request);
  }

  /** Ends the request with a {@link SamplingException}. */
  void fail(String reason, Throwable cause) {
    future.completeExceptionally(new SamplingException(request.describe() + ": " + reason, cause));
  }

  /**
   * Ends the request as its loop ended.
   *
   * @param wanted what it was to be: sampled or decoded
   * @param failure what ended the loop; null if the pipeline was closed
   */
  void abandon(String wanted, Throwable failure) {
    if (failure == null) {
      future.completeExceptionally(
          new CancellationException(
              request.describe() + ": the pipeline was closed before it was " + wanted));
    } else {
      fail("the pipeline ended before it was " + wanted + ": " + failure, failure);
    }
  }
}
