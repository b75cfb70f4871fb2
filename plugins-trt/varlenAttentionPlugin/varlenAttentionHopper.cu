// Compiled for sm_90a only: other architectures know neither wgmma nor setmaxnreg.
#include "varlenAttentionPlugin/varlenAttentionHopper.cuh"

#include <algorithm>

#include "common/launch.h"
#include "common/tensorMap.h"
#include "varlenAttentionPlugin/varlenAttentionKernel.h"

namespace nit
{
namespace
{

//! [headDim, heads, rows] of one operand, with the two outer dimensions that end it at an image's end.
int encode(
    TensorMap& map, NitVarlenAttentionParams const& p, void const* base, int64_t tokenStride, int64_t headStride,
    int boxRows, bool rest)
{
    EncodeTiled const function = tensorMapEncoder("nitVarlenAttention");
    if (function == nullptr)
    {
        return static_cast<int>(cudaErrorInsufficientDriver);
    }
    RaggedMap const numbers = raggedMap(p.headDim, p.heads, tokenStride, headStride, boxRows, rest);
    cuuint64_t sizes[5];
    cuuint64_t strides[4];
    std::copy(numbers.sizes, numbers.sizes + 5, sizes);
    std::copy(numbers.strides, numbers.strides + 4, strides);
    cuuint32_t const steps[5] = {1, 1, 1, 1, 1};
    CUresult const result = function(
        &map, p.type == NIT_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 5,
        const_cast<void*>(base), sizes, strides, numbers.box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
        rest ? CU_TENSOR_MAP_SWIZZLE_32B : CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS)
    {
        setLastError(
            "nitVarlenAttention: cuTensorMapEncodeTiled failed with CUresult %d (token stride %lld, head "
            "stride %lld elements)",
            static_cast<int>(result), static_cast<long long>(tokenStride), static_cast<long long>(headStride));
        return static_cast<int>(cudaErrorInvalidValue);
    }
    return 0;
}

template <int kHeadDim>
int encode(HopperAttentionParams& params, NitVarlenAttentionParams const& p)
{
    params.p = p;
    int error = encode(params.q, p, p.q, p.qTokenStride, p.qHeadStride, kBandRows, false);
    error = error != 0 ? error : encode(params.k, p, p.k, p.kTokenStride, p.kHeadStride, kLongKeys, false);
    error = error != 0 ? error : encode(params.v, p, p.v, p.vTokenStride, p.vHeadStride, kLongKeys, false);
    if (HopperTiles<kHeadDim>::kRest)
    {
        error = error != 0 ? error : encode(params.qRest, p, p.q, p.qTokenStride, p.qHeadStride, kBandRows, true);
        error = error != 0 ? error : encode(params.kRest, p, p.k, p.kTokenStride, p.kHeadStride, kLongKeys, true);
    }
    return error;
}

template <typename T, int kHeadDim>
int launch(NitVarlenAttentionParams const& p, cudaStream_t stream)
{
    int const processors = multiprocessors();
    if (processors == 0)
    {
        return static_cast<int>(cudaErrorNoDevice);
    }

    // Lengths are on the device. A pack of one image is either long or short; else each kernel takes what is its own.
    bool const mayBeLong = p.tokens > kShortTokens;
    bool const mayBeShort = p.images > 1 || !mayBeLong;
    if (mayBeLong)
    {
        static SharedMemoryGrant grant;
        auto const kernel = varlenAttentionLongKernel<T, kHeadDim>;
        constexpr int kBytes = LongLayout<kHeadDim>::kBytes;
        HopperAttentionParams params{};
        int error = encode<kHeadDim>(params, p);
        error = error != 0 ? error : grant.request(reinterpret_cast<void const*>(kernel), kBytes);
        if (error != 0)
        {
            return error;
        }
        int64_t const tiles = (p.tokens / kLongRows + p.images) * p.heads; // at most
        unsigned const blocks = static_cast<unsigned>(tiles < processors ? tiles : processors);
        error = launchAfter("varlenAttention", kernel, blocks, kLongThreads, kBytes, stream, params);
        if (error != 0)
        {
            return error;
        }
    }
    if (mayBeShort)
    {
        static SharedMemoryGrant grant;
        auto const kernel = varlenAttentionShortKernel<T, kHeadDim>;
        constexpr int kBytes = ShortLayout<kHeadDim>::kBytes;
        int const error = grant.request(reinterpret_cast<void const*>(kernel), kBytes);
        if (error != 0)
        {
            return error;
        }
        int64_t const pairs = static_cast<int64_t>(p.images) * p.heads;
        int64_t const most = static_cast<int64_t>(processors) * kShortBlocks;
        cudaLaunchAttribute beside{};
        beside.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        beside.val.programmaticStreamSerializationAllowed = 1;
        cudaLaunchConfig_t config{};
        config.gridDim = dim3(static_cast<unsigned>(pairs < most ? pairs : most));
        config.blockDim = dim3(kShortThreads);
        config.dynamicSmemBytes = kBytes;
        config.stream = stream;
        config.attrs = &beside;
        config.numAttrs = mayBeLong ? 1 : 0; // the prerequisite is the long kernel, never what came before
        cudaLaunchKernelEx(&config, kernel, p);
    }
    return check(cudaGetLastError(), "varlenAttention");
}

template <typename T>
int launch(NitVarlenAttentionParams const& p, cudaStream_t stream)
{
    return p.headDim == 64 ? launch<T, 64>(p, stream) : launch<T, 72>(p, stream);
}

} // namespace

int launchHopperAttention(NitVarlenAttentionParams const& params, cudaStream_t stream)
{
    return params.type == NIT_BF16 ? launch<Bf16>(params, stream) : launch<Fp16>(params, stream);
}

} // namespace nit
