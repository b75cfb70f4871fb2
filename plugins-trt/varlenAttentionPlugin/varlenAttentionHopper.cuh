// Varlen attention for sm_90a, headDim 64 and 72.
//
// Copies: Q, K and V come by the bulk tensor copy engine out of the packed buffer, as boxes of whole rows. An image's
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
// Long images: one warp copies, three warpgroups compute 64 queries each against the same keys, 128 at a time, from the
// ragged end to the front. While the tensor cores work on the next scores and on the last weights times V, a warpgroup
// computes its softmax; they take turns at the tensor cores (named barriers), so that one's exponentials hide behind
// the other's products. Short images (at most 64 tokens): one warpgroup computes a head at a time five such
// blocks share a multiprocessor and hide each other's latency. Its threads copy for themselves (cp.async), the next
// head's queries and keys as soon as this one's scores are there.
#pragma once

#include "api/nitKernels.h"
#include "common/hopper.cuh"
#include "varlenAttentionPlugin/raggedMap.h"
#include "varlenAttentionPlugin/softmax.cuh"
#include "varlenAttentionPlugin/tileScheduler.cuh"

namespace nit
{

constexpr int kShortTokens = 64;              //!< images up to this length go to the short kernel
constexpr int64_t kFewAttentionTokens = 2048; //!< at most so many: the next kernel begins early

//! Passed by value: the copy engine reads the maps where the parameters are. Boxes are kLongKeys rows of keys
//! and values, and kBandRows of queries.
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
    static constexpr int kMainBox = kBandRows * 128;
    static constexpr int kRestBox = kRest ? kBandRows * 32 : 0;
    static constexpr int kQuery = kMainBox + kRestBox; //!< 64 queries
};

//! Copies a map's box of an image's rows, from `row` and `column` on.
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

//! Normalises a warpgroup's 64 rows, lays them out in shared memory and writes them in whole 16-byte vectors.
template <typename T, int kHeadDim, int kKeys>
NIT_DEVICE void writeOutput(
    NitVarlenAttentionParams const& p, Tile const& tile, int row, OnlineSoftmax<kKeys>& softmax,
    float (&output)[kHeadDim / 2], uint32_t staging, int barrier)
{
    constexpr int kPitch = kHeadDim * 2;
    int const thread = static_cast<int>(threadIndex()) % 128;
    int const lane = thread % 32;
    // Eight rows of 128 bytes would meet in the same banks: there the chunks change places.
    auto const place = [](int local, int chunk) { return kPitch == 128 ? chunk ^ (local & 7) : chunk; };
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
            storeShared4(
                staging + local * kPitch + place(local, chunk) * 16 + lane % 4 * 4,
                pack<T>(output[i + 2 * half] * inverse[half], output[i + 2 * half + 1] * inverse[half]));
        }
        if (p.logSumExp != nullptr && lane % 4 == 0 && row + local < tile.length)
        {
            p.logSumExp[tile.head * p.tokens + tile.firstToken + row + local] = logSumExp[half];
        }
    }
    syncNamed(barrier, 128);
    constexpr int kChunks = kHeadDim / 8;
    for (int i = thread; i < kBandRows * kChunks; i += 128)
    {
        int const local = i / kChunks;
        int const chunk = i % kChunks;
        if (row + local < tile.length)
        {
            T* out = static_cast<T*>(p.out) + (static_cast<int64_t>(tile.firstToken) + row + local) * p.outTokenStride +
                     tile.head * p.outHeadStride;
            storeVector(out + chunk * 8, loadShared16(staging + local * kPitch + place(local, chunk) * 16));
        }
    }
    fenceAsyncProxy(); // the copy engine writes here next
}

//! The use number `count` of a ring of kCount buffers: which buffer, and the parity of its barriers.
template <int kCount>
struct Ring
{
    static_assert((kCount & (kCount - 1)) == 0, "a power of two");
    unsigned count = 0;

    NIT_DEVICE int stage() const
    {
        return static_cast<int>(count % kCount);
    }

    NIT_DEVICE unsigned parity() const
    {
        return count / kCount & 1;
    }

    NIT_DEVICE void advance()
    {
        ++count;
    }
};

// ---------------------------------------------------------------------------------------------------------------------
// Short images.

constexpr int kShortThreads = 128;
constexpr int kShortStages = 2; //!< the next head is copied while this one is computed
constexpr int kShortBlocks = 3; //!< resident on a multiprocessor: as many as their tiles let

