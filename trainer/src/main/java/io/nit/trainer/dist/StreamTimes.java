package io.nit.trainer.dist;

import static io.nit.trainer.dist.NcclCollectives.cuda;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;

/**
 * How long a GPU's stream takes between points, added up once they are past; nobody waits for it.
 * For one thread. Owns its events until {@link #close}, which may be called twice.
 */
final class StreamTimes implements AutoCloseable {
  private static final double MILLIS = 1e-3;
  private static final String WHAT = "times of the sums";

  /** From one point of a stream to another. */
  record Span(CUevent_st from, CUevent_st to) {}

  private final Deque<Span> ended = new ArrayDeque<>(); // not past yet, oldest first
  private final List<Span> free = new ArrayList<>();
  private double seconds;

  /** Begins a span at what the stream has so far. */
  Span begin(CUstream_st stream) throws IOException {
    Span span = free.isEmpty() ? new Span(event(), event()) : free.remove(free.size() - 1);
    cuda(cudart.cudaEventRecord(span.from, stream), WHAT);
    return span;
  }

  /** Ends it at what the stream has so far. */
  void end(Span span, CUstream_st stream) throws IOException {
    cuda(cudart.cudaEventRecord(span.to, stream), WHAT);
    ended.add(span);
    collect();
  }

  /** Seconds in spans that are past and were not told before. */
  double take() throws IOException {
    collect();
    double taken = seconds;
    seconds = 0;
    return taken;
  }

  private void collect() throws IOException {
    float[] millis = new float[1];
    while (!ended.isEmpty()) {
      int state = cudart.cudaEventQuery(ended.peek().to);
      if (state == cudart.cudaErrorNotReady) {
        cudart.cudaGetLastError(); // else libtorch's next call would report it
        return;
      }
      cuda(state, WHAT);
      Span span = ended.remove();
      cuda(cudart.cudaEventElapsedTime(millis, span.from, span.to), WHAT);
      seconds += millis[0] * MILLIS;
      free.add(span);
    }
  }

  private static CUevent_st event() throws IOException {
    CUevent_st event = new CUevent_st();
    cuda(cudart.cudaEventCreate(event), WHAT);
    return event;
  }

  @Override
  public void close() {
    free.addAll(ended);
    ended.clear();
    for (Span span : free) {
      cudart.cudaEventDestroy(span.from);
      cudart.cudaEventDestroy(span.to);
    }
    free.clear();
  }
}
