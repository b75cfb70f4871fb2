// What the backward kernels over rows of tokens share: a block takes a chunk of tokens of one image, a thread one
// vector of eight columns. So sums over tokens stay in eight registers of a thread, and sums over columns cross the
// block.
#pragma once

#include "api/nitTraining.h"
#include "common/device.cuh"
#include "common/numeric.cuh"
#include "common/sums.cuh"

namespace nit
{

constexpr int kRowThreads = kMostSumWarps * 32; //!< most threads of a block: 2048 columns
constexpr int kRowsAtOnce = 4;                  //!< rows whose loads are under way together

//! Threads of a block: a vector each, in whole warps.
NIT_HOST_DEVICE constexpr int rowThreads(int hidden)
{
    return (hidden / 8 + 31) / 32 * 32;
}

struct Chunk
{
    int64_t image;
    int64_t first;
    int count;
};

NIT_DEVICE Chunk chunkOf(int32_t const* chunks, unsigned index)
{
    int32_t const* const entry = chunks + static_cast<int64_t>(index) * 4;
    return {entry[0], entry[1], entry[2]};
}

NIT_DEVICE Vector16 loadOrZero(void const* base, int64_t element, bool given)
{
    return given ? loadVector(static_cast<Bf16 const*>(base) + element) : Vector16{0, 0, 0, 0};
}

NIT_DEVICE void storeFloats(float* target, float const (&values)[8])
{
    storeVector(
        target, Vector16{floatBits(values[0]), floatBits(values[1]), floatBits(values[2]), floatBits(values[3])});
    storeVector(
        target + 4, Vector16{floatBits(values[4]), floatBits(values[5]), floatBits(values[6]), floatBits(values[7])});
}

NIT_DEVICE void loadFloats(float const* source, float (&values)[8])
{
    Vector16 const low = loadVector(source);
    Vector16 const high = loadVector(source + 4);
    values[0] = bitsToFloat(low.x);
    values[1] = bitsToFloat(low.y);
    values[2] = bitsToFloat(low.z);
    values[3] = bitsToFloat(low.w);
    values[4] = bitsToFloat(high.x);
    values[5] = bitsToFloat(high.y);
    values[6] = bitsToFloat(high.z);
    values[7] = bitsToFloat(high.w);
}

} // namespace nit
