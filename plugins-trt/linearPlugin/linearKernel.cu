// Compiled for sm_90a only: other architectures know neither wgmma nor clusters.
#include "linearPlugin/linearKernel.h"

#include "common/launch.h"
#include "common/tensorMap.h"
#include "linearPlugin/linear.cuh"

namespace nit
{
namespace
{

//! A matrix of rows of `columns` values without gaps, in boxes of kLinearDepth columns and boxRows rows.
int encode(TensorMap& map, void const* base, int32_t type, int64_t rows, int64_t columns, int boxRows)
{
    EncodeTiled const function = tensorMapEncoder("nitLinear");
    if (function == nullptr)
    {
        return static_cast<int>(cudaErrorInsufficientDriver);
    }
    cuuint64_t const sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
    cuuint64_t const strides[1] = {static_cast<cuuint64_t>(columns) * 2};
    cuuint32_t const box[2] = {kLinearDepth, static_cast<cuuint32_t>(boxRows)};
    cuuint32_t const steps[2] = {1, 1};
    CUresult const result = function(
        &map, type == NIT_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
        const_cast<void*>(base), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS)
    {
        setLastError(
            "nitLinear: cuTensorMapEncodeTiled failed with CUresult %d (%lld rows, %lld columns)",
            static_cast<int>(result), static_cast<long long>(rows), static_cast<long long>(columns));
        return static_cast<int>(cudaErrorInvalidValue);
    }
    return 0;
}

template <typename T, int kConsumers, int kColumns, int kHeadDim = 0>
int launch(NitLinearParams const& p, cudaStream_t stream)
{
    static SharedMemoryGrant grant;
    auto const kernel = linearKernel<T, kConsumers, kColumns, kHeadDim>;
    LinearLaunch params{};
    params.p = p;
    params.cut = linearCut(p);
    int error = encode(params.x, p.x, p.type, p.tokens, p.inFeatures, p.tileTokens / p.shareTokens);
    error = error != 0
                ? error
                : encode(params.weight, p.weight, p.type, p.outFeatures, p.inFeatures, p.tileColumns / p.shareWeight);
    error = error != 0 ? error : grant.request(reinterpret_cast<void const*>(kernel), kLinearMaxShared);
    if (error != 0)
    {
        return error;
    }
    cudaLaunchAttribute attributes[2]{};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = static_cast<unsigned>(params.cut.clusterBlocks);
    attributes[1].val.clusterDim.y = 1;
    attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(
        static_cast<unsigned>(params.cut.rowClusters * params.cut.clusterBlocks),
        static_cast<unsigned>(params.cut.columnClusters));
    config.blockDim = dim3(LinearLayout<kConsumers, kColumns>::kThreads);
    config.dynamicSmemBytes = static_cast<size_t>(linearSharedBytes(p));
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = 2;
    return check(cudaLaunchKernelEx(&config, kernel, params), "nitLinear");
}

//! The widest tiles are for few tokens only: more would not fit the registers.
template <typename T, int kConsumers>
int launchColumns(NitLinearParams const& p, cudaStream_t stream)
{
    switch (p.tileColumns)
    {
    case 72:
        return launch<T, kConsumers, 72>(p, stream);
    case 96:
        return launch<T, kConsumers, 96>(p, stream);
    case 128:
        return launch<T, kConsumers, 128>(p, stream);
    default:
        break;
    }
    if constexpr (kConsumers < 4)
    {
        return p.tileColumns == 144 ? launch<T, kConsumers, 144>(p, stream) : launch<T, kConsumers, 192>(p, stream);
    }
    return invalid("nitLinear: no tile of %d tokens and %d columns", p.tileTokens, p.tileColumns);
}

template <typename T, int kConsumers>
int launchHeads(NitLinearParams const& p, cudaStream_t stream)
{
    if (p.headDim == 64)
    {
        return launch<T, kConsumers, 128, 64>(p, stream);
    }
    return p.tileColumns == 72 ? launch<T, kConsumers, 72, 72>(p, stream) : launch<T, kConsumers, 144, 72>(p, stream);
}

template <typename T>
int launchType(NitLinearParams const& p, cudaStream_t stream)
{
    if (p.heads != 0)
    {
        return p.tileTokens == 64 ? launchHeads<T, 1>(p, stream) : launchHeads<T, 2>(p, stream);
    }
    switch (p.tileTokens)
    {
    case 64:
        return launchColumns<T, 1>(p, stream);
    case 128:
        return launchColumns<T, 2>(p, stream);
    default:
        return launchColumns<T, 4>(p, stream);
    }
}

} // namespace

int launchLinear(NitLinearParams const& params, cudaStream_t stream)
{
    return params.type == NIT_BF16 ? launchType<Bf16>(params, stream) : launchType<Fp16>(params, stream);
}

} // namespace nit
