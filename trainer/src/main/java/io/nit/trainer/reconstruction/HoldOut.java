package io.nit.trainer.reconstruction;

import io.nit.core.io.Sha256;
import io.nit.trainer.data.PictureSet;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Which pictures are trained on and which only measured. Held out are those whose paths have the
 * smallest hashes, so that the same folder has the same ones in every run, and a new picture moves
 * one of them at most.
 *
 * @param trained indices into the set, in its order
 * @param heldOut indices into the set, by hash
 */
public record HoldOut(int[] trained, int[] heldOut) {
  /** What is held out where nothing else was asked for: 32 pictures or 5 %, if that is fewer. */
  public static int usual(int pictures) {
    return Math.min(32, pictures / 20);
  }

  /**
   * Parts a set.
   *
   * @param count how many to hold out; fewer than there are
   */
  public static HoldOut of(PictureSet set, int count) {
    if (count < 0 || count >= set.size()) {
      throw new IllegalArgumentException(
          "--validation: expected 0.."
              + (set.size() - 1)
              + " of "
              + set.size()
              + " pictures, found "
              + count);
    }
    List<Integer> byHash =
        IntStream.range(0, set.size())
            .boxed()
            .sorted(Comparator.comparing(i -> Sha256.of(set.name(i))))
            .toList();
    int[] heldOut = byHash.stream().limit(count).mapToInt(Integer::intValue).toArray();
    int[] trained = byHash.stream().skip(count).mapToInt(Integer::intValue).sorted().toArray();
    return new HoldOut(trained, heldOut);
  }

  /** The held-out ones, filled up with trained ones to {@code least} where there are as many. */
  int[] atLeast(int least) {
    int missing = Math.min(trained.length, Math.max(0, least - heldOut.length));
    int[] all = Arrays.copyOf(heldOut, heldOut.length + missing);
    System.arraycopy(trained, 0, all, heldOut.length, missing);
    return all;
  }
}
