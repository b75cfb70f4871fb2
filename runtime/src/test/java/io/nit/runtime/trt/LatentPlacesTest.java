package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Trajectory;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import io.nit.runtime.engine.StepInputs;
import io.nit.runtime.trt.LatentPlaces.Placed;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class LatentPlacesTest {
  private static final int TOKEN = 3;
  private static final int CAPACITY = 10 * TOKEN;

  private final LatentPlaces places = new LatentPlaces(CAPACITY, TOKEN);

  private static Trajectory image(SamplerKind kind, int tokens, Guidance guidance) {
    return new Trajectory(kind, 3, guidance, new double[tokens * TOKEN], step -> new double[0]);
  }

  private static StepInputs inputs(List<Trajectory> images) {
    List<Integer> tokens = new ArrayList<>();
    images.forEach(image -> tokens.add(image.elements() / TOKEN));
    images.stream()
        .filter(Trajectory::guided)
        .forEach(image -> tokens.add(image.elements() / TOKEN));
    int[] w = tokens.stream().mapToInt(Integer::intValue).toArray();
    int[] h = new int[w.length];
    Arrays.fill(h, 1);
    PackLayout layout = PackLayout.of(h, w);
    RopeTables rope =
        new RopeTables(
            new float[2 * layout.tokens()], new float[2 * layout.tokens()], layout.tokens(), 2);
    return new StepInputs(layout, new float[w.length], new long[w.length], rope, images);
  }

  private List<Placed> step(Trajectory... images) {
    List<Placed> placed = places.place(inputs(List.of(images)));
    places.moved(placed);
    placed.forEach(one -> one.image().advanceElsewhere());
    return placed;
  }

  private static void assertPlace(Placed placed, int first, int second, int from, int to) {
    assertEquals(
        List.of(first * TOKEN, second < 0 ? -1L : second * TOKEN, from * TOKEN, to * TOKEN)
            .toString(),
        List.of(placed.first(), placed.second(), placed.from(), placed.to()).toString());
  }

  @Test
  void imagesComeMoveAndGo() {
    Trajectory a = image(SamplerKind.EULER, 2, Guidance.NONE);
    Trajectory b = image(SamplerKind.EULER, 3, new Guidance(2, 0, 0.9));
    Trajectory c = image(SamplerKind.HEUN, 1, Guidance.NONE);
    List<Placed> placed = step(a, b);
    assertPlace(placed.get(0), 0, -1, 20, 0);
    assertPlace(placed.get(1), 2, -1, 22, 2);
    placed = step(a, b); // b is guided from t = 2/3 on
    assertPlace(placed.get(0), 0, -1, 0, 10);
    assertPlace(placed.get(1), 2, 5, 2, 12);
    placed = step(c, b); // a leaves before its last step
    assertPlace(placed.get(0), 0, -1, 20, 0);
    assertPlace(placed.get(1), 1, 4, 12, 1);
    assertTrue(placed.get(1).move().last());
    placed = step(c);
    assertPlace(placed.get(0), 0, -1, 0, 10);
  }

  @Test
  void valuesThatAreNowhereAreRefused() {
    Trajectory left = image(SamplerKind.EULER, 2, Guidance.NONE);
    Trajectory other = image(SamplerKind.EULER, 2, Guidance.NONE);
    step(left);
    step(other);
    String message = assertThrows(IllegalStateException.class, () -> step(left)).getMessage();
    assertTrue(message.contains("image 0: expected its values with the host"), message);
    assertEquals(2 * TOKEN, places.place(inputs(List.of(other))).get(0).image().elements());

    Trajectory between = image(SamplerKind.HEUN, 1, Guidance.NONE);
    between.advance(new float[TOKEN], 0, null, 0);
    assertThrows(IllegalStateException.class, () -> step(between));

    Trajectory large = image(SamplerKind.EULER, 2, Guidance.NONE);
    StepInputs in = inputs(List.of(large));
    String size =
        assertThrows(IllegalArgumentException.class, () -> new LatentPlaces(40, 4).place(in))
            .getMessage();
    assertTrue(size.contains("expected 8 values, found 6"), size);
  }
}