template <int kHeadDim>
struct ShortLayout
{
    using Tiles = HopperTiles<kHeadDim>;
    static constexpr int kQuery = 0;
    static constexpr int kKey = kQuery + Tiles::kQuery;
    static constexpr int kValue = kKey + Tiles::kQuery;
    static constexpr int kStage = kValue + Tiles::kMainBox * (Tiles::kRest ? 2 : 1);
    static constexpr int kBytes = kStage * kShortStages;

    static_assert(kStage % 1024 == 0, "swizzle atoms");
    static_assert(kHeadDim * 2 * kBandRows <= kStage - kValue, "the output takes the values' place");
};

//! The heads of short images that are this block's: pairs of image and head b, b + grid, ..., numbered image by image.
//! An image's ends are read one pair ahead of their use.
class ShortTiles
{
public:
    NIT_DEVICE explicit ShortTiles(NitVarlenAttentionParams const& p)
        : mParams(p), mPair(static_cast<int>(blockIndex())), mFirst(0), mEnd(0)
    {
        fetch();
    }

    //! Length 0: none is left.
    NIT_DEVICE Tile next()
    {
        while (mPair < mParams.images * mParams.heads)
        {
            Tile const tile{mFirst, mEnd - mFirst, mPair % mParams.heads, 1};
            mPair += static_cast<int>(gridSize());
            fetch();
            if (tile.length > 0 && tile.length <= kShortTokens)
            {
                return tile;
            }
        }
        return Tile{0, 0, 0, 0};
    }

private:
    NIT_DEVICE void fetch()
    {
        int const image = mPair / mParams.heads;
        if (image < mParams.images)
        {
            mFirst = mParams.cuSeqlens[image];
            mEnd = mParams.cuSeqlens[image + 1];
        }
    }

    NitVarlenAttentionParams const& mParams;
    int mPair;
    int mFirst;
    int mEnd;
};

//! Begins to copy the 64 rows of one operand, zeros beyond the image's end. kRestPitch: bytes from row to row of what
//! holds columns 64 and up, at `rest`; those are one 16-byte chunk.
template <typename T, int kHeadDim, int kRestPitch>
NIT_DEVICE void copyShortRows(
    void const* source, int64_t tokenStride, int64_t headStride, Tile const& tile, uint32_t main, uint32_t rest)
{
    constexpr int kChunks = kHeadDim / 8;
    T const* const image = static_cast<T const*>(source) + tile.firstToken * tokenStride + tile.head * headStride;
#pragma unroll
    for (int i = 0; i < (kShortTokens * kChunks + kShortThreads - 1) / kShortThreads; ++i)
    {
        int const index = i * kShortThreads + static_cast<int>(threadIndex());
        int const row = index / kChunks;
        int const chunk = index % kChunks;
        if (row < kShortTokens)
        {
            bool const inside = row < tile.length;
            // Where the swizzles of 128 and 32 bytes put the chunk.
            int const restChunk = kRestPitch == 128 ? row & 7 : row / 4 & 1;
            uint32_t const target =
                chunk < 8 ? main + row * 128 + ((chunk ^ (row & 7)) << 4) : rest + row * kRestPitch + (restChunk << 4);
            copyAsync16(target, image + (inside ? row : 0) * tokenStride + chunk * 8, inside ? 16 : 0);
        }
    }
}

template <typename T, int kHeadDim>
NIT_DEVICE void copyShortTile(NitVarlenAttentionParams const& p, Tile const& tile, uint32_t stage)
{
    using Layout = ShortLayout<kHeadDim>;
    constexpr int kMain = HopperTiles<kHeadDim>::kMainBox;
    uint32_t const query = stage + Layout::kQuery;
    uint32_t const key = stage + Layout::kKey;
    uint32_t const value = stage + Layout::kValue;
    copyShortRows<T, kHeadDim, 32>(p.q, p.qTokenStride, p.qHeadStride, tile, query, query + kMain);
    copyShortRows<T, kHeadDim, 32>(p.k, p.kTokenStride, p.kHeadStride, tile, key, key + kMain);
    copyShortRows<T, kHeadDim, 128>(p.v, p.vTokenStride, p.vHeadStride, tile, value, value + kMain);
}

