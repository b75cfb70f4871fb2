package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.exporter.verify.Verification;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What becomes of a verification's results. */
final class VerificationResults {
  private static final Logger LOG = LoggerFactory.getLogger(VerificationResults.class);

  private VerificationResults() {}

  /**
   * Tells all results and adds them to a manifest's entry.
   *
   * @throws IOException naming those that are not within their bounds
   */
  static void take(List<Verification> results, ArrayNode into) throws IOException {
    List<String> failures = new ArrayList<>();
    for (Verification result : results) {
      LOG.info("{}", result);
      into.add(result.toNode());
      if (!result.passed()) {
        failures.add(result.toString());
      }
    }
    if (!failures.isEmpty()) {
      throw new IOException(
          "the exported file does not compute what the checkpoint does, nothing is left:\n  "
              + String.join("\n  ", failures));
    }
  }
}
