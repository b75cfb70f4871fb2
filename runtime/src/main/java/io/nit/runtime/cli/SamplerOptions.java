package io.nit.runtime.cli;

import io.nit.core.config.CustomFreqs;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.runtime.sample.RopeChoice;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How to sample (a picocli mixin); what is not given is left to the command. */
final class SamplerOptions {
  @Option(names = "--steps", paramLabel = "N", description = "Steps (default: the bundle's).")
  private Integer steps;

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      description =
          "euler, heun (two forwards a step) or sde (Euler-Maruyama) (default: the bundle's).")
  private String sampler;

  @Option(
      names = "--guidance",
      paramLabel = "SCALE",
      description =
          "Classifier-free guidance; 1 for none (default: the bundle's; of sample-latents: 1).")
  private Double guidance;

  @Option(
      names = "--guidance-interval",
      paramLabel = "LOW,HIGH",
      description =
          "The times t, from 1 noise to 0 picture, that are guided, both ends inclusive"
              + " (default: the bundle's; of sample-latents: 0,1).")
  private String guidanceInterval;

  @Option(
      names = "--auto-guidance",
      paramLabel = "DIR",
      description = "A weaker model's bundle, which guidance leads away from.")
  private Path autoGuidance;

  @Option(
      names = "--rope-mode",
      paramLabel = "MODE",
      description =
          "Stretching of rotary frequencies for sizes beyond those trained on: normal, linear,"
              + " ntk-aware, ntk-aware-pro1, ntk-aware-pro2, ntk-by-parts, yarn, scale1, scale2"
              + " (default: the model's).")
  private String ropeMode;

  @Option(
      names = "--rope-reference",
      paramLabel = "TOKENS",
      description =
          "The longest side in tokens trained on, which stretching is measured by"
              + " (default: the model's).")
  private Integer ropeReference;

  SamplerOptions() {}

  int steps(int otherwise) {
    return steps == null ? otherwise : steps;
  }

  SamplerKind sampler(String otherwise) {
    return Flags.parsed(
        "--sampler", () -> SamplerKind.parse(sampler == null ? otherwise : sampler));
  }

  Guidance guidance(Guidance otherwise) {
    double scale = guidance == null ? otherwise.scale() : guidance;
    Guidance guided =
        Flags.parsed("--guidance", () -> new Guidance(scale, otherwise.low(), otherwise.high()));
    return guidanceInterval == null
        ? guided
        : Flags.interval("--guidance-interval", guidanceInterval, scale);
  }

  Optional<Path> autoGuidance() {
    return Optional.ofNullable(autoGuidance);
  }

  RopeChoice rope() {
    if (ropeReference != null && (ropeReference < 2 || ropeReference > 1 << 20)) {
      throw new IllegalArgumentException(
          "--rope-reference: expected 2 tokens or more, found " + ropeReference);
    }
    return new RopeChoice(
        Optional.ofNullable(ropeMode)
            .map(mode -> Flags.parsed("--rope-mode", () -> CustomFreqs.parse(mode))),
        ropeReference == null ? 0 : ropeReference);
  }

  /**
   * Checks that the model or an option names the reference length that {@code --rope-mode} needs.
   *
   * @throws IllegalArgumentException if neither does
   */
  void checkRopeReference(NitConfig model) {
    RopeChoice choice = rope();
    if (choice.mode().map(CustomFreqs::needsReferenceLength).orElse(false)
        && choice.referenceLength() == 0
        && model.oriMaxPeLen() == 0) {
      throw new IllegalArgumentException(
          "--rope-mode "
              + ropeMode
              + ": expected --rope-reference (the longest side in tokens trained on), as the model"
              + " names none (ori_max_pe_len); found nothing");
    }
  }
}