template <typename T, int kHeadDim>
NIT_KERNEL(kShortThreads, kShortBlocks)
varlenAttentionShortKernel(NitVarlenAttentionParams const p)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = ShortLayout<kHeadDim>;
    NIT_SHARED_MEMORY(shared);
    uint32_t const base = sharedAddress(shared);
    if (p.tokens <= kFewAttentionTokens)
    {
        allowDependents(); // with many, their blocks would take room for longer than they save
    }
    if (Tiles::kRest)
    {
        // The upper half of Q's and K's rest rows stays 0; which half that is depends on the row, so all of it is set.
        for (int i = static_cast<int>(threadIndex()) * 4; i < Tiles::kRestBox; i += kShortThreads * 4)
        {
#pragma unroll
            for (int stage = 0; stage < kShortStages; ++stage)
            {
                storeShared4(base + stage * Layout::kStage + Layout::kQuery + Tiles::kMainBox + i, 0);
                storeShared4(base + stage * Layout::kStage + Layout::kKey + Tiles::kMainBox + i, 0);
            }
        }
        syncBlock();
    }

    float const scaleLog2 = p.scale * kLog2E;
    ShortTiles tiles(p);
    Tile next = tiles.next();
    if (next.length != 0)
    {
        copyShortTile<T, kHeadDim>(p, next, base);
    }
    commitCopies();
    for (Ring<kShortStages> ring; next.length != 0;)
    {
        Tile const tile = next;
        uint32_t const stage = base + ring.stage() * Layout::kStage;
        ring.advance();
        next = tiles.next();
        if (next.length != 0)
        {
            copyShortTile<T, kHeadDim>(p, next, base + ring.stage() * Layout::kStage);
        }
        commitCopies(); // empty at the end, so that the count below is always right
        waitCopies<1>();
        fenceAsyncProxy(); // what was copied is read by the matrix units next
        syncBlock();

        float scores[kShortTokens / 2];
        clear(scores);
        holdRegisters(scores);
        wgmmaFence();
        multiplyKeys<T, kHeadDim, kShortTokens>(scores, stage + Layout::kQuery, stage + Layout::kKey);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(scores);

        maskKeys(scores, tile.length);
        OnlineSoftmax<kShortTokens> softmax;
        float rescale[2];
        softmax.raise(scores, scaleLog2, rescale);
        uint32_t weights[kShortTokens / 16][4];
        softmax.weigh<T>(scores, scaleLog2, weights);

        float output[kHeadDim / 2];
        clear(output);
        holdRegisters(output);
        wgmmaFence();
        multiplyValues<T, kHeadDim, kShortTokens>(output, weights, stage + Layout::kValue);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(output);
        // The output takes the values' place: in the queries' it would overwrite the zeros.
        writeOutput<T, kHeadDim, kShortTokens>(p, tile, 0, softmax, output, stage + Layout::kValue, 1);
        syncBlock(); // before the next copies overwrite what some warp still reads
    }
    waitCopies<0>();
    // It reads nothing that the long kernel writes. But whoever waits for this kernel waits for both.
    waitForPrerequisites();
}

// ---------------------------------------------------------------------------------------------------------------------
// Long images.

constexpr int kLongKeys = 128;
constexpr int kLongConsumers = 3;                        //!< warpgroups, 64 queries each
constexpr int kTurnThreads = 2 * 128;                    //!< who had the turn, and who has it next
constexpr int kLongRows = kLongConsumers * kBandRows;    //!< queries of a tile, at most
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

NIT_DEVICE void storeTile(uint32_t slot, Tile const& tile)
{
    storeShared4(slot, static_cast<uint32_t>(tile.firstToken));
    storeShared4(slot + 4, static_cast<uint32_t>(tile.length));
    storeShared4(slot + 8, static_cast<uint32_t>(tile.head));
    storeShared4(slot + 12, static_cast<uint32_t>(tile.rows));
}

NIT_DEVICE Tile loadTile(uint32_t slot)
{
    Vector16 const words = loadShared16(slot);
    return Tile{
        static_cast<int>(words.x), static_cast<int>(words.y), static_cast<int>(words.z), static_cast<int>(words.w)};
}

