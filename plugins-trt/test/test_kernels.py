"""GPU tests of the kernels: python3 test/test_kernels.py LIBRARY [--quick] [--only linear].

Needs PyTorch; exit code 0 when all pass. --only runs the cases whose name begins with that word.

The bar: error against fp32 at most twice the error of PyTorch's own result in the same 16-bit type. --quick leaves out
the long packs and repeats, for compute-sanitizer, which must look at our kernels only (PyTorch's have findings of their
own, and it is slow):
  compute-sanitizer --tool memcheck --kernel-regex kns=nit python3 test/test_kernels.py LIBRARY --quick
"""

import sys
import traceback

import torch
import torch.nn.functional as F

from torch.nn.attention import SDPBackend, sdpa_kernel

from nit_kernels import AUTO, HOPPER, PORTABLE, Kernels

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
DEVICE = "cuda"
QUICK = "--quick" in sys.argv
ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
kernels = Kernels(sys.argv[1])
failures = 0


def case(name):
    def run(body):
        global failures
        if not name.startswith(ONLY):
            return body
        try:
            note = body()
            torch.cuda.synchronize()
            print(f"ok      {name}" + (f": {note}" if note else ""), flush=True)
        except Exception as error:
            failures += 1
            print(f"FAILED  {name}: {error}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exc()
        return body
    return run


def relative(found, expected):
    found, expected = found.double(), expected.double()
    return ((found - expected).norm() / expected.norm()).item()


def pack(lengths, heads, head_dim, dtype, pad=0, shift=0, seed=0):
    torch.manual_seed(seed)
    tokens = sum(lengths)
    stride = 3 * heads * head_dim + pad
    memory = torch.randn(tokens * stride + shift, device=DEVICE, dtype=torch.float32).to(dtype)
    qkv = memory[shift:].as_strided((tokens, 3, heads, head_dim), (stride, heads * head_dim, head_dim, 1))
    cu = torch.tensor([0] + lengths, device=DEVICE).cumsum(0).to(torch.int32)
    return qkv, cu


def by_image(qkv, lengths, dtype):
    """PyTorch's attention, image by image, in `dtype`."""
    out, first = [], 0
    for length in lengths:
        q, k, v = (t.transpose(0, 1)[None].to(dtype).contiguous() for t in qkv[first:first + length].unbind(1))
        with sdpa_kernel([SDPBackend.MATH] if QUICK else BACKENDS):
            out.append(F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1))
        first += length
    return torch.cat(out)


def attention_case(lengths, heads, head_dim, dtype, path, pad=0, shift=0):
    qkv, cu = pack(lengths, heads, head_dim, dtype, pad, shift)
    out = torch.full((qkv.shape[0], heads, head_dim), float("nan"), device=DEVICE, dtype=dtype)
    lse = torch.full((heads, qkv.shape[0]), float("nan"), device=DEVICE)
    kernels.attention(qkv, cu, out, lse, path)
    expected = by_image(qkv, lengths, torch.float32)
    theirs = relative(by_image(qkv, lengths, dtype), expected)
    ours = relative(out, expected)
    assert ours <= 2 * theirs, f"{lengths[:12]} d={head_dim} {dtype}: error {ours:.2e}, PyTorch's {theirs:.2e}"
    assert torch.isfinite(lse).all()
    return ours, theirs


PATHS = {"portable": PORTABLE}
if torch.cuda.get_device_capability() == (9, 0):
    PATHS["hopper"] = HOPPER
RAGGED = [1, 2, 63, 64, 65, 97, 257] + ([] if QUICK else [1025, 4096])

