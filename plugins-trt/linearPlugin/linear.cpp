#include "common/launch.h"
#include "linearPlugin/linearKernel.h"
#include "linearPlugin/linearPlan.h"

namespace nit
{
namespace
{

constexpr int kMostColumns = 1 << 22; //!< a grid has 65535 tiles in its second direction at most

//! Whether there is a kernel for a layer of these sizes.
bool hasSizes(int inFeatures, int outFeatures)
{
    bool const in = inFeatures >= 8 && inFeatures % 8 == 0;
    return in && outFeatures >= 8 && outFeatures % 8 == 0 && outFeatures < kMostColumns;
}

//! Whether there is a kernel for a layer that makes such heads.
bool hasHeads(int heads, int headDim)
{
    return heads > 0 && linearHasHeadTile(64, linearHeadTileColumns(headDim), heads, headDim);
}

//! Of a layer that makes q, k and v.
int checkHeads(NitLinearParams const& p)
{
    if (!hasHeads(p.heads, p.headDim) || p.outFeatures != int64_t{3} * p.heads * p.headDim)
    {
        return invalid(
            "nitLinear: expected headDim 72, or 64 and an even number of heads, and outFeatures = 3 heads headDim, "
            "found headDim %d, %d heads and %d outFeatures",
            p.headDim, p.heads, p.outFeatures);
    }
    if (p.activation != NIT_ACTIVATION_NONE || p.split > 1)
    {
        return invalid(
            "nitLinear: expected no activation and split 1 with heads, found activation %d and split %d", p.activation,
            p.split);
    }
    int const tileTokens = p.tileTokens == 0 ? 64 : p.tileTokens;
    int const tileColumns = p.tileColumns == 0 ? linearHeadTileColumns(p.headDim) : p.tileColumns;
    if (!linearHasHeadTile(tileTokens, tileColumns, p.heads, p.headDim))
    {
        return invalid(
            "nitLinear: expected tileTokens 64 or 128 and tileColumns %s with %d heads of %d, found %d and %d",
            p.headDim == 64    ? "128"
            : p.heads % 2 == 0 ? "72 or 144"
                               : "72",
            p.heads, p.headDim, p.tileTokens, p.tileColumns);
    }
    return 0;
}

//! Sizes, types and what is forced of the cut; not the pointers.
int checkLinear(NitLinearParams const& p)
{
    if (p.tokens < 0 || p.tokens >= int64_t{1} << 30)
    {
        return invalid("nitLinear: expected 0 <= tokens < 2^30, found %lld", static_cast<long long>(p.tokens));
    }
    if (!hasSizes(p.inFeatures, p.outFeatures))
    {
        return invalid(
            "nitLinear: expected inFeatures and outFeatures multiples of 8, outFeatures < 2^22, found %d and %d",
            p.inFeatures, p.outFeatures);
    }
    if (p.activation != NIT_ACTIVATION_NONE && p.activation != NIT_ACTIVATION_GELU_TANH)
    {
        return invalid("nitLinear: expected activation 0 (none) or 1 (GELU, tanh), found %d", p.activation);
    }
    if (p.type != NIT_BF16 && p.type != NIT_FP16)
    {
        return invalid("nitLinear: expected type NIT_BF16 (0) or NIT_FP16 (1), found %d", p.type);
    }
    bool const shares = p.shareWeight >= 0 && p.shareWeight <= kLinearMaxShare && p.shareTokens >= 0 &&
                        p.shareTokens <= kLinearMaxShare;
    if (!linearHasTile(p.tileTokens, p.tileColumns) || !shares || p.split < 0 || p.split > kLinearMaxCluster)
    {
        return invalid(
            "nitLinear: expected tileTokens 64 or 128 with tileColumns 72, 96, 128, 144 or 192, or 256 with 72, 96 or "
            "128, split 1 to 8, shareWeight and shareTokens 1 or 2, or 0 for any of them, found %d, %d, %d, %d and %d",
            p.tileTokens, p.tileColumns, p.split, p.shareWeight, p.shareTokens);
    }
    return p.heads == 0 ? 0 : checkHeads(p);
}

//! Fills in the cut and checks what was forced of it.
int planChecked(NitLinearParams& p)
{
    int const processors = multiprocessors();
    if (processors == 0)
    {
        return static_cast<int>(cudaErrorNoDevice);
    }
    planLinear(p, processors);
    int64_t const steps = ceilDivide(p.inFeatures, kLinearDepth);
    if (p.split < 1 || p.split > steps || p.split * p.shareWeight * p.shareTokens > kLinearMaxCluster)
    {
        return invalid(
            "nitLinear: expected split shareWeight shareTokens <= 8 and split <= %lld (inFeatures / 64), found %d, %d "
            "and %d",
            static_cast<long long>(steps), p.split, p.shareWeight, p.shareTokens);
    }
    if (p.tileColumns % (8 * p.shareWeight) != 0)
    {
        return invalid(
            "nitLinear: expected a multiple of 16 tileColumns where two blocks share weights, found %d", p.tileColumns);
    }
    int const bytes = linearSharedBytes(p);
    if (p.stages < 2 || p.stages > kLinearMaxStages || bytes > kLinearMaxShared)
    {
        return invalid(
            "nitLinear: expected 2 to 8 stages in %d bytes of shared memory, found %d in %d", kLinearMaxShared,
            p.stages, bytes);
    }
    return 0;
}

} // namespace
} // namespace nit

