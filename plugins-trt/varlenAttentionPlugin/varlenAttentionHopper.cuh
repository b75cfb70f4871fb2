// Varlen attention for sm_90a, headDim 64 and 72.
//
// Copies: Q, K and V come by the bulk tensor copy engine out of the packed buffer, as boxes of 64 rows. An image's
// ragged end must read as zeros, not as the next image (0 times its NaN would be NaN). A tensor map knows one end only,
// so the row is addressed three times over: with rows counted from 2^30 - length, rows at and beyond 2^30 lie outside
// the map's tensor and become 0, while two outer dimensions bring the address back. Their strides are r and 2^35 - r
// bytes (r bytes a row), their coordinates firstToken + length and 2^30, and 2^30 * 2^35 is 0 in 64 bits:
//     (2^30 - length + row) r + (firstToken + length) r + 2^30 (2^35 - r) = (firstToken + row) r.
// (The same trick stands in Triton's ragged descriptors.)
//
// Columns: headDim 72 is 64 + 8. The 64 have rows of 128 bytes; Q's and K's other 8 have rows of 32 bytes, of which the
// upper half is outside the tensor, hence 0, so that S = Q K^T takes five steps of 16. V's other 8 stand in a second
// tile of 128-byte rows, because O += P V reads V by columns and one instruction of N = 72 wants one layout.
//
// Long images: one warp copies, two warpgroups compute 64 queries each against the same keys, 128 at a time, from the
// ragged end to the front. While the tensor cores work on the next scores and on the last weights times V, a warpgroup
// computes its softmax; the two take turns at the tensor cores (named barriers), so that one's exponentials hide behind
// the other's products. Short images (at most 64 tokens): one warpgroup computes a head at a time, five blocks
// share a multiprocessor and hide each other's latency.
#pragma once

#include "api/nitKernels.h"
#include "common/hopper.cuh"
#include "varlenAttentionPlugin/raggedMap.h"
#include "varlenAttentionPlugin/softmax.cuh"
#include "varlenAttentionPlugin/tileScheduler.cuh"

namespace nit
{

constexpr int kShortTokens = 64; //!< images up to this length go to the short kernel

//! Passed by value: the copy engine reads the maps where the parameters are.
struct HopperAttentionParams
{
    TensorMap q;
    TensorMap k;
    TensorMap v;
    TensorMap qRest; //!< columns 64 and up, for headDim 72
    TensorMap kRest;
    NitVarlenAttentionParams p;
};

//! Sizes of the tiles in shared memory, in bytes.
template <int kHeadDim>
struct HopperTiles
{
    static constexpr bool kRest = kHeadDim > 64;
    static constexpr int kMainBox = kBoxRows * 128;
    static constexpr int kRestBox = kRest ? kBoxRows * 32 : 0;
    static constexpr int kQuery = kMainBox + kRestBox; //!< 64 queries
    static constexpr int kOutputPitch = kQuery / kBoxRows;
};

//! Copies columns 0..63 of 64 rows of an image, from `row` on.
NIT_DEVICE void copyRows(
    uint32_t shared, TensorMap const* map, uint32_t barrier, int column, Tile const& image, int row)
{
    copyBox(
        shared, map, barrier, column, image.head, kRaggedEnd - image.length + row, image.firstToken + image.length,
        kRaggedEnd);
}

//! scores [64, kKeys] = Q [64, headDim] K^T, not committed. Main rows first, the rest rows of all keys after them.
template <typename T, int kHeadDim, int kKeys>
NIT_DEVICE void multiplyKeys(float (&scores)[kKeys / 2], uint32_t query, uint32_t key)
{
    using Tiles = HopperTiles<kHeadDim>;
#pragma unroll
    for (int step = 0; step < 4; ++step)
    {
        wgmmaShared<T, kKeys>(
            scores, matrixDescriptor(query + step * 32, 16, 1024, Swizzle::k128Bytes),
            matrixDescriptor(key + step * 32, 16, 1024, Swizzle::k128Bytes), step > 0);
    }
    if (Tiles::kRest)
    {
        wgmmaShared<T, kKeys>(
            scores, matrixDescriptor(query + Tiles::kMainBox, 16, 256, Swizzle::k32Bytes),
            matrixDescriptor(key + kKeys * 128, 16, 256, Swizzle::k32Bytes), 1);
    }
}

//! output [64, headDim] += P [64, kKeys] V, not committed. V's second tile of columns follows its first.
template <typename T, int kHeadDim, int kKeys>
NIT_DEVICE void multiplyValues(float (&output)[kHeadDim / 2], uint32_t const (&weights)[kKeys / 16][4], uint32_t value)
{
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step)
    {
        wgmmaRegisters<T, kHeadDim>(
            output, weights[step], matrixDescriptor(value + step * 2048, kKeys * 128, 1024, Swizzle::k128Bytes), 1);
    }
}

