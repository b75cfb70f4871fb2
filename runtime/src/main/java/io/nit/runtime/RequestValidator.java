package io.nit.runtime;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.rope.RopeSpec;
import io.nit.runtime.sample.RopeChoice;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/** Says whether a model can serve a request, before any work is done; loads no model. Immutable. */
public final class RequestValidator {
  private static final int NAMES_SHOWN = 12;

  private final NitConfig config;
  private final List<String> labels;
  private final int sizeMultiple;
  private final int maxTokens;
  private final boolean autoGuided;

  /**
   * Rules of a bundle.
   *
   * @param maxTokens tokens of one forward, at most the bundle's; 0 for the bundle's
   * @param autoGuided whether a second model gives the unconditional branch of guidance
   * @throws IllegalArgumentException if {@code maxTokens} is above the bundle's
   */
  public RequestValidator(Bundle bundle, int maxTokens, boolean autoGuided) {
    if (maxTokens < 0 || maxTokens > bundle.maxTokens()) {
      throw new IllegalArgumentException(
          "max tokens: expected 1.."
              + bundle.maxTokens()
              + " (max_tokens of "
              + bundle.folder()
              + "), found "
              + maxTokens);
    }
    this.config = bundle.config();
    this.labels = bundle.labels();
    this.sizeMultiple = bundle.sizeMultiple().orElse(config.patchSize());
    this.maxTokens = maxTokens == 0 ? bundle.maxTokens() : maxTokens;
    this.autoGuided = autoGuided;
  }

  /**
   * What widths and heights must be multiples of: codec factor × patch size pixels; without a
   * codec, patch size latent pixels.
   */
  public int sizeMultiple() {
    return sizeMultiple;
  }

  /** Tokens of one forward. */
  public int maxTokens() {
    return maxTokens;
  }

  /** Whether guidance above 1 can be served: the model has a null class, or a second one guides. */
  public boolean canGuide() {
    return config.hasNullClass() || autoGuided;
  }

  /**
   * Number of a class.
   *
   * @param label a number, or one of the bundle's names
   * @throws IllegalArgumentException listing what there is, if it is neither
   */
  public int label(String label) {
    int named = labels.indexOf(label);
    if (label.matches("-?\\d{1,18}")) {
      long number = Long.parseLong(label);
      if (number >= 0 && number < config.numClasses()) {
        return (int) number;
      }
    } else if (named >= 0 && named < config.numClasses()) {
      return named;
    }
    String names =
        labels.isEmpty()
            ? " (the bundle names none)"
            : labels.stream()
                .limit(NAMES_SHOWN)
                .collect(
                    Collectors.joining(
                        ", ", " or a name: ", labels.size() > NAMES_SHOWN ? ", ..." : ""));
    throw new IllegalArgumentException(
        "label: expected 0.." + (config.numClasses() - 1) + names + "; found '" + label + "'");
  }

  /** Height of a request's image in tokens. */
  public int tokensHigh(ImageRequest request) {
    return request.height() / sizeMultiple;
  }

  /** Width of a request's image in tokens. */
  public int tokensWide(ImageRequest request) {
    return request.width() / sizeMultiple;
  }

  /**
   * The most tokens a request takes of a forward: its image's, twice if it is guided by the null
   * class.
   */
  public long forwardTokens(ImageRequest request) {
    long tokens = (long) tokensHigh(request) * tokensWide(request);
    return request.guidance().scale() > 1 && !autoGuided ? 2 * tokens : tokens;
  }

  /**
   * Checks a request.
   *
   * @return the request
   * @throws IllegalArgumentException naming what does not fit, and what would
   */
  public ImageRequest check(ImageRequest request) {
    label(request.label());
    checkMultiples(request.width(), request.height());
    if (request.guidance().scale() > 1 && !canGuide()) {
      throw new IllegalArgumentException(
          "guidance: expected 1 (none), as the model has no null class"
              + " (class_dropout_prob 0) and no auto-guidance model is given; found "
              + request.guidance().scale());
    }
    if (forwardTokens(request) > maxTokens) {
      boolean doubled = forwardTokens(request) > (long) tokensHigh(request) * tokensWide(request);
      throw new IllegalArgumentException(
          "size: expected at most "
              + maxTokens
              + " tokens (the token budget), found "
              + request.width()
              + "x"
              + request.height()
              + ", "
              + tokensWide(request)
              + "x"
              + tokensHigh(request)
              + " tokens"
              + (doubled ? ", twice for guidance" : ""));
    }
    new RopeChoice(request.ropeMode(), request.ropeReference()).over(RopeSpec.of(config));
    return request;
  }

  /**
   * Checks a size of pictures, as of those without guidance.
   *
   * @throws IllegalArgumentException naming what does not fit, and what would
   */
  public void checkSize(int width, int height) {
    if (width < 1 || height < 1) {
      throw new IllegalArgumentException(
          "size: expected 1 or more pixels a side, found " + width + "x" + height);
    }
    checkMultiples(width, height);
    long tokens = (long) (width / sizeMultiple) * (height / sizeMultiple);
    if (tokens > maxTokens) {
      throw new IllegalArgumentException(
          "size: expected at most "
              + maxTokens
              + " tokens (the token budget), found "
              + width
              + "x"
              + height
              + ", "
              + tokens
              + " tokens");
    }
  }

  private void checkMultiples(int width, int height) {
    if (width % sizeMultiple != 0 || height % sizeMultiple != 0) {
      throw new IllegalArgumentException(
          "size: expected multiples of "
              + sizeMultiple
              + ", found "
              + width
              + "x"
              + height
              + "; nearest: "
              + String.join(", ", nearest(width, height)));
    }
  }

  private Set<String> nearest(int width, int height) {
    Set<String> sizes = new LinkedHashSet<>();
    for (int w : around(width)) {
      for (int h : around(height)) {
        sizes.add(w + "x" + h);
      }
    }
    return sizes;
  }

  private int[] around(int side) {
    int below = Math.max(1, side / sizeMultiple) * sizeMultiple;
    int above = (side + sizeMultiple - 1) / sizeMultiple * sizeMultiple;
    return new int[] {below, above};
  }
}
