package io.nit.runtime.trt;

import static io.nit.runtime.trt.TensorRtEngine.require;

import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtPlan;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;

/**
 * All kernels of a forward of one shape as a CUDA graph: one launch where there were hundreds. It
 * holds for the state of the context that it was recorded from, which is why it has one of its own.
 */
final class CapturedForward implements AutoCloseable {
  private final CUgraphExec_st graph;
  private final IExecutionContext context;

  private CapturedForward(CUgraphExec_st graph, IExecutionContext context) {
    this.graph = graph;
    this.context = context;
  }

  /**
   * Records what a context puts on the stream, without running it.
   *
   * @param context has run this shape once; closed with the result, stays the caller's on failure
   * @param what for messages
   * @throws TensorRtException if something in it cannot be recorded; the stream is usable again
   */
  static CapturedForward of(CUstream_st stream, IExecutionContext context, String what)
      throws TensorRtException {
    Cuda.check(
        cudart.cudaStreamBeginCapture(stream, cudart.cudaStreamCaptureModeThreadLocal),
        "start of a CUDA graph");
    CUgraph_st recorded = new CUgraph_st();
    TensorRtException failure = null;
    try {
      require(context.enqueueV3(stream), what);
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
      return new CapturedForward(graph, context);
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
    TensorRtPlan.close(context);
  }
}