for name, path in PATHS.items():
    for dtype in (torch.bfloat16, torch.float16):
        for head_dim in (64, 72):
            @case(f"attention {name} {dtype} headDim {head_dim}, ragged")
            def _():
                ours, theirs = attention_case(RAGGED, 16 if not QUICK else 2, head_dim, dtype, path)
                return f"error {ours:.2e}, PyTorch's {theirs:.2e}"

    @case(f"attention {name}, one image of each length")
    def _():
        for length in RAGGED + ([] if QUICK else [16384]):
            attention_case([length], 2, 72, torch.bfloat16, path)

    @case(f"attention {name}, 1000 images")
    def _():
        lengths = [1 + i * 7 % 70 for i in range(100 if QUICK else 1000)]
        attention_case(lengths, 4, 72, torch.bfloat16, path)

    @case(f"attention {name}, padded rows")
    def _():
        attention_case([33, 70, 200], 4, 72, torch.bfloat16, path, pad=24)

    @case(f"attention {name}, an image of NaNs stays alone")
    def _():
        lengths = [30, 70, 5, 129, 64, 300]
        for i in range(len(lengths)):
            qkv, cu = pack(lengths, 4, 72, torch.bfloat16)
            plain = kernels.attention(qkv, cu, path=path)
            first, end = cu[i].item(), cu[i + 1].item()
            qkv[first:end] = float("nan")
            out = kernels.attention(qkv, cu, path=path)
            keep = torch.ones(sum(lengths), dtype=torch.bool, device=DEVICE)
            keep[first:end] = False
            assert torch.equal(out[keep], plain[keep]), f"image {i} reached others"
            assert torch.isnan(out[~keep]).all()

    @case(f"attention {name}, large scores")
    def _():
        qkv, cu = pack([40, 200], 2, 72, torch.bfloat16)
        qkv *= 10
        expected = by_image(qkv, [40, 200], torch.float32)
        theirs = relative(by_image(qkv, [40, 200], torch.bfloat16), expected)
        ours = relative(kernels.attention(qkv, cu, path=path), expected)
        assert ours <= 2 * theirs, f"error {ours:.2e}, PyTorch's {theirs:.2e}"

    @case(f"attention {name}, the same bits again and again")
    def _():
        qkv, cu = pack(RAGGED + [336] * 6 + [64] * 30, 16, 72, torch.bfloat16)
        first = kernels.attention(qkv, cu, path=path)
        for _ in range(3 if QUICK else 1000):
            assert torch.equal(kernels.attention(qkv, cu, path=path), first)

    @case(f"attention {name} in a CUDA graph, lengths changed between replays")
    def _():
        qkv, cu = pack([100, 50, 6], 4, 72, torch.bfloat16)
        out = torch.empty(156, 4, 72, device=DEVICE, dtype=torch.bfloat16)
        kernels.attention(qkv, cu, out, path=path)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kernels.attention(qkv, cu, out, path=path)
        for lengths in ([100, 50, 6], [1, 150, 5], [64, 65, 27]):
            cu.copy_(torch.tensor([0] + lengths, device=DEVICE).cumsum(0))
            out.fill_(float("nan"))
            graph.replay()
            assert torch.equal(out, kernels.attention(qkv, cu, path=path)), lengths

@case("attention portable, every headDim")
def _():
    for head_dim in range(8, 129, 8):
        for dtype in (torch.bfloat16, torch.float16):
            attention_case([33, 70, 257], 3, head_dim, dtype, AUTO if head_dim not in (64, 72) else PORTABLE)

@case("attention portable, misaligned rows")
def _():
    attention_case([33, 70], 2, 72, torch.bfloat16, AUTO, pad=3)
    attention_case([33, 70], 2, 64, torch.float16, AUTO, shift=1)

@case("attention refuses what it cannot do")
def _():
    qkv, cu = pack([5], 2, 72, torch.bfloat16)
    for wrong in (12, 136):
        try:
            kernels.attention(torch.zeros(5, 3, 2, wrong, device=DEVICE, dtype=torch.bfloat16), cu)
            raise AssertionError(f"headDim {wrong} was taken")
        except RuntimeError as error:
            assert "expected headDim" in str(error), error


def image_index(lengths):
    counts = torch.tensor(lengths, device=DEVICE)
    return torch.arange(len(lengths), device=DEVICE, dtype=torch.int32).repeat_interleave(counts)


