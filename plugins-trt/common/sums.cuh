// Sums over a warp and over a block, each in one order of additions.
#pragma once

#include "common/device.cuh"

namespace nit
{

constexpr int kMostSumWarps = 8; //!< of a block

//! Sum over the warp; every lane gets it.
NIT_DEVICE float warpSum(float value)
{
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2)
    {
        value += shuffleXor(value, mask);
    }
    return value;
}

//! Sums over the block's first `warps` warps; kCount values a thread, all of the block gets them. scratch: [kCount,
//! kMostSumWarps] of shared memory, which no sums before or after these may be using.
template <int kCount>
NIT_DEVICE void blockSums(float (&values)[kCount], float* scratch, int warps)
{
    int const thread = static_cast<int>(threadIndex());
#pragma unroll
    for (int i = 0; i < kCount; ++i)
    {
        values[i] = warpSum(values[i]);
        if (thread % 32 == 0)
        {
            scratch[i * kMostSumWarps + thread / 32] = values[i];
        }
    }
    syncBlock();
#pragma unroll
    for (int i = 0; i < kCount; ++i)
    {
        float sum = 0.0f;
        for (int warp = 0; warp < warps; ++warp)
        {
            sum += scratch[i * kMostSumWarps + warp];
        }
        values[i] = sum;
    }
}

} // namespace nit
