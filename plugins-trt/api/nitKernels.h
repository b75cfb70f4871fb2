/*
 * The kernels of NiT as plain C functions: pointers, sizes, stream. No TensorRT, no PyTorch, nothing is read back to
 * the host and nothing is allocated, so every call can be captured in a CUDA graph.
 *
 * Legend: N tokens, B images, D hidden, H heads, d headDim. All pointers are device pointers. Strides are in elements.
 * Every function returns a cudaError_t as int: 0 done (launched), else nitLastError() says what was expected and found.
 */
#ifndef NIT_KERNELS_H
#define NIT_KERNELS_H

#include <stdint.h>

#if defined(__GNUC__)
#define NIT_API __attribute__((visibility("default")))
#else
#define NIT_API
#endif

#ifdef __cplusplus
extern "C"
{
#endif

    /* Element types of the activations. */
    enum
    {
        NIT_BF16 = 0,
        NIT_FP16 = 1
    };

    /* Which attention kernel: the fastest that fits, or one by name. */
    enum
    {
        NIT_PATH_AUTO = 0,
        NIT_PATH_PORTABLE = 1, /* sm_80 and up: mma.sync, cp.async */
        NIT_PATH_HOPPER = 2    /* sm_90a: wgmma, bulk tensor copies; headDim 64 or 72, 16-byte aligned rows */
    };

    /* Softmax attention of every token to the tokens of its own image: out = softmax(scale q k^T) v, non-causal. */
    typedef struct
    {
        void const* q; /* [N, H, d], headDim contiguous; q, k and v may be parts of one packed qkv buffer */
        void const* k;
        void const* v;
        void* out;        /* [N, H, d] */
        float* logSumExp; /* [H, N], natural logarithm, for a backward pass; NULL: not written */
        int32_t const*
            cuSeqlens;   /* [B + 1], rising from 0 to N; image i owns tokens cuSeqlens[i] .. cuSeqlens[i+1]-1 */
        int64_t tokens;  /* N */
        int32_t images;  /* B */
        int32_t heads;   /* H */
        int32_t headDim; /* d: a multiple of 8, 8 .. 128 */
        int64_t qTokenStride;
        int64_t kTokenStride;
        int64_t vTokenStride;
        int64_t outTokenStride;
        int64_t qHeadStride;
        int64_t kHeadStride;
        int64_t vHeadStride;
        int64_t outHeadStride;
        float scale; /* of q k^T; 0: 1 / sqrt(d) */
        int32_t type;
        int32_t path;
    } NitVarlenAttentionParams;

    /* cuSeqlens may be read while kernels of this library before it on the stream still run. */
    NIT_API int nitVarlenAttention(NitVarlenAttentionParams const* params, void* stream);

    /* LayerNorm over headDim on q and k (when weights are given), then 2-D RoPE on both. */
    typedef struct
    {
        void const* qkv;          /* [N, 3, H, d] */
        void* out;                /* like qkv; may be qkv itself, then v is not touched, else v is copied */
        float const* cosine;      /* [N, d], with sine; or NULL, and then positions and frequencies are given */
        float const* sine;        /* [N, d] */
        int32_t const* positions; /* [N, 2]: position on the first and on the second axis */
        float const* frequencies; /* [d / 4], of one axis */
        float magnitude;          /* multiplies cosine and sine computed from positions */
        void const* qWeight;      /* [d]; NULL: no LayerNorm, and the other three are NULL too */
        void const* qBias;
        void const* kWeight;
        void const* kBias;
        int64_t tokens;
        int32_t heads;
        int32_t headDim; /* a multiple of 8, 8 .. 128 */
        int64_t qkvTokenStride;
        int64_t outTokenStride;
        float epsilon;
        int32_t type;
    } NitQkNormRope2dParams;

    NIT_API int nitQkNormRope2d(NitQkNormRope2dParams const* params, void* stream);

    /* AdaLN with one modulation an image, and the gated residual before it. */
    typedef struct
    {
        void const* x;             /* [N, D] */
        void const* y;             /* [N, D], with gate */
        void const* gate;          /* [B, D], rows modulationStride apart, like shift and scale */
        void const* shift;         /* [B, D] */
        void const* scale;         /* [B, D] */
        int32_t const* imageIndex; /* [N], 0 .. B-1 */
        void* residual;            /* [N, D]: x + gate[image] y; may be x or y */
        void* out;                 /* [N, D]: LayerNorm(...) (1 + scale[image]) + shift[image] */
        int64_t tokens;
        int32_t hidden;
        int64_t modulationStride;
        float epsilon;
        int32_t type;
    } NitAdaLnParams;

    /* out = LayerNorm(x) (1 + scale[image]) + shift[image]; y, gate and residual are not read. */
    NIT_API int nitPackedAdaLn(NitAdaLnParams const* params, void* stream);

    /* residual = x + gate[image] y; out, shift and scale are not read. */
    NIT_API int nitGatedResidual(NitAdaLnParams const* params, void* stream);

    /*
     * residual = x + gate[image] y, out = LayerNorm(residual) (1 + scale[image]) + shift[image], in one pass. gate,
     * shift, scale and imageIndex may be read while kernels of this library before it on the stream still run: these
     * must not write them.
     */
    NIT_API int nitGatedAdaLn(NitAdaLnParams const* params, void* stream);

    /* Activations of a linear layer. */
    enum
    {
        NIT_ACTIVATION_NONE = 0,
        NIT_ACTIVATION_GELU_TANH = 1
    };

    /*
     * out = activation(x weight^T + bias), for few tokens; sums in fp32, the same bits in every run. Compute capability
     * 9.0 only. The fields from tileTokens to stages choose the kernel; 0: the library chooses. Blocks that share
     * operands or sum parts of inFeatures are one cluster: split shareWeight shareTokens <= 8.
     *
     * With heads the layer makes q, k and v, and its result is what nitQkNormRope2d makes of them, from the sums in
     * fp32: no activation, tileColumns a multiple of headDim, split 1.
     */
    typedef struct
    {
        void const* x;      /* [N, inFeatures]; all four pointers on 16 bytes */
        void const* weight; /* [outFeatures, inFeatures] */
        void const* bias;   /* [outFeatures]; NULL: none */
        void* out;          /* [N, outFeatures]; not x */
        int64_t tokens;
        int32_t inFeatures; /* a multiple of 8, like outFeatures */
        int32_t outFeatures;
        int32_t activation;
        int32_t type;
        int32_t tileTokens;  /* of a block: 64, 128 or 256 */
        int32_t tileColumns; /* of a block: 72, 96, 128, and for fewer than 256 tokens 144 or 192 */
        int32_t split;       /* blocks that share inFeatures: 1 .. 8 */
        int32_t shareWeight; /* blocks of neighbouring tokens that are sent one copy of their weights: 1 or 2 */
        int32_t shareTokens; /* blocks of neighbouring columns that are sent one copy of their tokens: 1 or 2 */
        int32_t stages;      /* buffers of 64 inFeatures: 2 .. 8, as many as fit */
        int32_t heads;       /* of q, k and v, outFeatures = 3 heads headDim; 0: a plain layer, the rest is not read */
        int32_t headDim;     /* 72, or 64 where heads are even */
        float epsilon;
        float const* cosine; /* [N, headDim], each pair's value twice; like all that follows, on 16 bytes */
        float const* sine;
        void const* qWeight; /* [headDim]; NULL: no LayerNorm, and the other three are NULL too */
        void const* qBias;
        void const* kWeight;
        void const* kBias;
    } NitLinearParams;

    /* x and weight are read, and out is written, after the kernel before this one on the stream; but weight and bias
     * may be read while it still runs: it must not write them. */
    NIT_API int nitLinear(NitLinearParams const* params, void* stream);

    /* Fills in what nitLinear would choose for the fields that are 0; reads no tensor. */
    NIT_API int nitLinearPlan(NitLinearParams* params);

    /* 1 where nitLinear takes layers of this size on the current device, else 0. */
    NIT_API int nitLinearSupports(int32_t inFeatures, int32_t outFeatures);

    /* 1 where such a layer can make q, k and v of so many heads of headDim columns, else 0. */
    NIT_API int nitLinearSupportsHeads(int32_t heads, int32_t headDim);

    /* What this thread's last failed call expected and found; "" before the first. */
    NIT_API char const* nitLastError(void);

    /* "nit-plugins VERSION (CUDA 13.0; sm_80 ...)", the same text that stands in the file for those who scan it. */
    NIT_API char const* nitPluginsDescription(void);

#ifdef __cplusplus
}
#endif

#endif
