package io.nit.testing;

import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** The golden numbers, computed by the authors' code; see {@code golden/README.md} beside them. */
public final class Golden {
  private Golden() {}

  /** A resource of the runtime test jar as a file; removed when the process ends. */
  public static Path file(String resource) {
    try (InputStream in = Golden.class.getResourceAsStream("/" + resource)) {
      if (in == null) {
        throw new IllegalStateException("no test resource " + resource);
      }
      Path file = Files.createTempFile("golden-", "-" + Path.of(resource).getFileName());
      file.toFile().deleteOnExit();
      Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING);
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@code golden/nit-tiny.safetensors}. */
  public static TensorSource nitTiny() {
    try {
      return SafetensorsFile.open(file("golden/nit-tiny.safetensors"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The config of {@code nit-tiny}, in the released position order. */
  public static NitConfig nitTinyConfig() {
    try (TensorSource golden = nitTiny()) {
      return NitConfig.fromJson(
          golden.metadata().get("config"), golden.where(), PositionOrder.RELEASED);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A tensor of a source, without a checked exception. */
  public static HostTensor tensor(TensorSource source, String name) {
    try {
      return source.tensor(name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
