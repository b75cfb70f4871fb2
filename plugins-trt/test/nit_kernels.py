"""The C functions of api/nitKernels.h for PyTorch tensors, through ctypes. Used by the GPU tests and the bench."""

import ctypes
import os

import torch

BF16, FP16 = 0, 1
AUTO, PORTABLE, HOPPER = 0, 1, 2

_P, _I, _L, _F = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float


class VarlenAttentionParams(ctypes.Structure):
    _fields_ = (
        [(n, _P) for n in ("q", "k", "v", "out", "logSumExp", "cuSeqlens")]
        + [("tokens", _L), ("images", _I), ("heads", _I), ("headDim", _I)]
        + [(n + "TokenStride", _L) for n in ("q", "k", "v", "out")]
        + [(n + "HeadStride", _L) for n in ("q", "k", "v", "out")]
        + [("scale", _F), ("type", _I), ("path", _I)]
    )


class QkNormRope2dParams(ctypes.Structure):
    _fields_ = (
        [(n, _P) for n in ("qkv", "out", "cosine", "sine", "positions", "frequencies")]
        + [("magnitude", _F)]
        + [(n, _P) for n in ("qWeight", "qBias", "kWeight", "kBias")]
        + [("tokens", _L), ("heads", _I), ("headDim", _I), ("qkvTokenStride", _L), ("outTokenStride", _L)]
        + [("epsilon", _F), ("type", _I)]
    )


class AdaLnParams(ctypes.Structure):
    _fields_ = (
        [(n, _P) for n in ("x", "y", "gate", "shift", "scale", "imageIndex", "residual", "out")]
        + [("tokens", _L), ("hidden", _I), ("modulationStride", _L), ("epsilon", _F), ("type", _I)]
    )


class LinearParams(ctypes.Structure):
    CUT = ("tileTokens", "tileColumns", "split", "shareWeight", "shareTokens", "stages")
    _fields_ = (
        [(n, _P) for n in ("x", "weight", "bias", "out")]
        + [("tokens", _L), ("inFeatures", _I), ("outFeatures", _I), ("activation", _I), ("type", _I)]
        + [(n, _I) for n in CUT]
        + [("heads", _I), ("headDim", _I), ("epsilon", _F)]
        + [(n, _P) for n in ("cosine", "sine", "qWeight", "qBias", "kWeight", "kBias")]
    )