def ada_ln_case(hidden, dtype):
    torch.manual_seed(1)
    lengths = [64, 1, 336, 97]
    index = image_index(lengths)
    tokens = index.numel()
    x, y = (torch.randn(tokens, hidden, device=DEVICE).to(dtype) for _ in range(2))
    m = torch.randn(len(lengths), 6 * hidden, device=DEVICE).to(dtype)
    shift, scale, gate = m[:, :hidden], m[:, hidden:2 * hidden], m[:, 2 * hidden:3 * hidden]

    def formula(kind, source):
        wide = [t.to(kind) for t in (shift, scale)]
        normed = F.layer_norm(source.to(kind), (hidden,), eps=1e-6)
        return normed * (1 + wide[1][index.long()]) + wide[0][index.long()]

    out = torch.full_like(x, float("nan"))
    kernels.packed_ada_ln(x, shift, scale, index, out)
    expected = formula(torch.float32, x)
    ours, theirs = relative(out, expected), relative(formula(dtype, x), expected)
    assert ours <= 2 * theirs, f"packed, hidden {hidden}: {ours:.2e}, PyTorch's {theirs:.2e}"

    residual = torch.full_like(x, float("nan"))
    kernels.gated_residual(x, y, gate, index, residual)
    total = x.float() + gate.float()[index.long()] * y.float()
    theirs = relative(x + gate[index.long()] * y, total)
    assert relative(residual, total) <= 2 * theirs
    fused, out = torch.full_like(x, float("nan")), torch.full_like(x, float("nan"))
    kernels.gated_ada_ln(x, y, gate, shift, scale, index, fused, out)
    assert torch.equal(fused, residual), "the fused residual has other bits"
    expected = formula(torch.float32, residual)
    assert relative(out, expected) <= 2 * relative(formula(dtype, residual), expected)
    kernels.gated_ada_ln(x, y, gate, shift, scale, index, x, out)
    assert torch.equal(x, residual), "in place"


@case("AdaLN and the gated residual")
def _():
    for hidden in (384, 768, 1024, 1152, 1536, 2048, 4096, 264, 37):
        for dtype in (torch.bfloat16, torch.float16):
            ada_ln_case(hidden, dtype)


def rope_formula(qkv, cosine, sine, norm, kind):
    """qkv [tokens, 3, heads, headDim]; norm: (qWeight, qBias, kWeight, kBias) or None."""
    parts = []
    for which, t in enumerate(qkv.to(kind).unbind(1)):
        if which < 2:
            if norm is not None:
                weight, bias = (w.to(kind) for w in norm[2 * which:2 * which + 2])
                t = F.layer_norm(t, (t.shape[-1],), weight, bias, 1e-5)
            turned = torch.stack((-t[..., 1::2], t[..., ::2]), -1).flatten(-2)
            t = t * cosine.to(kind)[:, None] + turned * sine.to(kind)[:, None]
        parts.append(t)
    return torch.stack(parts, 1)


