#include "common/launch.h"
#include "training/adamW.cuh"
#include "training/columns.cuh"
#include "training/gatedResidualBackward.cuh"
#include "training/layerNormBackward.cuh"
#include "training/qkNormRope2dBackward.cuh"

namespace nit
{
namespace
{

unsigned blocksOf(int64_t items, int64_t each)
{
    return static_cast<unsigned>((items + each - 1) / each);
}

template <typename... Pointers>
bool given(Pointers... pointers)
{
    return ((pointers != nullptr) && ...);
}

template <typename... Pointers>
bool allAligned(Pointers... pointers)
{
    return (aligned16(pointers) && ...);
}

int missing(char const* name)
{
    return invalid("%s: expected all of its tensors, on 16-byte boundaries, found one that is not", name);
}

//! Checks what every kernel over chunks needs.
int checkRows(char const* name, int chunks, int hidden, int64_t modulationStride)
{
    if (chunks < 0 || hidden < 8 || hidden > kRowThreads * 8 || hidden % 8 != 0)
    {
        return invalid(
            "%s: expected chunks >= 0 and hidden a multiple of 8 from 8 to %d, found %d and %d", name, kRowThreads * 8,
            chunks, hidden);
    }
    if (modulationStride < hidden || modulationStride % 8 != 0)
    {
        return invalid(
            "%s: expected modulationStride a multiple of 8, >= hidden (%d), found %lld", name, hidden,
            static_cast<long long>(modulationStride));
    }
    return 0;
}

int checkColumns(char const* name, int64_t tokens, int width)
{
    if (tokens < 0 || width < 8 || width % 8 != 0)
    {
        return invalid(
            "%s: expected tokens >= 0 and width a multiple of 8, found %lld and %d", name,
            static_cast<long long>(tokens), width);
    }
    return 0;
}

template <bool kGelu>
int launchColumns(NitGeluBackwardParams const& p, char const* name, void* stream)
{
    if (p.tokens > 0)
    {
        unsigned const blocks = blocksOf(p.width / 8, kColumnThreads) * blocksOf(p.tokens, NIT_COLUMN_ROWS);
        columnsKernel<kGelu><<<blocks, kColumnThreads, 0, static_cast<cudaStream_t>(stream)>>>(p);
    }
    return check(cudaGetLastError(), name);
}

template <int kLanes, int kVectors>
void launchRope(NitQkNormRope2dBackwardParams const& p, cudaStream_t stream)
{
    unsigned const blocks = 3 * blocksOf(p.tokens, NIT_ROPE_BACKWARD_ROWS);
    qkNormRope2dBackwardKernel<kLanes, kVectors>
        <<<blocks, kRopeBackwardWarps * 32, ropeBackwardShared(kLanes * kVectors * 8), stream>>>(p);
}

} // namespace
} // namespace nit

int nitLayerNormBackward(NitLayerNormBackwardParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitLayerNormBackward";
    if (p == nullptr || !given(p->x, p->dOut, p->shift, p->scale, p->chunks, p->dx, p->partialShift, p->partialScale) ||
        !allAligned(p->x, p->dOut, p->dResidual, p->shift, p->scale, p->dx, p->out, p->partialShift, p->partialScale))
    {
        return missing(name);
    }
    int const error = checkRows(name, p->chunkCount, p->hidden, p->modulationStride);
    if (error != 0 || p->chunkCount == 0)
    {
        return error;
    }
    layerNormBackwardKernel<<<
        static_cast<unsigned>(p->chunkCount), static_cast<unsigned>(rowThreads(p->hidden)), kLayerNormBackwardShared,
        static_cast<cudaStream_t>(stream)>>>(*p);
    return check(cudaGetLastError(), name);
}

int nitGatedResidualBackward(NitGatedResidualBackwardParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitGatedResidualBackward";
    if (p == nullptr || !given(p->dResidual, p->y, p->gate, p->chunks, p->dy, p->partialGate, p->partialSum) ||
        !allAligned(p->dResidual, p->y, p->gate, p->dy, p->partialGate, p->partialSum))
    {
        return missing(name);
    }
    int const error = checkRows(name, p->chunkCount, p->hidden, p->modulationStride);
    if (error != 0 || p->chunkCount == 0)
    {
        return error;
    }
    gatedResidualBackwardKernel<<<
        static_cast<unsigned>(p->chunkCount), static_cast<unsigned>(rowThreads(p->hidden)), 0,
        static_cast<cudaStream_t>(stream)>>>(*p);
    return check(cudaGetLastError(), name);
}

