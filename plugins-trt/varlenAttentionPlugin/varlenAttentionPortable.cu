#include "varlenAttentionPlugin/varlenAttentionPortable.cuh"

#include "common/launch.h"
#include "varlenAttentionPlugin/varlenAttentionKernel.h"

namespace nit
{
namespace
{

template <typename T, int kPaddedDim>
int launch(NitVarlenAttentionParams const& p, bool aligned, cudaStream_t stream)
{
    static SharedMemoryGrant grant;
    auto const kernel = varlenAttentionPortableKernel<T, kPaddedDim>;
    constexpr int kBytes = portableSharedBytes(kPaddedDim);
    if (int const error = grant.request(reinterpret_cast<void const*>(kernel), kBytes))
    {
        return error;
    }
    int const processors = multiprocessors();
    int resident = 0;
    if (int const error = check(
            cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kPortableThreads, kBytes), "occupancy"))
    {
        return error;
    }
    int64_t const tiles = (p.tokens / kPortableRows + p.images) * p.heads; // at most
    int64_t const most = static_cast<int64_t>(processors) * resident;
    kernel<<<static_cast<unsigned>(tiles < most ? tiles : most), kPortableThreads, kBytes, stream>>>(p, aligned);
    return check(cudaGetLastError(), "varlenAttention");
}

template <typename T>
int launch(NitVarlenAttentionParams const& p, bool aligned, cudaStream_t stream)
{
    if (p.headDim <= 32)
    {
        return launch<T, 32>(p, aligned, stream);
    }
    if (p.headDim <= 64)
    {
        return launch<T, 64>(p, aligned, stream);
    }
    if (p.headDim <= 80)
    {
        return launch<T, 80>(p, aligned, stream);
    }
    return launch<T, 128>(p, aligned, stream);
}

} // namespace

int launchPortableAttention(NitVarlenAttentionParams const& params, bool aligned, cudaStream_t stream)
{
    return params.type == NIT_BF16 ? launch<Bf16>(params, aligned, stream) : launch<Fp16>(params, aligned, stream);
}

} // namespace nit
