package io.nit.core.image;

import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.List;

/** Pictures of any sizes in rows on one sheet, each with a caption, at one common scale. */
public final class ContactSheet {
  private static final int GAP = 8;
  private static final int CAPTION = 14;

  private ContactSheet() {}

  /**
   * One picture of a sheet.
   *
   * @param image the picture
   * @param caption a line below it, cut to the picture's width; may be empty
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
    if (cells.isEmpty()) {
      throw new IllegalArgumentException("a contact sheet needs a picture");
    }
    int sheetWidth =
        Math.max(
            width,
            cells.stream().mapToInt(c -> c.image.width() * enlarge + 2 * GAP).max().getAsInt());
    int[] xs = new int[cells.size()];
    int[] ys = new int[cells.size()];
    int x = GAP;
    int y = GAP;
    int rowHeight = 0;
    for (int i = 0; i < xs.length; i++) {
      int w = cells.get(i).image.width() * enlarge;
      int h = cells.get(i).image.height() * enlarge + CAPTION;
      if (x > GAP && x + w + GAP > sheetWidth) {
        x = GAP;
        y += rowHeight + GAP;
        rowHeight = 0;
      }
      xs[i] = x;
      ys[i] = y;
      x += w + GAP;
      rowHeight = Math.max(rowHeight, h);
    }
    BufferedImage sheet =
        new BufferedImage(sheetWidth, y + rowHeight + GAP, BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = sheet.createGraphics();
    try {
      g.setColor(Color.WHITE);
      g.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
      g.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 10));
      g.setColor(Color.DARK_GRAY);
      for (int i = 0; i < xs.length; i++) {
        RgbImage image = cells.get(i).image;
        int w = image.width() * enlarge;
        int h = image.height() * enlarge;
        g.drawImage(image.toBufferedImage(), xs[i], ys[i], w, h, null);
        g.drawString(
            fit(cells.get(i).caption, g.getFontMetrics(), w), xs[i], ys[i] + h + CAPTION - 3);
      }
    } finally {
      g.dispose();
    }
    return RgbImage.of(sheet);
  }

  private static String fit(String caption, FontMetrics metrics, int width) {
    String text = caption;
    while (!text.isEmpty() && metrics.stringWidth(text) > width) {
      text = text.substring(0, text.length() - 1);
    }
    return text;
  }
}
