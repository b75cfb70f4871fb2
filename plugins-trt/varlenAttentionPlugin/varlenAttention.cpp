#include <cmath>

#include "common/launch.h"
#include "varlenAttentionPlugin/varlenAttentionKernel.h"

int nitVarlenAttention(NitVarlenAttentionParams const* params, void* stream)
{
    using namespace nit;
    if (params == nullptr)
    {
        return invalid("nitVarlenAttention: expected parameters, found NULL");
    }
    NitVarlenAttentionParams p = *params;
    if (p.tokens < 0 || p.tokens >= int64_t{1} << 30)
    {
        return invalid("nitVarlenAttention: expected 0 <= tokens < 2^30, found %lld", static_cast<long long>(p.tokens));
    }
    if (p.images < 0 || p.heads < 1)
    {
        return invalid("nitVarlenAttention: expected images >= 0 and heads >= 1, found %d and %d", p.images, p.heads);
    }
    if (static_cast<int64_t>(p.images) * p.heads + p.tokens / 64 * p.heads >= int64_t{1} << 31)
    {
        return invalid(
            "nitVarlenAttention: expected fewer than 2^31 tiles, found %d images of %d heads and %lld tokens", p.images,
            p.heads, static_cast<long long>(p.tokens));
    }
    if (p.headDim < 8 || p.headDim > 128 || p.headDim % 8 != 0)
    {
        return invalid("nitVarlenAttention: expected headDim a multiple of 8 from 8 to 128, found %d", p.headDim);
    }
    if (p.type != NIT_BF16 && p.type != NIT_FP16)
    {
        return invalid("nitVarlenAttention: expected type NIT_BF16 (0) or NIT_FP16 (1), found %d", p.type);
    }
    if (p.path < NIT_PATH_AUTO || p.path > NIT_PATH_HOPPER)
    {
        return invalid("nitVarlenAttention: expected path 0, 1 or 2, found %d", p.path);
    }
    if (!std::isfinite(p.scale) || p.scale < 0)
    {
        return invalid("nitVarlenAttention: expected scale >= 0, found %g", static_cast<double>(p.scale));
    }
    if (p.tokens == 0 || p.images == 0)
    {
        return 0;
    }
    if (p.q == nullptr || p.k == nullptr || p.v == nullptr || p.out == nullptr || p.cuSeqlens == nullptr)
    {
        return invalid("nitVarlenAttention: expected q, k, v, out and cuSeqlens, found NULL among them");
    }
    if (p.scale == 0)
    {
        p.scale = 1.0f / std::sqrt(static_cast<float>(p.headDim));
    }
    int64_t const strides = p.qTokenStride | p.kTokenStride | p.vTokenStride | p.outTokenStride | p.qHeadStride |
                            p.kHeadStride | p.vHeadStride | p.outHeadStride;
    bool const aligned = aligned16(p.q) && aligned16(p.k) && aligned16(p.v) && aligned16(p.out) && strides % 8 == 0;
    int const capability = computeCapability();
    if (capability == 0)
    {
        return static_cast<int>(cudaErrorNoDevice);
    }
    bool const hopper = capability == 90 && (p.headDim == 64 || p.headDim == 72) && aligned;
    if (p.path == NIT_PATH_HOPPER && !hopper)
    {
        return invalid(
            "nitVarlenAttention: expected for the Hopper path compute capability 9.0, headDim 64 or 72 and 16-byte "
            "aligned rows, found %d.%d, %d and %s rows",
            capability / 10, capability % 10, p.headDim, aligned ? "aligned" : "unaligned");
    }
    cudaStream_t const queue = static_cast<cudaStream_t>(stream);
    return hopper && p.path != NIT_PATH_PORTABLE ? launchHopperAttention(p, queue)
                                                 : launchPortableAttention(p, aligned, queue);
}