def rope_case(head_dim, dtype, norm, tables, in_place, pad):
    torch.manual_seed(2)
    tokens, heads = 333, 16
    qkv, _ = pack([tokens], heads, head_dim, dtype, pad)
    original = qkv.clone()
    positions = torch.randint(0, 90, (tokens, 2), device=DEVICE, dtype=torch.int32)
    frequencies = 10000.0 ** (-2 * torch.arange(head_dim // 4, device=DEVICE) / (head_dim / 2))
    angles = (positions[:, :, None] * frequencies).reshape(tokens, -1).double().repeat_interleave(2, 1)
    cosine, sine = angles.cos().float().contiguous(), angles.sin().float().contiguous()
    weights = [torch.randn(head_dim, device=DEVICE).to(dtype) for _ in range(4)] if norm else None

    out = None if in_place else torch.full((tokens, 3, heads, head_dim), float("nan"), device=DEVICE, dtype=dtype)
    if tables:
        result = kernels.rope(qkv, cosine, sine, weights, out)
    else:
        result = kernels.rope(qkv, None, None, weights, out, positions, frequencies.float().contiguous())
    expected, pytorch = (rope_formula(original, cosine, sine, weights, kind) for kind in (torch.float32, dtype))
    ours, theirs = relative(result, expected), relative(pytorch, expected)
    assert ours <= 2 * theirs, f"headDim {head_dim}: {ours:.2e}, PyTorch's {theirs:.2e}"
    assert torch.equal(result[:, 2], original[:, 2]), "v changed"


@case("QK-norm and RoPE")
def _():
    for head_dim in range(8, 129, 8):
        for norm in (True, False):
            for tables in (True, False):
                for in_place in (True, False):
                    rope_case(head_dim, torch.bfloat16, norm, tables, in_place, 8 if in_place else 0)
    rope_case(72, torch.float16, True, True, True, 3)
    rope_case(64, torch.float16, True, True, False, 0)


# Columns in and out of a block's four layers, for XL, B and S; and sizes that no tile divides.
XL_LAYERS = [(1152, 3456), (1152, 1152), (1152, 4608), (4608, 1152)]
OTHER_LAYERS = [(768, 2304), (3072, 768), (384, 1536), (1536, 384), (200, 1160), (1000, 264), (8, 8), (72, 1000)]


def layer(in_features, out_features, dtype, seed=0):
    """Weight and bias such that results are of the size of the inputs."""
    torch.manual_seed(seed)
    weight = (torch.randn(out_features, in_features, device=DEVICE) * in_features ** -0.5).to(dtype)
    return weight, torch.randn(out_features, device=DEVICE).to(dtype)


LINEAR_CUT = ("tileTokens", "tileColumns", "split", "shareWeight", "shareTokens", "stages")


def linear_formula(x, weight, bias, gelu, kind):
    y = F.linear(x.to(kind), weight.to(kind), bias.to(kind))
    return F.gelu(y, approximate="tanh") if gelu else y


def linear_case(tokens, in_features, out_features, dtype, gelu, **cut):
    weight, bias = layer(in_features, out_features, dtype)
    x = torch.randn(tokens, in_features, device=DEVICE).to(dtype)
    # Rows behind the result must stay as they are.
    memory = torch.full((tokens + 3, out_features), float("nan"), device=DEVICE, dtype=dtype)
    kernels.linear(x, weight, bias, gelu, memory[:tokens], **cut)
    where = f"{tokens} tokens, {in_features} to {out_features}, {dtype}, gelu {gelu}, {cut}"
    assert torch.isnan(memory[tokens:]).all(), f"{where}: wrote behind the result"
    found = memory[:tokens]
    assert torch.isfinite(found).all(), f"{where}: {(~torch.isfinite(found)).sum().item()} values are no numbers"
    expected = linear_formula(x, weight, bias, gelu, torch.float64)
    ours = relative(found, expected)
    theirs = relative(linear_formula(x, weight, bias, gelu, dtype), expected)
    assert ours <= 2 * theirs, f"{where}: error {ours:.2e}, PyTorch's {theirs:.2e}"
    return ours, theirs


if torch.cuda.get_device_capability() == (9, 0):
    for dtype in (torch.bfloat16, torch.float16):
        for gelu in (False, True):
            @case(f"linear {dtype}, gelu {gelu}, ragged tokens")
            def _():
                worst = (0, 0)
                wrong = []
                tokens = [1, 7, 65, 128] if QUICK else [1, 7, 64, 65, 128, 200, 512, 1000, 2048]
                for m in tokens:
                    for sizes in (XL_LAYERS[:1] if QUICK else XL_LAYERS) + OTHER_LAYERS:
                        try:
                            worst = max(worst, linear_case(m, *sizes, dtype, gelu))
                        except AssertionError as error:
                            wrong.append(str(error))
                assert not wrong, f"{len(wrong)} sizes, the first: " + "; ".join(wrong[:4])
                return f"worst error {worst[0]:.2e}, PyTorch's {worst[1]:.2e}"

    for tile_tokens in (64, 128, 256):
        for tile_columns in (72, 96, 128, 144, 192):
            if tile_tokens == 256 and tile_columns > 128:
                continue

            @case(f"linear, every split and share of tiles of {tile_tokens} x {tile_columns}")
            def _():
                wrong = []
                for split in range(1, 9):
                    for share_weight in (1, 2):
                        for share_tokens in (1, 2):
                            if split * share_weight * share_tokens > 8 or tile_columns % (8 * share_weight) != 0:
                                continue
                            for stages in ((0,) if QUICK else (0, 2, 4)):
                                if (tile_tokens + tile_columns) * 128 * stages + 1024 > 227 * 1024:
                                    continue
                                try:
                                    linear_case(
                                        300, 1152, 1000, torch.bfloat16, split % 2 == 0, tileTokens=tile_tokens,
                                        tileColumns=tile_columns, split=split, shareWeight=share_weight,
                                        shareTokens=share_tokens, stages=stages)
                                except (AssertionError, RuntimeError) as error:
                                    wrong.append(str(error))
                assert not wrong, f"{len(wrong)} cuts, the first: " + "; ".join(wrong[:4])

    @case("linear, the same bits of shared operands in a stream")
    def _():
        # Launches overlap: a stage given back too early shows as other bits.
        weight, bias = layer(1152, 4608, torch.bfloat16)
        x = torch.randn(512, 1152, device=DEVICE).to(torch.bfloat16)
        for cut in ((128, 144, 1, 2, 1, 3), (128, 144, 1, 1, 2, 3), (128, 96, 1, 2, 2, 3), (64, 128, 2, 2, 1, 4),
                    (256, 96, 1, 2, 1, 4), (128, 192, 1, 2, 1, 5)):
            fields = dict(zip(LINEAR_CUT, cut))
            first = kernels.linear(x, weight, bias, True, **fields)
            outs = [torch.empty_like(first) for _ in range(20)]
            for _ in range(1 if QUICK else 10):
                for out in outs:
                    kernels.linear(x, weight, bias, True, out, **fields)
                assert all(torch.equal(out, first) for out in outs), f"{cut}"

    for dtype in (torch.bfloat16, torch.float16):
        @case(f"linear {dtype} with heads: norm and rotation, every tile, ragged tokens")
        def _():
            worst = (0, 0)
            for head_dim, heads, tiles in ((72, 16, ((72, 1), (144, 1), (144, 2))), (72, 3, ((72, 1),)),
                                           (64, 6, ((128, 1), (128, 2))), (64, 16, ((0, 0),))):
                hidden = heads * head_dim
                weight, bias = layer(hidden, 3 * hidden, dtype)
                norm = [torch.randn(head_dim, device=DEVICE).to(dtype) for _ in range(4)]
                for tokens in (1, 77, 128, 200, 512) if not QUICK else (77,):
                    x = torch.randn(tokens, hidden, device=DEVICE).to(dtype)
                    angles = torch.randn(tokens, head_dim // 2, device=DEVICE).repeat_interleave(2, 1)
                    tables = angles.cos(), angles.sin()
                    for use_norm in (True, False):
                        exact, theirs = (
                            rope_formula(linear_formula(x, weight, bias, False, kind).view(tokens, 3, heads, head_dim),
                                         *tables, norm if use_norm else None, kind) for kind in (torch.float64, dtype))
                        for tile_tokens, (tile_columns, shares) in (
                                (t, c) for t in (64, 128) for c in tiles):
                            memory = torch.full((tokens + 3, 3, heads, head_dim), float("nan"), device=DEVICE,
                                                dtype=dtype)
                            kernels.qkv(x, weight, bias, *tables, norm if use_norm else None, memory[:tokens],
                                        tileTokens=tile_tokens if shares else 0, tileColumns=tile_columns,
                                        shareWeight=shares, shareTokens=shares)
                            where = f"{tokens} tokens, {heads} heads of {head_dim}, {tile_tokens} x {tile_columns}"
                            assert torch.isnan(memory[tokens:]).all(), f"{where}: wrote behind the result"
                            pair = relative(memory[:tokens], exact), relative(theirs, exact)
                            assert pair[0] <= 2 * pair[1], f"{where}: error {pair[0]:.2e}, PyTorch's {pair[1]:.2e}"
                            worst = max(worst, pair)
            return f"worst error {worst[0]:.2e}, PyTorch's {worst[1]:.2e}"

    @case("linear with heads, the same bits in a stream and in a graph")
    def _():
        weight, bias = layer(1152, 3456, torch.bfloat16)
        norm = [torch.randn(72, device=DEVICE).to(torch.bfloat16) for _ in range(4)]
        for tokens in (128, 256, 512):
            x = torch.randn(tokens, 1152, device=DEVICE).to(torch.bfloat16)
            tables = [torch.randn(tokens, 72, device=DEVICE) for _ in range(2)]
            first = kernels.qkv(x, weight, bias, *tables, norm)
            outs = [torch.empty_like(first) for _ in range(20)]
            for _ in range(1 if QUICK else 10):
                for out in outs:
                    kernels.qkv(x, weight, bias, *tables, norm, out)
                assert all(torch.equal(out, first) for out in outs), f"{tokens} tokens"
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for out in outs:
                    kernels.qkv(x, weight, bias, *tables, norm, out)
            for out in outs:
                out.fill_(float("nan"))
            graph.replay()
            assert all(torch.equal(out, first) for out in outs), f"{tokens} tokens, in a graph"

    @case("linear, without a bias")
    def _():
        weight, _ = layer(1152, 1152, torch.bfloat16)
        x = torch.randn(130, 1152, device=DEVICE).to(torch.bfloat16)
        zeros = torch.zeros(1152, device=DEVICE, dtype=torch.bfloat16)
        assert torch.equal(kernels.linear(x, weight), kernels.linear(x, weight, zeros))

    @case("linear, NaNs of a token stay its own")
    def _():
        weight, bias = layer(1152, 3456, torch.bfloat16)
        x = torch.randn(200, 1152, device=DEVICE).to(torch.bfloat16)
        plain = kernels.linear(x, weight, bias)
        x[77, 5] = float("nan")
        out = kernels.linear(x, weight, bias)
        keep = torch.arange(200, device=DEVICE) != 77
        assert torch.equal(out[keep], plain[keep]) and torch.isnan(out[77]).all()

    @case("linear, the same bits again and again")
    def _():
        for tokens in (128, 512):
            for sizes in XL_LAYERS:
                weight, bias = layer(*sizes, torch.bfloat16)
                x = torch.randn(tokens, sizes[0], device=DEVICE).to(torch.bfloat16)
                first = kernels.linear(x, weight, bias, True)
                out = torch.empty_like(first)
                for _ in range(3 if QUICK else 200):
                    kernels.linear(x, weight, bias, True, out)
                    assert torch.equal(out, first), f"{tokens} tokens, {sizes}"

    @case("linear, a chain of layers in a CUDA graph")
    def _():
        # Each layer reads what the one before wrote, and writes what an earlier one read: with launches that overlap, a
        # missing wait shows as other bits than those of launches kept apart.
        for tokens in (64, 128, 512, 700):
            layers = [layer(*sizes, torch.bfloat16, i) for i, sizes in enumerate(
                [(1152, 3456), (3456, 1152), (1152, 1152), (1152, 4608), (4608, 1152)] * 4)]
            wide = [torch.empty(tokens, 4608, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
            source = torch.randn(tokens, 1152, device=DEVICE).to(torch.bfloat16)

            def buffer(i, columns):
                return wide[i % 2].flatten()[:tokens * columns].view(tokens, columns)

            def chain(apart):
                x = buffer(1, 1152)
                x.copy_(source)
                for i, (weight, bias) in enumerate(layers):
                    if apart:
                        torch.cuda.synchronize()
                    x = kernels.linear(x, weight, bias, i % 5 == 3, buffer(i, weight.shape[0]))
                return x

            expected = chain(True).clone()
            assert torch.isfinite(expected).all()
            for _ in range(5):
                assert torch.equal(chain(False), expected), f"{tokens} tokens, in a stream"
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = chain(False)
            for _ in range(3 if QUICK else 50):
                out.fill_(float("nan"))
                graph.replay()
                assert torch.equal(out, expected), f"{tokens} tokens, in a graph"

    @case("linear, beside kernels that are no dependents")
    def _():
        # PyTorch's kernels write x just before and read out just after.
        weight, bias = layer(1152, 1152, torch.bfloat16)
        x = torch.randn(512, 1152, device=DEVICE).to(torch.bfloat16)
        expected = kernels.linear(x * 2, weight, bias) + 1
        for _ in range(3 if QUICK else 200):
            assert torch.equal(kernels.linear(x * 2, weight, bias) + 1, expected)

    @case("linear, refuses what it cannot do")
    def _():
        weight, bias = layer(1152, 1152, torch.bfloat16)
        x = torch.randn(8, 1152, device=DEVICE).to(torch.bfloat16)
        refused = [({"tileTokens": 32}, "tileTokens"), ({"split": 8, "shareWeight": 2}, "shareTokens <= 8"),
                   ({"tileColumns": 72, "shareWeight": 2}, "multiple of 16"),
                   ({"shareTokens": 4}, "shareWeight and shareTokens 1 or 2"),
                   ({"tileTokens": 256, "tileColumns": 144}, "72, 96 or 128"),
                   ({"tileTokens": 128, "tileColumns": 144, "stages": 8}, "shared memory")]
        for cut, message in refused:
            try:
                kernels.linear(x, weight, bias, **cut)
                raise AssertionError(f"{cut} was taken")
            except RuntimeError as error:
                assert message in str(error), error
        try:
            kernels.linear(x[:, :1148].contiguous(), weight[:, :1148].contiguous())
            raise AssertionError("1148 columns were taken")
        except RuntimeError as error:
            assert "multiples of 8" in str(error), error
        assert kernels.linear(x[:0], weight, bias).shape == (0, 1152)
        table = torch.zeros(8, 64, device=DEVICE)
        for cut, message in (({"split": 2}, "split 1 with heads"), ({"tileColumns": 72}, "tileColumns 128"),
                             ({"heads": 5}, "an even number of heads")):
            try:
                kernels.qkv(x, weight, bias, table, table, **cut)
                raise AssertionError(f"{cut} was taken with heads")
            except RuntimeError as error:
                assert message in str(error), error


print(f"{torch.cuda.get_device_name()}; {kernels.description}")
print("FAILED: %d" % failures if failures else "all passed")
sys.exit(1 if failures else 0)
