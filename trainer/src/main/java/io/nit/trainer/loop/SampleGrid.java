package io.nit.trainer.loop;

import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.NonFiniteDecodeException;
import io.nit.core.codec.Tokens;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Seeds;
import io.nit.core.flow.Trajectory;
import io.nit.core.image.ContactSheet;
import io.nit.core.image.RgbImage;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Pictures from a model in training: every size with several labels, always from the same noise, so
 * that one grid can be compared with the next.
 *
 * @param sizes pictures' sizes in tokens, each {h, w}
 * @param labels the labels that are drawn of every size
 * @param steps Euler steps
 * @param guidance classifier-free guidance
 * @param seed first picture's seed; the next ones count on
 * @param codec decodes the pictures; closed by the caller
 */
public record SampleGrid(
    List<int[]> sizes, long[] labels, int steps, Guidance guidance, long seed, LatentCodec codec) {
  private static final Logger LOG = LoggerFactory.getLogger(SampleGrid.class);
  private static final int SHEET_WIDTH = 1024;
  private static final int ENLARGED_BELOW = 128;

  /** Checks that there is something to draw. */
  public SampleGrid {
    if (sizes.isEmpty() || labels.length == 0) {
      throw new IllegalArgumentException("a sample grid needs a size and a label");
    }
    SamplerKind.EULER.times(steps);
  }

  private record Cell(int h, int w, long label) {}

  /**
   * Draws the grid: a row for each size.
   *
   * @param names class names by label, for the captions; may be empty
   */
  public RgbImage draw(NitModel model, List<String> names) {
    List<Cell> cells = new ArrayList<>();
    for (int[] size : sizes) {
      for (long label : labels) {
        cells.add(new Cell(size[0], size[1], label));
      }
    }
    List<Trajectory> trajectories = run(model, cells);
    NitConfig config = model.config();
    int p = config.patchSize();
    List<ContactSheet.Cell> drawn = new ArrayList<>();
    int shortest = Integer.MAX_VALUE;
    for (int i = 0; i < cells.size(); i++) {
      Cell cell = cells.get(i);
      float[] latent =
          Tokens.unpatchify(trajectories.get(i).x(), 0, config.inChannels(), cell.h, cell.w, p);
      RgbImage image = decode(latent, cell.h * p, cell.w * p);
      shortest = Math.min(shortest, Math.min(image.height(), image.width()));
      String name =
          cell.label < names.size() ? names.get((int) cell.label) : String.valueOf(cell.label);
      drawn.add(new ContactSheet.Cell(image, name));
    }
    List<List<ContactSheet.Cell>> rows = new ArrayList<>();
    int scale = Math.max(1, ENLARGED_BELOW / shortest);
    for (int i = 0; i < sizes.size(); i++) {
      List<ContactSheet.Cell> row = drawn.subList(i * labels.length, (i + 1) * labels.length);
      scale = Math.min(scale, ContactSheet.largestScale(row, SHEET_WIDTH));
      rows.add(row);
    }
    return ContactSheet.ofGroups(rows, SHEET_WIDTH, scale);
  }

  /** A young model's latents may be of anything; what comes out as no number is drawn grey. */
  private RgbImage decode(float[] latent, int latentH, int latentW) {
    int height = latentH * codec.factor();
    int width = latentW * codec.factor();
    float[] rgb;
    try {
      rgb = codec.decode(latent, latentH, latentW);
    } catch (NonFiniteDecodeException e) {
      LOG.warn("a sample is drawn grey: {}", e.getMessage());
      rgb = new float[3 * height * width];
    }
    for (int i = 0; i < rgb.length; i++) {
      if (Float.isNaN(rgb[i])) {
        rgb[i] = 0;
      }
    }
    return RgbImage.ofPlanes(rgb, height, width);
  }

  private List<Trajectory> run(NitModel model, List<Cell> cells) {
    NitConfig config = model.config();
    boolean guided = guidance.scale() > 1 && config.hasNullClass();
    Guidance used = guided ? guidance : Guidance.NONE;
    List<Trajectory> trajectories = new ArrayList<>();
    for (int i = 0; i < cells.size(); i++) {
      int elements = cells.get(i).h * cells.get(i).w * config.tokenSize();
      double[] start = Seeds.start(seed + i, elements);
      trajectories.add(new Trajectory(SamplerKind.EULER, steps, used, start, null));
    }
    Rope2d rope = new Rope2d();
    while (!trajectories.get(0).done()) {
      step(model, rope, cells, trajectories, trajectories.get(0).guided());
    }
    return trajectories;
  }

  /** One forward of all pictures; with guidance their unconditional twins follow in the pack. */
  private static void step(
      NitModel model, Rope2d rope, List<Cell> cells, List<Trajectory> trajectories, boolean both) {
    NitConfig config = model.config();
    int images = cells.size() * (both ? 2 : 1);
    int[] h = new int[images];
    int[] w = new int[images];
    long[] y = new long[images];
    float[] t = new float[images];
    for (int i = 0; i < images; i++) {
      Cell cell = cells.get(i % cells.size());
      h[i] = cell.h;
      w[i] = cell.w;
      y[i] = i < cells.size() ? cell.label : config.numClasses();
      t[i] = (float) trajectories.get(i % cells.size()).t();
    }
    PackLayout layout = PackLayout.of(h, w);
    int p = config.patchSize();
    float[] x = new float[layout.tokens() * config.tokenSize()];
    for (int i = 0; i < images; i++) {
      double[] state = trajectories.get(i % cells.size()).x();
      int at = layout.start(i) * config.tokenSize();
      for (int j = 0; j < state.length; j++) {
        x[at + j] = (float) state[j];
      }
    }
    float[] v;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      PackIndex pack = PackIndex.of(layout, config, rope, model.device());
      Tensor tokens = Weights.tensor(x, model.device(), layout.tokens(), config.inChannels(), p, p);
      v =
          Weights.floats(
              model
                  .forward(
                      tokens,
                      Weights.tensor(t, model.device(), images),
                      Weights.indices(y, model.device()),
                      pack,
                      false)
                  .v());
    }
    for (int i = 0; i < cells.size(); i++) {
      int cond = layout.start(i) * config.tokenSize();
      int uncond = both ? layout.start(cells.size() + i) * config.tokenSize() : 0;
      trajectories.get(i).advance(v, cond, v, uncond);
    }
  }
}
