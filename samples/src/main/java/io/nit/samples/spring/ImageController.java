package io.nit.samples.spring;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import io.nit.core.image.Png;
import io.nit.core.io.JsonReason;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Semaphore;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.http.converter.HttpMessageNotReadableException;
import org.springframework.web.ErrorResponseException;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.context.request.async.DeferredResult;

/**
 * Pictures over HTTP. A request is handed to the pipeline and holds no thread while it waits; those
 * that are under way at the same time share the model's packs, which is the pipeline's own doing.
 * Errors are {@code application/problem+json}.
 */
@RestController
class ImageController {
  private static final Logger LOG = LoggerFactory.getLogger(ImageController.class);
  private static final String RETRY_SECONDS = "5";

  private final NitPipeline pipeline;
  private final ServerProperties properties;
  private final Semaphore room;

  ImageController(NitPipeline pipeline, ServerProperties properties) {
    this.pipeline = pipeline;
    this.properties = properties;
    this.room = new Semaphore(properties.maxPending());
  }

  /**
   * What there is to ask for.
   *
   * @param bundle name of the bundle's folder
   * @param backend what runs the model
   * @param classes count of classes
   * @param labels their names; may be empty
   * @param sizeMultiple what widths and heights are multiples of, in pixels
   * @param maxTokens squares of {@code sizeMultiple} that a picture may have, half if it is guided
   * @param steps the default
   * @param guidanceScale the default
   */
  record Model(
      String bundle,
      String backend,
      int classes,
      List<String> labels,
      int sizeMultiple,
      int maxTokens,
      int steps,
      double guidanceScale) {}

  /** Tells about the model. */
  @GetMapping("/v1/model")
  Model model() {
    int unit = pipeline.rules().sizeMultiple();
    ImageRequest defaults = pipeline.request().label(0).size(unit, unit).build();
    return new Model(
        properties.folder().toAbsolutePath().normalize().getFileName().toString(),
        pipeline.backend(),
        pipeline.config().numClasses(),
        pipeline.labels(),
        unit,
        pipeline.rules().maxTokens(),
        defaults.steps(),
        defaults.guidance().scale());
  }

  /**
   * Makes a picture.
   *
   * @return a PNG that carries its request as text; 400 if the request does not fit, 503 if too
   *     many are pending or the time is up
   */
  @PostMapping(path = "/v1/images", produces = MediaType.IMAGE_PNG_VALUE)
  DeferredResult<ResponseEntity<byte[]>> image(@RequestBody JsonNode body) {
    if (!room.tryAcquire()) {
      throw unavailable("expected at most " + properties.maxPending() + " pending requests");
    }
    CompletableFuture<ImageResult> sampled;
    try {
      sampled =
          pipeline.submit(ImageBody.of(body).toRequest(pipeline.request(), properties.maxSteps()));
    } catch (IllegalArgumentException e) {
      room.release();
      throw problem(HttpStatus.BAD_REQUEST, e.getMessage());
    } catch (RuntimeException e) {
      room.release();
      throw e;
    }
    sampled.whenComplete((result, failure) -> room.release());

    DeferredResult<ResponseEntity<byte[]>> response =
        new DeferredResult<>(properties.timeout().toMillis());
    response.onTimeout(
        () -> {
          response.setErrorResult(unavailable("not done within " + properties.timeout()));
          sampled.cancel(true); // takes the request out of the packs
        });
    response.onError(failure -> sampled.cancel(true)); // the client is gone
    sampled
        .thenApplyAsync(ImageController::encode) // off the thread that decodes the next pictures
        .whenComplete(
            (png, failure) -> {
              if (failure == null) {
                response.setResult(png);
              } else {
                response.setErrorResult(told(failure));
              }
            });
    return response;
  }

  private static ResponseEntity<byte[]> encode(ImageResult result) {
    try {
      byte[] png =
          Png.encode(result.image().orElseThrow(), Map.of("request", result.request().toJson()));
      return ResponseEntity.ok().contentType(MediaType.IMAGE_PNG).body(png);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ErrorResponseException told(Throwable failure) {
    Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
    if (cause instanceof CancellationException) {
      return unavailable("the server is stopping");
    }
    LOG.error("a request failed", cause);
    return problem(HttpStatus.INTERNAL_SERVER_ERROR, cause.getMessage());
  }

  /** A body that is no JSON: says what was found. */
  @ExceptionHandler
  ResponseEntity<ProblemDetail> unreadable(HttpMessageNotReadableException e) {
    String found =
        e.getCause() instanceof JsonProcessingException json ? JsonReason.of(json) : "none";
    return ResponseEntity.badRequest()
        .body(
            ProblemDetail.forStatusAndDetail(
                HttpStatus.BAD_REQUEST, "expected a JSON object, found: " + found));
  }

  private static ErrorResponseException unavailable(String detail) {
    ErrorResponseException problem = problem(HttpStatus.SERVICE_UNAVAILABLE, detail);
    problem.getHeaders().set(HttpHeaders.RETRY_AFTER, RETRY_SECONDS);
    return problem;
  }

  private static ErrorResponseException problem(HttpStatus status, String detail) {
    return new ErrorResponseException(
        status, ProblemDetail.forStatusAndDetail(status, detail), null);
  }
}
