package io.nit.trainer.dist;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.cuda.global.nccl;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Collectives over NCCL, one GPU a rank, on a stream of their own: a sum that was begun runs beside
 * the work that the current stream has meanwhile, and what follows {@link #awaitSums} waits for it
 * on the GPU. Plain numbers, and the id at which NCCL meets, go over {@link SocketCollectives}.
 *
 * <p>Sums take few multiprocessors ({@link SumCtas}), which products beside them can leave free.
 * What nothing runs beside, a gathering, goes over a communicator of its own that takes what NCCL
 * likes.
 *
 * <p>A kernel of NCCL waits without end for a rank that is gone. So a {@link Watchdog} looks on;
 * when a rank is lost it names it, aborts NCCL, which lets this process' own threads come to their
 * ends, and ends the process with code 1 if they do not within {@value #GRACE_SECONDS} seconds.
 *
 * <p>Of {@link #startSum} and its like one thread is the caller.
 */
public final class NcclCollectives implements Collectives {
  private static final Logger LOG = LoggerFactory.getLogger(NcclCollectives.class);
  private static final int GRACE_SECONDS = 20;
  private static final int LOCK_SECONDS = 5;
  private static final int FAILED = 1;
  private static final int MAGIC = 0xcafebeef; // of a ncclConfig_t, as NCCL_CONFIG_INITIALIZER has
  private static final int UNSAID = Integer.MIN_VALUE;
  private static final Duration SIGN_EVERY = Duration.ofSeconds(1);
  private static final Duration SILENCE = Duration.ofSeconds(40);

  private final SocketCollectives control;
  private final byte device;
  private final ReentrantLock lock = new ReentrantLock();
  private Watchdog watchdog;
  private ncclComm comm; // null before and after its life; under the lock
  private ncclComm gathering; // likewise, from the first gathering on
  private int ctas; // bound of comm's multiprocessors, 0 for none
  private CUDAStream pooled; // owns the stream
  private CUstream_st stream;
  private CUevent_st before;
  private CUevent_st after;
  private final List<CUevent_st> gathered = new ArrayList<>(); // the ends of gatherings, by piece
  private final StreamTimes waits = new StreamTimes(); // of the current stream, for this one
  private final StreamTimes busy = new StreamTimes(); // of this one
  private boolean pending;
  private volatile RankLostException lost;
  private volatile boolean leaving; // no rank is missed any more
  private boolean left; // all ranks have come to their ends
  private volatile boolean closed;
  private volatile boolean ended; // closed to the end

  private NcclCollectives(SocketCollectives control, Device device) {
    this.control = control;
    this.device = device.index();
  }

  /**
   * Meets the other ranks.
   *
   * @param ranks more than one
   * @param device {@code cuda:index}, another one for every rank of a host
   * @param patience how long to wait for all of them
   * @throws IOException if they do not come, or NCCL refuses
   */
  public static NcclCollectives meet(Ranks ranks, Device device, Duration patience)
      throws IOException {
    if (!device.is_cuda() || !device.has_index()) {
      throw new IllegalArgumentException(
          "NCCL: expected a device cuda:INDEX, found " + device.str().getString());
    }
    NcclCollectives met = new NcclCollectives(SocketCollectives.meet(ranks, patience), device);
    try {
      SocketCollectives signs = SocketCollectives.meet(ranks, patience);
      met.watchdog = new Watchdog(signs, SIGN_EVERY, SILENCE, met::onLoss);
      met.open(ranks);
      return met;
    } catch (IOException | RuntimeException e) {
      met.close();
      throw e;
    } catch (LinkageError e) {
      met.close();
      throw new IOException(
          "NCCL: expected libnccl.so.2 and JavaCPP's CUDA classes and natives on the class path or"
              + " LD_LIBRARY_PATH (mvn -Pgpu has them), found: "
              + e.getMessage(),
          e);
    }
  }

  private void open(Ranks ranks) throws IOException {
    cuda(cudart.cudaSetDevice(device), "GPU " + device);
    ctas = agreedCtas(SumCtas.of(System.getenv()));
    try (PointerScope scope = new PointerScope()) {
      comm = join(ctas);
      before = event();
      after = event();
      pooled = torch_cuda.getStreamFromPool(true, device);
      pooled.retainReference();
      stream = pooled.stream();
      IntPointer version = new IntPointer(1);
      nccl.ncclGetVersion(version);
      LOG.info(
          "rank {} of {}: NCCL {} on GPU {}, {} multiprocessors for sums beside a backward",
          ranks.rank(),
          ranks.worldSize(),
          version.get(),
          device,
          ctas == 0 ? "any" : "at most " + ctas);
    }
  }

  /** Rank 0's wish; without one a bound where all ranks are on one host, and none elsewhere. */
  private int agreedCtas(OptionalInt wish) throws IOException {
    boolean leads = ranks().leads();
    double[] votes = {
      ranks().rank() == ranks().localRank() ? 0 : 1,
      leads && wish.isPresent() ? 1 : 0,
      leads ? wish.orElse(0) : 0
    };
    control.sum(votes);
    return votes[1] > 0 ? (int) votes[2] : votes[0] == 0 ? SumCtas.OF_A_HOST : 0;
  }

  /** Makes a communicator with all other ranks, which do the same. */
  private ncclComm join(int most) throws IOException {
    byte[] bytes = new byte[nccl.NCCL_UNIQUE_ID_BYTES];
    try (PointerScope scope = new PointerScope()) {
      ncclUniqueId id = new ncclUniqueId();
      BytePointer raw = new BytePointer(id).capacity(bytes.length);
      if (ranks().leads()) {
        checkNccl(nccl.ncclGetUniqueId(id), "an id to meet at");
        raw.get(bytes);
      }
      control.fromFirst(bytes);
      raw.put(bytes);
      ncclConfig_t config = new ncclConfig_t();
      config
          .size(config.sizeof())
          .magic(MAGIC)
          .version(nccl.NCCL_VERSION_CODE)
          .blocking(UNSAID)
          .cgaClusterSize(UNSAID)
          .minCTAs(UNSAID)
          .maxCTAs(most == 0 ? UNSAID : most)
          .netName(null)
          .splitShare(UNSAID);
      ncclComm made = new ncclComm();
      int result =
          nccl.ncclCommInitRankConfig(made, ranks().worldSize(), id, ranks().rank(), config);
      throwIfLost();
      checkNccl(result, "rank " + ranks().rank() + " on GPU " + device);
      return made;
    }
  }

  private static CUevent_st event() throws IOException {
    CUevent_st event = new CUevent_st();
    cuda(cudart.cudaEventCreateWithFlags(event, cudart.cudaEventDisableTiming), "an event");
    return event;
  }

  /** On the watchdog's thread. */
  private void onLoss(RankLostException loss) {
    if (leaving || closed) {
      return;
    }
    lost = loss;
    LOG.error("{}", loss.getMessage());
    endAnyhow(loss.getMessage());
    try {
      // Held for long only by a call that waits for the lost rank.
      if (lock.tryLock(LOCK_SECONDS, TimeUnit.SECONDS)) {
        try {
          abort();
        } finally {
          lock.unlock();
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Ends the process unless this is closed in time; NCCL's own end may not come either. */
  private void endAnyhow(String why) {
    Thread last =
        new Thread(
            () -> {
              try {
                TimeUnit.SECONDS.sleep(GRACE_SECONDS);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
              if (!ended) {
                LOG.error("ended, as this rank's work does not end by itself: {}", why);
                Runtime.getRuntime().halt(FAILED);
              }
            },
            "rank-end");
    last.setDaemon(true);
    last.start();
  }

  /**
   * With the lock. Both communicators as one group: each is told before one is waited for, since
   * freeing what is one's waits for the GPU, and so for the other's kernels.
   */
  private void abort() {
    if (comm == null && gathering == null) {
      return;
    }
    cudart.cudaSetDevice(device);
    nccl.ncclGroupStart();
    if (comm != null) {
      nccl.ncclCommAbort(comm);
      comm = null;
    }
    if (gathering != null) {
      nccl.ncclCommAbort(gathering);
      gathering = null;
    }
    nccl.ncclGroupEnd();
  }

  @Override
  public Ranks ranks() {
    return control.ranks();
  }

  private interface Calls {
    void make() throws IOException;
  }

  /** Puts NCCL's calls, as one group, on its stream behind what the current stream has so far. */
  private void group(String what, Calls calls) throws IOException {
    lock.lock();
    try (PointerScope scope = new PointerScope()) {
      requireOpen();
      CUstream_st compute = torch_cuda.getCurrentCUDAStream(device).stream();
      cuda(cudart.cudaEventRecord(before, compute), what);
      cuda(cudart.cudaStreamWaitEvent(stream, before, 0), what);
      StreamTimes.Span span = busy.begin(stream);
      checkNccl(nccl.ncclGroupStart(), what);
      try {
        calls.make();
      } finally {
        checkNccl(nccl.ncclGroupEnd(), what);
      }
      busy.end(span, stream);
      pending = true;
    } finally {
      lock.unlock();
    }
  }

  /** One of NCCL's calls on one tensor, in place; gives back NCCL's result. */
  private interface SumCall {
    int make(Pointer values, long count);
  }

  private void startSums(Collection<Tensor> tensors, SumCall call) throws IOException {
    group(
        "a sum",
        () -> {
          for (Tensor tensor : tensors) {
            checkNccl(call.make(values(tensor), tensor.numel()), "a sum");
          }
        });
  }

  @Override
  public void startSum(Collection<Tensor> tensors) throws IOException {
    startSums(
        tensors,
        (values, count) ->
            nccl.ncclAllReduce(
                values, values, count, nccl.ncclFloat32, nccl.ncclSum, comm, stream));
  }

  @Override
  public void startSum(Collection<Tensor> tensors, int owner) throws IOException {
    startSums(
        tensors,
        (values, count) ->
            nccl.ncclReduce(
                values, values, count, nccl.ncclFloat32, nccl.ncclSum, owner, comm, stream));
  }

  @Override
  public void awaitSums() throws IOException {
    lock.lock();
    try (PointerScope scope = new PointerScope()) {
      requireOpen();
      if (pending) {
        cuda(cudart.cudaEventRecord(after, stream), "the end of a sum");
        await(after, "the end of a sum");
        pending = false;
      }
    } finally {
      lock.unlock();
    }
  }

  /** With the lock: what follows on the current stream waits for an event. */
  private void await(CUevent_st event, String what) throws IOException {
    CUstream_st compute = torch_cuda.getCurrentCUDAStream(device).stream();
    StreamTimes.Span span = waits.begin(compute);
    cuda(cudart.cudaStreamWaitEvent(compute, event, 0), what);
    waits.end(span, compute);
  }

  @Override
  public void sum(double[] values) throws IOException {
    throwIfLost();
    control.sum(values);
  }

  @Override
  public void from(int root, Collection<Tensor> tensors) throws IOException {
    group(
        "a broadcast",
        () -> {
          for (Tensor tensor : tensors) {
            broadcast(comm, values(tensor), tensor.numel(), root);
          }
        });
    awaitSums();
  }

  private void broadcast(ncclComm over, Pointer values, long count, int root) throws IOException {
    checkNccl(
        nccl.ncclBroadcast(values, values, count, nccl.ncclFloat32, root, over, stream),
        "a broadcast");
  }

  @Override
  public void gather(Tensor whole, Partition parts) throws IOException {
    prepareGathers();
    group(
        "a gathering",
        () -> {
          Pointer values = values(whole);
          long size = parts.size();
          if (size > 0) {
            checkNccl(
                nccl.ncclAllGather(
                    at(values, parts.from(ranks().rank())),
                    values,
                    size,
                    nccl.ncclFloat32,
                    gathering,
                    stream),
                "a gathering");
          }
          int last = parts.parts() - 1;
          long rest = parts.from(last) + size;
          if (rest < parts.elements()) {
            broadcast(gathering, at(values, rest), parts.elements() - rest, last);
          }
        });
    awaitSums();
  }

  @Override
  public void startGather(Tensor whole, Partition parts, int piece, int pieces) throws IOException {
    prepareGathers();
    group(
        "a gathering",
        () -> {
          Pointer values = values(whole);
          int own = ranks().rank();
          long sent = parts.piece(own, piece, pieces);
          long count = parts.piece(own, piece + 1, pieces) - sent;
          // A rank sends while it receives; broadcasts, one a rank, would take turns.
          for (int peer = 0; peer < parts.parts(); peer++) {
            long from = parts.piece(peer, piece, pieces);
            long size = parts.piece(peer, piece + 1, pieces) - from;
            if (peer != own && count > 0) {
              checkNccl(
                  nccl.ncclSend(at(values, sent), count, nccl.ncclFloat32, peer, gathering, stream),
                  "a gathering");
            }
            if (peer != own && size > 0) {
              checkNccl(
                  nccl.ncclRecv(at(values, from), size, nccl.ncclFloat32, peer, gathering, stream),
                  "a gathering");
            }
          }
        });
    while (gathered.size() <= piece) {
      gathered.add(event());
    }
    cuda(cudart.cudaEventRecord(gathered.get(piece), stream), "a gathering");
  }

  @Override
  public void awaitGather(int piece) throws IOException {
    lock.lock();
    try (PointerScope scope = new PointerScope()) {
      requireOpen();
      await(gathered.get(piece), "a gathering");
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void prepareGathers() throws IOException {
    requireOpen();
    if (gathering == null) {
      ncclComm made = join(0); // without the lock, as it waits for the others
      lock.lock();
      try {
        gathering = made;
      } finally {
        lock.unlock();
      }
    }
  }

  private static Pointer at(Pointer values, long element) {
    return new BytePointer(values).position(element * Float.BYTES);
  }

  private Pointer values(Tensor tensor) {
    if (!tensor.is_contiguous()
        || !tensor.is_cuda()
        || tensor.device().index() != device
        || tensor.scalar_type().intern() != torch.ScalarType.Float) {
      throw new IllegalArgumentException(
          "collectives: expected a contiguous float32 tensor on GPU " + device);
    }
    return tensor.data_ptr();
  }

  @Override
  public Optional<Times> takeTimes() throws IOException {
    lock.lock();
    try {
      return Optional.of(new Times(waits.take(), busy.take()));
    } finally {
      lock.unlock();
    }
  }

  @Override
  public int multiprocessors() {
    return ctas;
  }

  @Override
  public void requireAll() throws RankLostException {
    throwIfLost();
  }

  private void throwIfLost() throws RankLostException {
    RankLostException loss = lost;
    if (loss != null) {
      throw new RankLostException(loss.getMessage(), loss);
    }
  }

  private void requireOpen() throws RankLostException {
    throwIfLost();
    if (closed) {
      throw new IllegalStateException("NcclCollectives is closed");
    }
  }

  @Override
  public void leave() throws IOException {
    throwIfLost();
    cuda(cudart.cudaStreamSynchronize(stream), "the last sums");
    leaving = true;
    control.sum(new double[1]);
    left = true;
  }

  private void checkNccl(int result, String what) throws IOException {
    if (result == nccl.ncclSuccess) {
      return;
    }
    throwIfLost();
    BytePointer text = nccl.ncclGetErrorString(result);
    BytePointer more = nccl.ncclGetLastError(comm);
    throw new IOException(
        "NCCL: "
            + what
            + ": "
            + (text == null ? "error " + result : text.getString())
            + (more == null || more.getString().isEmpty() ? "" : ", " + more.getString()));
  }

  /** Throws if a call of CUDA failed. */
  static void cuda(int error, String what) throws IOException {
    if (error != cudart.cudaSuccess) {
      throw new IOException("CUDA: " + what + ": " + cudart.cudaGetErrorString(error).getString());
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    // The others are told first: what follows may wait for them.
    if (watchdog != null) {
      watchdog.close();
    }
    control.close();
    endAnyhow("NCCL's own end");
    lock.lock();
    try {
      if (left) {
        destroy();
      }
      abort();
      waits.close();
      busy.close();
      if (before != null) {
        cudart.cudaEventDestroy(before);
        before = null;
      }
      if (after != null) {
        cudart.cudaEventDestroy(after);
        after = null;
      }
      gathered.forEach(cudart::cudaEventDestroy);
      gathered.clear();
      if (pooled != null) {
        pooled.close();
        pooled = null;
      }
    } finally {
      lock.unlock();
      ended = true;
    }
  }

  /** With the lock, after all ranks have come to their ends. */
  private void destroy() {
    if (gathering != null) {
      nccl.ncclCommDestroy(gathering);
      gathering = null;
    }
    if (comm != null) {
      nccl.ncclCommDestroy(comm);
      comm = null;
    }
  }
}
