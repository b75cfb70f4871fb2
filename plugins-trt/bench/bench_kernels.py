"""Times the kernels beside PyTorch's: python3 bench/bench_kernels.py LIBRARY. Prints the tables of RESULTS.md.

Attention: FlashAttention-2 varlen (PyTorch's) and cuDNN (padded batch) in the same run; TFLOP/s counts the useful
operations, 4 T S H d. Element-wise kernels: GB/s of the bytes that must move, against a copy of the same card. Answers
are checked before they are timed. A CUDA graph holds nine calls one after the other, as a model runs them, over inputs
that rotate so that the L2 cache does not hold them; the median time of its replays is divided by nine.
"""

import os
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test"))
from nit_kernels import AUTO, PORTABLE, Kernels  # noqa: E402

DEVICE = "cuda"
kernels = Kernels(sys.argv[1])
MIXED = [64] * 64 + [256] * 16 + [1024] * 4 + [336] * 6 + [300] * 6


def median(run, repeats=20):
    """Milliseconds of one run."""
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def milliseconds(calls, count=9):
    """Of one call; `calls` are the same work on different memory."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            calls[i % len(calls)]()
    return median(graph.replay) / count


def attention_rows(head_dim, heads, packs):
    print(f"\nAttention forward, {heads} heads, headDim {head_dim}, bf16: ms (TFLOP/s)\n")
    print("| pack | ours | ours, portable | FlashAttention-2 | cuDNN |")
    print("|---|---|---|---|---|")
    for name, lengths in packs:
        tokens = sum(lengths)
        flops = 4 * heads * head_dim * sum(n * n for n in lengths)
        cu = torch.tensor([0] + lengths, device=DEVICE).cumsum(0).to(torch.int32)
        sets = [torch.randn(tokens, 3, heads, head_dim, device=DEVICE).to(torch.bfloat16) for _ in range(3)]
        out = torch.empty(tokens, heads, head_dim, device=DEVICE, dtype=torch.bfloat16)
        longest = max(lengths)

        def flash(qkv):
            q, k, v = qkv.unbind(1)
            return torch.ops.aten._flash_attention_forward(q, k, v, cu, cu, longest, longest, 0.0, False, False)[0]

        difference = (kernels.attention(sets[0], cu, out).float() - flash(sets[0]).float()).norm()
        assert difference / out.float().norm() < 1e-2, f"{name}: relative difference {difference / out.float().norm()}"

        def row(ms):
            return f"{ms:.3f} ({flops / ms / 1e9:.0f})"

        cells = [row(milliseconds([lambda s=s, p=path: kernels.attention(s, cu, out, path=p) for s in sets]))
                 for path in (AUTO, PORTABLE)]
        cells.append(row(milliseconds([lambda s=s: flash(s) for s in sets])))
        if len(set(lengths)) == 1 and longest >= 256:
            def cudnn(qkv):
                q, k, v = (t.reshape(len(lengths), longest, heads, head_dim).transpose(1, 2) for t in qkv.unbind(1))
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                    return F.scaled_dot_product_attention(q, k, v)
            try:
                cells.append(row(milliseconds([lambda s=s: cudnn(s) for s in sets])))
            except RuntimeError as error:
                cells.append(f"refused: {str(error)[:40]}")
        else:
            cells.append("")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def bandwidth_rows():
    tokens, hidden, heads, head_dim = 16384, 1152, 16, 72
    source = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    # Not in a graph, where PyTorch's copy is a memory node, and a fifth slower.
    large = 2 * source.numel() / median(lambda: target.copy_(source)) / 1e6
    del source, target
    index = (torch.arange(tokens, device=DEVICE) // 256).to(torch.int32)
    m = torch.randn(64, 6 * hidden, device=DEVICE).to(torch.bfloat16)
    shift, scale, gate = (m[:, i * hidden:(i + 1) * hidden] for i in range(3))
    xs = [torch.randn(tokens, hidden, device=DEVICE).to(torch.bfloat16) for _ in range(8)]
    outs = [torch.empty_like(xs[0]) for _ in range(8)]
    qkvs = [torch.randn(tokens, 3, heads, head_dim, device=DEVICE).to(torch.bfloat16) for _ in range(4)]
    rotated = [torch.empty_like(qkvs[0]) for _ in range(2)]
    cosine, sine = (torch.randn(tokens, head_dim, device=DEVICE) for _ in range(2))
    norm = [torch.randn(head_dim, device=DEVICE).to(torch.bfloat16) for _ in range(4)]
    row = tokens * hidden * 2
    tables = 2 * tokens * head_dim * 4
    small = 2 * row / milliseconds([lambda i=i: outs[i].copy_(xs[i]) for i in range(8)]) / 1e6
    rows = [
        ("packed_adaln", 2 * row,
         [lambda i=i: kernels.packed_ada_ln(xs[i], shift, scale, index, outs[i]) for i in range(8)]),
        ("gated_residual", 3 * row,
         [lambda i=i: kernels.gated_residual(xs[i], xs[i - 4], gate, index, outs[i]) for i in range(8)]),
        ("gated_adaln, both results", 4 * row,
         [lambda i=i: kernels.gated_ada_ln(xs[i], xs[i - 4], gate, shift, scale, index, outs[i], outs[i - 4])
          for i in range(8)]),
        ("qk_norm_rope2d, in place", 4 * row + tables,
         [lambda i=i: kernels.rope(qkvs[i], cosine, sine, norm) for i in range(4)]),
        ("qk_norm_rope2d, v copied", 6 * row + tables,
         [lambda i=i: kernels.rope(qkvs[i], cosine, sine, norm, rotated[i % 2]) for i in range(4)]),
    ]
    print(f"\nElement-wise kernels, {tokens} tokens, hidden {hidden}, bf16; a copy of 1 GiB moves {large:.0f} GB/s, one of "
          f"{row / 1e6:.1f} MB {small:.0f} GB/s\n")
    print("| kernel | ms | GB/s | of the 1 GiB copy | of the small copy |")
    print("|---|---|---|---|---|")
    for name, size, calls in rows:
        ms = milliseconds(calls)
        print(f"| {name} | {ms:.4f} | {size / ms / 1e6:.0f} | {100 * size / ms / 1e6 / large:.0f} % "
              f"| {100 * size / ms / 1e6 / small:.0f} % |", flush=True)


print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; {kernels.description}")
EQUAL = [(f"{16384 // n} × {n}", [n] * (16384 // n)) for n in (64, 256, 1024, 4096, 16384)]
attention_rows(72, 16, EQUAL + [("mixed, 16104 tokens", MIXED)])
attention_rows(64, 16, EQUAL)
bandwidth_rows()