template <typename T, int kKeys>
NIT_DEVICE void weightFragments(float const (&scores)[kKeys / 2], uint32_t (&weights)[kKeys / 16][4])
{
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step)
    {
        weightFragment<T>(&scores[step * 8], weights[step]);
    }
}

//! Normalises a warpgroup's 64 rows, lays them out in shared memory and writes them in whole 16-byte vectors.
template <typename T, int kHeadDim, int kKeys>
NIT_DEVICE void writeOutput(
    NitVarlenAttentionParams const& p, Tile const& tile, int row, OnlineSoftmax<kKeys>& softmax,
    float (&output)[kHeadDim / 2], uint32_t staging, int barrier)
{
    constexpr int kPitch = HopperTiles<kHeadDim>::kOutputPitch;
    int const thread = static_cast<int>(threadIndex()) % 128;
    int const lane = thread % 32;
    float inverse[2];
    float logSumExp[2];
    softmax.finish(p.scale * kLog2E, inverse, logSumExp);
    // The products that read this memory are over in every warp of the warpgroup.
    syncNamed(barrier, 128);
#pragma unroll
    for (int half = 0; half < 2; ++half)
    {
        int const local = thread / 32 * 16 + lane / 4 + half * 8;
#pragma unroll
        for (int i = 0; i < kHeadDim / 2; i += 4)
        {
            int const chunk = i / 4;
            // The chunks of eight rows would meet in the same banks: they change places.
            int const place = chunk < 8 ? chunk ^ (local & 7) : chunk;
            storeShared4(
                staging + local * kPitch + place * 16 + lane % 4 * 4,
                pack<T>(output[i + 2 * half] * inverse[half], output[i + 2 * half + 1] * inverse[half]));
        }
        if (p.logSumExp != nullptr && lane % 4 == 0 && row + local < tile.length)
        {
            p.logSumExp[tile.head * p.tokens + tile.firstToken + row + local] = logSumExp[half];
        }
    }
    syncNamed(barrier, 128);
    constexpr int kChunks = kHeadDim / 8;
    for (int i = thread; i < kBoxRows * kChunks; i += 128)
    {
        int const local = i / kChunks;
        int const chunk = i % kChunks;
        if (row + local < tile.length)
        {
            int const place = chunk < 8 ? chunk ^ (local & 7) : chunk;
            T* out = static_cast<T*>(p.out) + (static_cast<int64_t>(tile.firstToken) + row + local) * p.outTokenStride +
                     tile.head * p.outHeadStride;
            storeVector(out + chunk * 8, loadShared16(staging + local * kPitch + place * 16));
        }
    }
    fenceAsyncProxy(); // the copy engine writes here next
}

template <int kCount>
NIT_DEVICE void clear(float (&values)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; ++i)
    {
        values[i] = 0.0f;
    }
}

