package io.nit.core.bundle;

import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;

/** What an engine computes, and in which sizes. */
public sealed interface EngineSubject {
  /** The part of the bundle. */
  EnginePart part();

  /** The profiles as a user reads them. */
  String sizes();

  /** The profiles as an opened plan tells them: without which of a file's plans each stands in. */
  default String largest() {
    return sizes();
  }

  /**
   * A model's forward.
   *
   * @param config the model's shape
   * @param profiles the buckets, rising
   */
  record Model(NitConfig config, List<EngineManifest.Profile> profiles) implements EngineSubject {
    /** Copies the list. */
    public Model {
      profiles = List.copyOf(profiles);
    }

    @Override
    public EnginePart part() {
      return EnginePart.MODEL;
    }

    @Override
    public String sizes() {
      return sizes(profile -> profile.plan() == PackPlan.SMALL ? " (small plan)" : "");
    }

    @Override
    public String largest() {
      return sizes(profile -> "");
    }

    private String sizes(Function<EngineManifest.Profile, String> plan) {
      return profiles.stream()
          .map(
              profile ->
                  profile.tokens()
                      + " tokens in "
                      + profile.images()
                      + " images"
                      + plan.apply(profile))
          .collect(Collectors.joining(", "));
    }
  }

  /**
   * A half of an autoencoder.
   *
   * @param part which half
   * @param config the autoencoder
   * @param profiles the sizes of pictures, rising
   */
  record Autoencoder(EnginePart part, DcAeConfig config, List<PictureProfile> profiles)
      implements EngineSubject {
    /** Copies the list, and checks that the part is a half. */
    public Autoencoder {
      profiles = List.copyOf(profiles);
      if (part == EnginePart.MODEL) {
        throw new IllegalArgumentException("part: expected decoder or encoder, found model");
      }
    }

    @Override
    public String sizes() {
      return profiles.stream()
          .map(profile -> profile.images() + " of up to " + profile.side() + " pixels a side")
          .collect(Collectors.joining(", "));
    }
  }

  /**
   * Sizes of pictures that a profile holds: every height and width from one latent pixel on.
   *
   * @param side the most pixels of a side
   * @param images the most pictures together
   */
  record PictureProfile(int side, int images) {}
}