int nitLinearSupports(int32_t inFeatures, int32_t outFeatures)
{
    return nit::hasSizes(inFeatures, outFeatures) && nit::computeCapability() == 90 ? 1 : 0;
}

int nitLinearSupportsHeads(int32_t heads, int32_t headDim)
{
    return nit::hasHeads(heads, headDim) && nit::computeCapability() == 90 ? 1 : 0;
}

int nitLinearPlan(NitLinearParams* params)
{
    using namespace nit;
    if (params == nullptr)
    {
        return invalid("nitLinearPlan: expected parameters, found NULL");
    }
    int const error = checkLinear(*params);
    return error != 0 ? error : planChecked(*params);
}

int nitLinear(NitLinearParams const* params, void* stream)
{
    using namespace nit;
    if (params == nullptr)
    {
        return invalid("nitLinear: expected parameters, found NULL");
    }
    NitLinearParams p = *params;
    if (int const error = checkLinear(p))
    {
        return error;
    }
    int const capability = computeCapability();
    if (capability == 0)
    {
        return static_cast<int>(cudaErrorNoDevice);
    }
    if (capability != 90)
    {
        return invalid("nitLinear: expected compute capability 9.0, found %d.%d", capability / 10, capability % 10);
    }
    if (p.tokens == 0)
    {
        return 0;
    }
    if (p.x == nullptr || p.weight == nullptr || p.out == nullptr)
    {
        return invalid("nitLinear: expected x, weight and out, found NULL among them");
    }
    if (p.heads != 0)
    {
        bool const norm = p.qWeight != nullptr;
        if (p.cosine == nullptr || p.sine == nullptr || norm != (p.qBias != nullptr) ||
            norm != (p.kWeight != nullptr) || norm != (p.kBias != nullptr))
        {
            return invalid("nitLinear: expected cosine, sine, and all or none of the norms' weights and biases");
        }
        if (!aligned16(p.cosine) || !aligned16(p.sine) || !aligned16(p.qWeight) || !aligned16(p.qBias) ||
            !aligned16(p.kWeight) || !aligned16(p.kBias))
        {
            return invalid("nitLinear: expected tables, norms' weights and biases that begin on 16 bytes, found one "
                           "that does not");
        }
    }
    if (!aligned16(p.x) || !aligned16(p.weight) || !aligned16(p.bias) || !aligned16(p.out))
    {
        return invalid("nitLinear: expected tensors that begin on 16 bytes, found one that does not");
    }
    int const error = planChecked(p);
    return error != 0 ? error : launchLinear(p, static_cast<cudaStream_t>(stream));
}
