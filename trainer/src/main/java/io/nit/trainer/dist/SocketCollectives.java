package io.nit.trainer.dist;

import java.io.EOFException;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.SocketOption;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Collectives over TCP, for training on CPUs and for what ranks of any kind have to say to each
 * other: every rank is connected to rank 0, which adds in the order of ranks and sends the sums
 * back. libtorch's own way, Gloo, is in its Java bindings without the store over TCP that its ranks
 * would meet at; it also does not name the rank that is lost.
 *
 * <p>Bytes, little endian. A rank says once {@code "NITR"}, version (int32, 1), its rank and its
 * world size (int32 each); rank 0 answers with one message. Every message is a tag (one byte), a
 * length in bytes (int32) and the payload: tag 0 values, tag 1 the reason of an end, UTF-8. When a
 * rank is lost, rank 0 tells the others which one.
 *
 * <p>The death of a process is seen at once by its closed connection, that of a host by keep-alive
 * probes within a minute.
 */
public final class SocketCollectives implements Collectives {
  private static final Logger LOG = LoggerFactory.getLogger(SocketCollectives.class);
  private static final int MAGIC = 0x5254494e; // "NITR"
  private static final int VERSION = 1;
  private static final byte VALUES = 0;
  private static final byte END = 1;
  private static final int CHUNK_BYTES = 1 << 22;
  private static final int CHUNK_FLOATS = CHUNK_BYTES / Float.BYTES;
  private static final int HEADER_BYTES = 5;
  private static final int MOST_WORDS = 4096;

  private final Ranks ranks;
  // Of rank 0: one a rank, its own place empty. Of others: rank 0's at 0.
  private final SocketChannel[] peers;
  private final ByteBuffer header = buffer(HEADER_BYTES);
  private final ByteBuffer received = buffer(CHUNK_BYTES);
  private final ByteBuffer summed = buffer(CHUNK_BYTES);
  private volatile int awaited = -1;
  private volatile boolean closed;

  private SocketCollectives(Ranks ranks, SocketChannel[] peers) {
    this.ranks = ranks;
    this.peers = peers;
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Meets the other ranks: rank 0 listens, the others connect.
   *
   * @param ranks more than one
   * @param patience how long to wait for all of them
   * @throws IOException if they do not come, or one is of another world; the message names it
   */
  public static SocketCollectives meet(Ranks ranks, Duration patience) throws IOException {
    long deadline = System.nanoTime() + patience.toNanos();
    SocketChannel[] peers = new SocketChannel[ranks.leads() ? ranks.worldSize() : 1];
    SocketCollectives met = new SocketCollectives(ranks, peers);
    try {
      if (ranks.leads()) {
        met.listen(deadline);
      } else {
        met.connect(deadline);
      }
      LOG.info("rank {} of {} has met the others", ranks.rank(), ranks.worldSize());
      return met;
    } catch (IOException | RuntimeException e) {
      met.close();
      throw e;
    }
  }

  private void listen(long deadline) throws IOException {
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.setOption(StandardSocketOptions.SO_REUSEADDR, true);
      server.bind(listeningAddress(), ranks.worldSize());
      server.configureBlocking(false);
      int come = 1;
      while (come < ranks.worldSize()) {
        SocketChannel channel = server.accept();
        if (channel == null) {
          if (System.nanoTime() > deadline) {
            throw new IOException(
                "rank 0: expected "
                    + ranks.worldSize()
                    + " ranks on port "
                    + ranks.masterPort()
                    + ", found "
                    + come
                    + "; absent: "
                    + absent());
          }
          pause();
          continue;
        }
        come += greet(channel) ? 1 : 0;
      }
    }
    for (int i = 1; i < peers.length; i++) {
      send(i, VALUES, buffer(0));
    }
  }

  /**
   * Where all ranks are on this host, nobody else can connect. A master's address may otherwise be
   * one that only others know, as a Kubernetes service's is, so that rank 0 listens on all of its
   * own.
   */
  private InetSocketAddress listeningAddress() {
    InetSocketAddress master = new InetSocketAddress(ranks.masterAddr(), ranks.masterPort());
    return !master.isUnresolved() && master.getAddress().isLoopbackAddress()
        ? master
        : new InetSocketAddress(ranks.masterPort());
  }

