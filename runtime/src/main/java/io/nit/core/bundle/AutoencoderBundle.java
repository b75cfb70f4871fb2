package io.nit.core.bundle;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.Codecs;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.io.AtomicFile;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;

/**
 * An autoencoder exported by itself: a folder with {@code autoencoder.json} and the ONNX files it
 * names, what {@code nit-export autoencoder} leaves. The manifest:
 *
 * <pre>{@code
 * {
 *   "format": "nit-autoencoder", "version": 1,
 *   "codec": { "type": "dc-ae", "weights_sha256": "...", "config": { ... DcAeConfig ... } },
 *   "autoencoder": { "encoder": "encoder.onnx", "decoder": "decoder.onnx", "weights": "F32", "compute": "F32" },
 *   "opset": 20,
 *   "files": [ { "name": "encoder.onnx", "bytes": 123, "sha256": "..." } ],
 *   "verification": [ { "against": "reference", "pack": "decoder 1x2", ... } ],
 *   "provenance": { "tool": "nit-export 0.1.0", "autoencoder": "...", ... }
 * }
 * }</pre>
 *
 * @param folder where it lies
 * @param codec what it is
 * @param autoencoder names of its ONNX files
 * @param opset version of the standard operators the files use
 * @param files every file but the manifest
 * @param verification what {@code --verify} measured; may be empty
 * @param provenance where it came from; free-form
 */
public record AutoencoderBundle(
    Path folder,
    DcAeSpec codec,
    AutoencoderFiles autoencoder,
    int opset,
    List<Bundle.FileEntry> files,
    ArrayNode verification,
    ObjectNode provenance) {
  /** The manifest's name. */
  public static final String MANIFEST = "autoencoder.json";

  /** The manifest version this code writes and reads. */
  public static final int VERSION = 1;

  private static final String FORMAT = "nit-autoencoder";

  /**
   * Reads a manifest and checks that its files are there with the sizes it says.
   *
   * @throws NoSuchFileException if there is no manifest
   * @throws IOException if a file cannot be read, is missing, or has another size
   * @throws IllegalArgumentException if the manifest is malformed or of another version; names the
   *     field
   */
  public static AutoencoderBundle open(Path folder) throws IOException {
    Path file = folder.resolve(MANIFEST);
    JsonNode node = Bundle.manifest(file, FORMAT, VERSION);
    if (!(Codecs.of(node.path("codec"), file.toString()) instanceof DcAeSpec codec)) {
      throw new IllegalArgumentException(
          file + ": codec.type: expected " + DcAeSpec.TYPE + ", found " + node.get("codec"));
    }
    List<Bundle.FileEntry> files = Bundle.files(node, folder, file);
    return new AutoencoderBundle(
        folder,
        codec,
        Bundle.autoencoder(node.path("autoencoder"), files, file),
        node.path("opset").asInt(),
        files,
        node.path("verification") instanceof ArrayNode array
            ? array
            : JsonNodeFactory.instance.arrayNode(),
        node.path("provenance") instanceof ObjectNode object
            ? object
            : JsonNodeFactory.instance.objectNode());
  }

  /**
   * Writes the manifest, atomically; the other files must be there already, so that a folder with a
   * manifest is whole.
   */
  public void write() throws IOException {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("format", FORMAT).put("version", VERSION);
    node.set("codec", codec.toNode());
    node.set("autoencoder", autoencoder.toNode());
    node.put("opset", opset);
    Bundle.filesTo(node, files);
    node.set("verification", verification);
    node.set("provenance", provenance);
    AtomicFile.writeString(folder.resolve(MANIFEST), node.toPrettyString() + "\n");
  }
}
