// LayerNorm over headDim on q and k, then 2-D RoPE on both; v passes.
//
//   q' = q cos + rot(q) sin, rot(a, b) = (-b, a) on neighbouring pairs
//
// A block takes kRopeTokens tokens: it brings their angles to shared memory, then its warps share out the heads of q
// and k of all of them, so that no warp is left with a part of a token. A head's row of d / 8 vectors is shared by
// kLanes neighbouring lanes, kLanes a divisor of d / 8, so that no lane idles within a head whatever d is: 72 = 9
// vectors = 3 lanes x 3, 64 = 4 lanes x 2. What is left of the warp (32 modulo kLanes lanes) stays idle.
//
// Few tokens do not fill the GPU, and what counts is how long one takes: there a block takes one token.
#pragma once

#include "api/nitKernels.h"
#include "common/device.cuh"
#include "common/numeric.cuh"

namespace nit
{

constexpr int kRopeWarps = 8;
constexpr int kRopeThreads = 1024; //!< resident on a multiprocessor
constexpr int kRopeTokens = 5;     //!< 160 heads at 16 a token: two whole rounds of eight warps with ten heads each
constexpr int64_t kFewRopeTokens = 2048; //!< at most so many: a block a token
constexpr int kFewRopeWarps = 4;         //!< 40 heads at once, of 32

//! Of the block's angles: cosine and sine of each token's pairs.
NIT_HOST_DEVICE constexpr int ropeSharedBytes(int headDim, int tokens)
{
    return tokens * headDim * static_cast<int>(sizeof(float));
}

//! Sum over the kLanes lanes that share a head; each of them gets it, in the same order of additions.
template <int kLanes>
NIT_DEVICE float headSum(float value, int firstLane)
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kLanes; ++i)
    {
        // Lanes beyond the last whole head read some lane of the warp; their sums are not used.
        sum += shuffleFrom(value, (firstLane + i) % 32);
    }
    return sum;
}

//! Four neighbouring floats of shared memory.
NIT_DEVICE void loadShared(uint32_t address, float (&values)[4])
{
    Vector16 const words = loadShared16(address);
    values[0] = bitsToFloat(words.x);
    values[1] = bitsToFloat(words.y);
    values[2] = bitsToFloat(words.z);
    values[3] = bitsToFloat(words.w);
}

