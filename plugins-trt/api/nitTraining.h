/*
 * The backward kernels of NiT and the optimizer's step as plain C functions, for training in bfloat16 with fp32 master
 * weights. As in nitKernels.h: device pointers, nothing is read back, nothing is allocated, 0 or an error whose text is
 * nitLastError(). All sums have one order, so that a step gives the same bits every time.
 *
 * Legend: N tokens, B images, D hidden, H heads, d headDim, T bfloat16. Rows are dense and begin at multiples of 16
 * bytes; widths are multiples of 8.
 *
 * Sums over the tokens of each image go in two passes. A pack is cut into chunks of at most NIT_CHUNK_ROWS tokens of
 * one image; chunks is [C, 4] int32: image, first token, tokens, 0; chunkStarts is [B + 1] int32, the first chunk of
 * each image. The first pass gives a row of sums a chunk, nitImageSums adds the rows of each image.
 */
#ifndef NIT_TRAINING_H
#define NIT_TRAINING_H

#include "api/nitKernels.h"

#ifdef __cplusplus
extern "C"
{
#endif

    enum
    {
        NIT_CHUNK_ROWS = 32,        /* most tokens of a chunk */
        NIT_COLUMN_ROWS = 64,       /* rows that one partial sum of nitGeluBackward and nitColumnSums takes */
        NIT_ROPE_BACKWARD_ROWS = 20 /* tokens that one partial sum of nitQkNormRope2dBackward takes */
    };

    /* Backward of out = LayerNorm(x) (1 + scale[image]) + shift[image]. */
    typedef struct
    {
        void const* x;         /* [N, D] T */
        void const* dOut;      /* [N, D] T */
        void const* dResidual; /* [N, D] T, added to dx; NULL: 0 */
        void const* shift;     /* [B, D] T, rows modulationStride apart, like scale */
        void const* scale;
        int32_t const* chunks; /* [C, 4] */
        void* dx;              /* [N, D] T; may be dResidual */
        void* out;             /* [N, D] T, computed once more; may be dOut; NULL: not written */
        float* partialShift;   /* [C, D]: sums of dOut */
        float* partialScale;   /* [C, D]: sums of dOut LayerNorm(x) */
        int32_t chunkCount;    /* C */
        int32_t hidden;        /* D, at most 2048 */
        int64_t modulationStride;
        float epsilon;
    } NitLayerNormBackwardParams;

    NIT_API int nitLayerNormBackward(NitLayerNormBackwardParams const* params, void* stream);

    /* Backward of residual = x + gate[image] y; the gradient of x is dResidual itself. */
    typedef struct
    {
        void const* dResidual; /* [N, D] T */
        void const* y;         /* [N, D] T */
        void const* gate;      /* [B, D] T, rows modulationStride apart */
        int32_t const* chunks; /* [C, 4] */
        void* dy;              /* [N, D] T; may be y */
        float* partialGate;    /* [C, D]: sums of dResidual y */
        float* partialSum;     /* [C, D]: sums of dResidual; gate times it is the gradient of a bias of y */
        int32_t chunkCount;    /* C */
        int32_t hidden;        /* D, at most 2048 */
        int64_t modulationStride;
    } NitGatedResidualBackwardParams;

    NIT_API int nitGatedResidualBackward(NitGatedResidualBackwardParams const* params, void* stream);

    /* Adds the rows of each image's chunks: first[image] and second[image], each [B, D] with rows a stride apart. */
    typedef struct
    {
        float const* partialFirst;  /* [C, D] */
        float const* partialSecond; /* [C, D] */
        int32_t const* chunkStarts; /* [B + 1] */
        float* first;
        float* second;
        int64_t firstStride;
        int64_t secondStride;
        int32_t images; /* B */
        int32_t hidden; /* D */
    } NitImageSumsParams;

    NIT_API int nitImageSums(NitImageSumsParams const* params, void* stream);

    /* Backward of gelu(x), tanh form, which is computed once more; W columns. */
    typedef struct
    {
        void const* x;    /* [N, W] T */
        void const* dOut; /* [N, W] T */
        void* dx;         /* [N, W] T; may be dOut */
        void* out;        /* [N, W] T: gelu(x); may be x */
        float* partial;   /* [ceil(N / NIT_COLUMN_ROWS), W]: sums of dx */
        int64_t tokens;
        int32_t width;
    } NitGeluBackwardParams;

    NIT_API int nitGeluBackward(NitGeluBackwardParams const* params, void* stream);

    /* partial [ceil(N / NIT_COLUMN_ROWS), W]: sums of the columns of x [N, W] T. */
    NIT_API int nitColumnSums(void const* x, float* partial, int64_t tokens, int32_t width, void* stream);

    /* out [W] = sum of the rows of partial [R, W], rows a stride apart; with accumulate added to what is there. */
    NIT_API int nitSumRows(
        float const* partial, float* out, int64_t rows, int32_t width, int64_t rowStride, int32_t accumulate,
        void* stream);

    /* nitQkNormRope2d with tables, headDim 64 or 72 and dense rows, that leaves v out: out is [N, 2, H, d]. */
    NIT_API int nitRotate(NitQkNormRope2dParams const* params, void* stream);

    /* Backward of nitRotate. */
    typedef struct
    {
        void const* dq; /* [N, H, d] T, after norm and rotation */
        void const* dk;
        void const* dv;
        void const* qkv;     /* [N, 3, H, d] T, before both */
        float const* cosine; /* [N, d] */
        float const* sine;
        void const* qWeight; /* [d] T; NULL, like kWeight: no norm */
        void const* kWeight;
        void* dqkv;      /* [N, 3, H, d] T */
        float* partialQ; /* [ceil(N / NIT_ROPE_BACKWARD_ROWS), 2, d]: sums of the gradients of weight and bias */
        float* partialK; /* likewise */
        int64_t tokens;
        int32_t heads;
        int32_t headDim; /* 64 or 72 */
        float epsilon;
    } NitQkNormRope2dBackwardParams;

    NIT_API int nitQkNormRope2dBackward(NitQkNormRope2dBackwardParams const* params, void* stream);

    /*
     * nitVarlenAttention's logSumExp, [H, N], laid out as FlashAttention's backward in libtorch takes it: padded is
     * [B, H, longest], and entries beyond an image's tokens are not written.
     */
    NIT_API int nitPadLogSumExp(
        float const* logSumExp, int32_t const* imageIndex, int32_t const* cuSeqlens, float* padded, int64_t tokens,
        int32_t heads, int32_t longest, void* stream);

    /*
     * AdamW, clipping, the moving average and the copy in bfloat16 in one pass. scalars, on the device, fp32:
     * [0] factor of the gradients (clipping), [1] 0: nothing is changed, else the step is taken, [2] lr / (1 -
     * beta1^k), [3] sqrt(1 - beta2^k), [4] 1 - lr weightDecay, [5] 1 - decay of the average.
     */
    typedef struct
    {
        float* parameters; /* [n] */
        float* expAvg;
        float* expAvgSq;
        float* average; /* NULL: none */
        void* copy;     /* [n] T; NULL: none */
        float const* gradients;
        float const* scalars;
        int64_t elements; /* n, a multiple of 8 */
        float beta1;
        float beta2;
        float epsilon;
    } NitAdamWParams;

    NIT_API int nitAdamW(NitAdamWParams const* params, void* stream);

#ifdef __cplusplus
}
#endif

#endif