int nitImageSums(NitImageSumsParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitImageSums";
    if (p == nullptr || !given(p->partialFirst, p->partialSecond, p->chunkStarts, p->first, p->second))
    {
        return missing(name);
    }
    if (p->images < 0 || p->hidden < 1 || p->firstStride < p->hidden || p->secondStride < p->hidden)
    {
        return invalid(
            "%s: expected images >= 0, hidden >= 1 and strides >= hidden, found %d, %d, %lld and %lld", name, p->images,
            p->hidden, static_cast<long long>(p->firstStride), static_cast<long long>(p->secondStride));
    }
    if (p->images > 0)
    {
        unsigned const blocks = static_cast<unsigned>(p->images) * blocksOf(p->hidden, kImageSumThreads);
        imageSumsKernel<<<blocks, kImageSumThreads, 0, static_cast<cudaStream_t>(stream)>>>(*p);
    }
    return check(cudaGetLastError(), name);
}

int nitGeluBackward(NitGeluBackwardParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitGeluBackward";
    if (p == nullptr || !given(p->x, p->dOut, p->dx, p->out, p->partial) ||
        !allAligned(p->x, p->dOut, p->dx, p->out, p->partial))
    {
        return missing(name);
    }
    int const error = checkColumns(name, p->tokens, p->width);
    return error != 0 ? error : launchColumns<true>(*p, name, stream);
}

int nitColumnSums(void const* x, float* partial, int64_t tokens, int32_t width, void* stream)
{
    using namespace nit;
    char const* const name = "nitColumnSums";
    if (!given(x, partial) || !allAligned(x, partial))
    {
        return missing(name);
    }
    NitGeluBackwardParams p{};
    p.x = x;
    p.partial = partial;
    p.tokens = tokens;
    p.width = width;
    int const error = checkColumns(name, tokens, width);
    return error != 0 ? error : launchColumns<false>(p, name, stream);
}

int nitSumRows(
    float const* partial, float* out, int64_t rows, int32_t width, int64_t rowStride, int32_t accumulate, void* stream)
{
    using namespace nit;
    char const* const name = "nitSumRows";
    if (!given(partial, out))
    {
        return invalid("%s: expected partial and out, found NULL", name);
    }
    if (rows < 0 || width < 1 || rowStride < width)
    {
        return invalid(
            "%s: expected rows >= 0, width >= 1 and rowStride >= width, found %lld, %d and %lld", name,
            static_cast<long long>(rows), width, static_cast<long long>(rowStride));
    }
    SumRowsParams const p{partial, out, rows, width, rowStride, accumulate};
    sumRowsKernel<<<
        blocksOf(width, kSumColumns), kSumColumns * kSumGroups, kSumRowsShared, static_cast<cudaStream_t>(stream)>>>(p);
    return check(cudaGetLastError(), name);
}

int nitRotate(NitQkNormRope2dParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitRotate";
    if (p == nullptr || !given(p->qkv, p->out, p->cosine, p->sine) ||
        !allAligned(p->qkv, p->out, p->qWeight, p->qBias, p->kWeight, p->kBias))
    {
        return missing(name);
    }
    bool const norm = given(p->qWeight);
    if (given(p->qBias) != norm || given(p->kWeight) != norm || given(p->kBias) != norm)
    {
        return invalid("%s: expected all four of qWeight, qBias, kWeight and kBias, or none", name);
    }
    int64_t const width = static_cast<int64_t>(p->heads) * p->headDim;
    if (p->tokens < 0 || p->heads < 1 || p->type != NIT_BF16 || p->qkvTokenStride != 3 * width ||
        p->outTokenStride != 2 * width)
    {
        return invalid(
            "%s: expected tokens >= 0, heads >= 1, type NIT_BF16 and dense rows, found %lld, %d, %d and rows of %lld "
            "and "
            "%lld",
            name, static_cast<long long>(p->tokens), p->heads, p->type, static_cast<long long>(p->qkvTokenStride),
            static_cast<long long>(p->outTokenStride));
    }
    if (p->headDim != 64 && p->headDim != 72)
    {
        return invalid("%s: expected headDim 64 or 72, found %d", name, p->headDim);
    }
    if (p->tokens == 0)
    {
        return 0;
    }
    unsigned const blocks = blocksOf(p->tokens, kRopeTokens);
    cudaStream_t const queue = static_cast<cudaStream_t>(stream);
    if (p->headDim == 64)
    {
        qkNormRope2dKernel<Bf16, 4, 2, true, kRopeTokens, kRopeWarps, true>
            <<<blocks, kRopeWarps * 32, ropeSharedBytes(64, kRopeTokens), queue>>>(*p);
    }
    else
    {
        qkNormRope2dKernel<Bf16, 3, 3, true, kRopeTokens, kRopeWarps, true>
            <<<blocks, kRopeWarps * 32, ropeSharedBytes(72, kRopeTokens), queue>>>(*p);
    }
    return check(cudaGetLastError(), name);
}

