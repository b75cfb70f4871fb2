// Backward of QK-norm and 2-D RoPE (qkNormRope2dPlugin), and the packing of dq, dk and dv into one row a token.
//
//   z = n w + b, n = (x - mean) / sigma; q' = R z with R a rotation times the tables' magnitude
//   dz = R^T dq', dw = sum of dz n, db = sum of dz, g = dz w, dx = (g - mean(g) - n mean(g n)) / sigma
//
// A block takes NIT_ROPE_BACKWARD_ROWS tokens of q, or of k, or copies their v: so a lane's sums are those of one
// weight. A head's row is shared by kLanes lanes as in the forward.
#pragma once

#include "qkNormRope2dPlugin/qkNormRope2d.cuh"
#include "training/rows.cuh"

namespace nit
{

constexpr int kRopeBackwardWarps = 4;
constexpr int kRopeBackwardTokens = 5; //!< whose angles are in shared memory at a time

NIT_HOST_DEVICE constexpr int ropeBackwardShared(int headDim)
{
    return (kRopeBackwardTokens + 2 * kRopeBackwardWarps) * headDim * static_cast<int>(sizeof(float));
}

template <int kLanes, int kVectors>
NIT_KERNEL(kRopeBackwardWarps * 32, 3)
qkNormRope2dBackwardKernel(NitQkNormRope2dBackwardParams const p)
{
    constexpr int kHeadDim = kLanes * kVectors * 8;
    constexpr int kHeadsAtOnce = 32 / kLanes;
    constexpr int kPairs = kHeadDim / 2;
    constexpr int kThreads = kRopeBackwardWarps * 32;
    NIT_SHARED_MEMORY(shared);
    float* const angles = reinterpret_cast<float*>(shared);          // [kRopeBackwardTokens, 2, kPairs]
    float* const warpSums = angles + kRopeBackwardTokens * kHeadDim; // [kRopeBackwardWarps, 2, kHeadDim]
    int const thread = static_cast<int>(threadIndex());
    int const lane = thread % 32;
    int const part = lane % kLanes;
    int const group = lane / kLanes;
    bool const works = group < kHeadsAtOnce;
    int const kind = static_cast<int>(blockIndex() % 3u); // q, k, v
    int64_t const block = blockIndex() / 3u;
    int64_t const begin = block * NIT_ROPE_BACKWARD_ROWS;
    int64_t const end = begin + NIT_ROPE_BACKWARD_ROWS < p.tokens ? begin + NIT_ROPE_BACKWARD_ROWS : p.tokens;
    int64_t const width = static_cast<int64_t>(p.heads) * kHeadDim;
    Bf16 const* const gradients = static_cast<Bf16 const*>(kind == 0 ? p.dq : kind == 1 ? p.dk : p.dv);
    Bf16* const target = static_cast<Bf16*>(p.dqkv) + kind * width;
    if (kind == 2)
    {
        int const vectors = static_cast<int>(width / 8);
        for (int64_t i = thread; i < (end - begin) * vectors; i += kThreads)
        {
            int64_t const token = begin + i / vectors;
            int64_t const column = i % vectors * 8;
            storeVector(target + token * 3 * width + column, loadVector(gradients + token * width + column));
        }
        return;
    }
    Bf16 const* const source = static_cast<Bf16 const*>(p.qkv) + kind * width;
    void const* const weights = kind == 0 ? p.qWeight : p.kWeight;
    bool const normed = weights != nullptr;
    Vector16 weightVectors[kVectors];
    float sumWeight[kVectors * 8] = {};
    float sumBias[kVectors * 8] = {};
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
    {
        weightVectors[i] = loadOrZero(weights, (part + i * kLanes) * 8, normed && works);
    }

    for (int64_t firstToken = begin; firstToken < end; firstToken += kRopeBackwardTokens)
    {
        int const tokens =
            end - firstToken < kRopeBackwardTokens ? static_cast<int>(end - firstToken) : kRopeBackwardTokens;
        syncBlock(); // the angles before are read
        for (int i = thread; i < tokens * kPairs; i += kThreads)
        {
            int64_t const entry = (firstToken + i / kPairs) * kHeadDim + i % kPairs * 2;
            angles[i / kPairs * kHeadDim + i % kPairs] = p.cosine[entry];
            angles[i / kPairs * kHeadDim + kPairs + i % kPairs] = p.sine[entry];
        }
        syncBlock();
        for (int item0 = thread / 32 * kHeadsAtOnce; item0 < tokens * p.heads;
             item0 += kRopeBackwardWarps * kHeadsAtOnce)
        {
            int const item = item0 + group;
            bool const mine = works && item < tokens * p.heads;
            int const token = item / p.heads;
            int64_t const row = firstToken + token;
            int64_t const column = static_cast<int64_t>(item % p.heads) * kHeadDim + part * 8;
            Vector16 xs[kVectors];
            float z[kVectors * 8];
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                xs[i] = loadOrZero(source, row * 3 * width + column + i * kLanes * 8, mine && normed);
            }
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                Vector16 const vector = loadOrZero(gradients, row * width + column + i * kLanes * 8, mine);
                float d[8];
                unpack<Bf16>(vector, d);
                float const* const turn = angles + (mine ? token * kHeadDim + (part + i * kLanes) * 4 : 0);
#pragma unroll
                for (int j = 0; j < 4; ++j)
                {
                    float const cosine = turn[j];
                    float const sine = turn[kPairs + j];
                    z[i * 8 + 2 * j] = d[2 * j] * cosine + d[2 * j + 1] * sine;
                    z[i * 8 + 2 * j + 1] = d[2 * j + 1] * cosine - d[2 * j] * sine;
                }
            }
            if (normed)
            {
                float sum = 0.0f;
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
                    float x[8];
                    keepPacked(xs[i]);
                    unpack<Bf16>(xs[i], x);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        sum += x[j];
                    }
                }
                float const mean = headSum<kLanes>(sum, group * kLanes) / kHeadDim;
                float squares = 0.0f;
                float gradient = 0.0f;
                float product = 0.0f;
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
                    float x[8];
                    float w[8];
                    keepPacked(xs[i]);
                    keepPacked(weightVectors[i]);
                    unpack<Bf16>(xs[i], x);
                    unpack<Bf16>(weightVectors[i], w);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        float const centred = x[j] - mean;
                        float const g = z[i * 8 + j] * w[j];
                        squares += centred * centred;
                        gradient += g;
                        product += g * centred;
                    }
                }
                float const inverse = inverseSqrt(headSum<kLanes>(squares, group * kLanes) / kHeadDim + p.epsilon);
                float const meanGradient = headSum<kLanes>(gradient, group * kLanes) / kHeadDim;
                float const meanProduct = headSum<kLanes>(product, group * kLanes) * inverse / kHeadDim;
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
                    float x[8];
                    float w[8];
                    keepPacked(xs[i]);
                    keepPacked(weightVectors[i]);
                    unpack<Bf16>(xs[i], x);
                    unpack<Bf16>(weightVectors[i], w);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        float const normedValue = (x[j] - mean) * inverse;
                        float const dz = z[i * 8 + j];
                        sumWeight[i * 8 + j] += mine ? dz * normedValue : 0.0f;
                        sumBias[i * 8 + j] += mine ? dz : 0.0f;
                        z[i * 8 + j] = inverse * (dz * w[j] - meanGradient - normedValue * meanProduct);
                    }
                }
            }
            if (mine)
            {
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
                    float d[8];
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        d[j] = z[i * 8 + j];
                    }
                    storeVector(target + row * 3 * width + column + i * kLanes * 8, packVector<Bf16>(d));
                }
            }
        }
    }
    if (!normed)
    {
        return;
    }
    // The warp's heads, then the block's warps, each in one order.
#pragma unroll
    for (int i = 0; i < kVectors * 8; ++i)
    {
        float weight = 0.0f;
        float bias = 0.0f;
        for (int head = 0; head < kHeadsAtOnce; ++head)
        {
            weight += shuffleFrom(sumWeight[i], head * kLanes + part);
            bias += shuffleFrom(sumBias[i], head * kLanes + part);
        }
        if (lane < kLanes)
        {
            int const column = (part + i / 8 * kLanes) * 8 + i % 8;
            warpSums[thread / 32 * 2 * kHeadDim + column] = weight;
            warpSums[(thread / 32 * 2 + 1) * kHeadDim + column] = bias;
        }
    }
    syncBlock();
    float* const partial = (kind == 0 ? p.partialQ : p.partialK) + block * 2 * kHeadDim;
    for (int i = thread; i < 2 * kHeadDim; i += kThreads)
    {
        float sum = 0.0f;
        for (int warp = 0; warp < kRopeBackwardWarps; ++warp)
        {
            sum += warpSums[warp * 2 * kHeadDim + i];
        }
        partial[i] = sum;
    }
}

} // namespace nit
