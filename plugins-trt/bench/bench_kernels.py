"""Times the kernels beside PyTorch's: python3 bench/bench_kernels.py LIBRARY [--only attention|elementwise|linear|block].

Prints the tables of RESULTS.md. With --cuts FILE (and linear) the plausible cuts of the linear layers (of one, with
--layer NAME) are timed too, in about a minute; FILE gets all of them, as tab-separated values, of which
linear_table.py makes the library's table.

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
QKV_HEADS = "qkv-heads"  # the layer that makes q, k and v normed and rotated
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


def block_rows():
    """What the kernels of a block take one after the other, as a plan of small packs runs them; and with norm and
    rotation of q and k as a kernel of their own."""
    hidden, heads, head_dim = 1152, 16, 72
    print(f"\nAll kernels of a block of NiT-XL, {BLOCKS} times, each with its own weights: us a block, and how many less "
          "without a kind\n")
    kinds = ["linear", "AdaLN", "attention"]
    print("| pack | a block | rotation apart | " + " | ".join(f"no {kind}" for kind in kinds) + " |")
    print("|---|---|---|" + "---|" * len(kinds))
    sets = [layer_sets(columns_in, columns_out) for _, columns_in, columns_out, _ in XL_LAYERS]
    norm = [torch.randn(head_dim, device=DEVICE).to(torch.bfloat16) for _ in range(4)]
    for lengths in ([64] * 2, [128], [256] * 2, [512]):
        tokens = sum(lengths)
        cu = torch.tensor([0] + lengths, device=DEVICE).cumsum(0).to(torch.int32)
        index = torch.repeat_interleave(
            torch.arange(len(lengths), device=DEVICE), torch.tensor(lengths, device=DEVICE)).to(torch.int32)
        m = torch.randn(len(lengths), 6 * hidden, device=DEVICE).to(torch.bfloat16)
        shift, scale, gate, shift2, scale2, gate2 = (m[:, i * hidden:(i + 1) * hidden] for i in range(6))
        cosine, sine = (torch.randn(tokens, head_dim, device=DEVICE) for _ in range(2))
        x, y, attended, normed, branch = (
            torch.randn(tokens, hidden, device=DEVICE).to(torch.bfloat16) for _ in range(5))
        qkv = torch.randn(tokens, 3, heads, head_dim, device=DEVICE).to(torch.bfloat16)
        wide = torch.empty(tokens, 4 * hidden, device=DEVICE, dtype=torch.bfloat16)

        def block(i, without):
            if without == "heads":
                kernels.linear(normed, *sets[0][i], False, qkv.view(tokens, 3 * hidden))
                kernels.rope(qkv, cosine, sine, norm)
            elif without != "linear":
                kernels.qkv(normed, *sets[0][i], cosine, sine, norm, qkv)
            if without != "attention":
                kernels.attention(qkv, cu, attended)
            if without != "linear":
                kernels.linear(attended.view(tokens, hidden), *sets[1][i], False, branch)
            if without != "AdaLN":
                kernels.gated_ada_ln(x, branch, gate, shift2, scale2, index, y, normed)
            if without != "linear":
                kernels.linear(normed, *sets[2][i], True, wide)
                kernels.linear(wide, *sets[3][i], False, branch)
            if without != "AdaLN":
                kernels.gated_ada_ln(y, branch, gate2, shift, scale, index, x, normed)

        attended = attended.view(tokens, heads, head_dim)
        times = [1e3 * milliseconds([lambda i=i: block(i, without) for i in range(BLOCKS)], BLOCKS)
                 for without in [None, "heads"] + kinds]
        print(f"| {lengths[0]}" + f" × {len(lengths)}" * (len(lengths) > 1) + f" | {times[0]:.1f} | {times[1]:.1f} | "
              + " | ".join(f"{times[0] - t:.1f}" for t in times[2:]) + " |", flush=True)


CUT = ("tileTokens", "tileColumns", "split", "shareWeight", "shareTokens", "stages")
SHARED = 227 * 1024


def plausible_cuts(tokens, columns_in, columns_out, head_dim):
    """Cuts with as many stages as let two blocks, and one block, on a multiprocessor; pairs at most share."""
    for tile_tokens, tile_columns in [(t, c) for t in (64, 128, 256) for c in (72, 96, 128, 144, 192)]:
        if tile_tokens == 256 and tile_columns > 128 or tile_tokens >= 2 * tokens:
            continue
        if head_dim != 0 and (tile_tokens > 128 or tile_columns % head_dim != 0):
            continue
        tiles = -(-tokens // tile_tokens) * -(-columns_out // tile_columns)
        stage = (tile_tokens + tile_columns) * 128
        for split in range(1, 7 if head_dim == 0 else 2):
            if not 50 <= tiles * split <= 132 * 8 * (2 if split == 1 else 1):
                continue
            for share_weight, share_tokens in ((1, 1), (2, 1), (1, 2), (2, 2)):
                shared = share_weight * share_tokens
                if shared > 1 and shared * split > 4 or tile_columns % (8 * share_weight) != 0:
                    continue
                if share_weight > 1 and tokens <= tile_tokens:
                    continue
                for blocks in (2, 1):
                    stages = min(8, (SHARED // blocks - 1024 * blocks) // stage)
                    if stages >= 2:
                        yield (tile_tokens, tile_columns, split, share_weight, share_tokens, stages)


def linear_cuts(path):
    """Times the plausible cuts of each layer, then other numbers of stages of the best; prints what is fastest."""
    rows = []
    layers = [(*layer, 0) for layer in XL_LAYERS] + [(QKV_HEADS, 1152, 3456, False, 72)]
    if "--layer" in sys.argv:
        layers = [layer for layer in layers if layer[0] == sys.argv[sys.argv.index("--layer") + 1]]
    with open(path, "w") as file:
        file.write("tokens\tlayer\tinFeatures\toutFeatures\theadDim\t" + "\t".join(CUT) + "\tus\n")
        for tokens in (128, 256, 512, 1024, 2048):
            for name, columns_in, columns_out, gelu, head_dim in layers:
                sets = layer_sets(columns_in, columns_out)
                x = torch.randn(tokens, columns_in, device=DEVICE).to(torch.bfloat16)
                outs = [torch.empty(tokens, columns_out, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
                angles = [torch.randn(tokens, head_dim, device=DEVICE) for _ in range(2)]
                norm = [torch.randn(head_dim, device=DEVICE).to(torch.bfloat16) for _ in range(4)]
                times = {}

                def call(i, cut):
                    if head_dim != 0:
                        kernels.qkv(x, *sets[i], *angles, norm, outs[i % 2], **cut)
                    else:
                        kernels.linear(x, *sets[i], gelu, outs[i % 2], **cut)

                def add(key, patient=False):
                    if key in times:
                        return
                    cut = dict(zip(CUT, key))
                    try:
                        call(0, cut)
                        graph = torch.cuda.CUDAGraph()
                        with torch.cuda.graph(graph):
                            for i in range(BLOCKS):
                                call(i, cut)
                        graph.replay()
                        us = 1e3 * median(graph.replay, 1) / BLOCKS
                        if patient or not times or us < 2 * min(times.values()):
                            us = 1e3 * median(graph.replay, 7) / BLOCKS
                    except RuntimeError as error:
                        print(f"  {tokens} tokens, {name}, {key}: {error}", file=sys.stderr)
                        return
                    times[key] = us
                    file.write(f"{tokens}\t{name}\t{columns_in}\t{columns_out}\t{head_dim}\t"
                               + "\t".join(map(str, key)) + f"\t{us:.3f}\n")

                heads = {"heads": columns_out // (3 * head_dim), "headDim": head_dim} if head_dim != 0 else {}
                chosen = kernels.linear_plan(tokens, columns_in, columns_out, **heads)
                add(chosen, True)
                for key in plausible_cuts(tokens, columns_in, columns_out, head_dim):
                    add(key)
                best = []
                for key in sorted(times, key=times.get):
                    if key[:5] not in best and len(best) < 5:
                        best.append(key[:5])
                for key in best:
                    for stages in range(2, 9):
                        if (key[0] + key[1]) * 128 * stages + 1024 <= SHARED:
                            add((*key, stages))
                ranked = sorted(times, key=times.get)
                plain = 1e3 * milliseconds([lambda s=s: F.linear(x, *s) for s in sets], BLOCKS)
                both = 1e3 * milliseconds(
                    [lambda s=s: F.gelu(F.linear(x, *s), approximate="tanh") for s in sets], BLOCKS) if gelu else plain
                shared = [key for key in ranked if key[3] * key[4] > 1]
                rows.append(f"| {tokens} | {name} | {' '.join(map(str, ranked[0]))} | {times[ranked[0]]:.2f} "
                            f"| {' '.join(map(str, shared[0]))}: {times[shared[0]]:.2f} " if shared else
                            f"| {tokens} | {name} | {' '.join(map(str, ranked[0]))} | {times[ranked[0]]:.2f} | ")
                rows[-1] += (f"| {' '.join(map(str, chosen))} | {times.get(chosen, float('nan')):.2f} | {plain:.2f} "
                             f"| {both:.2f} |")
                print(f"\n{tokens} tokens, {name}: the fastest of {len(ranked)} cuts ({', '.join(CUT)})")
                for key in ranked[:8]:
                    print(f"  {key}: {times[key]:.2f} us", flush=True)
                file.flush()
    print("\n| tokens | layer | best cut | us | best with shares | the library's cut | us | F.linear, us | and GELU |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else "attention elementwise linear block"
print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; {kernels.description}")
EQUAL = [(f"{16384 // n} × {n}", [n] * (16384 // n)) for n in (64, 256, 1024, 4096, 16384)]
if "attention" in ONLY:
    attention_rows(72, 16, EQUAL + [("mixed, 16104 tokens", MIXED)])
    attention_rows(64, 16, EQUAL)
if "elementwise" in ONLY:
    bandwidth_rows()
if "block" in ONLY and torch.cuda.get_device_capability() == (9, 0):
    block_rows()
if "linear" in ONLY and torch.cuda.get_device_capability() == (9, 0):
    linear_rows()
    linear_chain_rows()
    if "--cuts" in sys.argv:
        linear_cuts(sys.argv[sys.argv.index("--cuts") + 1])
