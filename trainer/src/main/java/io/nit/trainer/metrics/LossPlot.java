package io.nit.trainer.metrics;

import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws the loss, raw and smoothed, and the learning rate below it. */
final class LossPlot {
  private static final int WIDTH = 960;
  private static final int LOSS_HEIGHT = 420;
  private static final int RATE_HEIGHT = 180;
  private static final double SMOOTHING_SHARE = 0.005;

  /** A loss that spans more than this ratio is drawn on a logarithmic axis. */
  private static final double LOGARITHMIC_FROM = 8;

  private LossPlot() {}

  /** Writes the plot as PNG, atomically; does nothing before there are two points of loss. */
  static void write(Path file, Curve loss, Curve learningRate) throws IOException {
    if (loss.size() < 2) {
      return;
    }
    boolean withRate = learningRate.size() >= 2;
    BufferedImage image =
        new BufferedImage(
            WIDTH, LOSS_HEIGHT + (withRate ? RATE_HEIGHT : 0), BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = image.createGraphics();
    try {
      g.drawImage(BitmapEncoder.getBufferedImage(lossChart(loss)), 0, 0, null);
      if (withRate) {
        g.drawImage(BitmapEncoder.getBufferedImage(rateChart(learningRate)), 0, LOSS_HEIGHT, null);
      }
    } finally {
      g.dispose();
    }
    Png.write(file, RgbImage.of(image), Map.of());
  }

  private static XYChart lossChart(Curve loss) {
    XYChart chart = chart("loss", LOSS_HEIGHT);
    List<Double> values = loss.values();
    List<Double> smooth = loss.smoothed(Math.max(1, loss.size() * SMOOTHING_SHARE));
    double min = Collections.min(values);
    double max = Collections.max(values);
    if (min > 0 && max > LOGARITHMIC_FROM * min) {
      // Logarithms on a plain axis: XChart's own logarithmic one has labels at powers of ten only.
      chart.setCustomYAxisTickLabelsFormatter(
          value -> String.format(Locale.ROOT, "%.3g", Math.exp(value)));
      values = values.stream().map(Math::log).toList();
      smooth = smooth.stream().map(Math::log).toList();
    }
    widenFlat(chart, min, max);
    line(chart, "each step", loss.steps(), values, new Color(0xb8cce4), 1);
    line(chart, "smoothed", loss.steps(), smooth, new Color(0x1f4e9c), 2);
    return chart;
  }

  private static XYChart rateChart(Curve rate) {
    XYChart chart = chart("learning rate", RATE_HEIGHT);
    chart.getStyler().setYAxisDecimalPattern("0.0E0");
    chart.getStyler().setLegendVisible(false);
    widenFlat(chart, Collections.min(rate.values()), Collections.max(rate.values()));
    line(chart, "learning rate", rate.steps(), rate.values(), new Color(0xd9822b), 2);
    return chart;
  }

  private static XYChart chart(String name, int height) {
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(height)
            .xAxisTitle("step")
            .yAxisTitle(name)
            .theme(Styler.ChartTheme.XChart)
            .build();
    chart.getStyler().setLegendPosition(Styler.LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setXAxisMin(0.0);
    chart.getStyler().setYAxisTickMarkSpacingHint(height / 7);
    return chart;
  }

  /** Gives a flat curve an axis of some extent, without which XChart cannot draw it. */
  private static void widenFlat(XYChart chart, double min, double max) {
    if (min == max) {
      double margin = Math.max(1e-6, Math.abs(min) / 10);
      chart.getStyler().setYAxisMin(min - margin);
      chart.getStyler().setYAxisMax(max + margin);
    }
  }

  private static void line(
      XYChart chart, String name, List<Double> x, List<Double> y, Color color, float width) {
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
    series.setLineColor(color);
    series.setLineStyle(new BasicStroke(width));
  }
}