  /** Whether a connection is one of ours; strangers are turned away. */
  private boolean greet(SocketChannel channel) throws IOException {
    channel.configureBlocking(true);
    channel.socket().setSoTimeout(5000);
    ByteBuffer hello = buffer(16);
    try {
      // Through the stream, whose reads have a timeout.
      byte[] bytes = channel.socket().getInputStream().readNBytes(16);
      hello.put(bytes).flip();
      if (bytes.length < 16 || hello.getInt() != MAGIC || hello.getInt() != VERSION) {
        LOG.warn("turned away {}: not a rank of nit-train", channel.getRemoteAddress());
        channel.close();
        return false;
      }
    } catch (IOException e) {
      LOG.warn("turned away {}: {}", channel.getRemoteAddress(), e.getMessage());
      channel.close();
      return false;
    }
    int rank = hello.getInt();
    int world = hello.getInt();
    channel.socket().setSoTimeout(0);
    if (world != ranks.worldSize() || rank < 1 || rank >= world || peers[rank] != null) {
      String reason =
          world != ranks.worldSize()
              ? "WORLD_SIZE: expected " + ranks.worldSize() + " as rank 0 has it, found " + world
              : "RANK: expected one of " + absent() + ", found " + rank;
      peers[0] = channel; // only to answer on it
      end(0, reason);
      peers[0] = null;
      channel.close();
      throw new IOException(reason + " of a rank at " + channel);
    }
    settle(channel);
    peers[rank] = channel;
    return true;
  }

  private String absent() {
    StringBuilder names = new StringBuilder();
    for (int i = 1; i < peers.length; i++) {
      if (peers[i] == null) {
        names.append(names.length() == 0 ? "" : ", ").append(i);
      }
    }
    return names.toString();
  }

  private void connect(long deadline) throws IOException {
    InetSocketAddress master = new InetSocketAddress(ranks.masterAddr(), ranks.masterPort());
    while (peers[0] == null) {
      SocketChannel channel = SocketChannel.open();
      try {
        channel.connect(master);
        peers[0] = channel;
      } catch (ConnectException | UnresolvedAddressException e) {
        channel.close();
        if (System.nanoTime() > deadline) {
          throw new IOException(
              "rank "
                  + ranks.rank()
                  + ": expected rank 0 at "
                  + ranks.masterAddr()
                  + ":"
                  + ranks.masterPort()
                  + ", found nobody: "
                  + e.getMessage(),
              e);
        }
        pause();
        if (master.isUnresolved()) {
          master = new InetSocketAddress(ranks.masterAddr(), ranks.masterPort());
        }
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
    }
    settle(peers[0]);
    ByteBuffer hello = buffer(16);
    hello.putInt(MAGIC).putInt(VERSION).putInt(ranks.rank()).putInt(ranks.worldSize()).flip();
    write(peers[0], hello);
    receive(0, buffer(0));
  }

  private static void settle(SocketChannel channel) throws IOException {
    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
    channel.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
    set(channel, "TCP_KEEPIDLE", 20);
    set(channel, "TCP_KEEPINTERVAL", 10);
    set(channel, "TCP_KEEPCOUNT", 3);
  }

  /** By name: the module that has these options' constants is not in every runtime image. */
  @SuppressWarnings("unchecked")
  private static void set(SocketChannel channel, String name, int value) throws IOException {
    for (SocketOption<?> option : channel.supportedOptions()) {
      if (option.name().equals(name) && option.type() == Integer.class) {
        channel.setOption((SocketOption<Integer>) option, value);
      }
    }
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(50);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while waiting for the other ranks", e);
    }
  }

  @Override
  public Ranks ranks() {
    return ranks;
  }

  @Override
  public void startSum(Collection<Tensor> tensors) throws IOException {
    open();
    for (Tensor tensor : tensors) {
      for (long from = 0; from < tensor.numel(); from += CHUNK_FLOATS) {
        sumFloats(floats(tensor, from));
      }
    }
  }

  @Override
  public void awaitSums() {}

  private void sumFloats(FloatBuffer values) throws IOException {
    int count = values.remaining();
    summed.clear().limit(count * 4);
    FloatBuffer sums = summed.asFloatBuffer();
    sums.put(0, values, 0, count);
    if (ranks.leads()) {
      for (int rank = 1; rank < peers.length; rank++) {
        received.clear().limit(count * 4);
        receive(rank, received);
        FloatBuffer others = received.flip().asFloatBuffer();
        for (int i = 0; i < count; i++) {
          sums.put(i, sums.get(i) + others.get(i));
        }
      }
      sendAll();
    } else {
      exchange();
    }
    values.put(0, summed.asFloatBuffer(), 0, count);
  }

  @Override
  public void sum(double[] values) throws IOException {
    open();
    summed.clear().limit(values.length * 8);
    summed.asDoubleBuffer().put(values);
    if (ranks.leads()) {
      for (int rank = 1; rank < peers.length; rank++) {
        received.clear().limit(values.length * 8);
        receive(rank, received);
        received.flip();
        for (int i = 0; i < values.length; i++) {
          summed.putDouble(i * 8, summed.getDouble(i * 8) + received.getDouble(i * 8));
        }
      }
      sendAll();
    } else {
      exchange();
    }
    summed.asDoubleBuffer().get(values);
  }

  @Override
  public void from(int root, Collection<Tensor> tensors) throws IOException {
    open();
    for (Tensor tensor : tensors) {
      for (long from = 0; from < tensor.numel(); from += CHUNK_FLOATS) {
        FloatBuffer values = floats(tensor, from);
        int count = values.remaining();
        summed.clear().limit(count * Float.BYTES);
        summed.asFloatBuffer().put(0, values, 0, count);
        pass(root);
        values.put(0, summed.asFloatBuffer(), 0, count);
      }
    }
  }

