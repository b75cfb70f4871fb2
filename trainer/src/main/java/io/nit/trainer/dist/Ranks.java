package io.nit.trainer.dist;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * This process among those that train together, as torchrun, Slurm scripts and Kubernetes jobs say
 * it in the environment.
 *
 * @param rank {@code RANK}, 0..worldSize-1; rank 0 writes checkpoints, metrics and samples
 * @param worldSize {@code WORLD_SIZE}
 * @param localRank {@code LOCAL_RANK}, which GPU of its host it takes
 * @param masterAddr {@code MASTER_ADDR}, host of rank 0
 * @param masterPort {@code MASTER_PORT}, on which rank 0 listens
 */
public record Ranks(int rank, int worldSize, int localRank, String masterAddr, int masterPort) {
  private static final List<String> NAMES =
      List.of("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT");

  /** Checks the values against each other. */
  public Ranks {
    if (worldSize < 1 || worldSize > 1 << 16) {
      throw new IllegalArgumentException("WORLD_SIZE: expected 1..65536, found " + worldSize);
    }
    if (rank < 0 || rank >= worldSize) {
      throw new IllegalArgumentException(
          "RANK: expected 0.." + (worldSize - 1) + " (WORLD_SIZE - 1), found " + rank);
    }
    if (localRank < 0) {
      throw new IllegalArgumentException("LOCAL_RANK: expected 0 or more, found " + localRank);
    }
    if (worldSize > 1 && (masterPort < 1 || masterPort > 65535)) {
      throw new IllegalArgumentException("MASTER_PORT: expected 1..65535, found " + masterPort);
    }
  }

  /** One process on its own. */
  public static Ranks alone() {
    return new Ranks(0, 1, 0, "", 0);
  }

  /**
   * What the environment says; one process on its own where it says nothing of ranks.
   *
   * @throws IllegalArgumentException if a part of it is missing or is no number
   */
  public static Ranks of(Map<String, String> environment) {
    if (!environment.containsKey("RANK") && !environment.containsKey("WORLD_SIZE")) {
      return alone();
    }
    List<String> missing = new ArrayList<>(NAMES);
    missing.removeIf(environment::containsKey);
    boolean single = "1".equals(environment.get("WORLD_SIZE"));
    if (single) {
      missing.removeAll(List.of("MASTER_ADDR", "MASTER_PORT"));
    }
    if (!missing.isEmpty()) {
      throw new IllegalArgumentException(
          "environment: expected "
              + String.join(", ", NAMES)
              + " together, found no "
              + String.join(", ", missing)
              + "; start with torchrun's variables or with --nproc");
    }
    int rank = number(environment, "RANK");
    return new Ranks(
        rank,
        number(environment, "WORLD_SIZE"),
        environment.containsKey("LOCAL_RANK") ? number(environment, "LOCAL_RANK") : 0,
        environment.getOrDefault("MASTER_ADDR", ""),
        single ? 0 : number(environment, "MASTER_PORT"));
  }

  private static int number(Map<String, String> environment, String name) {
    try {
      return Integer.parseInt(environment.get(name).strip());
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          name + ": expected a number, found '" + environment.get(name) + "'", e);
    }
  }

  /** Whether this process writes checkpoints, metrics and samples. */
  public boolean leads() {
    return rank == 0;
  }
}
