package io.nit.runtime.cli;

import io.nit.core.image.ContactSheet;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.runtime.ImageRequest;
import java.awt.Graphics2D;
import java.awt.Image;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Makes {@code contact-sheet.png} from picture files, at most 256 of them, large ones smaller. */
final class Thumbnails {
  private static final Logger LOG = LoggerFactory.getLogger(Thumbnails.class);
  private static final int MOST = 256;
  private static final int LARGEST_SIDE = 256;
  private static final int SMALL_SIDE = 160;
  private static final int SHEET_WIDTH = 1200;

  private Thumbnails() {}

  /** Writes the sheet of the given requests' pictures, in order. */
  static void write(Path sheet, PictureFolder folder, List<ImageRequest> requests)
      throws IOException {
    if (requests.isEmpty()) {
      return;
    }
    if (requests.size() > MOST) {
      LOG.info("{} shows the first {} of {} pictures", sheet, MOST, requests.size());
    }
    List<ContactSheet.Cell> cells = new ArrayList<>();
    int largest = 1;
    for (ImageRequest request : requests.subList(0, Math.min(MOST, requests.size()))) {
      RgbImage thumbnail = thumbnail(ImageIO.read(folder.file(request).toFile()));
      largest = Math.max(largest, Math.max(thumbnail.width(), thumbnail.height()));
      String caption =
          request.label()
              + " "
              + request.width()
              + "x"
              + request.height()
              + " seed "
              + request.seed();
      cells.add(new ContactSheet.Cell(thumbnail, caption));
    }
    int enlarge = Math.max(1, SMALL_SIDE / largest);
    Png.write(sheet, ContactSheet.of(cells, SHEET_WIDTH, enlarge), Map.of());
  }

  private static RgbImage thumbnail(BufferedImage image) {
    int longer = Math.max(image.getWidth(), image.getHeight());
    if (longer <= LARGEST_SIDE) {
      return RgbImage.of(image);
    }
    int width = Math.max(1, image.getWidth() * LARGEST_SIDE / longer);
    int height = Math.max(1, image.getHeight() * LARGEST_SIDE / longer);
    BufferedImage small = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = small.createGraphics();
    try {
      g.drawImage(image.getScaledInstance(width, height, Image.SCALE_AREA_AVERAGING), 0, 0, null);
    } finally {
      g.dispose();
    }
    return RgbImage.of(small);
  }
}
