// AdaLN with one modulation an image, packed: three operations of one kernel.
//
//   gated  residual = x + gate[image] y          (rounded to the tensor's type, as the separate nodes round it)
//   normed out = LayerNorm(residual or x) (1 + scale[image]) + shift[image]
//
// One warp a token; the row stays in registers between the two passes of the norm, so that each of x, y, residual and
// out crosses the memory bus once. The modulation rows of an image come from the L2 cache for all tokens but the first.
//
// Few tokens do not fill the GPU, and what counts is how long one takes: there a block takes a token, a thread holds
// one vector of each row, and all of them are on their way at once.
#pragma once

#include "api/nitKernels.h"
#include "common/device.cuh"
#include "common/numeric.cuh"
#include "common/sums.cuh"

namespace nit
{

constexpr int kAdaLnWarps = 4;            // tokens a block
constexpr int64_t kFewAdaLnTokens = 2048; // at most so many: a block a token

//! kVectors: 16-byte vectors a lane holds; hidden is a multiple of 8 and at most kVectors * 256.
template <typename T, int kVectors, bool kGated, bool kNormed>
NIT_KERNEL(kAdaLnWarps * 32, kVectors <= 5 ? 8 : 5)
adaLnKernel(NitAdaLnParams const p)
{
    waitForPrerequisites();
    int const lane = static_cast<int>(threadIndex()) % 32;
    int64_t const token = static_cast<int64_t>(blockIndex()) * kAdaLnWarps + threadIndex() / 32;
    if (token >= p.tokens)
    {
        return;
    }
    int const vectors = p.hidden / 8;
    T const* x = static_cast<T const*>(p.x) + token * p.hidden;
    T const* y = static_cast<T const*>(p.y) + token * p.hidden;

    // All loads of the row before the first use: the latency is paid once.
    Vector16 xs[kVectors];
    Vector16 ys[kVectors];
    int64_t const modulation = static_cast<int64_t>(p.imageIndex[token]) * p.modulationStride;
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
    {
        int const vector = i * 32 + lane;
        xs[i] = Vector16{0, 0, 0, 0};
        ys[i] = Vector16{0, 0, 0, 0};
        if (vector < vectors)
        {
            xs[i] = loadVector(x + vector * 8);
            if (kGated)
            {
                ys[i] = loadVector(y + vector * 8);
            }
        }
    }

    if (kGated)
    {
#pragma unroll
        for (int i = 0; i < kVectors; ++i)
        {
            int const vector = i * 32 + lane;
            if (vector < vectors)
            {
                float values[8];
                float branch[8];
                float gate[8];
                unpack<T>(xs[i], values);
                unpack<T>(ys[i], branch);
                unpack<T>(loadVector(static_cast<T const*>(p.gate) + modulation + vector * 8), gate);
#pragma unroll
                for (int j = 0; j < 8; ++j)
                {
                    values[j] += gate[j] * branch[j];
                }
                xs[i] = packVector<T>(values);
                storeVector(static_cast<T*>(p.residual) + token * p.hidden + vector * 8, xs[i]);
            }
        }
    }
    if (!kNormed)
    {
        return;
    }

    // The row stays packed between the passes: half the registers, so more tokens are under way at a time.
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
    {
        float values[8];
        keepPacked(xs[i]);
        unpack<T>(xs[i], values);
#pragma unroll
        for (int j = 0; j < 8; ++j)
        {
            sum += values[j];
        }
    }
    float const mean = warpSum(sum) / static_cast<float>(p.hidden);
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
    {
        float values[8];
        keepPacked(xs[i]);
        unpack<T>(xs[i], values);
#pragma unroll
        for (int j = 0; j < 8; ++j)
        {
            float const centred = values[j] - mean;
            squares += i * 32 + lane < vectors ? centred * centred : 0.0f;
        }
    }
    float const inverse = inverseSqrt(warpSum(squares) / static_cast<float>(p.hidden) + p.epsilon);

#pragma unroll
    for (int i = 0; i < kVectors; ++i)
    {
        int const vector = i * 32 + lane;
        if (vector < vectors)
        {
            float values[8];
            float shift[8];
            float scale[8];
            keepPacked(xs[i]);
            unpack<T>(xs[i], values);
            unpack<T>(loadVector(static_cast<T const*>(p.shift) + modulation + vector * 8), shift);
            unpack<T>(loadVector(static_cast<T const*>(p.scale) + modulation + vector * 8), scale);
#pragma unroll
            for (int j = 0; j < 8; ++j)
            {
                values[j] = (values[j] - mean) * inverse * (1.0f + scale[j]) + shift[j];
            }
            storeVector(static_cast<T*>(p.out) + token * p.hidden + vector * 8, packVector<T>(values));
        }
    }
}

//! Of the two sums over a row.
constexpr int kAdaLnRowShared = 2 * kMostSumWarps * static_cast<int>(sizeof(float));

//! A block a token; hidden is a multiple of 8 and at most kWarps * 256. The fused form is behind a linear layer in the
//! middle of a block, and brings its modulation while that one ends.
template <typename T, int kWarps, bool kGated, bool kNormed>
NIT_KERNEL(kWarps * 32, 1)
adaLnRowKernel(NitAdaLnParams const p)
{
    constexpr bool kEarly = kGated && kNormed;
    allowDependents();
    if (!kEarly)
    {
        waitForPrerequisites();
    }
    NIT_SHARED_MEMORY(shared);
    float* const scratch = reinterpret_cast<float*>(shared);
    int64_t const token = blockIndex();
    int const column = static_cast<int>(threadIndex()) * 8;
    bool const works = column < p.hidden;
    int64_t const at = token * p.hidden + column;

    float values[8] = {};
    float shift[8] = {};
    float scale[8] = {};
    Vector16 gates{};
    Vector16 shifts{};
    Vector16 scales{};
    if (works)
    {
        int64_t const modulation = static_cast<int64_t>(p.imageIndex[token]) * p.modulationStride + column;
        if (kGated)
        {
            gates = loadVector(static_cast<T const*>(p.gate) + modulation);
        }
        if (kNormed)
        {
            shifts = loadVector(static_cast<T const*>(p.shift) + modulation);
            scales = loadVector(static_cast<T const*>(p.scale) + modulation);
        }
    }
    if (kEarly)
    {
        waitForPrerequisites();
    }
    if (works)
    {
        Vector16 const x = loadVector(static_cast<T const*>(p.x) + at);
        Vector16 y{};
        if (kGated)
        {
            y = loadVector(static_cast<T const*>(p.y) + at);
        }
        unpack<T>(x, values);
        if (kGated)
        {
            float branch[8];
            float gate[8];
            unpack<T>(y, branch);
            unpack<T>(gates, gate);
#pragma unroll
            for (int j = 0; j < 8; ++j)
            {
                values[j] += gate[j] * branch[j];
            }
            Vector16 const residual = packVector<T>(values);
            storeVector(static_cast<T*>(p.residual) + at, residual);
            unpack<T>(residual, values); // the norm is that of what was stored
        }
        if (kNormed)
        {
            unpack<T>(shifts, shift);
            unpack<T>(scales, scale);
        }
    }
    if (!kNormed)
    {
        return;
    }
    float sum[1] = {};
#pragma unroll
    for (int j = 0; j < 8; ++j)
    {
        sum[0] += values[j];
    }
    blockSums(sum, scratch, kWarps);
    float const mean = sum[0] / static_cast<float>(p.hidden);
    float squares[1] = {};
#pragma unroll
    for (int j = 0; j < 8; ++j)
    {
        float const centred = values[j] - mean;
        squares[0] += works ? centred * centred : 0.0f;
    }
    blockSums(squares, scratch + kMostSumWarps, kWarps);
    float const inverse = inverseSqrt(squares[0] / static_cast<float>(p.hidden) + p.epsilon);
    if (works)
    {
#pragma unroll
        for (int j = 0; j < 8; ++j)
        {
            values[j] = (values[j] - mean) * inverse * (1.0f + scale[j]) + shift[j];
        }
        storeVector(static_cast<T*>(p.out) + at, packVector<T>(values));
    }
}

//! Any hidden size, any alignment: one warp a token, element by element, the row read again for each pass.
template <typename T, bool kGated, bool kNormed>
NIT_KERNEL(kAdaLnWarps * 32, 1)
adaLnAnyKernel(NitAdaLnParams const p)
{
    waitForPrerequisites();
    int const lane = static_cast<int>(threadIndex()) % 32;
    int64_t const token = static_cast<int64_t>(blockIndex()) * kAdaLnWarps + threadIndex() / 32;
    if (token >= p.tokens)
    {
        return;
    }
    int64_t const row = token * p.hidden;
    int64_t const modulation = static_cast<int64_t>(p.imageIndex[token]) * p.modulationStride;
    T const* source = static_cast<T const*>(p.x) + row;
    if (kGated)
    {
        T* residual = static_cast<T*>(p.residual) + row;
        for (int i = lane; i < p.hidden; i += 32)
        {
            float const gate = toFloat(static_cast<T const*>(p.gate)[modulation + i]);
            float const branch = toFloat(static_cast<T const*>(p.y)[row + i]);
            residual[i] = fromFloat<T>(toFloat(source[i]) + gate * branch);
        }
        source = residual; // every lane reads back only what it wrote itself
    }
    if (!kNormed)
    {
        return;
    }
    float sum = 0.0f;
    for (int i = lane; i < p.hidden; i += 32)
    {
        sum += toFloat(source[i]);
    }
    float const mean = warpSum(sum) / static_cast<float>(p.hidden);
    float squares = 0.0f;
    for (int i = lane; i < p.hidden; i += 32)
    {
        float const centred = toFloat(source[i]) - mean;
        squares += centred * centred;
    }
    float const inverse = inverseSqrt(warpSum(squares) / static_cast<float>(p.hidden) + p.epsilon);
    for (int i = lane; i < p.hidden; i += 32)
    {
        float const scale = toFloat(static_cast<T const*>(p.scale)[modulation + i]);
        float const shift = toFloat(static_cast<T const*>(p.shift)[modulation + i]);
        static_cast<T*>(p.out)[row + i] = fromFloat<T>((toFloat(source[i]) - mean) * inverse * (1.0f + scale) + shift);
    }
}

} // namespace nit