template <int kHeadDim>
NIT_DEVICE void produceTiles(HopperAttentionParams const& params, uint32_t shared)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = LongLayout<kHeadDim>;
    NitVarlenAttentionParams const& p = params.p;
    Ring<kQueryStages> queries;
    Ring<kStages> ring;

    TileScheduler<kLongConsumers, kShortTokens> scheduler(p.cuSeqlens, p.images, p.heads);
    for (;;)
    {
        Tile const tile = scheduler.next();
        // Both count once, and cost nothing again. Lengths are no result of the kernel before; consumers have nothing
        // to wait for themselves, as they get what is copied after this and write after that. Dependents are the short
        // images' blocks, wherever this kernel leaves room: they read what was waited for here.
        waitForPrerequisites();
        allowDependents();
        if (threadIndex() % 32 == 0)
        {
            uint32_t const queryFull = Layout::queryFull(shared, queries.stage());
            barrierWait(Layout::queryEmpty(shared, queries.stage()), queries.parity() ^ 1);
            storeTile(shared + Layout::kTiles + queries.stage() * 16, tile);
            if (tile.length == 0)
            {
                barrierArrive(queryFull); // the end, for the consumers too
            }
            else
            {
                barrierArriveExpect(queryFull, static_cast<unsigned>(tile.bands()) * Tiles::kQuery);
#pragma unroll 1
                for (int part = 0; part < tile.bands(); ++part)
                {
                    uint32_t const query =
                        shared + Layout::kQuery + queries.stage() * Layout::kQueryStage + part * Tiles::kQuery;
                    int const row = tile.firstRow() + part * kBandRows;
                    copyRows(query, &params.q, queryFull, 0, tile, row);
                    if (Tiles::kRest)
                    {
                        copyRows(query + Tiles::kMainBox, &params.qRest, queryFull, 64, tile, row);
                    }
                }
#pragma unroll 1
                for (int first = (tile.length - 1) / kLongKeys * kLongKeys; first >= 0; first -= kLongKeys)
                {
                    uint32_t const key = shared + Layout::kKey + ring.stage() * Layout::kKeyStage;
                    uint32_t const keyFull = Layout::keyFull(shared, ring.stage());
                    barrierWait(Layout::keyEmpty(shared, ring.stage()), ring.parity() ^ 1);
                    barrierArriveExpect(keyFull, Layout::kKeyStage);
                    copyRows(key, &params.k, keyFull, 0, tile, first);
                    if (Tiles::kRest)
                    {
                        copyRows(key + kLongKeys * 128, &params.kRest, keyFull, 64, tile, first);
                    }

                    uint32_t const value = shared + Layout::kValue + ring.stage() * Layout::kValueStage;
                    uint32_t const valueFull = Layout::valueFull(shared, ring.stage());
                    barrierWait(Layout::valueEmpty(shared, ring.stage()), ring.parity() ^ 1);
                    barrierArriveExpect(valueFull, Layout::kValueStage);
                    copyRows(value, &params.v, valueFull, 0, tile, first);
                    if (Tiles::kRest)
                    {
                        copyRows(value + kLongKeys * 128, &params.v, valueFull, 64, tile, first);
                    }
                    ring.advance();
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

//! One round of keys and values for a warpgroup without queries: it passes its turn on and gives the buffers back.
template <int kHeadDim>
NIT_DEVICE void skipRound(uint32_t shared, Ring<kStages> const& ring, bool releases, int turn, int nextTurn)
{
    using Layout = LongLayout<kHeadDim>;
    barrierWait(Layout::keyFull(shared, ring.stage()), ring.parity());
    syncNamed(turn, kTurnThreads);
    arriveNamed(nextTurn, kTurnThreads);
    if (releases)
    {
        barrierArrive(Layout::keyEmpty(shared, ring.stage()));
    }
    barrierWait(Layout::valueFull(shared, ring.stage()), ring.parity());
    if (releases)
    {
        barrierArrive(Layout::valueEmpty(shared, ring.stage()));
    }
}

template <typename T, int kHeadDim>
NIT_DEVICE void consumeTiles(HopperAttentionParams const& params, uint32_t shared, int consumer)
{
    using Tiles = HopperTiles<kHeadDim>;
    using Layout = LongLayout<kHeadDim>;
    // Registers are what this function is short of: scores, weights and output are 132 of 160. So both rings of keys
    // and values are one count, and what is needed of a tile is read again from shared memory at its end.
    // Named barriers: one for each warpgroup alone, and one for its turn at the tensor cores.
    int const alone = 1 + consumer;
    int const turn = 1 + kLongConsumers + consumer;
    int const nextTurn = 1 + kLongConsumers + (consumer + 1) % kLongConsumers;
    NitVarlenAttentionParams const& p = params.p;
    bool const releases = threadIndex() % 32 == 0; // one lane of each warp
    float const scaleLog2 = p.scale * kLog2E;
    Ring<kQueryStages> queries;
    Ring<kStages> ring; // of the keys' round; the values' is one behind
    if (consumer == kLongConsumers - 1)
    {
        arriveNamed(1 + kLongConsumers, kTurnThreads); // the first warpgroup's turn comes first
    }

    for (;; queries.advance())
    {
        barrierWait(Layout::queryFull(shared, queries.stage()), queries.parity());
        uint32_t const slot = shared + Layout::kTiles + queries.stage() * 16;
        Tile tile = loadTile(slot);
        int const length = shuffleFrom(tile.length, 0); // the same in all lanes: the compiler can tell by this
        if (length == 0)
        {
            return;
        }
        unsigned const end = ring.count + static_cast<unsigned>(length + kLongKeys - 1) / kLongKeys;
        if (consumer >= shuffleFrom(tile.bands(), 0))
        {
            for (; ring.count != end; ring.advance())
            {
                skipRound<kHeadDim>(shared, ring, releases, turn, nextTurn);
            }
            barrierArrive(Layout::queryEmpty(shared, queries.stage()));
            continue;
        }
        uint32_t const query =
            shared + Layout::kQuery + queries.stage() * Layout::kQueryStage + consumer * Tiles::kQuery;

        OnlineSoftmax<kLongKeys> softmax;
        float rescale[2];
        float output[kHeadDim / 2];
        clear(output);
        float scores[kLongKeys / 2];
        clear(scores);
        uint32_t weights[kLongKeys / 16][4];

        // The image's ragged end.
        barrierWait(Layout::keyFull(shared, ring.stage()), ring.parity());
        syncNamed(turn, kTurnThreads);
        holdRegisters(scores);
        wgmmaFence();
        multiplyKeys<T, kHeadDim, kLongKeys>(scores, query, shared + Layout::kKey + ring.stage() * Layout::kKeyStage);
        wgmmaCommit();
        arriveNamed(nextTurn, kTurnThreads);
        wgmmaWait<0>();
        holdRegisters(scores);
        if (releases)
        {
            barrierArrive(Layout::keyEmpty(shared, ring.stage()));
        }
        maskKeys(scores, (length - 1) % kLongKeys + 1);
        softmax.raise(scores, scaleLog2, rescale);
        softmax.weigh<T>(scores, scaleLog2, weights);

        Ring<kStages> values = ring;
        for (ring.advance(); ring.count != end; ring.advance())
        {
            barrierWait(Layout::keyFull(shared, ring.stage()), ring.parity());
            syncNamed(turn, kTurnThreads);
            holdRegisters(scores);
            holdRegisters(output);
            wgmmaFence();
            multiplyKeys<T, kHeadDim, kLongKeys>(
                scores, query, shared + Layout::kKey + ring.stage() * Layout::kKeyStage);
            wgmmaCommit();
            barrierWait(Layout::valueFull(shared, values.stage()), values.parity());
            multiplyValues<T, kHeadDim, kLongKeys>(
                output, weights, shared + Layout::kValue + values.stage() * Layout::kValueStage);
            wgmmaCommit();
            arriveNamed(nextTurn, kTurnThreads);
            wgmmaWait<1>();
            holdRegisters(scores);
            if (releases)
            {
                barrierArrive(Layout::keyEmpty(shared, ring.stage()));
            }
            softmax.raise(scores, scaleLog2, rescale);
            wgmmaWait<0>();
            holdRegisters(output);
            if (releases)
            {
                barrierArrive(Layout::valueEmpty(shared, values.stage()));
            }
            values = ring;
            softmax.weigh<T>(scores, scaleLog2, weights);
            rescaleRows(output, rescale);
        }

        barrierWait(Layout::valueFull(shared, values.stage()), values.parity());
        holdRegisters(output);
        wgmmaFence();
        multiplyValues<T, kHeadDim, kLongKeys>(
            output, weights, shared + Layout::kValue + values.stage() * Layout::kValueStage);
        wgmmaCommit();
        wgmmaWait<0>();
        holdRegisters(output);
        if (releases)
        {
            barrierArrive(Layout::valueEmpty(shared, values.stage()));
        }

        tile = loadTile(slot);
        writeOutput<T, kHeadDim, kLongKeys>(
            p, tile, tile.firstRow() + consumer * kBandRows, softmax, output, query, alone);
        barrierArrive(Layout::queryEmpty(shared, queries.stage()));
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
            barrierInit(Layout::queryEmpty(base, i), kLongConsumers * 128); // every thread reads the tile
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

    int const warpgroup = shuffleFrom(static_cast<int>(threadIndex()) / 128, 0);
    if (warpgroup == 0)
    {
        giveRegisters<32>();
        if (threadIndex() < 32)
        {
            produceTiles<kHeadDim>(params, base);
        }
    }
    else
    {
        takeRegisters<160>();
        consumeTiles<T, kHeadDim>(params, base, warpgroup - 1);
    }
}

} // namespace nit
