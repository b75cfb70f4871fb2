#include "common/launch.h"
#include "qkNormRope2dPlugin/qkNormRope2d.cuh"

namespace nit
{
namespace
{

template <typename T, int kLanes, int kVectors, int kTokens, int kWarps>
int launchTokens(NitQkNormRope2dParams const& p, cudaStream_t stream)
{
    unsigned const blocks = static_cast<unsigned>((p.tokens + kTokens - 1) / kTokens);
    auto const kernel = p.cosine != nullptr ? qkNormRope2dKernel<T, kLanes, kVectors, true, kTokens, kWarps>
                                            : qkNormRope2dKernel<T, kLanes, kVectors, false, kTokens, kWarps>;
    int constexpr kAngles = ropeSharedBytes(kLanes * kVectors * 8, kTokens);
    return launchAfter("qkNormRope2d", kernel, blocks, kWarps * 32, kAngles, stream, p);
}

template <typename T, int kLanes, int kVectors>
int launchVectors(NitQkNormRope2dParams const& p, cudaStream_t stream)
{
    return p.tokens <= kFewRopeTokens ? launchTokens<T, kLanes, kVectors, 1, kFewRopeWarps>(p, stream)
                                      : launchTokens<T, kLanes, kVectors, kRopeTokens, kRopeWarps>(p, stream);
}

template <typename T>
int launch(NitQkNormRope2dParams const& p, cudaStream_t stream)
{
    bool const vectors = aligned16(p.qkv) && aligned16(p.out) && p.qkvTokenStride % 8 == 0 &&
                         p.outTokenStride % 8 == 0 && aligned16(p.qWeight) && aligned16(p.qBias) &&
                         aligned16(p.kWeight) && aligned16(p.kBias);
    if (vectors && p.headDim == 64)
    {
        return launchVectors<T, 4, 2>(p, stream);
    }
    if (vectors && p.headDim == 72)
    {
        return launchVectors<T, 3, 3>(p, stream);
    }
    int64_t const rows = p.tokens * 3 * p.heads;
    unsigned const blocks = static_cast<unsigned>((rows + kRopeWarps - 1) / kRopeWarps);
    return launchAfter("qkNormRope2d", qkNormRope2dAnyKernel<T>, blocks, kRopeWarps * 32, 0, stream, p);
}

} // namespace
} // namespace nit

int nitQkNormRope2d(NitQkNormRope2dParams const* p, void* stream)
{
    using namespace nit;
    if (p == nullptr)
    {
        return invalid("nitQkNormRope2d: expected parameters, found NULL");
    }
    if (p->tokens < 0 || p->heads < 1)
    {
        return invalid(
            "nitQkNormRope2d: expected tokens >= 0 and heads >= 1, found %lld and %d",
            static_cast<long long>(p->tokens), p->heads);
    }
    if (p->headDim < 8 || p->headDim > 128 || p->headDim % 8 != 0)
    {
        return invalid("nitQkNormRope2d: expected headDim a multiple of 8 from 8 to 128, found %d", p->headDim);
    }
    if (p->tokens == 0)
    {
        return 0;
    }
    if (p->qkv == nullptr || p->out == nullptr)
    {
        return invalid("nitQkNormRope2d: expected qkv and out, found NULL");
    }
    int64_t const width = static_cast<int64_t>(3) * p->heads * p->headDim;
    if (p->qkvTokenStride < width || p->outTokenStride < width)
    {
        return invalid(
            "nitQkNormRope2d: expected token strides >= 3 heads headDim (%lld), found %lld and %lld",
            static_cast<long long>(width), static_cast<long long>(p->qkvTokenStride),
            static_cast<long long>(p->outTokenStride));
    }
    bool const tables = p->cosine != nullptr && p->sine != nullptr;
    bool const angles =
        p->cosine == nullptr && p->sine == nullptr && p->positions != nullptr && p->frequencies != nullptr;
    if (!tables && !angles)
    {
        return invalid("nitQkNormRope2d: expected cosine and sine, or positions and frequencies, found neither whole");
    }
    bool const some = p->qWeight != nullptr || p->qBias != nullptr || p->kWeight != nullptr || p->kBias != nullptr;
    bool const all = p->qWeight != nullptr && p->qBias != nullptr && p->kWeight != nullptr && p->kBias != nullptr;
    if (some && !all)
    {
        return invalid("nitQkNormRope2d: expected all four of qWeight, qBias, kWeight and kBias, or none");
    }
    cudaStream_t const queue = static_cast<cudaStream_t>(stream);
    switch (p->type)
    {
    case NIT_BF16:
        return launch<Bf16>(*p, queue);
    case NIT_FP16:
        return launch<Fp16>(*p, queue);
    default:
        return invalid("nitQkNormRope2d: expected type NIT_BF16 (0) or NIT_FP16 (1), found %d", p->type);
    }
}
