// Varlen attention for sm_80 and up, any headDim that is a multiple of 8 up to 128, any alignment.
//
// A block of four warps owns 64 queries of one head, 16 a warp, and walks the image's keys 64 at a time, from the
// ragged end to the front, so that only the first round is masked. Keys and values are double buffered (cp.async).
// Scores and weights never leave registers: S = Q K^T by mma.m16n8k16, online softmax in fp32, O += P V.
#pragma once

#include "api/nitKernels.h"
#include "common/device.cuh"
#include "common/numeric.cuh"
#include "varlenAttentionPlugin/softmax.cuh"
#include "varlenAttentionPlugin/tileScheduler.cuh"

namespace nit
{

constexpr int kPortableRows = 64; // queries and keys of a tile
constexpr int kPortableThreads = 128;

//! Bytes between rows in shared memory: an odd number of 16-byte words, so that ldmatrix meets no bank twice.
NIT_HOST_DEVICE constexpr int portablePitch(int paddedDim)
{
    return paddedDim * 2 + 16;
}

NIT_HOST_DEVICE constexpr int portableSharedBytes(int paddedDim)
{
    return 5 * kPortableRows * portablePitch(paddedDim); // Q, and K and V twice
}

//! Copies up to 64 rows of headDim values; rows beyond the image and columns beyond headDim become 0. Zeros and not
//! what stands there: 0 times a NaN of the next image would be NaN.
template <typename T, int kPaddedDim>
NIT_DEVICE void loadTile(uint32_t shared, T const* rows, int64_t stride, int count, int headDim, bool aligned)
{
    constexpr int kVectors = kPaddedDim / 8;
    for (int i = static_cast<int>(threadIndex()); i < kPortableRows * kVectors; i += kPortableThreads)
    {
        int const row = i / kVectors;
        int const column = i % kVectors * 8;
        bool const inside = row < count && column < headDim;
        T const* source = rows + (inside ? row * stride + column : 0);
        uint32_t const target = shared + row * portablePitch(kPaddedDim) + column * 2;
        if (aligned)
        {
            copyAsync16(target, source, inside ? 16 : 0);
        }
        else
        {
#pragma unroll
            for (int j = 0; j < 8; ++j)
            {
                storeShared2(target + j * 2, inside ? source[j].bits : static_cast<uint16_t>(0));
            }
        }
    }
}

template <typename T, int kPaddedDim>
NIT_KERNEL(kPortableThreads, 1)
varlenAttentionPortableKernel(NitVarlenAttentionParams const p, bool const aligned)
{
    constexpr int kPitch = portablePitch(kPaddedDim);
    constexpr int kTileBytes = kPortableRows * kPitch;
    constexpr int kScores = kPortableRows / 2;
    constexpr int kOutputs = kPaddedDim / 2;
    NIT_SHARED_MEMORY(shared);
    uint32_t const queries = sharedAddress(shared);
    uint32_t const keys = queries + kTileBytes;
    uint32_t const values = keys + 2 * kTileBytes;
    int const lane = static_cast<int>(threadIndex()) % 32;
    int const warpRow = static_cast<int>(threadIndex()) / 32 * 16;
    float const scaleLog2 = p.scale * kLog2E;

    static_assert(kPortableRows == kBandRows, "a block computes one of the scheduler's bands");
    TileScheduler<1, 0> scheduler(p.cuSeqlens, p.images, p.heads);
    for (Tile tile = scheduler.next(); tile.length > 0; tile = scheduler.next())
    {
        T const* q = static_cast<T const*>(p.q) +
                     (static_cast<int64_t>(tile.firstToken) + tile.firstRow()) * p.qTokenStride +
                     tile.head * p.qHeadStride;
        T const* k = static_cast<T const*>(p.k) + tile.firstToken * p.kTokenStride + tile.head * p.kHeadStride;
        T const* v = static_cast<T const*>(p.v) + tile.firstToken * p.vTokenStride + tile.head * p.vHeadStride;
        int const rounds = (tile.length + kPortableRows - 1) / kPortableRows;
        auto const load = [&](int round) // round 0 is the image's ragged end
        {
            int const first = (rounds - 1 - round) * kPortableRows;
            int const count = tile.length - first;
            uint32_t const buffer = round % 2 * kTileBytes;
            loadTile<T, kPaddedDim>(
                keys + buffer, k + first * p.kTokenStride, p.kTokenStride, count, p.headDim, aligned);
            loadTile<T, kPaddedDim>(
                values + buffer, v + first * p.vTokenStride, p.vTokenStride, count, p.headDim, aligned);
        };

        syncBlock(); // the last tile's buffers are free
        loadTile<T, kPaddedDim>(queries, q, p.qTokenStride, tile.length - tile.firstRow(), p.headDim, aligned);
        load(0);
        commitCopies();

        OnlineSoftmax<kPortableRows> softmax;
        float output[kOutputs];
        clear(output);

        for (int round = 0; round < rounds; ++round)
        {
            if (round + 1 < rounds)
            {
                load(round + 1);
            }
            commitCopies(); // empty in the last round, so that the count below is always right
            waitCopies<1>();
            syncBlock();

            uint32_t const keyTile = keys + round % 2 * kTileBytes;
            uint32_t const valueTile = values + round % 2 * kTileBytes;
            float scores[kScores];
            clear(scores);
#pragma unroll
            for (int step = 0; step < kPaddedDim / 16; ++step)
            {
                uint32_t a[4]; // rows 0-7 and 8-15 of the first 8 columns, then of the next 8
                loadMatrices(a, queries + (warpRow + lane % 16) * kPitch + (step * 16 + lane / 16 * 8) * 2);
#pragma unroll
                for (int group = 0; group < kPortableRows / 16; ++group)
                {
                    uint32_t b[4]; // keys 0-7: columns 0-7, 8-15; keys 8-15: the same
                    loadMatrices(
                        b, keyTile + (group * 16 + lane / 16 * 8 + lane % 8) * kPitch +
                               (step * 16 + lane / 8 % 2 * 8) * 2);
                    multiplyAdd<T>(*reinterpret_cast<float(*)[4]>(&scores[group * 8]), a, b[0], b[1]);
                    multiplyAdd<T>(*reinterpret_cast<float(*)[4]>(&scores[group * 8 + 4]), a, b[2], b[3]);
                }
            }
            if (round == 0)
            {
                maskKeys(scores, tile.length - (rounds - 1) * kPortableRows);
            }
            float rescale[2];
            softmax.raise(scores, scaleLog2, rescale);
            uint32_t weights[kPortableRows / 16][4];
            softmax.weigh<T>(scores, scaleLog2, weights);
            rescaleRows(output, rescale);
#pragma unroll
            for (int step = 0; step < kPortableRows / 16; ++step)
            {
#pragma unroll
                for (int group = 0; group < kPaddedDim / 16; ++group)
                {
                    uint32_t b[4]; // columns 0-7: keys 0-7, 8-15; columns 8-15: the same
                    loadMatricesTransposed(
                        b, valueTile + (step * 16 + lane % 16) * kPitch + (group * 16 + lane / 16 * 8) * 2);
                    multiplyAdd<T>(*reinterpret_cast<float(*)[4]>(&output[group * 8]), weights[step], b[0], b[1]);
                    multiplyAdd<T>(*reinterpret_cast<float(*)[4]>(&output[group * 8 + 4]), weights[step], b[2], b[3]);
                }
            }
            syncBlock(); // the buffer may be filled again
        }

        float inverse[2];
        float logSumExp[2];
        softmax.finish(scaleLog2, inverse, logSumExp);
#pragma unroll
        for (int half = 0; half < 2; ++half)
        {
            int const row = tile.firstRow() + warpRow + lane / 4 + half * 8;
            if (row < tile.length)
            {
                int64_t const token = static_cast<int64_t>(tile.firstToken) + row;
                T* out = static_cast<T*>(p.out) + token * p.outTokenStride + tile.head * p.outHeadStride;
#pragma unroll
                for (int i = 0; i < kOutputs; i += 4)
                {
                    int const column = i * 2 + lane % 4 * 2;
                    if (column < p.headDim)
                    {
                        uint32_t const pair =
                            pack<T>(output[i + 2 * half] * inverse[half], output[i + 2 * half + 1] * inverse[half]);
                        if (aligned)
                        {
                            *reinterpret_cast<uint32_t*>(out + column) = pair;
                        }
                        else
                        {
                            out[column].bits = static_cast<uint16_t>(pair & 0xffffu);
                            out[column + 1].bits = static_cast<uint16_t>(pair >> 16);
                        }
                    }
                }
                if (p.logSumExp != nullptr && lane % 4 == 0)
                {
                    p.logSumExp[tile.head * p.tokens + token] = logSumExp[half];
                }
            }
        }
    }
}

} // namespace nit
