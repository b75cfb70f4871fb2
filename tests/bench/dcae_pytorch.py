#!/usr/bin/env python3
"""DC-AE f32c32 in plain PyTorch: the baseline of AutoencoderBenchmark, row for row.

The same network, written once more in the way PyTorch users write it: channels last on CUDA,
nn.Conv2d, float32 inside norms and attention. Weights and pictures are random. float32 is without
TF32, cuDNN picks its kernels by trial, every result is checked to be finite, and TFLOP/s count the
multiplications and additions of convolutions and attention.

    python3 dcae_pytorch.py [--device cuda] [--sizes 256,512,1024] [--batches 1,4]
                            [--precisions f32,bf16] [--modes eager,compile] [--rounds 10]
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = [128, 256, 512, 512, 1024, 1024]
ENCODER_LAYERS = [2, 2, 2, 3, 3, 3]
DECODER_LAYERS = [3, 3, 3, 3, 3, 3]
FIRST_ATTENTION_STAGE = 3
LATENT = 32
HEAD = 32
FACTOR = 32


class RmsNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 0.1))  # a branch starts small
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):  # [batch, C, h, w]
        mean = x.float().square().mean(1, keepdim=True)
        y = (x.float() * torch.rsqrt(mean + 1e-5)).to(x.dtype)
        return y * self.weight[:, None, None] + self.bias[:, None, None]


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.norm = RmsNorm(c)

    def forward(self, x):
        return x + self.norm(self.conv2(F.silu(self.conv1(x))))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.to_qkv = nn.Conv2d(c, 3 * c, 1, bias=False)
        self.proj_in = nn.Conv2d(3 * c, 3 * c, 5, padding=2, groups=3 * c, bias=False)
        self.proj_out = nn.Conv2d(3 * c, 3 * c, 1, groups=3 * c // HEAD, bias=False)
        self.to_out = nn.Conv2d(2 * c, c, 1, bias=False)
        self.norm_out = RmsNorm(c)

    def forward(self, x):
        qkv = self.to_qkv(x)
        qkv = torch.cat([qkv, self.proj_out(self.proj_in(qkv))], 1)  # [batch, 6·C, h, w]
        heads = qkv.flatten(2).float().unflatten(1, (-1, 3, HEAD))  # [batch, heads, 3, d, N]
        q, k, v = heads.unbind(2)
        q, k = F.relu(q), F.relu(k)
        above = (v @ k.transpose(2, 3)) @ q  # [batch, heads, d, N]
        below = k.sum(3, keepdim=True).transpose(2, 3) @ q  # [batch, heads, 1, N]
        o = (above / (below + 1e-15)).to(x.dtype).flatten(1, 2).unflatten(2, x.shape[2:])
        if x.is_cuda:
            o = o.contiguous(memory_format=torch.channels_last)
        return x + self.norm_out(self.to_out(o))


class GluMbConv(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv_inverted = nn.Conv2d(c, 8 * c, 1)
        self.conv_depth = nn.Conv2d(8 * c, 8 * c, 3, padding=1, groups=8 * c)
        self.conv_point = nn.Conv2d(4 * c, c, 1, bias=False)
        self.norm = RmsNorm(c)

    def forward(self, x):
        a, gate = self.conv_depth(F.silu(self.conv_inverted(x))).chunk(2, 1)
        return x + self.norm(self.conv_point(a * F.silu(gate)))


def block(stage):
    c = CHANNELS[stage]
    if stage < FIRST_ATTENTION_STAGE:
        return ResBlock(c)
    return nn.Sequential(Attention(c), GluMbConv(c))


class Down(nn.Module):
    def __init__(self, c, out):
        super().__init__()
        self.conv = nn.Conv2d(c, out, 3, stride=2, padding=1)

    def forward(self, x):
        y = self.conv(x)
        means = F.pixel_unshuffle(x, 2).unflatten(1, (y.shape[1], -1)).mean(2)
        return y + means


class Up(nn.Module):
    def __init__(self, c, out):
        super().__init__()
        self.conv = nn.Conv2d(c, out, 3, padding=1)
        self.repeats = 4 * out // c

    def forward(self, x):
        y = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y + F.pixel_shuffle(x.repeat_interleave(self.repeats, dim=1), 2)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        steps = [nn.Conv2d(3, CHANNELS[0], 3, padding=1)]
        for i, layers in enumerate(ENCODER_LAYERS):
            steps += [block(i) for _ in range(layers)]
            if i + 1 < len(CHANNELS):
                steps.append(Down(CHANNELS[i], CHANNELS[i + 1]))
        self.steps = nn.Sequential(*steps)
        self.conv_out = nn.Conv2d(CHANNELS[-1], LATENT, 3, padding=1)

    def forward(self, rgb):
        h = self.steps(rgb)
        return self.conv_out(h) + h.unflatten(1, (LATENT, -1)).mean(2)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(LATENT, CHANNELS[-1], 3, padding=1)
        steps = []
        for i in reversed(range(len(CHANNELS))):
            if i + 1 < len(CHANNELS):
                steps.append(Up(CHANNELS[i + 1], CHANNELS[i]))
            steps += [block(i) for _ in range(DECODER_LAYERS[i])]
        self.steps = nn.Sequential(*steps)
        self.norm_out = RmsNorm(CHANNELS[0])
        self.conv_out = nn.Conv2d(CHANNELS[0], 3, 3, padding=1)

    def forward(self, z):
        h = self.conv_in(z) + z.repeat_interleave(CHANNELS[-1] // LATENT, dim=1)
        return self.conv_out(F.relu(self.norm_out(self.steps(h))))


def count_macs(network, x):
    """Multiplications of convolutions and attention in one forward."""
    macs = 0

    def convolution(module, _, out):
        nonlocal macs
        macs += module.weight.numel() * out.shape[0] * out.shape[2] * out.shape[3]

    def attention(module, _, out):
        nonlocal macs
        heads = 2 * out.shape[1] // HEAD
        pixels = out.shape[0] * out.shape[2] * out.shape[3]
        macs += heads * (2 * HEAD * HEAD + HEAD) * pixels

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolution))
        elif isinstance(module, Attention):
            hooks.append(module.register_forward_hook(attention))
    network(x)
    for hook in hooks:
        hook.remove()
    return macs


def row(what, mode, name, network, x, macs, size, rounds):
    cuda = x.is_cuda
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for i in range(-3, rounds):  # a compiled network compiles in the first
        synchronize()
        start = time.perf_counter()
        out = network(x)
        synchronize()
        elapsed = (time.perf_counter() - start) * 1e3
        assert torch.isfinite(out).all(), f"{what}: NaN or infinity at {size}"
        if i >= 0:
            times.append(elapsed)
    median = statistics.median(times)
    memory = torch.cuda.max_memory_reserved() // 2**20 if cuda else 0
    print(
        f"{what:7} {mode:8} {name:5} {f'{size}x{size}':11} {x.shape[0]:5} {median:10.2f}"
        f" {min(times):10.2f} {x.shape[0] / median * 1e3:10.2f} {2 * macs / median / 1e9:9.2f}"
        f" {memory:10}",
        flush=True,
    )


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", default="256,512,1024")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--modes", default="eager,compile")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(f"PyTorch {torch.__version__}, {where}")
    print(
        f"{'':7} {'mode':8} {'type':5} {'size':11} {'batch':>5} {'median ms':>10} {'best ms':>10}"
        f" {'images/s':>10} {'TFLOP/s':>9} {'memory MiB':>10}"
    )
    types = {"f32": torch.float32, "bf16": torch.bfloat16}
    for name in options.precisions.split(","):
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        networks = [
            network().eval().to(device, types[name], memory_format=layout)
            for network in (Encoder, Decoder)
        ]
        for mode in options.modes.split(","):
            for size in map(int, options.sizes.split(",")):
                for batch in map(int, options.batches.split(",")):
                    cells = size // FACTOR
                    rgb = torch.rand(batch, 3, size, size, device=device) * 2 - 1
                    latent = torch.randn(batch, LATENT, cells, cells, device=device)
                    for what, network, x in zip(("encode", "decode"), networks, (rgb, latent)):
                        x = x.to(types[name], memory_format=layout)
                        macs = count_macs(network, x)
                        run = network
                        if mode == "compile":
                            torch._dynamo.reset()
                            run = torch.compile(network, dynamic=False)
                        row(what, mode, name, run, x, macs, size, options.rounds)


if __name__ == "__main__":
    main()
