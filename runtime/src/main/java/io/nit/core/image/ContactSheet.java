package io.nit.core.image;

import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Pictures of any sizes in rows on one sheet, each with a caption, at one common scale. On a Java
 * without fonts the captions are left out, with a warning: no work is lost for want of a caption.
 */
public final class ContactSheet {
  private static final Logger LOG = LoggerFactory.getLogger(ContactSheet.class);
  private static final int GAP = 8;
  private static final int CAPTION = 14;
  private static final int LONGEST_CAPTION = 200;
  private static final Font FONT = new Font(Font.SANS_SERIF, Font.PLAIN, 10);

  private ContactSheet() {}

  /**
   * One picture of a sheet.
   *
   * @param image the picture
   * @param caption a line below it, cut if it is long; may be empty
   */
  public record Cell(RgbImage image, String caption) {}

  /**
   * Lays cells out in rows, left to right, in the given order.
   *
   * @param width width of the sheet in pixels; wide pictures make it wider
   * @param enlarge every picture is drawn this many times larger, without smoothing, so that small
   *     ones can be seen
   */
  public static RgbImage of(List<Cell> cells, int width, int enlarge) {
    return ofGroups(List.of(cells), width, enlarge);
  }

  /**
   * As {@link #of}, with a new row where a group begins.
   *
   * @param groups cells that stand together, such as those of one size
   */
  public static RgbImage ofGroups(List<List<Cell>> groups, int width, int enlarge) {
    List<Cell> cells = groups.stream().flatMap(List::stream).toList();
    if (cells.isEmpty()) {
      throw new IllegalArgumentException("a contact sheet needs a picture");
    }
    Set<Integer> starts = new HashSet<>();
    int start = 0;
    for (List<Cell> group : groups) {
      starts.add(start);
      start += group.size();
    }
    Captions captions = Captions.make();
    int[] widths = cells.stream().mapToInt(cell -> cellWidth(cell, enlarge, captions)).toArray();
    int sheetWidth = Math.max(width, IntStream.of(widths).max().getAsInt() + 2 * GAP);
    int[] xs = new int[cells.size()];
    int[] ys = new int[cells.size()];
    int x = GAP;
    int y = GAP;
    int rowHeight = 0;
    for (int i = 0; i < xs.length; i++) {
      if (x > GAP && (starts.contains(i) || x + widths[i] + GAP > sheetWidth)) {
        x = GAP;
        y += rowHeight + GAP;
        rowHeight = 0;
      }
      xs[i] = x;
      ys[i] = y;
      x += widths[i] + GAP;
      rowHeight = Math.max(rowHeight, cells.get(i).image.height() * enlarge + CAPTION);
    }
    BufferedImage sheet =
        new BufferedImage(sheetWidth, y + rowHeight + GAP, BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = sheet.createGraphics();
    try {
      g.setColor(Color.WHITE);
      g.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
      for (int i = 0; i < xs.length; i++) {
        RgbImage image = cells.get(i).image;
        int h = image.height() * enlarge;
        g.drawImage(image.toBufferedImage(), xs[i], ys[i], image.width() * enlarge, h, null);
        captions.draw(g, cells.get(i).caption, widths[i], xs[i], ys[i] + h + CAPTION - 3);
      }
    } finally {
      g.dispose();
    }
    return RgbImage.of(sheet);
  }

  /** A narrow picture gets room beside it for its caption. */
  private static int cellWidth(Cell cell, int enlarge, Captions captions) {
    int caption = Math.min(LONGEST_CAPTION, captions.width(cell.caption));
    return Math.max(cell.image.width() * enlarge, caption);
  }

  /**
   * The largest whole number of times, at least 1, that pictures beside each other can be enlarged
   * within the width of a sheet.
   */
  public static int largestScale(List<Cell> row, int width) {
    int pixels = row.stream().mapToInt(cell -> cell.image.width()).sum();
    return Math.max(1, (width - GAP * (row.size() + 1)) / Math.max(1, pixels));
  }

  /** Draws captions; none where there are no fonts. */
  private record Captions(Optional<FontMetrics> metrics) {
    static Captions make() {
      Graphics2D g = new BufferedImage(1, 1, BufferedImage.TYPE_3BYTE_BGR).createGraphics();
      try {
        return new Captions(Optional.of(g.getFontMetrics(FONT)));
      } catch (RuntimeException | LinkageError | InternalError e) {
        LOG.warn("captions are left out, as this Java cannot draw text: {}", e.toString());
        return new Captions(Optional.empty());
      } finally {
        g.dispose();
      }
    }

    int width(String caption) {
      return metrics.map(font -> font.stringWidth(caption)).orElse(0);
    }

    void draw(Graphics2D g, String caption, int most, int x, int y) {
      if (metrics.isEmpty()) {
        return;
      }
      String text = caption;
      while (!text.isEmpty() && width(text) > most) {
        text = text.substring(0, text.length() - 1);
      }
      g.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      g.setFont(FONT);
      g.setColor(Color.DARK_GRAY);
      g.drawString(text, x, y);
    }
  }
}