int nitQkNormRope2dBackward(NitQkNormRope2dBackwardParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitQkNormRope2dBackward";
    if (p == nullptr || !given(p->dq, p->dk, p->dv, p->qkv, p->cosine, p->sine, p->dqkv, p->partialQ, p->partialK) ||
        !allAligned(p->dq, p->dk, p->dv, p->qkv, p->dqkv, p->qWeight, p->kWeight))
    {
        return missing(name);
    }
    if ((p->qWeight == nullptr) != (p->kWeight == nullptr))
    {
        return invalid("%s: expected both of qWeight and kWeight, or none", name);
    }
    if (p->tokens < 0 || p->heads < 1)
    {
        return invalid(
            "%s: expected tokens >= 0 and heads >= 1, found %lld and %d", name, static_cast<long long>(p->tokens),
            p->heads);
    }
    if (p->tokens == 0)
    {
        return 0;
    }
    switch (p->headDim)
    {
    case 64:
        launchRope<4, 2>(*p, static_cast<cudaStream_t>(stream));
        break;
    case 72:
        launchRope<3, 3>(*p, static_cast<cudaStream_t>(stream));
        break;
    default:
        return invalid("%s: expected headDim 64 or 72, found %d", name, p->headDim);
    }
    return check(cudaGetLastError(), name);
}

int nitPadLogSumExp(
    float const* logSumExp, int32_t const* imageIndex, int32_t const* cuSeqlens, float* padded, int64_t tokens,
    int32_t heads, int32_t longest, void* stream)
{
    using namespace nit;
    char const* const name = "nitPadLogSumExp";
    if (!given(logSumExp, imageIndex, cuSeqlens, padded))
    {
        return invalid("%s: expected all of its tensors, found NULL among them", name);
    }
    if (tokens < 0 || heads < 1 || longest < 1)
    {
        return invalid(
            "%s: expected tokens >= 0, heads >= 1 and longest >= 1, found %lld, %d and %d", name,
            static_cast<long long>(tokens), heads, longest);
    }
    if (tokens > 0)
    {
        PadLogSumExpParams const p{logSumExp, imageIndex, cuSeqlens, padded, tokens, heads, longest};
        padLogSumExpKernel<<<
            blocksOf(tokens * heads, kPadThreads), kPadThreads, 0, static_cast<cudaStream_t>(stream)>>>(p);
    }
    return check(cudaGetLastError(), name);
}

int nitAdamW(NitAdamWParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitAdamW";
    if (p == nullptr || !given(p->parameters, p->expAvg, p->expAvgSq, p->gradients, p->scalars) ||
        !allAligned(p->parameters, p->expAvg, p->expAvgSq, p->average, p->copy, p->gradients))
    {
        return missing(name);
    }
    if (p->elements < 0 || p->elements % 8 != 0)
    {
        return invalid("%s: expected elements a multiple of 8, found %lld", name, static_cast<long long>(p->elements));
    }
    if (p->elements > 0)
    {
        adamWKernel<<<blocksOf(p->elements / 8, kAdamWThreads), kAdamWThreads, 0, static_cast<cudaStream_t>(stream)>>>(
            *p);
    }
    return check(cudaGetLastError(), name);
}
