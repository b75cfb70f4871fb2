package io.nit.runtime.trt;

import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;

/** All kernels of a forward of one shape as a CUDA graph: one launch where there were hundreds. */
final class CapturedForward implements AutoCloseable {
  /** Puts a forward's work on the stream. */
  @FunctionalInterface
  interface Work {
    void enqueue() throws TensorRtException;
  }

  private final CUgraphExec_st graph;

  private CapturedForward(CUgraphExec_st graph) {
    this.graph = graph;
  }

  /**
   * Records what {@code work} puts on the stream, without running it.
   *
   * @throws TensorRtException if something in it cannot be recorded; the stream is usable again
   */
  static CapturedForward of(CUstream_st stream, Work work) throws TensorRtException {
    Cuda.check(
        cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureModeThreadLocal),
        "start of a CUDA graph");
    CUgraph_st recorded = new CUgraph_st();
    TensorRtException failure = null;
    try {
      work.enqueue();
    } catch (TensorRtException e) {
      failure = e;
    }
    int error = cudart.cudaStreamEndCapture(stream, recorded);
    try {
      if (failure != null) {
        throw failure;
      }
      Cuda.check(error, "end of a CUDA graph");
      CUgraphExec_st graph = new CUgraphExec_st();
      Cuda.check(cudart.cudaGraphInstantiate(graph, recorded, 0L), "CUDA graph");
      return new CapturedForward(graph);
    } catch (TensorRtException e) {
      cudart.cudaGetLastError(); // else the next call would report it again
      throw e;
    } finally {
      if (!recorded.isNull()) {
        cudart.cudaGraphDestroy(recorded);
      }
    }
  }

  /** Puts the forward on the stream. */
  void launch(CUstream_st stream) throws TensorRtException {
    Cuda.check(cudart.cudaGraphLaunch(graph, stream), "launch of a CUDA graph");
  }

  @Override
  public void close() {
    if (!graph.isNull()) {
      cudart.cudaGraphExecDestroy(graph);
      graph.setNull();
    }
  }
}
