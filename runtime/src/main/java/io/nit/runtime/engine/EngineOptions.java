package io.nit.runtime.engine;

/**
 * How a backend is to run.
 *
 * @param threads CPU threads of a forward; 0 for the backend's own choice, which is every core
 */
public record EngineOptions(int threads) {
  /** The backend's own choices. */
  public static final EngineOptions DEFAULT = new EngineOptions(0);

  /** Checks the values. */
  public EngineOptions {
    if (threads < 0 || threads > 1024) {
      throw new IllegalArgumentException("threads: expected 0..1024, found " + threads);
    }
  }
}