//! kLanes * kVectors * 8 = headDim. kTables: cosine and sine are given, else positions and frequencies. kTokens tokens
//! a block of kWarps warps. kLeaveV: v is not copied.
template <typename T, int kLanes, int kVectors, bool kTables, int kTokens, int kWarps, bool kLeaveV = false>
NIT_KERNEL(kWarps * 32, kRopeThreads / (kWarps * 32))
qkNormRope2dKernel(NitQkNormRope2dParams const p)
{
    if (kTokens == 1)
    {
        allowDependents();
    }
    waitForPrerequisites();
    constexpr int kHeadDim = kLanes * kVectors * 8;
    constexpr int kHeadsAtOnce = 32 / kLanes;
    constexpr int kPairs = kHeadDim / 2;
    NIT_SHARED_MEMORY(shared); // [kTokens, 2, kPairs] fp32
    int const thread = static_cast<int>(threadIndex());
    int const lane = thread % 32;
    int const part = lane % kLanes;          // which lane of the head
    int const group = lane / kLanes;         // which head of the warp's
    bool const works = group < kHeadsAtOnce; // the rest of the warp
    int64_t const firstToken = static_cast<int64_t>(blockIndex()) * kTokens;
    int const tokens = p.tokens - firstToken < kTokens ? static_cast<int>(p.tokens - firstToken) : kTokens;
    T const* const source = static_cast<T const*>(p.qkv) + firstToken * p.qkvTokenStride;
    T* const target = static_cast<T*>(p.out) + firstToken * p.outTokenStride;
    int const heads = 2 * p.heads; // q's, then k's

    // A lane's columns of a head: vectors part, part + kLanes, ...: neighbouring lanes read neighbouring vectors. They
    // stay packed between the passes: more heads are under way at a time.
    Vector16 vectors[kVectors];
    auto const load = [&](int item)
    {
        bool const mine = works && item < tokens * heads;
        T const* const row =
            source + item / heads * p.qkvTokenStride + item % heads * kHeadDim + static_cast<int64_t>(part) * 8;
#pragma unroll
        for (int i = 0; i < kVectors; ++i)
        {
            vectors[i] = mine ? loadVector(row + i * kLanes * 8) : Vector16{0, 0, 0, 0};
        }
    };
    int const begin = thread / 32 * kHeadsAtOnce;
    load(begin + group); // on its way while the angles come

    float* const angles = reinterpret_cast<float*>(shared);
    for (int i = thread; i < tokens * kPairs; i += kWarps * 32)
    {
        int64_t const token = firstToken + i / kPairs;
        int const pair = i % kPairs;
        float s;
        float c;
        if (kTables)
        {
            // A table holds each pair's value twice.
            c = p.cosine[token * kHeadDim + 2 * pair];
            s = p.sine[token * kHeadDim + 2 * pair];
        }
        else
        {
            float const position = static_cast<float>(p.positions[token * 2 + pair / (kPairs / 2)]);
            sineCosine(position * p.frequencies[pair % (kPairs / 2)], s, c);
            c *= p.magnitude;
            s *= p.magnitude;
        }
        angles[i / kPairs * kHeadDim + pair] = c;
        angles[i / kPairs * kHeadDim + kPairs + pair] = s;
    }
    syncBlock();

    for (int first = begin; first < tokens * heads; first += kWarps * kHeadsAtOnce)
    {
        int const item = first + group;
        bool const mine = works && item < tokens * heads;
        int const token = item / heads;
        int const head = item % heads;
        if (first != begin)
        {
            load(item);
        }
        float mean = 0.0f;
        float inverse = 1.0f;
        if (p.qWeight != nullptr)
        {
            float sum = 0.0f;
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                float values[8];
                unpack<T>(vectors[i], values);
#pragma unroll
                for (int j = 0; j < 8; ++j)
                {
                    sum += values[j];
                }
            }
            mean = headSum<kLanes>(sum, group * kLanes) / kHeadDim;
            float squares = 0.0f;
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                float values[8];
                keepPacked(vectors[i]);
                unpack<T>(vectors[i], values);
#pragma unroll
                for (int j = 0; j < 8; ++j)
                {
                    float const centred = values[j] - mean;
                    squares += centred * centred;
                }
            }
            inverse = inverseSqrt(headSum<kLanes>(squares, group * kLanes) / kHeadDim + p.epsilon);
        }
        if (mine)
        {
            T const* const weights = static_cast<T const*>(head < p.heads ? p.qWeight : p.kWeight) + part * 8;
            T const* const biases = static_cast<T const*>(head < p.heads ? p.qBias : p.kBias) + part * 8;
            uint32_t const turn = sharedAddress(shared) + token * kHeadDim * 4 + part * 16;
            T* const result = target + token * p.outTokenStride + head * kHeadDim + part * 8;
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                float values[8];
                keepPacked(vectors[i]);
                unpack<T>(vectors[i], values);
                if (p.qWeight != nullptr)
                {
                    float weight[8];
                    float bias[8];
                    unpack<T>(loadVector(weights + i * kLanes * 8), weight);
                    unpack<T>(loadVector(biases + i * kLanes * 8), bias);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        values[j] = (values[j] - mean) * inverse * weight[j] + bias[j];
                    }
                }
                float cosine[4];
                float sine[4];
                loadShared(turn + i * kLanes * 16, cosine);
                loadShared(turn + kPairs * 4 + i * kLanes * 16, sine);