template <int kCount>
NIT_DEVICE void rescaleRows(float (&output)[kCount], float const (&rescale)[2])
{
#pragma unroll
    for (int i = 0; i < kCount; i += 4)
    {
        output[i] *= rescale[0];
        output[i + 1] *= rescale[0];
        output[i + 2] *= rescale[1];
        output[i + 3] *= rescale[1];
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Short images.

constexpr int kShortThreads = 128;
constexpr int kShortBlocks = 5; //!< resident on a multiprocessor: their registers and tiles just fit

template <int kHeadDim>
struct ShortLayout
{
    using Tiles = HopperTiles<kHeadDim>;
    static constexpr int kKey = Tiles::kQuery;
    static constexpr int kValue = kKey + Tiles::kQuery;
    static constexpr int kBarrier = kValue + Tiles::kMainBox * (Tiles::kRest ? 2 : 1);
    static constexpr int kBytes = kBarrier + 16;
    static constexpr int kCopied = kBarrier;
};

template <typename T, int kHeadDim>
NIT_KERNEL(kShortThreads, kShortBlocks)
varlenAttentionShortKernel(NIT_GRID_CONSTANT HopperAttentionParams params)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = ShortLayout<kHeadDim>;
    NIT_SHARED_MEMORY(shared);
    NitVarlenAttentionParams const& p = params.p;
    uint32_t const query = sharedAddress(shared);
    uint32_t const key = query + Layout::kKey;
    uint32_t const value = query + Layout::kValue;
    uint32_t const barrier = query + Layout::kBarrier;
    int const thread = static_cast<int>(threadIndex());
    if (thread == 0)
    {
        barrierInit(barrier, 1);
        barrierInitFence();
        prefetchTensorMap(&params.q);
        prefetchTensorMap(&params.k);
        prefetchTensorMap(&params.v);
    }
    syncBlock();

    float const scaleLog2 = p.scale * kLog2E;
    unsigned parity = 0;
    int const pairs = p.images * p.heads;
    for (int pair = static_cast<int>(blockIndex()); pair < pairs; pair += static_cast<int>(gridSize()))
    {
        int const image = pair / p.heads;
        int const first = p.cuSeqlens[image];
        Tile const tile{first, p.cuSeqlens[image + 1] - first, pair % p.heads, 0};
        if (tile.length <= 0 || tile.length > kShortTokens)
        {
            continue;
        }
        if (thread == 0)
        {
            barrierArriveExpect(barrier, Layout::kCopied);
            copyRows(query, &params.q, barrier, 0, tile, 0);
            copyRows(key, &params.k, barrier, 0, tile, 0);
            if (Tiles::kRest)
            {
                copyRows(query + Tiles::kMainBox, &params.qRest, barrier, 64, tile, 0);
                copyRows(key + Tiles::kMainBox, &params.kRest, barrier, 64, tile, 0);
            }
            copyRows(value, &params.v, barrier, 0, tile, 0);
            if (Tiles::kRest)
            {
                copyRows(value + Tiles::kMainBox, &params.v, barrier, 64, tile, 0);
            }
        }
        barrierWait(barrier, parity);
        parity ^= 1;

        float scores[kShortTokens / 2];
        clear(scores);
        holdRegisters(scores);
        wgmmaFence();
        multiplyKeys<T, kHeadDim, kShortTokens>(scores, query, key);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(scores);

        maskKeys(scores, tile.length);
        OnlineSoftmax<kShortTokens> softmax;
        float rescale[2];
        softmax.update(scores, scaleLog2, rescale);
        uint32_t weights[kShortTokens / 16][4];
        weightFragments<T, kShortTokens>(scores, weights);

        float output[kHeadDim / 2];
        clear(output);
        holdRegisters(output);
        wgmmaFence();
        multiplyValues<T, kHeadDim, kShortTokens>(output, weights, value);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(output);
        writeOutput<T, kHeadDim, kShortTokens>(p, tile, 0, softmax, output, query, 1);
        syncBlock(); // before the next copies overwrite what some warp still reads
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Long images.

constexpr int kLongKeys = 128;
constexpr int kLongConsumers = 2;                        //!< warpgroups, 64 queries each
constexpr int kLongRows = kLongConsumers * kBoxRows;     //!< queries of a tile
constexpr int kLongThreads = (kLongConsumers + 1) * 128; //!< and the warpgroup that copies
constexpr int kStages = 2;                               //!< of keys, and of values
constexpr int kQueryStages = 2;

template <int kHeadDim>
struct LongLayout
{
    using Tiles = HopperTiles<kHeadDim>;
    static constexpr int kQueryStage = kLongConsumers * Tiles::kQuery;
    static constexpr int kKeyStage = kLongKeys * (Tiles::kRest ? 160 : 128);
    static constexpr int kValueStage = kLongKeys * (Tiles::kRest ? 256 : 128);
    static constexpr int kQuery = 0;
    static constexpr int kKey = kQuery + kQueryStages * kQueryStage;
    static constexpr int kValue = kKey + kStages * kKeyStage;
    static constexpr int kTiles = kValue + kStages * kValueStage; //!< what the consumers are told, 16 bytes a stage
    static constexpr int kBarriers = kTiles + kQueryStages * 16;
    static constexpr int kBytes = kBarriers + 8 * 2 * (kQueryStages + 2 * kStages);

    static_assert(kQueryStage % 1024 == 0 && kKeyStage % 1024 == 0 && kValueStage % 1024 == 0, "swizzle atoms");

    NIT_DEVICE static uint32_t queryFull(uint32_t shared, int stage)
    {
        return shared + kBarriers + 8 * stage;
    }
    NIT_DEVICE static uint32_t queryEmpty(uint32_t shared, int stage)
    {
        return queryFull(shared, kQueryStages) + 8 * stage;
    }
    NIT_DEVICE static uint32_t keyFull(uint32_t shared, int stage)
    {
        return queryEmpty(shared, kQueryStages) + 8 * stage;
    }
    NIT_DEVICE static uint32_t keyEmpty(uint32_t shared, int stage)
    {
        return keyFull(shared, kStages) + 8 * stage;
    }
    NIT_DEVICE static uint32_t valueFull(uint32_t shared, int stage)
    {
        return keyEmpty(shared, kStages) + 8 * stage;
    }
    NIT_DEVICE static uint32_t valueEmpty(uint32_t shared, int stage)
    {
        return valueFull(shared, kStages) + 8 * stage;
    }
};

//! Where a ring of buffers stands: which buffer, and the parity of its barriers.
template <int kCount>
struct Ring
{
    int stage = 0;
    unsigned parity = 0;

    NIT_DEVICE void advance()
    {
        if (++stage == kCount)
        {
            stage = 0;
            parity ^= 1;
        }
    }
};

template <int kHeadDim>
NIT_DEVICE void produceTiles(HopperAttentionParams const& params, unsigned char* memory)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = LongLayout<kHeadDim>;
    NitVarlenAttentionParams const& p = params.p;
    uint32_t const shared = sharedAddress(memory);
    bool const copies = threadIndex() % 32 == 0;
    Ring<kQueryStages> queries;
    Ring<kStages> keys;
    Ring<kStages> values;

    TileScheduler<kLongRows, kShortTokens> scheduler(p.cuSeqlens, p.images, p.heads);
    for (;;)
    {
        Tile const tile = scheduler.next();
        if (copies)
        {
            uint32_t const queryFull = Layout::queryFull(shared, queries.stage);
            barrierWait(Layout::queryEmpty(shared, queries.stage), queries.parity ^ 1);
            *reinterpret_cast<Tile*>(memory + Layout::kTiles + queries.stage * 16) = tile;
            if (tile.length == 0)
            {
                barrierArrive(queryFull); // the end, for the consumers too
            }
            else
            {
                barrierArriveExpect(queryFull, Layout::kQueryStage);
#pragma unroll
                for (int part = 0; part < kLongConsumers; ++part)
                {
                    uint32_t const query =
                        shared + Layout::kQuery + queries.stage * Layout::kQueryStage + part * Tiles::kQuery;
                    int const row = tile.row + part * kBoxRows;
                    copyRows(query, &params.q, queryFull, 0, tile, row);
                    if (Tiles::kRest)
                    {
                        copyRows(query + Tiles::kMainBox, &params.qRest, queryFull, 64, tile, row);
                    }
                }
                for (int first = (tile.length - 1) / kLongKeys * kLongKeys; first >= 0; first -= kLongKeys)
                {
                    uint32_t const key = shared + Layout::kKey + keys.stage * Layout::kKeyStage;
                    uint32_t const keyFull = Layout::keyFull(shared, keys.stage);
                    barrierWait(Layout::keyEmpty(shared, keys.stage), keys.parity ^ 1);
                    barrierArriveExpect(keyFull, Layout::kKeyStage);
#pragma unroll
                    for (int part = 0; part < kLongKeys / kBoxRows; ++part)
                    {
                        int const row = first + part * kBoxRows;
                        copyRows(key + part * Tiles::kMainBox, &params.k, keyFull, 0, tile, row);
                        if (Tiles::kRest)
                        {
                            copyRows(
                                key + kLongKeys * 128 + part * Tiles::kRestBox, &params.kRest, keyFull, 64, tile, row);
                        }
                    }
                    keys.advance();

                    uint32_t const value = shared + Layout::kValue + values.stage * Layout::kValueStage;
                    uint32_t const valueFull = Layout::valueFull(shared, values.stage);
                    barrierWait(Layout::valueEmpty(shared, values.stage), values.parity ^ 1);
                    barrierArriveExpect(valueFull, Layout::kValueStage);
#pragma unroll
                    for (int part = 0; part < kLongKeys / kBoxRows; ++part)
                    {
                        int const row = first + part * kBoxRows;
                        copyRows(value + part * Tiles::kMainBox, &params.v, valueFull, 0, tile, row);
                        if (Tiles::kRest)
                        {
                            copyRows(
                                value + kLongKeys * 128 + part * Tiles::kMainBox, &params.v, valueFull, 64, tile, row);
                        }
                    }
                    values.advance();
                }
            }
        }
        queries.advance();
        syncWarp();
        if (tile.length == 0)
        {
            return;
        }
    }
}

template <typename T, int kHeadDim>
NIT_DEVICE void consumeTiles(HopperAttentionParams const& params, unsigned char* memory, int consumer)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = LongLayout<kHeadDim>;
    // Named barriers: one for each warpgroup alone, and one for its turn at the tensor cores.
    int const alone = 1 + consumer;
    int const turn = 1 + kLongConsumers + consumer;
    int const nextTurn = 1 + kLongConsumers + (consumer + 1) % kLongConsumers;
    NitVarlenAttentionParams const& p = params.p;
    uint32_t const shared = sharedAddress(memory);
    bool const releases = threadIndex() % 32 == 0; // one lane of each warp
    float const scaleLog2 = p.scale * kLog2E;
    Ring<kQueryStages> queries;
    Ring<kStages> keys;
    Ring<kStages> values;
    if (consumer > 0)
    {
        arriveNamed(1 + kLongConsumers, kLongConsumers * 128); // the first warpgroup's turn comes first
    }

    for (;;)
    {
        barrierWait(Layout::queryFull(shared, queries.stage), queries.parity);
        Tile const tile = *reinterpret_cast<Tile const*>(memory + Layout::kTiles + queries.stage * 16);
        if (tile.length == 0)
        {
            return;
        }
        uint32_t const query = shared + Layout::kQuery + queries.stage * Layout::kQueryStage + consumer * Tiles::kQuery;
        int const rounds = (tile.length + kLongKeys - 1) / kLongKeys;

        OnlineSoftmax<kLongKeys> softmax;
        float rescale[2];
        float output[kHeadDim / 2];
        clear(output);
        float scores[kLongKeys / 2];
        clear(scores);
        uint32_t weights[kLongKeys / 16][4];

        // The image's ragged end.
        barrierWait(Layout::keyFull(shared, keys.stage), keys.parity);
        syncNamed(turn, kLongConsumers * 128);
        holdRegisters(scores);
        wgmmaFence();
        multiplyKeys<T, kHeadDim, kLongKeys>(scores, query, shared + Layout::kKey + keys.stage * Layout::kKeyStage);
        wgmmaCommit();
        arriveNamed(nextTurn, kLongConsumers * 128);
        wgmmaWait<0>();
        holdRegisters(scores);
        if (releases)
        {
            barrierArrive(Layout::keyEmpty(shared, keys.stage));
        }
        keys.advance();
        maskKeys(scores, tile.length - (rounds - 1) * kLongKeys);
        softmax.update(scores, scaleLog2, rescale);
        weightFragments<T, kLongKeys>(scores, weights);

        for (int round = 1; round < rounds; ++round)
        {
            barrierWait(Layout::keyFull(shared, keys.stage), keys.parity);
            syncNamed(turn, kLongConsumers * 128);
            holdRegisters(scores);
            holdRegisters(output);
            wgmmaFence();
            multiplyKeys<T, kHeadDim, kLongKeys>(scores, query, shared + Layout::kKey + keys.stage * Layout::kKeyStage);
            wgmmaCommit();
            barrierWait(Layout::valueFull(shared, values.stage), values.parity);
            multiplyValues<T, kHeadDim, kLongKeys>(
                output, weights, shared + Layout::kValue + values.stage * Layout::kValueStage);
            wgmmaCommit();
            arriveNamed(nextTurn, kLongConsumers * 128);
            wgmmaWait<1>();
            holdRegisters(scores);
            if (releases)
            {
                barrierArrive(Layout::keyEmpty(shared, keys.stage));
            }
            keys.advance();
            softmax.update(scores, scaleLog2, rescale);
            wgmmaWait<0>();
            holdRegisters(output);
            if (releases)
            {
                barrierArrive(Layout::valueEmpty(shared, values.stage));
            }
            values.advance();
            weightFragments<T, kLongKeys>(scores, weights);
            rescaleRows(output, rescale);
        }

        barrierWait(Layout::valueFull(shared, values.stage), values.parity);
        holdRegisters(output);
        wgmmaFence();
        multiplyValues<T, kHeadDim, kLongKeys>(
            output, weights, shared + Layout::kValue + values.stage * Layout::kValueStage);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(output);
        if (releases)
        {
            barrierArrive(Layout::valueEmpty(shared, values.stage));
        }
        values.advance();

        writeOutput<T, kHeadDim, kLongKeys>(p, tile, tile.row + consumer * kBoxRows, softmax, output, query, alone);
        syncWarp();
        if (releases)
        {
            barrierArrive(Layout::queryEmpty(shared, queries.stage));
        }
        queries.advance();
    }
}

template <typename T, int kHeadDim>
NIT_KERNEL(kLongThreads, 1)
varlenAttentionLongKernel(NIT_GRID_CONSTANT HopperAttentionParams params)
{
    using Layout = LongLayout<kHeadDim>;
    NIT_SHARED_MEMORY(shared);
    uint32_t const base = sharedAddress(shared);
    if (threadIndex() == 0)
    {
        unsigned const consumerWarps = kLongConsumers * 4;
        for (int i = 0; i < kQueryStages; ++i)
        {
            barrierInit(Layout::queryFull(base, i), 1);
            barrierInit(Layout::queryEmpty(base, i), consumerWarps);
        }
        for (int i = 0; i < kStages; ++i)
        {
            barrierInit(Layout::keyFull(base, i), 1);
            barrierInit(Layout::keyEmpty(base, i), consumerWarps);
            barrierInit(Layout::valueFull(base, i), 1);
            barrierInit(Layout::valueEmpty(base, i), consumerWarps);
        }
        barrierInitFence();
        prefetchTensorMap(&params.q);
        prefetchTensorMap(&params.k);
        prefetchTensorMap(&params.v);
    }
    syncBlock();

    int const warpgroup = static_cast<int>(threadIndex()) / 128;
    if (warpgroup == 0)
    {
        giveRegisters<40>();
        if (threadIndex() < 32)
        {
            produceTiles<kHeadDim>(params, shared);
        }
    }
    else
    {
        takeRegisters<232>();
        consumeTiles<T, kHeadDim>(params, shared, warpgroup - 1);
    }
}

} // namespace nit