  /** The bytes become rank 0's. */
  void fromFirst(byte[] bytes) throws IOException {
    open();
    summed.clear().limit(bytes.length);
    summed.put(bytes).rewind();
    pass(0);
    summed.get(bytes);
  }

  /** {@code summed} becomes that of {@code root}, by way of rank 0. */
  private void pass(int root) throws IOException {
    if (ranks.leads()) {
      if (root != 0) {
        receive(root, summed.rewind());
      }
      for (int rank = 1; rank < peers.length; rank++) {
        if (rank != root) {
          send(rank, VALUES, summed.rewind());
        }
      }
    } else if (ranks.rank() == root) {
      send(0, VALUES, summed.rewind());
    } else {
      receive(0, summed.rewind());
    }
    summed.rewind();
  }

  /** Sends {@code summed} to every other rank. */
  private void sendAll() throws IOException {
    for (int rank = 1; rank < peers.length; rank++) {
      send(rank, VALUES, summed.rewind());
    }
    summed.rewind();
  }

  /** Sends {@code summed} to rank 0 and takes its answer into the same place. */
  private void exchange() throws IOException {
    send(0, VALUES, summed.rewind());
    receive(0, summed.rewind());
    summed.rewind();
  }

  /** The next values of a tensor, at most a message of them. */
  private static FloatBuffer floats(Tensor tensor, long from) {
    if (!tensor.is_contiguous() || tensor.is_cuda()) {
      throw new IllegalArgumentException("collectives: expected a contiguous tensor on the CPU");
    }
    long count = Math.min(CHUNK_FLOATS, tensor.numel() - from);
    FloatPointer values = new FloatPointer(tensor.data_ptr_float());
    // Not by a position, which JavaCPP's buffers cut at 2 GiB.
    return values.getPointer(from).limit(count).asBuffer();
  }

  private void send(int peer, byte tag, ByteBuffer payload) throws IOException {
    try {
      header.clear();
      header.put(tag).putInt(payload.remaining()).flip();
      write(peers[peer], header);
      write(peers[peer], payload);
    } catch (RankLostException e) {
      throw e;
    } catch (IOException e) {
      throw lost(peer, e);
    }
  }

  private static void write(SocketChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  /** Fills {@code payload} up to its limit. */
  private void receive(int peer, ByteBuffer payload) throws IOException {
    awaited = peer;
    try {
      header.clear();
      read(peers[peer], header);
      header.flip();
      byte tag = header.get();
      int length = header.getInt();
      if (tag == END && length >= 0 && length <= MOST_WORDS) {
        ByteBuffer words = buffer(length);
        read(peers[peer], words);
        throw new RankLostException(
            StandardCharsets.UTF_8.decode(words.flip()).toString() + " (rank 0 says)", null);
      }
      if (tag != VALUES || length != payload.remaining()) {
        throw new IOException(
            "expected "
                + payload.remaining()
                + " bytes, found tag "
                + tag
                + " and "
                + length
                + " bytes: the ranks do not train the same model with the same options");
      }
      read(peers[peer], payload);
    } catch (RankLostException e) {
      throw e;
    } catch (IOException e) {
      throw lost(peer, e);
    } finally {
      awaited = -1;
    }
  }

  /** The rank whose message is waited for now; -1 if none. For other threads. */
  int awaited() {
    return awaited;
  }

  /**
   * Ends the group for a rank that says nothing more, and tells the others.
   *
   * @return the failure, which names the rank
   */
  RankLostException giveUp(int peer, String why) {
    return lost(peer, new IOException(why));
  }

  private static void read(SocketChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      if (channel.read(bytes) < 0) {
        throw new EOFException("its connection was closed");
      }
    }
  }

  private RankLostException lost(int peer, IOException cause) {
    String message =
        "rank " + peer + " of " + ranks.worldSize() + " is gone: " + cause.getMessage();
    if (ranks.leads()) {
      for (int i = 1; i < peers.length; i++) {
        if (i != peer) {
          end(i, message);
        }
      }
    }
    return new RankLostException(message, cause);
  }

  /** Tells a peer why this ends; it may be gone as well. */
  private void end(int peer, String reason) {
    try {
      byte[] words = reason.getBytes(StandardCharsets.UTF_8);
      ByteBuffer message = buffer(HEADER_BYTES + words.length);
      message.put(END).putInt(words.length).put(words).flip();
      write(peers[peer], message);
    } catch (IOException e) {
      LOG.debug("rank {} could not be told: {}", peer, e.getMessage());
    }
  }

  private void open() {
    if (closed) {
      throw new IllegalStateException("SocketCollectives is closed");
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    for (SocketChannel peer : peers) {
      if (peer != null) {
        try {
          peer.close();
        } catch (IOException e) {
          LOG.debug("closing a connection: {}", e.getMessage());
        }
      }
    }
  }
}
