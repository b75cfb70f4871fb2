"""Times the kernels beside PyTorch's: python3 bench/bench_kernels.py LIBRARY [--only attention|elementwise|linear].

Prints the tables of RESULTS.md. With --cuts FILE (and linear) every cut of the linear layers is timed too, at 128 and
512 tokens; FILE gets all of them, as tab-separated values.

Attention: FlashAttention-2 varlen (PyTorch's) and cuDNN (padded batch) in the same run; TFLOP/s counts the useful
operations, 4 T S H d. Element-wise kernels: GB/s of the bytes that must move, against a copy of the same card. Answers
are checked before they are timed. A CUDA graph holds nine calls one after the other, as a model runs them, over inputs
that rotate so that the L2 cache does not hold them; the median time of its replays is divided by nine. Linear layers:
a graph of 28 calls, each with weights of its own, as the 28 blocks of NiT-XL have them.
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


XL_LAYERS = [("qkv", 1152, 3456, False), ("proj", 1152, 1152, False), ("fc1", 1152, 4608, True),
             ("fc2", 4608, 1152, False)]
BLOCKS = 28


def layer_sets(in_features, out_features):
    return [((torch.randn(out_features, in_features, device=DEVICE) * in_features ** -0.5).to(torch.bfloat16),
             torch.randn(out_features, device=DEVICE).to(torch.bfloat16)) for _ in range(BLOCKS)]


def linear_rows():
    print(f"\nLinear layers of NiT-XL, bf16, a graph of {BLOCKS} calls with weights of their own. PyTorch: F.linear "
          "(cuBLAS, bias fused), and for fc1 F.gelu after it\n")
    print("| tokens | layer | cut | ours, us | GB/s | TFLOP/s | F.linear, us | and F.gelu, us |")
    print("|---|---|---|---|---|---|---|---|")
    for tokens in (128, 256, 512, 1024, 2048):
        for name, columns_in, columns_out, gelu in XL_LAYERS:
            sets = layer_sets(columns_in, columns_out)
            x = torch.randn(tokens, columns_in, device=DEVICE).to(torch.bfloat16)
            outs = [torch.empty(tokens, columns_out, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
            weight, bias = sets[0]
            expected = F.linear(x, weight, bias)
            expected = F.gelu(expected, approximate="tanh") if gelu else expected
            difference = (kernels.linear(x, weight, bias, gelu).float() - expected.float()).norm()
            assert difference / expected.float().norm() < 1e-2, f"{name}: relative difference {difference}"
            ours = 1e3 * milliseconds(
                [lambda i=i: kernels.linear(x, *sets[i], gelu, outs[i % 2]) for i in range(BLOCKS)], BLOCKS)
            plain = 1e3 * milliseconds([lambda s=s: F.linear(x, *s) for s in sets], BLOCKS)
            both = 1e3 * milliseconds(
                [lambda s=s: F.gelu(F.linear(x, *s), approximate="tanh") for s in sets], BLOCKS) if gelu else plain
            size = 2 * (columns_in * columns_out + tokens * (columns_in + columns_out))
            cut = " ".join(map(str, kernels.linear_plan(tokens, columns_in, columns_out)))
            print(f"| {tokens} | {name} | {cut} | {ours:.2f} | {size / ours / 1e3:.0f} "
                  f"| {2e-6 * tokens * columns_in * columns_out / ours:.0f} | {plain:.2f} | "
                  + (f"{both:.2f} |" if gelu else "|"), flush=True)


def linear_chain_rows():
    print(f"\nThe four layers one after the other, {BLOCKS} times, each with its own weights: us a block\n")
    print("| tokens | ours | PyTorch |")
    print("|---|---|---|")
    sets = [layer_sets(columns_in, columns_out) for _, columns_in, columns_out, _ in XL_LAYERS]
    for tokens in (128, 256, 512, 1024, 2048):
        x = torch.randn(tokens, 1152, device=DEVICE).to(torch.bfloat16)
        outs = [torch.empty(tokens, n, device=DEVICE, dtype=torch.bfloat16) for _, _, n, _ in XL_LAYERS]
        # The columns of qkv's result that proj reads: a tensor of its own, as the attention's would be.
        middle = torch.randn(tokens, 1152, device=DEVICE).to(torch.bfloat16)

        def ours(block):
            source = x if block == 0 else outs[3]
            kernels.linear(source, *sets[0][block], False, outs[0])
            kernels.linear(middle, *sets[1][block], False, outs[1])
            kernels.linear(outs[1], *sets[2][block], True, outs[2])
            kernels.linear(outs[2], *sets[3][block], False, outs[3])

        def theirs(block):
            F.linear(x, *sets[0][block])
            y = F.linear(middle, *sets[1][block])
            F.linear(F.gelu(F.linear(y, *sets[2][block]), approximate="tanh"), *sets[3][block])

        cells = [1e3 * milliseconds([lambda b=b: call(b) for b in range(BLOCKS)], BLOCKS) for call in (ours, theirs)]
        print(f"| {tokens} | {cells[0]:.1f} | {cells[1]:.1f} |", flush=True)


def linear_cuts(path):
    """Times every cut; prints the best of each layer, and those of other numbers of stages."""
    with open(path, "w") as file:
        file.write("tokens\tlayer\ttileTokens\ttileColumns\tsplit\tshareWeight\tshareTokens\tstages\tus\n")
        for tokens in (128, 512):
            for name, columns_in, columns_out, gelu in XL_LAYERS:
                sets = layer_sets(columns_in, columns_out)
                x = torch.randn(tokens, columns_in, device=DEVICE).to(torch.bfloat16)
                outs = [torch.empty(tokens, columns_out, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
                times = {}

                def add(**cut):
                    key = kernels.linear_plan(tokens, columns_in, columns_out, **cut)
                    if key in times:
                        return
                    cut = dict(zip(("tileTokens", "tileColumns", "split", "shareWeight", "shareTokens", "stages"), key))
                    times[key] = 1e3 * milliseconds(
                        [lambda i=i: kernels.linear(x, *sets[i], gelu, outs[i % 2], **cut) for i in range(BLOCKS)],
                        BLOCKS)
                    file.write(f"{tokens}\t{name}\t" + "\t".join(map(str, key)) + f"\t{times[key]:.3f}\n")

                chosen = kernels.linear_plan(tokens, columns_in, columns_out)
                for tile_tokens in (64, 128):
                    for tile_columns in (72, 96, 112, 128, 144):
                        for split in range(1, 9):
                            for share_weight in (1, 2, 4):
                                for share_tokens in (1, 2, 4):
                                    if split * share_weight * share_tokens <= 8:
                                        add(tileTokens=tile_tokens, tileColumns=tile_columns, split=split,
                                            shareWeight=share_weight, shareTokens=share_tokens)
                for key in sorted(times, key=times.get)[:5]:
                    for stages in range(2, 9):
                        if (key[0] + key[1]) * 128 * stages + 1024 <= 227 * 1024:
                            add(tileTokens=key[0], tileColumns=key[1], split=key[2], shareWeight=key[3],
                                shareTokens=key[4], stages=stages)
                add()
                ranked = sorted(times, key=times.get)
                print(f"\n{tokens} tokens, {name}: {len(ranked)} cuts (tile tokens, tile columns, split, share weight, "
                      f"share tokens, stages); the library's choice {chosen}: {times[chosen]:.2f} us, place "
                      f"{ranked.index(chosen) + 1}")
                for key in ranked[:12]:
                    print(f"  {key}: {times[key]:.2f} us", flush=True)


ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else "attention elementwise linear"
print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; {kernels.description}")
EQUAL = [(f"{16384 // n} × {n}", [n] * (16384 // n)) for n in (64, 256, 1024, 4096, 16384)]
if "attention" in ONLY:
    attention_rows(72, 16, EQUAL + [("mixed, 16104 tokens", MIXED)])
    attention_rows(64, 16, EQUAL)
if "elementwise" in ONLY:
    bandwidth_rows()
if "linear" in ONLY and torch.cuda.get_device_capability() == (9, 0):
    linear_rows()
    linear_chain_rows()
    if "--cuts" in sys.argv:
        linear_cuts(sys.argv[sys.argv.index("--cuts") + 1])
