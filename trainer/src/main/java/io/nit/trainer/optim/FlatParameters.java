package io.nit.trainer.optim;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * A network's parameters laid into one tensor, and their gradients into another. The network works
 * on as before, on views; what changes all parameters alike is one operation in place of one for
 * each, which is what keeps a GPU busy with a network of many small tensors.
 *
 * <p>Owns the two tensors until {@link #close}, which may be called twice; the parameters keep
 * their part of the memory beyond it.
 */
public final class FlatParameters implements AutoCloseable {
  /** Parameters begin at multiples of 256 bytes, as separate tensors would. */
  private static final long ALIGNMENT = 64;

  private final Map<String, Tensor> parameters;
  private final Tensor values;
  private final PointerScope owned;
  private boolean closed;

  /**
   * Moves parameters, with their values.
   *
   * @param parameters by checkpoint key, all float32 on one device
   * @param trained whether there are gradients too, which begin as 0
   */
  public FlatParameters(Map<String, Tensor> parameters, boolean trained) {
    this.parameters = parameters;
    long size = 0;
    for (Tensor parameter : parameters.values()) {
      size += padded(parameter.numel());
    }
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      Tensor first = parameters.values().iterator().next();
      values = first.new_zeros(size);
      views(values).forEach((name, view) -> move(parameters.get(name), view));
      if (trained) {
        Tensor gradients = torch.zeros_like(values);
        views(gradients).forEach((name, view) -> parameters.get(name).mutable_grad().put(view));
        values.mutable_grad().put(gradients);
      }
      owned = scope.extend();
    }
  }

  /** Leaves nothing behind that would keep the parameter's own memory, as much as all of this. */
  private static void move(Tensor parameter, Tensor view) {
    try (PointerScope scope = new PointerScope()) {
      view.copy_(parameter.detach());
      parameter.set_data(view);
    }
  }

  private static long padded(long elements) {
    return (elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** All parameters, [elements] float32, with all gradients as its gradient. */
  public Tensor values() {
    if (closed) {
      throw new IllegalStateException("FlatParameters is closed");
    }
    return values;
  }

  /** All gradients, [elements] float32; undefined without training. */
  public Tensor gradients() {
    return values().grad();
  }

  /**
   * The parts of a tensor laid out as {@link #values}, by checkpoint key, in the parameters'
   * shapes; they belong to the open {@code PointerScope}.
   */
  public Map<String, Tensor> views(Tensor flat) {
    Map<String, Tensor> views = new LinkedHashMap<>();
    starts()
        .forEach(
            (name, at) -> {
              Tensor parameter = parameters.get(name);
              views.put(name, flat.narrow(0, at, parameter.numel()).view_as(parameter));
            });
    return Collections.unmodifiableMap(views);
  }

  /** The first element of every parameter, by checkpoint key, in the order of the elements. */
  public Map<String, Long> starts() {
    Map<String, Long> starts = new LinkedHashMap<>();
    long at = 0;
    for (Map.Entry<String, Tensor> entry : parameters.entrySet()) {
      starts.put(entry.getKey(), at);
      at += padded(entry.getValue().numel());
    }
    return Collections.unmodifiableMap(starts);
  }

  /** Lets go of the two tensors. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      owned.close();
    }
  }
}
