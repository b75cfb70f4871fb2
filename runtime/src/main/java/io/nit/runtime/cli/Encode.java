package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.tensor.HostTensor;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run encode}: pictures to latents in a file, the way back of {@code decode}. */
@Command(
    name = "encode",
    mixinStandardHelpOptions = true,
    description = {
      "Encodes pictures to latents by the bundle's codec, scaled as the model sees them.",
      "Reads PNG and JPEG files as they lie, without regard to a camera's orientation; sides are cut"
          + " down to multiples of the codec's factor, the same on both ends. Writes a tensor"
          + " [C, h, w], F32, for each picture, named by its file without the ending. To make a"
          + " data set for training, use nit-train prepare."
    },
    footer = {
      "",
      "Example:",
      "  nit-run encode --bundle bundle --images photos --output latents.safetensors"
    })
final class Encode implements Callable<Integer> {
  /** What a picture may hold, as a small file can claim any size: 178 megapixels. */
  private static final long MOST_PIXELS = 178_000_000;

  private static final List<String> ENDINGS = List.of(".png", ".jpg", ".jpeg");
  private static final Logger LOG = LoggerFactory.getLogger(Encode.class);

  @Mixin private CommonOptions common;
  @Mixin private ModelOptions model;

  @Option(
      names = "--images",
      paramLabel = "PATH",
      description = "A picture, or a folder of them (not those below it). Required.")
  private Path images;

  @Option(names = "--output", paramLabel = "FILE", description = "Where latents go. Required.")
  private Path output;

  Encode() {}

  @Override
  public Integer call() throws Exception {
    Path from = Flags.required("--images", images);
    Path to = Flags.outputFile(output, "--images", from);
    Bundle bundle = Bundle.open(model.folder());
    if (bundle.codec().isEmpty()) {
      throw new IllegalArgumentException(
          bundle.folder() + ": expected a codec, found none: nothing encodes");
    }
    if (bundle.autoencoder().isPresent() && bundle.autoencoder().get().encoder().isEmpty()) {
      throw new IllegalArgumentException(
          bundle.folder() + ": expected an encoder, found a decoder alone");
    }
    Map<String, Path> files = files(from);
    StopSignal stop = StopSignal.install();
    SafetensorsWriter writer = new SafetensorsWriter();
    try (LatentCodec codec = model.openCodec(bundle, DecodeOptions.STANDARD).orElseThrow();
        Progress progress =
            Progress.start("encoding", files.size(), 0, " pictures", common.quiet())) {
      for (Map.Entry<String, Path> file : files.entrySet()) {
        if (stop.requested()) {
          throw new CancellationException("stopped; nothing written");
        }
        writer.add(encode(codec, file.getKey(), file.getValue()));
        progress.step(1);
      }
    }
    writer.write(to);
    System.out.println("latents of " + files.size() + " pictures: " + to);
    return Cli.DONE;
  }

  private static HostTensor encode(LatentCodec codec, String id, Path file) throws IOException {
    BufferedImage whole = read(file);
    int f = codec.factor();
    int width = whole.getWidth() / f * f;
    int height = whole.getHeight() / f * f;
    String size = whole.getWidth() + "x" + whole.getHeight();
    if (width == 0 || height == 0) {
      throw new IllegalArgumentException(
          file + ": expected a picture of " + f + "x" + f + " or more, found " + size);
    }
    if (width != whole.getWidth() || height != whole.getHeight()) {
      LOG.info("{}: cut from {} to {}x{}, multiples of {}", file, size, width, height, f);
    }
    BufferedImage cut = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = cut.createGraphics();
    try {
      int left = (whole.getWidth() - width) / 2;
      int top = (whole.getHeight() - height) / 2;
      g.drawImage(whole, -left, -top, Color.WHITE, null); // what is transparent shows white
    } finally {
      g.dispose();
    }
    float[] rgb = RgbImage.of(cut).toPlanes();
    try {
      return HostTensor.of(
          id, codec.encode(rgb, height, width), codec.channels(), height / f, width / f);
    } catch (CodecException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
    }
  }

  private static BufferedImage read(Path file) throws IOException {
    try (ImageInputStream in = ImageIO.createImageInputStream(file.toFile())) {
      if (in == null) {
        throw new IOException(file + ": cannot be opened");
      }
      Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
      if (!readers.hasNext()) {
        throw new IOException(file + ": expected a PNG or JPEG picture, found another file");
      }
      ImageReader reader = readers.next();
      try {
        reader.setInput(in);
        long pixels = (long) reader.getWidth(0) * reader.getHeight(0);
        if (pixels <= MOST_PIXELS) {
          return reader.read(0);
        }
        throw new IOException("expected at most " + MOST_PIXELS + " pixels, found " + pixels);
      } catch (IOException | RuntimeException e) {
        // The decoders meet broken files with unchecked exceptions too, and name none; the end of
        // a file has no message at all.
        String reason = e.getMessage() == null ? e.toString() : e.getMessage();
        throw new IOException(file + ": cannot be read as a picture: " + reason, e);
      } finally {
        reader.dispose();
      }
    }
  }

  /** The pictures by id, in the order of their ids. */
  private static Map<String, Path> files(Path from) throws IOException {
    if (!Files.exists(from)) {
      throw new NoSuchFileException(from.toString());
    }
    Map<String, Path> files = new TreeMap<>();
    List<Path> found = List.of(from);
    if (Files.isDirectory(from)) {
      try (Stream<Path> listed = Files.list(from)) {
        found = listed.filter(Encode::isPicture).sorted().toList();
      }
    }
    for (Path file : found) {
      String name = file.getFileName().toString();
      String id = name.replaceFirst("\\.[A-Za-z]+$", "");
      Flags.parsed(file.toString(), () -> ImageRequest.checkId(id));
      Path other = files.put(id, file);
      if (other != null) {
        throw new IllegalArgumentException(
            "--images: expected names that differ before their ending, found "
                + other.getFileName()
                + " and "
                + name);
      }
    }
    if (files.isEmpty()) {
      throw new IllegalArgumentException("--images: expected pictures, found none in " + from);
    }
    return files;
  }

  private static boolean isPicture(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    return Files.isRegularFile(file) && ENDINGS.stream().anyMatch(name::endsWith);
  }
}
