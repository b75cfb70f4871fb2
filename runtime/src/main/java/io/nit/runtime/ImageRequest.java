package io.nit.runtime;

import io.nit.core.bundle.Bundle.SamplingDefaults;
import io.nit.core.config.CustomFreqs;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * A wish for one picture. The picture depends on nothing but the request and the model: not on what
 * is sampled beside it.
 *
 * @param id a name for reports and files: letters, digits, {@code . _ -}; may be empty
 * @param label a class by its number or its name
 * @param width pixels, a multiple of what {@link RequestValidator#sizeMultiple} says
 * @param height pixels, likewise
 * @param seed any value; the same seed gives the same starting noise
 * @param steps steps of the sampler
 * @param sampler the sampler
 * @param guidance classifier-free guidance; {@link Guidance#NONE} for none
 * @param ropeMode stretching of the rotary frequencies, or empty for the model's own
 * @param ropeReference length in tokens that the stretching is measured by, or 0 for the model's
 */
public record ImageRequest(
    Optional<String> id,
    String label,
    int width,
    int height,
    long seed,
    int steps,
    SamplerKind sampler,
    Guidance guidance,
    Optional<CustomFreqs> ropeMode,
    int ropeReference) {
  private static final Pattern ID = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}");
  private static final Pattern SIZE = Pattern.compile("(\\d{1,6})x(\\d{1,6})");

  /** Checks what can be checked without a model; {@link RequestValidator} checks the rest. */
  public ImageRequest {
    id.ifPresent(ImageRequest::checkId);
    if (label == null || label.isBlank()) {
      throw new IllegalArgumentException("label: expected a class by number or name, found none");
    }
    if (width < 1 || height < 1) {
      throw new IllegalArgumentException(
          "size: expected width x height above 0, found " + width + "x" + height);
    }
    sampler.times(steps); // refuses what the sampler cannot do
    if (ropeReference != 0 && (ropeReference < 2 || ropeReference > 1 << 20)) {
      throw new IllegalArgumentException(
          "rope_reference: expected 2 tokens or more, or 0, found " + ropeReference);
    }
  }

  /**
   * Checks a name for reports and files.
   *
   * @return the name
   * @throws IllegalArgumentException if it holds other characters, such as those of paths
   */
  public static String checkId(String id) {
    if (!ID.matcher(id).matches()) {
      throw new IllegalArgumentException(
          "id: expected 1 to 128 letters, digits or . _ - (not first), found '" + id + "'");
    }
    return id;
  }

  /** A builder that starts from sampling defaults, such as a bundle's. */
  public static Builder builder(SamplingDefaults defaults) {
    return new Builder(defaults);
  }

  /** A builder that starts from this request. */
  public Builder toBuilder() {
    Builder builder = new Builder(SamplingDefaults.STANDARD);
    id.ifPresent(builder::id);
    ropeMode.ifPresent(builder::ropeMode);
    return builder
        .label(label)
        .size(width, height)
        .seed(seed)
        .steps(steps)
        .sampler(sampler)
        .guidance(guidance)
        .ropeReference(ropeReference);
  }

  /** The request as one line of JSON; {@link RequestJson} tells the keys. */
  public String toJson() {
    return RequestJson.write(this);
  }

  /** For messages: the id, or what it asks for. */
  String describe() {
    return id.orElseGet(() -> label + " " + width + "x" + height + " seed " + seed);
  }

  /** Builds requests; may be used again after {@link #build}. */
  public static final class Builder {
    private Optional<String> id = Optional.empty();
    private String label;
    private int width;
    private int height;
    private long seed;
    private int steps;
    private SamplerKind sampler;
    private Guidance guidance;
    private Optional<CustomFreqs> ropeMode = Optional.empty();
    private int ropeReference;

    private Builder(SamplingDefaults defaults) {
      steps = defaults.steps();
      sampler = SamplerKind.parse(defaults.sampler());
      guidance = new Guidance(defaults.guidance(), defaults.guidanceLow(), defaults.guidanceHigh());
    }

    /** Names the request. */
    public Builder id(String value) {
      id = Optional.of(value);
      return this;
    }

    /** The class by its number. */
    public Builder label(int number) {
      label = Integer.toString(number);
      return this;
    }

    /** The class by its name, or by its number as text. */
    public Builder label(String value) {
      label = value;
      return this;
    }

    /** Width and height in pixels. */
    public Builder size(int widthPixels, int heightPixels) {
      width = widthPixels;
      height = heightPixels;
      return this;
    }

    /**
     * Width and height as on command lines: {@code 512x768}.
     *
     * @throws IllegalArgumentException if it is written otherwise
     */
    public Builder size(String value) {
      var match = SIZE.matcher(value.toLowerCase(Locale.ROOT));
      if (!match.matches()) {
        throw new IllegalArgumentException(
            "size: expected WIDTHxHEIGHT in pixels, such as 512x768; found '" + value + "'");
      }
      return size(Integer.parseInt(match.group(1)), Integer.parseInt(match.group(2)));
    }

    /** The seed. */
    public Builder seed(long value) {
      seed = value;
      return this;
    }

    /** Steps. */
    public Builder steps(int value) {
      steps = value;
      return this;
    }

    /** The sampler. */
    public Builder sampler(SamplerKind value) {
      sampler = value;
      return this;
    }

    /** Guidance with its interval. */
    public Builder guidance(Guidance value) {
      guidance = value;
      return this;
    }

    /** Guidance of another scale in the same interval. */
    public Builder guidanceScale(double scale) {
      return guidance(new Guidance(scale, guidance.low(), guidance.high()));
    }

    /** The interval of t that is guided, both ends inclusive. */
    public Builder guidanceInterval(double low, double high) {
      return guidance(new Guidance(guidance.scale(), low, high));
    }

    /** Stretching of the rotary frequencies. */
    public Builder ropeMode(CustomFreqs value) {
      ropeMode = Optional.of(value);
      return this;
    }

    /** Length in tokens that the stretching is measured by; 0 for the model's. */
    public Builder ropeReference(int tokens) {
      ropeReference = tokens;
      return this;
    }

    /**
     * The request.
     *
     * @throws IllegalArgumentException if a value does not fit; names it
     */
    public ImageRequest build() {
      return new ImageRequest(
          id, label, width, height, seed, steps, sampler, guidance, ropeMode, ropeReference);
    }
  }
}
