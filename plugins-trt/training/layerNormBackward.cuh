// Backward of LayerNorm with one shift and scale an image.
//
//   n = (x - mean) / sigma, g = dOut (1 + scale)
//   dx = (g - mean(g) - n mean(g n)) / sigma + dResidual
//   partialShift = sum of dOut, partialScale = sum of dOut n, over the chunk
//
// out = n (1 + scale) + shift is what the product that follows needs for its weights' gradient; written here, it need
// not be kept from the forward. Mean and sigma are computed once more: the row is in registers anyhow.
#pragma once

#include "training/rows.cuh"

namespace nit
{

constexpr int kNormRows = 2; //!< rows at a time: with four, registers would spill
constexpr int kLayerNormBackwardShared = 4 * kNormRows * kMostSumWarps * static_cast<int>(sizeof(float));

NIT_KERNEL(kRowThreads, 2)
layerNormBackwardKernel(NitLayerNormBackwardParams const p)
{
    NIT_SHARED_MEMORY(shared);
    float* const scratch = reinterpret_cast<float*>(shared);
    float* const scratchOfTheRest = scratch + kNormRows * kMostSumWarps;
    int const thread = static_cast<int>(threadIndex());
    int const warps = rowThreads(p.hidden) / 32;
    bool const mine = thread < p.hidden / 8;
    int const column = thread * 8;
    float const width = static_cast<float>(p.hidden);
    Chunk const chunk = chunkOf(p.chunks, blockIndex());

    int64_t const modulation = chunk.image * p.modulationStride + column;
    Vector16 const shifts = loadOrZero(p.shift, modulation, mine);
    float scale[8];
    unpack<Bf16>(loadOrZero(p.scale, modulation, mine), scale);
    float sumShift[8] = {};
    float sumScale[8] = {};

    for (int row = 0; row < chunk.count; row += kNormRows)
    {
        Vector16 xs[kNormRows];
        Vector16 ds[kNormRows];
        Vector16 rs[kNormRows];
#pragma unroll
        for (int i = 0; i < kNormRows; ++i)
        {
            bool const there = mine && row + i < chunk.count;
            int64_t const element = (chunk.first + row + i) * p.hidden + column;
            xs[i] = loadOrZero(p.x, element, there);
            ds[i] = loadOrZero(p.dOut, element, there);
            rs[i] = loadOrZero(p.dResidual, element, there && p.dResidual != nullptr);
        }
        float mean[kNormRows];
#pragma unroll
        for (int i = 0; i < kNormRows; ++i)
        {
            float x[8];
            keepPacked(xs[i]);
            unpack<Bf16>(xs[i], x);
            mean[i] = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
        }
        blockSums(mean, scratch, warps);
        float sums[3 * kNormRows];
#pragma unroll
        for (int i = 0; i < kNormRows; ++i)
        {
            mean[i] /= width;
            float x[8];
            float d[8];
            keepPacked(xs[i]);
            keepPacked(ds[i]);
            unpack<Bf16>(xs[i], x);
            unpack<Bf16>(ds[i], d);
            float squares = 0.0f;
            float gradient = 0.0f;
            float product = 0.0f;
#pragma unroll
            for (int j = 0; j < 8; ++j)
            {
                float const centred = x[j] - mean[i];
                float const g = d[j] * (1.0f + scale[j]);
                squares += centred * centred;
                gradient += g;
                product += g * centred;
            }
            sums[3 * i] = mine ? squares : 0.0f; // columns beyond the row are no zeros once the mean is taken off
            sums[3 * i + 1] = gradient;
            sums[3 * i + 2] = product;
        }
        blockSums(sums, scratchOfTheRest, warps);
#pragma unroll
        for (int i = 0; i < kNormRows; ++i)
        {
            if (mine && row + i < chunk.count)
            {
                float const inverse = inverseSqrt(sums[3 * i] / width + p.epsilon);
                float const meanGradient = sums[3 * i + 1] / width;
                float const meanProduct = sums[3 * i + 2] * inverse / width;
                float x[8];
                float d[8];
                float r[8];
                float shift[8];
                keepPacked(xs[i]);
                keepPacked(ds[i]);
                unpack<Bf16>(xs[i], x);
                unpack<Bf16>(ds[i], d);
                unpack<Bf16>(rs[i], r);
                unpack<Bf16>(shifts, shift);
#pragma unroll
                for (int j = 0; j < 8; ++j)
                {
                    float const normed = (x[j] - mean[i]) * inverse;
                    float const factor = 1.0f + scale[j];
                    sumShift[j] += d[j];
                    sumScale[j] += d[j] * normed;
                    r[j] += inverse * (d[j] * factor - meanGradient - normed * meanProduct);
                    x[j] = normed * factor + shift[j];
                }
                int64_t const element = (chunk.first + row + i) * p.hidden + column;
                storeVector(static_cast<Bf16*>(p.dx) + element, packVector<Bf16>(r));
                if (p.out != nullptr)
                {
                    storeVector(static_cast<Bf16*>(p.out) + element, packVector<Bf16>(x));
                }
            }
        }
    }
    if (mine)
    {
        int64_t const partial = static_cast<int64_t>(blockIndex()) * p.hidden + column;
        storeFloats(p.partialShift + partial, sumShift);
        storeFloats(p.partialScale + partial, sumScale);
    }
}

} // namespace nit