def load(path=None):
    path = path or os.environ["NIT_PLUGINS_LIBRARY"]
    library = ctypes.CDLL(path)
    for name in ("nitLastError", "nitPluginsDescription"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


class Kernels:
    def __init__(self, path=None):
        self.library = load(path)
        self.description = self.library.nitPluginsDescription().decode()

    def _call(self, name, params):
        stream = _P(torch.cuda.current_stream().cuda_stream)
        code = getattr(self.library, name)(ctypes.byref(params), stream)
        if code != 0:
            raise RuntimeError(f"{name}: {self.library.nitLastError().decode()} ({code})")

    @staticmethod
    def _type(tensor):
        return {torch.bfloat16: BF16, torch.float16: FP16}[tensor.dtype]

    def attention(self, qkv, cu_seqlens, out=None, lse=None, path=AUTO):
        """qkv [tokens, 3, heads, headDim], any token stride."""
        tokens, _, heads, head_dim = qkv.shape
        if out is None:
            out = torch.empty(tokens, heads, head_dim, dtype=qkv.dtype, device=qkv.device)
        p = VarlenAttentionParams()
        q, k, v = qkv.unbind(1)
        p.q, p.k, p.v, p.out = q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr()
        p.logSumExp = lse.data_ptr() if lse is not None else None
        p.cuSeqlens = cu_seqlens.data_ptr()
        p.tokens, p.images, p.heads, p.headDim = tokens, cu_seqlens.numel() - 1, heads, head_dim
        p.qTokenStride = p.kTokenStride = p.vTokenStride = qkv.stride(0)
        p.outTokenStride = out.stride(0)
        p.qHeadStride = p.kHeadStride = p.vHeadStride = qkv.stride(2)
        p.outHeadStride = out.stride(1)
        p.type, p.path = self._type(qkv), path
        self._call("nitVarlenAttention", p)
        return out

    def rope(self, qkv, cosine=None, sine=None, norm=None, out=None, positions=None, frequencies=None, magnitude=1.0,
             epsilon=1e-5):
        """norm: (qWeight, qBias, kWeight, kBias) or None. out None: in place."""
        tokens, _, heads, head_dim = qkv.shape
        out = qkv if out is None else out
        p = QkNormRope2dParams()
        p.qkv, p.out = qkv.data_ptr(), out.data_ptr()
        if positions is None:
            p.cosine, p.sine = cosine.data_ptr(), sine.data_ptr()
        else:
            p.positions, p.frequencies = positions.data_ptr(), frequencies.data_ptr()
        p.magnitude = magnitude
        if norm is not None:
            p.qWeight, p.qBias, p.kWeight, p.kBias = (w.data_ptr() for w in norm)
        p.tokens, p.heads, p.headDim = tokens, heads, head_dim
        p.qkvTokenStride, p.outTokenStride = qkv.stride(0), out.stride(0)
        p.epsilon, p.type = epsilon, self._type(qkv)
        self._call("nitQkNormRope2d", p)
        return out

    def _ada_ln(self, name, x, image_index, modulation_stride, epsilon, **tensors):
        p = AdaLnParams()
        p.x, p.imageIndex = x.data_ptr(), image_index.data_ptr()
        for key, tensor in tensors.items():
            setattr(p, key, tensor.data_ptr())
        p.tokens, p.hidden = x.shape
        p.modulationStride, p.epsilon, p.type = modulation_stride, epsilon, self._type(x)
        self._call(name, p)

    def packed_ada_ln(self, x, shift, scale, image_index, out, epsilon=1e-6):
        self._ada_ln("nitPackedAdaLn", x, image_index, shift.stride(0), epsilon, shift=shift, scale=scale, out=out)
        return out

    def gated_residual(self, x, y, gate, image_index, residual):
        self._ada_ln("nitGatedResidual", x, image_index, gate.stride(0), 0.0, y=y, gate=gate, residual=residual)
        return residual

    def gated_ada_ln(self, x, y, gate, shift, scale, image_index, residual, out, epsilon=1e-6):
        self._ada_ln("nitGatedAdaLn", x, image_index, gate.stride(0), epsilon, y=y, gate=gate, shift=shift, scale=scale,
                     residual=residual, out=out)
        return residual, out

    def linear(self, x, weight, bias=None, gelu=False, out=None, **cut):
        """cut: fields of LinearParams.CUT; those left out are the library's choice."""
        if out is None:
            out = torch.empty(x.shape[0], weight.shape[0], dtype=x.dtype, device=x.device)
        p = self._linear_params(x.shape[0], weight.shape[1], weight.shape[0], **cut)
        p.x, p.weight, p.out = x.data_ptr(), weight.data_ptr(), out.data_ptr()
        p.bias = bias.data_ptr() if bias is not None else None
        p.activation, p.type = int(gelu), self._type(x)
        self._call("nitLinear", p)
        return out

    def qkv(self, x, weight, bias, cosine, sine, norm=None, out=None, epsilon=1e-5, **cut):
        """The layer that makes q, k and v, normed and rotated: [tokens, 3, heads, headDim]; norm as in rope."""
        head_dim = cosine.shape[1]
        heads = weight.shape[0] // (3 * head_dim)
        if out is None:
            out = torch.empty(x.shape[0], 3, heads, head_dim, dtype=x.dtype, device=x.device)
        p = self._linear_params(
            x.shape[0], weight.shape[1], weight.shape[0], **{"heads": heads, "headDim": head_dim, **cut})
        p.x, p.weight, p.out = x.data_ptr(), weight.data_ptr(), out.data_ptr()
        p.bias = bias.data_ptr() if bias is not None else None
        p.cosine, p.sine, p.epsilon, p.type = cosine.data_ptr(), sine.data_ptr(), epsilon, self._type(x)
        if norm is not None:
            p.qWeight, p.qBias, p.kWeight, p.kBias = (w.data_ptr() for w in norm)
        self._call("nitLinear", p)
        return out

    def linear_plan(self, tokens, in_features, out_features, **cut):
        """The cut that the library chooses, as (tileTokens, tileColumns, split, shareWeight, shareTokens, stages)."""
        p = self._linear_params(tokens, in_features, out_features, **cut)
        if self.library.nitLinearPlan(ctypes.byref(p)) != 0:
            raise RuntimeError(self.library.nitLastError().decode())
        return tuple(getattr(p, name) for name in LinearParams.CUT)

    @staticmethod
    def _linear_params(tokens, in_features, out_features, **cut):
        p = LinearParams()
        p.tokens, p.inFeatures, p.outFeatures = tokens, in_features, out_features
        for name, value in cut.items():
            setattr(p, name, value)
        return p