#pragma unroll
                for (int j = 0; j < 4; ++j)
                {
                    float const a = values[2 * j];
                    float const b = values[2 * j + 1];
                    values[2 * j] = a * cosine[j] - b * sine[j];
                    values[2 * j + 1] = b * cosine[j] + a * sine[j];
                }
                storeVector(result + i * kLanes * 8, packVector<T>(values));
            }
        }
    }
    if (!kLeaveV && p.out != p.qkv)
    {
        int const columns = p.heads * (kHeadDim / 8);
        int const v = heads * kHeadDim;
        for (int i = thread; i < tokens * columns; i += kWarps * 32)
        {
            int const token = i / columns;
            int const column = v + i % columns * 8;
            storeVector(
                target + token * p.outTokenStride + column, loadVector(source + token * p.qkvTokenStride + column));
        }
    }
}

//! Any headDim that is even, any alignment: one warp a head's row, pair by pair.
template <typename T>
NIT_KERNEL(kRopeWarps * 32, 1)
qkNormRope2dAnyKernel(NitQkNormRope2dParams const p)
{
    waitForPrerequisites();
    int const lane = static_cast<int>(threadIndex()) % 32;
    int64_t const row = static_cast<int64_t>(blockIndex()) * kRopeWarps + threadIndex() / 32;
    int64_t const token = row / (3 * p.heads);
    int const slot = static_cast<int>(row % (3 * p.heads));
    if (token >= p.tokens)
    {
        return;
    }
    T const* source = static_cast<T const*>(p.qkv) + token * p.qkvTokenStride + static_cast<int64_t>(slot) * p.headDim;
    T* target = static_cast<T*>(p.out) + token * p.outTokenStride + static_cast<int64_t>(slot) * p.headDim;
    if (slot >= 2 * p.heads) // v
    {
        for (int i = lane; i < p.headDim; i += 32)
        {
            target[i] = source[i];
        }
        return;
    }
    float mean = 0.0f;
    float inverse = 1.0f;
    if (p.qWeight != nullptr)
    {
        float sum = 0.0f;
        for (int i = lane; i < p.headDim; i += 32)
        {
            sum += toFloat(source[i]);
        }
        mean = headSum<32>(sum, 0) / static_cast<float>(p.headDim);
        float squares = 0.0f;
        for (int i = lane; i < p.headDim; i += 32)
        {
            float const centred = toFloat(source[i]) - mean;
            squares += centred * centred;
        }
        inverse = inverseSqrt(headSum<32>(squares, 0) / static_cast<float>(p.headDim) + p.epsilon);
    }
    T const* weights = static_cast<T const*>(slot < p.heads ? p.qWeight : p.kWeight);
    T const* biases = static_cast<T const*>(slot < p.heads ? p.qBias : p.kBias);
    int const pairs = p.headDim / 2;
    for (int pair = lane; pair < pairs; pair += 32)
    {
        float a = toFloat(source[2 * pair]);
        float b = toFloat(source[2 * pair + 1]);
        if (p.qWeight != nullptr)
        {
            a = (a - mean) * inverse * toFloat(weights[2 * pair]) + toFloat(biases[2 * pair]);
            b = (b - mean) * inverse * toFloat(weights[2 * pair + 1]) + toFloat(biases[2 * pair + 1]);
        }
        float s;
        float c;
        if (p.cosine == nullptr)
        {
            float const position = static_cast<float>(p.positions[token * 2 + pair / (pairs / 2)]);
            sineCosine(position * p.frequencies[pair % (pairs / 2)], s, c);
            c *= p.magnitude;
            s *= p.magnitude;
        }
        else
        {
            c = p.cosine[token * p.headDim + 2 * pair];
            s = p.sine[token * p.headDim + 2 * pair];
        }
        target[2 * pair] = fromFloat<T>(a * c - b * s);
        target[2 * pair + 1] = fromFloat<T>(b * c + a * s);
    }
}

} // namespace nit
