package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/** Tells models apart: what, besides the request, decides a picture. */
final class ModelHash {
  private ModelHash() {}

  /** A hash over config, codec and the files' hashes of the model and of the one that guides it. */
  static String of(List<Bundle> bundles) {
    StringBuilder text = new StringBuilder();
    for (Bundle bundle : bundles) {
      text.append(bundle.config().toNode()).append('\n').append(bundle.codec()).append('\n');
      for (Bundle.FileEntry file : bundle.files()) {
        text.append(file.name()).append(' ').append(file.sha256()).append('\n');
      }
    }
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      byte[] hash = digest.digest(text.toString().getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(hash, 0, 16);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }
}
