package io.nit.trainer.checkpoint;

import io.nit.core.io.FileTree;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The checkpoints of one run, folders {@code step-0000100} in step order. A folder gets that name
 * only when all of it is on the disk, and loses it before any of it is deleted, so a kill at any
 * moment leaves none that looks complete and is not.
 */
public final class CheckpointStore {
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointStore.class);
  private static final Pattern NAME = Pattern.compile("step-(\\d{7,})");
  private static final String UNFINISHED = ".unfinished-";

  private final Path folder;
  private final int keep;
  private final long milestoneEvery;

  /** A store without milestones. */
  public CheckpointStore(Path folder, int keep) {
    this(folder, keep, 0);
  }

  /**
   * A store; nothing is written yet.
   *
   * @param folder where the checkpoints lie
   * @param keep how many of the last to keep, 1 or more
   * @param milestoneEvery checkpoints of multiples of this step are kept for good and not counted
   *     among those; 0 for none
   */
  public CheckpointStore(Path folder, int keep, long milestoneEvery) {
    if (keep < 1) {
      throw new IllegalArgumentException("--keep: expected 1 or more, found " + keep);
    }
    if (milestoneEvery < 0) {
      throw new IllegalArgumentException(
          "--milestone-every: expected 0 or more, found " + milestoneEvery);
    }
    this.folder = folder;
    this.keep = keep;
    this.milestoneEvery = milestoneEvery;
  }

  /**
   * Saves a checkpoint and drops the oldest beyond those to keep. One of the same step is replaced.
   *
   * @return its folder
   * @throws IOException if writing fails; earlier checkpoints stay
   */
  Path save(Snapshot.Values values, ModelFile description, TrainingState state) throws IOException {
    Files.createDirectories(folder);
    clear();
    Path target = folder.resolve(String.format("step-%07d", state.step()));
    Path unfinished = folder.resolve(UNFINISHED + target.getFileName());
    Files.createDirectory(unfinished);
    try {
      Checkpoint.write(unfinished, values, description, state);
    } catch (FileSystemException e) {
      FileTree.delete(unfinished);
      throw e;
    } catch (IOException e) {
      FileTree.delete(unfinished);
      throw new IOException(
          "cannot write checkpoint "
              + target
              + " (about "
              + (Checkpoint.bytes(values) >> 20)
              + " MiB): "
              + e.getMessage(),
          e);
    }
    force(unfinished);
    remove(target);
    Files.move(unfinished, target, StandardCopyOption.ATOMIC_MOVE);
    force(folder);
    List<Path> passing = list().stream().filter(path -> !isMilestone(step(path))).toList();
    for (Path old : passing.subList(0, Math.max(0, passing.size() - keep))) {
      remove(old);
    }
    return target;
  }

  /** The newest checkpoint that can be read; ones that cannot are named in the log. */
  public Optional<Checkpoint> newest() throws IOException {
    List<Path> all = list();
    for (int i = all.size() - 1; i >= 0; i--) {
      try {
        return Optional.of(Checkpoint.open(all.get(i)));
      } catch (IOException e) {
        LOG.warn("passing over a damaged checkpoint: {}", e.getMessage());
      }
    }
    return Optional.empty();
  }

  /** Folders of the checkpoints, oldest first. */
  public List<Path> list() throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      List<Path> found = new ArrayList<>(entries.filter(p -> step(p) >= 0).toList());
      found.sort(Comparator.comparingLong(CheckpointStore::step));
      return found;
    }
  }

  private boolean isMilestone(long step) {
    return milestoneEvery > 0 && step % milestoneEvery == 0;
  }

  private static long step(Path path) {
    var matcher = NAME.matcher(path.getFileName().toString());
    return matcher.matches() ? Long.parseLong(matcher.group(1)) : -1;
  }

  private void remove(Path checkpoint) throws IOException {
    if (Files.exists(checkpoint)) {
      Path doomed = folder.resolve(UNFINISHED + "old-" + checkpoint.getFileName());
      Files.move(checkpoint, doomed, StandardCopyOption.ATOMIC_MOVE);
      FileTree.delete(doomed);
    }
  }

  /** Deletes what a kill left behind. */
  private void clear() throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      for (Path path : entries.toList()) {
        if (path.getFileName().toString().startsWith(UNFINISHED)) {
          FileTree.delete(path);
        }
      }
    }
  }

  private static void force(Path folder) throws IOException {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }
}
