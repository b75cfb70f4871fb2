// LayerNorm over headDim on q and k, then 2-D RoPE on both; v passes.
//
//   q' = q cos + rot(q) sin, rot(a, b) = (-b, a) on neighbouring pairs
//
// One warp works on one token at a time. A head's row of d / 8 vectors is shared by kLanes neighbouring lanes, kLanes a
// divisor of d / 8, so that no lane idles within a head whatever d is: 72 = 9 vectors = 3 lanes x 3, 64 = 4 lanes x 2.
// What is left of the warp (32 modulo kLanes lanes) stays idle.
#pragma once

#include "api/nitKernels.h"
#include "common/device.cuh"
#include "common/numeric.cuh"

namespace nit
{

constexpr int kRopeWarps = 4;

//! Of a token's angles, one set a warp; none with tables.
NIT_HOST_DEVICE constexpr int ropeSharedBytes(int headDim)
{
    return kRopeWarps * headDim * static_cast<int>(sizeof(float));
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

//! kLanes * kVectors * 8 = headDim. kTables: cosine and sine are given, else positions and frequencies.
template <typename T, int kLanes, int kVectors, bool kTables>
NIT_KERNEL(kRopeWarps * 32, 1)
qkNormRope2dKernel(NitQkNormRope2dParams const p)
{
    constexpr int kHeadDim = kLanes * kVectors * 8;
    constexpr int kHeadsAtOnce = 32 / kLanes;
    constexpr int kPairs = kHeadDim / 2;
    NIT_SHARED_MEMORY(shared); // [kRopeWarps, 2, kPairs] fp32, when the angles are computed here
    int const lane = static_cast<int>(threadIndex()) % 32;
    int const warp = static_cast<int>(threadIndex()) / 32;
    int const part = lane % kLanes;          // which lane of the head
    int const group = lane / kLanes;         // which head of those at once
    bool const works = group < kHeadsAtOnce; // the rest of the warp
    float* angles = reinterpret_cast<float*>(shared) + warp * 2 * kPairs;
    int64_t const stride = static_cast<int64_t>(gridSize()) * kRopeWarps;

    for (int64_t token = static_cast<int64_t>(blockIndex()) * kRopeWarps + warp; token < p.tokens; token += stride)
    {
        // This lane's columns: vectors part, part + kLanes, ...: neighbouring lanes read neighbouring vectors.
        float cosine[kVectors][4]; // of each pair
        float sine[kVectors][4];
        if (!kTables)
        {
            for (int pair = lane; pair < kPairs; pair += 32)
            {
                int const axis = pair / (kPairs / 2);
                float const position = static_cast<float>(p.positions[token * 2 + axis]);
                float s;
                float c;
                sineCosine(position * p.frequencies[pair % (kPairs / 2)], s, c);
                angles[pair] = c * p.magnitude;
                angles[kPairs + pair] = s * p.magnitude;
            }
            syncWarp();
        }
#pragma unroll
        for (int i = 0; i < kVectors; ++i)
        {
            int const column = (i * kLanes + part) * 8;
#pragma unroll
            for (int j = 0; j < 4; ++j)
            {
                // A table holds each pair's value twice.
                int64_t const entry = token * kHeadDim + column + j * 2;
                cosine[i][j] = kTables ? p.cosine[entry] : angles[column / 2 + j];
                sine[i][j] = kTables ? p.sine[entry] : angles[kPairs + column / 2 + j];
            }
        }

        T const* source = static_cast<T const*>(p.qkv) + token * p.qkvTokenStride;
        T* target = static_cast<T*>(p.out) + token * p.outTokenStride;
        for (int first = 0; first < 2 * p.heads; first += kHeadsAtOnce) // q's heads, then k's
        {
            int const head = first + group;
            bool const mine = works && head < 2 * p.heads;
            float values[kVectors][8];
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
                int const column = (i * kLanes + part) * 8;
                Vector16 const vector =
                    mine ? loadVector(source + static_cast<int64_t>(head) * kHeadDim + column) : Vector16{0, 0, 0, 0};
                unpack<T>(vector, values[i]);
            }
            if (p.qWeight != nullptr)
            {
                float sum = 0.0f;
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        sum += values[i][j];
                    }
                }
                float const mean = headSum<kLanes>(sum, group * kLanes) / kHeadDim;
                float squares = 0.0f;
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        float const centred = values[i][j] - mean;
                        squares += centred * centred;
                    }
                }
                float const inverse = inverseSqrt(headSum<kLanes>(squares, group * kLanes) / kHeadDim + p.epsilon);
                T const* weights = static_cast<T const*>(head < p.heads ? p.qWeight : p.kWeight);
                T const* biases = static_cast<T const*>(head < p.heads ? p.qBias : p.kBias);
#pragma unroll
                for (int i = 0; i < kVectors; ++i)
                {
                    int const column = (i * kLanes + part) * 8;
                    float weight[8];
                    float bias[8];
                    unpack<T>(loadVector(weights + column), weight);
                    unpack<T>(loadVector(biases + column), bias);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        values[i][j] = (values[i][j] - mean) * inverse * weight[j] + bias[j];
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < kVectors; ++i)
            {
#pragma unroll
                for (int j = 0; j < 4; ++j)
                {
                    float const a = values[i][2 * j];
                    float const b = values[i][2 * j + 1];
                    values[i][2 * j] = a * cosine[i][j] - b * sine[i][j];
                    values[i][2 * j + 1] = b * cosine[i][j] + a * sine[i][j];
                }
                int const column = (i * kLanes + part) * 8;
                if (mine)
                {
                    storeVector(target + static_cast<int64_t>(head) * kHeadDim + column, packVector<T>(values[i]));
                }
            }
        }
        if (p.out != p.qkv)
        {
            int const vectors = p.heads * (kHeadDim / 8);
            int64_t const v = static_cast<int64_t>(2) * p.heads * kHeadDim;
            for (int i = lane; i < vectors; i += 32)
            {
                storeVector(target + v + i * 8, loadVector(source + v + i * 8));
            }
        }
        if (!kTables)
        {
            syncWarp(); // the angles are written again for the next token
        }
    }
}

//! Any headDim that is even, any alignment: one warp a head's row, pair by pair.
template <typename T>
NIT_KERNEL(kRopeWarps * 32, 1)
qkNormRope2dAnyKernel(NitQkNormRope2dParams const p)
{
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
