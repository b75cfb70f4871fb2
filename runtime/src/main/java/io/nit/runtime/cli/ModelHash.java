package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Tiling;
import io.nit.core.io.Sha256;
import java.util.List;

/** Tells models apart: what, besides the request, decides a picture. */
final class ModelHash {
  private ModelHash() {}

  /**
   * A hash over config, codec and the files' hashes of the model and of the one that guides it, and
   * over how a learned autoencoder decodes.
   */
  static String of(List<Bundle> bundles, Tiling tiling) {
    StringBuilder text = new StringBuilder();
    for (Bundle bundle : bundles) {
      text.append(bundle.config().toNode())
          .append('\n')
          .append(bundle.codec().map(CodecSpec::toNode))
          .append('\n');
      for (Bundle.FileEntry file : bundle.files()) {
        text.append(file.name()).append(' ').append(file.sha256()).append('\n');
      }
    }
    if (bundles.get(0).autoencoder().isPresent()) {
      text.append(tiling).append('\n');
    }
    return Sha256.of(text.toString()).substring(0, 32);
  }
}
