// A linear layer for few tokens on sm_90a: out [M, N] = activation(x [M, K] weight [N, K]^T + bias).
//
// A block computes a tile of tileTokens tokens and tileColumns out features over its part of K, 64 of K a stage. One
// warp does nothing but order bulk tensor copies, as far ahead as the ring of stages lets it; one warpgroup for every
// 64 tokens multiplies with wgmma and gives stages back. Blocks that belong together are one cluster:
//  - `split` blocks have the same tile and a part of K each. Their sums meet in shared memory: every block adds up its
//    share of the tile, always in the order of the parts, so that the result has the same bits in every run.
//  - `shareWeight` blocks have the same weights and neighbouring tokens: each copies its piece of every stage's weights
//    to all of them. With 512 tokens the second-level cache would otherwise send every weight four times, and what it
//    can send is what the layer waits for.
//  - `shareTokens` blocks have the same tokens and neighbouring out features: the same, with the tokens.
//
// Weights do not depend on the kernel before this one: those of the first stages are under way before the wait for it,
// and the rest is on its way to the second-level cache. Where two blocks fit on a multiprocessor this also holds when
// that kernel is such a layer itself.
//
// A layer that makes q, k and v has tiles of whole heads and K in one part. LayerNorm and rotation of q's and k's heads
// work on the sums (rotateHeads); what they need comes by bulk copies while products are made.
#pragma once

#include "api/nitKernels.h"
#include "common/hopper.cuh"
#include "linearPlugin/linearPlan.h"

namespace nit
{

//! Passed by value: the copy engine reads the maps where the parameters are. Boxes are kLinearDepth columns of
//! tileTokens / shareTokens rows of x and of tileColumns / shareWeight rows of the weight. p has no field that is 0 for
//! "choose".
struct LinearLaunch
{
    TensorMap x;
    TensorMap weight;
    NitLinearParams p;
    LinearCut cut;
};

//! A block's place.
struct LinearPlace
{
    int rank;   //!< in the cluster: part + split (row + shareWeight column)
    int part;   //!< of K
    int row;    //!< among the blocks that share weights
    int column; //!< among the blocks that share tokens
    int rowCluster;
    int firstToken;
    int firstColumn;
    int firstStep; //!< of K
    int steps;
};

//! The grid has the clusters of tokens in its first direction and those of columns in its second: clusters of the same
//! weights follow each other. Nothing is divided: a block finds its place before it orders the first copy.
NIT_DEVICE LinearPlace linearPlace(LinearLaunch const& launch, int tileTokens, int tileColumns)
{
    static_assert(kLinearMaxShare == 2, "one bit says which block of those that share");
    NitLinearParams const& p = launch.p;
    LinearCut const& cut = launch.cut;
    LinearPlace place;
    place.rank = static_cast<int>(clusterRank());
    int const tile = place.rank * cut.splitReciprocal >> 16; // of the cluster's
    place.part = place.rank - tile * p.split;
    place.row = tile & (p.shareWeight - 1);
    place.column = tile >> (p.shareWeight - 1);
    place.rowCluster = static_cast<int>(clusterIndex());
    place.firstToken = (place.rowCluster * p.shareWeight + place.row) * tileTokens;
    place.firstColumn = (static_cast<int>(blockIndexY()) * p.shareTokens + place.column) * tileColumns;
    bool const longer = place.part < cut.longerParts;
    place.firstStep = place.part * cut.partSteps + (longer ? place.part : cut.longerParts);
    place.steps = cut.partSteps + (longer ? 1 : 0);
    return place;
}

//! Which buffer comes next, and the parity of its barriers. The number of buffers is known at run time only.
struct LinearRing
{
    int stages;
    int stage = 0;
    unsigned parity = 0;

    NIT_DEVICE explicit LinearRing(int stages_) : stages(stages_)
    {
    }

    NIT_DEVICE void advance()
    {
        if (++stage == stages)
        {
            stage = 0;
            parity ^= 1;
        }
    }
};

template <int kConsumers, int kColumns>
struct LinearLayout
{
    static constexpr int kRows = kConsumers * 64;
    static constexpr int kTokenBytes = kRows * 128;
    static constexpr int kStage = linearStageBytes(kRows, kColumns);
    static constexpr int kMultiplying = kConsumers * 128; //!< threads; the one that copies comes after them
    //! With a whole warpgroup after them, which gives its registers to those that multiply: two such blocks would not
    //! fit on a multiprocessor otherwise.
    static constexpr bool kReallocates = kConsumers == 2 && kColumns == 144;
    static constexpr int kThreads = kMultiplying + (kReallocates ? 128 : 32);
    //! A product of all columns wants more registers than there are before they change hands: it is made in two.
    static constexpr int kProductColumns = kReallocates ? kColumns / 2 : kColumns;
    //! What the registers allow, so that the compiler leaves it possible.
    static constexpr int kBlocks = linearBlocksByRegisters(kRows, kColumns);
    static constexpr int kPitch = linearPitch(kColumns);

    static_assert(kStage % 1024 == 0, "swizzle atoms");
    static_assert(16 * kLinearMaxStages + 8 <= kLinearTileStart, "room for the barriers");
    static_assert(kColumns % 8 == 0, "whole vectors");

    NIT_DEVICE static uint32_t full(uint32_t shared, int stage)
    {
        return shared + 8 * stage;
    }
    NIT_DEVICE static uint32_t empty(uint32_t shared, int stage)
    {
        return shared + 8 * (kLinearMaxStages + stage);
    }
    NIT_DEVICE static uint32_t tokens(uint32_t shared, int stage)
    {
        return shared + kLinearTileStart + stage * kStage;
    }
    NIT_DEVICE static uint32_t weights(uint32_t shared, int stage)
    {
        return tokens(shared, stage) + kTokenBytes;
    }
};

//! What one block copies of an operand: its piece of the tile's rows, to all blocks that share them.
struct LinearPiece
{
    TensorMap const* map;
    int row;         //!< of the tensor
    uint32_t offset; //!< of the piece in the tile
    unsigned blocks; //!< of the cluster, a bit each; 0: this one alone

    //! The blocks are those of rank first, first + stride, ...
    NIT_DEVICE LinearPiece(
        TensorMap const* map_, int tileRow, int tileRows, int mine, int shares, int first, int stride)
        : map(map_), row(tileRow + mine * (tileRows / shares)),
          offset(static_cast<uint32_t>(mine * (tileRows / shares) * 128)), blocks(0)
    {
        for (int i = 0; shares > 1 && i < shares; ++i)
        {
            blocks |= 1u << (first + stride * i);
        }
    }

    NIT_DEVICE void copy(uint32_t tile, uint32_t barrier, int step) const
    {
        if (blocks == 0)
        {
            copyBox(tile + offset, map, barrier, step * kLinearDepth, row);
        }
        else
        {
            copyBoxToMany(tile + offset, map, barrier, step * kLinearDepth, row, blocks);
        }
    }
};

//! Where a block that makes heads keeps angles and norm, and what its tile is part of.
template <int kConsumers, int kColumns, int kHeadDim>
struct LinearHeads
{
    static_assert(kHeadDim == 0 || kColumns % kHeadDim == 0, "whole heads");

    using Layout = LinearLayout<kConsumers, kColumns>;
    static constexpr int kTableBytes = linearTableBytes(Layout::kRows, kHeadDim);
    static constexpr int kNormBytes = kHeadDim * 2; //!< its weight, or its bias
    //! Tables beside tiles of 128 x 128 leave no room for a second block: no need to save registers for it.
    static constexpr int kBlocks = kHeadDim == 64 && kConsumers == 2 ? 1 : Layout::kBlocks;

    NIT_DEVICE static uint32_t full(uint32_t shared)
    {
        return shared + 8 * 2 * kLinearMaxStages;
    }
    NIT_DEVICE static uint32_t cosine(LinearLaunch const& launch, uint32_t shared)
    {
        return Layout::tokens(shared, launch.p.stages);
    }
    NIT_DEVICE static uint32_t norm(LinearLaunch const& launch, uint32_t shared)
    {
        return cosine(launch, shared) + 2 * kTableBytes;
    }
    NIT_DEVICE static bool isQuery(LinearLaunch const& launch, LinearPlace const& place)
    {
        return place.firstColumn < launch.p.heads * kHeadDim;
    }
    //! Not v's heads, nor the tile beyond the last tokens that a block may have who shares weights.
    NIT_DEVICE static bool rotates(LinearLaunch const& launch, LinearPlace const& place)
    {
        return place.firstColumn < 2 * launch.p.heads * kHeadDim && place.firstToken < launch.p.tokens;
    }
};

//! Orders the copies that rotateHeads needs.
template <int kConsumers, int kColumns, int kHeadDim>
NIT_DEVICE void copyHeads(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
{
    using Heads = LinearHeads<kConsumers, kColumns, kHeadDim>;
    constexpr int kRows = Heads::Layout::kRows;
    NitLinearParams const& p = launch.p;
    if (!Heads::rotates(launch, place))
    {
        return;
    }
    uint32_t const full = Heads::full(shared);
    uint32_t const cosine = Heads::cosine(launch, shared);
    int64_t const left = p.tokens - place.firstToken;
    unsigned const bytes = static_cast<unsigned>(left < kRows ? left : kRows) * kHeadDim * 4;
    int64_t const at = static_cast<int64_t>(place.firstToken) * kHeadDim;
    barrierArriveExpect(full, 2 * bytes + (p.qWeight != nullptr ? 2 * Heads::kNormBytes : 0));
    copyBytes(cosine, p.cosine + at, bytes, full);
    copyBytes(cosine + Heads::kTableBytes, p.sine + at, bytes, full);
    if (p.qWeight != nullptr)
    {
        uint32_t const norm = Heads::norm(launch, shared);
        bool const query = Heads::isQuery(launch, place);
        copyBytes(norm, query ? p.qWeight : p.kWeight, Heads::kNormBytes, full);
        copyBytes(norm + Heads::kNormBytes, query ? p.qBias : p.kBias, Heads::kNormBytes, full);
    }
}

//! One thread orders all of the block's copies.
template <int kConsumers, int kColumns, int kHeadDim>
NIT_DEVICE void copyLinear(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NitLinearParams const& p = launch.p;
    LinearPiece const weights(
        &launch.weight, place.firstColumn, kColumns, place.row, p.shareWeight,
        place.part + p.split * p.shareWeight * place.column, p.split);
    LinearPiece const tokens(
        &launch.x, place.firstToken, Layout::kRows, place.column, p.shareTokens, place.part + p.split * place.row,
        p.split * p.shareWeight);
    int const ready = place.steps < p.stages ? place.steps : p.stages;
#pragma unroll 1
    for (int step = 0; step < ready; ++step)
    {
        // The stage waits for both operands, whoever copies them. A copy from another block may arrive before it is
        // expected: the phase does not end without this block's own arrival.
        barrierArriveExpect(Layout::full(shared, step), Layout::kStage);
        weights.copy(Layout::weights(shared, step), Layout::full(shared, step), place.firstStep + step);
    }
    // The blocks of other tokens bring other steps.
#pragma unroll 1
    for (int step = ready + place.rowCluster; step < place.steps; step += launch.cut.rowClusters)
    {
        prefetchBox(weights.map, (place.firstStep + step) * kLinearDepth, weights.row);
    }
    waitForPrerequisites(); // x is the result of the kernel before
#pragma unroll 1
    for (int step = 0; step < ready; ++step)
    {
        tokens.copy(Layout::tokens(shared, step), Layout::full(shared, step), place.firstStep + step);
    }
    if constexpr (kHeadDim != 0)
    {
        copyHeads<kConsumers, kColumns, kHeadDim>(launch, place, shared);
    }
    LinearRing ring(p.stages);
#pragma unroll 1
    for (int step = ready; step < place.steps; ++step)
    {
        barrierWait(Layout::empty(shared, ring.stage), ring.parity);
        uint32_t const full = Layout::full(shared, ring.stage);
        barrierArriveExpect(full, Layout::kStage);
        weights.copy(Layout::weights(shared, ring.stage), full, place.firstStep + step);
        tokens.copy(Layout::tokens(shared, ring.stage), full, place.firstStep + step);
        ring.advance();
    }
}

//! Where this lane tells that a stage is free: lanes 0 .. shareWeight + shareTokens - 2 have a block each that copies
//! to this one. Returns 0 for the others.
NIT_DEVICE uint32_t linearRelease(LinearLaunch const& launch, LinearPlace const& place, uint32_t firstEmpty, int lane)
{
    NitLinearParams const& p = launch.p;
    if (lane >= p.shareWeight + p.shareTokens - 1)
    {
        return 0;
    }
    int row = lane;
    int column = place.column;
    if (lane >= p.shareWeight)
    {
        row = place.row;
        column = lane - p.shareWeight;
        column += column >= place.column ? 1 : 0;
    }
    return inCluster(firstEmpty, place.part + p.split * (row + p.shareWeight * column));
}

//! Adds a warpgroup's products [64, kColumns] over the block's part of K to the sums.
template <typename T, int kConsumers, int kColumns>
NIT_DEVICE void multiplyLinear(
    LinearLaunch const& launch, LinearPlace const& place, uint32_t shared, int consumer, float (&sums)[kColumns / 2])
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NitLinearParams const& p = launch.p;
    bool const alone = launch.cut.clusterBlocks == p.split;
    int const lane = static_cast<int>(threadIndex()) % 32;
    uint32_t const firstEmpty = Layout::empty(shared, 0);
    uint32_t const target = alone ? (lane == 0 ? firstEmpty : 0) : linearRelease(launch, place, firstEmpty, lane);
    LinearRing ring(p.stages);
    LinearRing last = ring;
    holdRegisters(sums);
#pragma unroll 1
    for (int step = 0; step < place.steps; ++step)
    {
        barrierWait(Layout::full(shared, ring.stage), ring.parity);
        uint32_t const tokens = Layout::tokens(shared, ring.stage) + consumer * 64 * 128;
        uint32_t const weights = Layout::weights(shared, ring.stage);
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < kLinearDepth / 16; ++k)
        {
#pragma unroll
            for (int column = 0; column < kColumns; column += Layout::kProductColumns)
            {
                wgmmaShared<T, Layout::kProductColumns>(
                    reinterpret_cast<float(&)[Layout::kProductColumns / 2]>(sums[column / 2]),
                    matrixDescriptor(tokens + k * 32, 16, 1024, Swizzle::k128Bytes),
                    matrixDescriptor(weights + column * 128 + k * 32, 16, 1024, Swizzle::k128Bytes), 1);
            }
        }
        wgmmaCommit();
        wgmmaWait<1>();
        // The products of the step before are over. Nobody waits for a stage that is not filled again.
        if (target != 0 && step > 0 && step - 1 + p.stages < place.steps)
        {
            uint32_t const empty = target + 8 * last.stage;
            if (alone)
            {
                barrierArrive(empty);
            }
            else
            {
                barrierArriveInCluster(empty);
            }
        }
        last = ring;
        ring.advance();
    }
    wgmmaWait<0>();
    holdRegisters(sums);
}

//! 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <typename T>
NIT_DEVICE float geluTanh(float x);

template <>
NIT_DEVICE float geluTanh<Bf16>(float x)
{
    float const half = 0.5f * x;
    return half + half * tanhFast(0.7978845608028654f * x * (1.0f + 0.044715f * x * x));
}

//! As x sigmoid(2 u), the same thing: the fast tanh, which asks half as much of the unit for such functions, would show
//! behind the ten bits of fp16.
template <>
NIT_DEVICE float geluTanh<Fp16>(float x)
{
    constexpr float kMinusTwoLog2ERoot = -2.885390081777927f * 0.7978845608028654f;
    float const u = x * (1.0f + 0.044715f * x * x);
    return x * reciprocalFast(1.0f + exp2Fast(kMinusTwoLog2ERoot * u)); // 1 / infinity is 0
}

//! Begins the sums with the bias, in the first part of K only: it is there long before the first tiles are.
template <typename T, int kColumns>
NIT_DEVICE void beginSums(LinearLaunch const& launch, LinearPlace const& place, float (&sums)[kColumns / 2])
{
    T const* const bias = static_cast<T const*>(launch.p.bias);
    int const first = place.firstColumn + static_cast<int>(threadIndex()) % 4 * 2;
#pragma unroll
    for (int chunk = 0; chunk < kColumns / 8; ++chunk)
    {
        int const column = first + chunk * 8;
        uint32_t pair = 0;
        if (bias != nullptr && place.part == 0 && column < launch.p.outFeatures)
        {
            pair = *reinterpret_cast<uint32_t const*>(bias + column);
        }
        sums[chunk * 4] = sums[chunk * 4 + 2] = lower<T>(pair);
        sums[chunk * 4 + 1] = sums[chunk * 4 + 3] = upper<T>(pair);
    }
}

//! Of a tile of q's or k's heads [64, kColumns] in a warpgroup's sums: LayerNorm over each head, then its rotation. A
//! row's head lies in four neighbouring lanes, a pair of columns in every chunk of 8.
template <typename T, int kConsumers, int kColumns, int kHeadDim>
NIT_DEVICE void rotateHeads(
    LinearLaunch const& launch, LinearPlace const& place, uint32_t shared, float (&sums)[kColumns / 2])
{
    using Heads = LinearHeads<kConsumers, kColumns, kHeadDim>;
    constexpr int kHeads = kColumns / kHeadDim;
    constexpr int kChunks = kHeadDim / 8;
    NitLinearParams const& p = launch.p;
    if (!Heads::rotates(launch, place))
    {
        return;
    }
    bool const normed = p.qWeight != nullptr;
    float inverse[kHeads][2];
#pragma unroll
    for (int head = 0; head < kHeads; ++head)
    {
#pragma unroll
        for (int half = 0; half < 2; ++half)
        {
            inverse[head][half] = 1.0f;
            if (normed)
            {
                float* const values = sums + head * kChunks * 4 + half * 2; // chunk c: values[4 c], values[4 c + 1]
                float sum = 0.0f;
#pragma unroll
                for (int chunk = 0; chunk < kChunks; ++chunk)
                {
                    sum += values[chunk * 4] + values[chunk * 4 + 1];
                }
                sum += shuffleXor(sum, 1);
                float const mean = (sum + shuffleXor(sum, 2)) * (1.0f / kHeadDim);
                float squares = 0.0f;
#pragma unroll
                for (int chunk = 0; chunk < kChunks; ++chunk)
                {
                    float const a = values[chunk * 4] -= mean;
                    float const b = values[chunk * 4 + 1] -= mean;
                    squares += a * a + b * b;
                }
                squares += shuffleXor(squares, 1);
                inverse[head][half] = inverseSqrt((squares + shuffleXor(squares, 2)) * (1.0f / kHeadDim) + p.epsilon);
            }
        }
    }
    barrierWait(Heads::full(shared), 0);
    int const thread = static_cast<int>(threadIndex());
    int const row = thread / 32 * 16 + thread % 32 / 4;
    uint32_t const cosine = Heads::cosine(launch, shared) + static_cast<uint32_t>(row * kHeadDim + thread % 4 * 2) * 4;
    uint32_t const norm = Heads::norm(launch, shared) + static_cast<uint32_t>(thread % 4 * 4);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk)
    {
        uint32_t const weight = normed ? loadShared4(norm + chunk * 16) : pack<T>(1.0f, 1.0f);
        uint32_t const bias = normed ? loadShared4(norm + Heads::kNormBytes + chunk * 16) : 0;
#pragma unroll
        for (int half = 0; half < 2; ++half)
        {
            uint32_t const at = cosine + (half * 8 * kHeadDim + chunk * 8) * 4;
            float const c = bitsToFloat(loadShared4(at));
            float const s = bitsToFloat(loadShared4(at + Heads::kTableBytes));
#pragma unroll
            for (int head = 0; head < kHeads; ++head)
            {
                float* const values = sums + (head * kChunks + chunk) * 4 + half * 2;
                float const a = values[0] * (inverse[head][half] * lower<T>(weight)) + lower<T>(bias);
                float const b = values[1] * (inverse[head][half] * upper<T>(weight)) + upper<T>(bias);
                values[0] = a * c - b * s;
                values[1] = b * c + a * s;
            }
        }
    }
}

//! Writes a warpgroup's results from its registers. Neighbouring lanes exchange halves of two groups of 8 columns, so
//! that each has 8 bytes and four of them a row's 32.
//! kActivates: there may be an activation before.
template <typename T, int kColumns, bool kActivates>
NIT_DEVICE void writeSums(LinearLaunch const& launch, LinearPlace const& place, float (&sums)[kColumns / 2])
{
    NitLinearParams const& p = launch.p;
    constexpr int kChunks = kColumns / 8;
    if (kActivates && p.activation == NIT_ACTIVATION_GELU_TANH)
    {
#pragma unroll
        for (int i = 0; i < kColumns / 2; ++i)
        {
            sums[i] = geluTanh<T>(sums[i]);
        }
    }
    int const lane = static_cast<int>(threadIndex()) % 32;
    bool const odd = lane % 2 != 0;
    int const row = static_cast<int>(threadIndex()) / 32 * 16 + lane / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half)
    {
        int64_t const token = place.firstToken + row + half * 8;
        bool const inside = token < p.tokens;
        T* const out = static_cast<T*>(p.out) + token * p.outFeatures;
#pragma unroll
        for (int chunk = 0; chunk < kChunks; chunk += 2)
        {
            uint32_t const a = pack<T>(sums[chunk * 4 + half * 2], sums[chunk * 4 + half * 2 + 1]);
            if (chunk + 1 < kChunks)
            {
                uint32_t const b = pack<T>(sums[chunk * 4 + 4 + half * 2], sums[chunk * 4 + 4 + half * 2 + 1]);
                uint32_t const got = shuffleXor(odd ? a : b, 1);
                int const column = place.firstColumn + (chunk + lane % 2) * 8 + lane % 4 / 2 * 4;
                if (inside && column < p.outFeatures)
                {
                    storePair(out + column, odd ? got : a, odd ? b : got);
                }
            }
            else
            {
                int const column = place.firstColumn + chunk * 8 + lane % 4 * 2;
                if (inside && column < p.outFeatures)
                {
                    *reinterpret_cast<uint32_t*>(out + column) = a;
                }
            }
        }
    }
}

//! Lays a warpgroup's sums out in shared memory, where the tiles were.
template <int kConsumers, int kColumns>
NIT_DEVICE void storeSums(uint32_t shared, float const (&sums)[kColumns / 2])
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    int const lane = static_cast<int>(threadIndex()) % 32;
    int const row = static_cast<int>(threadIndex()) / 32 * 16 + lane / 4;
    uint32_t const target = shared + kLinearTileStart + static_cast<uint32_t>(row * Layout::kPitch + lane % 4 * 2) * 4;
#pragma unroll
    for (int i = 0; i < kColumns / 2; i += 4)
    {
        storeShared8(target + i * 8, floatBits(sums[i]), floatBits(sums[i + 1]));
        storeShared8(target + i * 8 + Layout::kPitch * 32, floatBits(sums[i + 2]), floatBits(sums[i + 3]));
    }
}

//! Adds the parts' sums of this block's share of the tile, in the order of the parts, and writes the result.
template <typename T, int kConsumers, int kColumns>
NIT_DEVICE void writeParts(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NitLinearParams const& p = launch.p;
    constexpr int kChunks = kColumns / 8;
    uint32_t const mine = shared + kLinearTileStart;
    uint32_t parts[kLinearMaxCluster];
#pragma unroll
    for (int part = 0; part < kLinearMaxCluster; ++part)
    {
        parts[part] = part < p.split && part != place.part ? inCluster(mine, place.rank - place.part + part) : 0;
    }
#pragma unroll 1
    for (int i = place.part * Layout::kMultiplying + static_cast<int>(threadIndex()); i < Layout::kRows * kChunks;
         i += p.split * Layout::kMultiplying)
    {
        int const row = i / kChunks;
        int const chunk = i % kChunks;
        int64_t const token = place.firstToken + row;
        int const column = place.firstColumn + chunk * 8;
        if (token >= p.tokens || column >= p.outFeatures)
        {
            continue;
        }
        uint32_t const at = static_cast<uint32_t>(row * Layout::kPitch + chunk * 8) * 4;
        Vector16 found[kLinearMaxCluster][2];
#pragma unroll
        for (int part = 0; part < kLinearMaxCluster; ++part)
        {
            found[part][0] = Vector16{0, 0, 0, 0};
            found[part][1] = Vector16{0, 0, 0, 0};
            if (part == place.part)
            {
                found[part][0] = loadShared16(mine + at);
                found[part][1] = loadShared16(mine + at + 16);
            }
            else if (part < p.split)
            {
                found[part][0] = loadInCluster16(parts[part] + at);
                found[part][1] = loadInCluster16(parts[part] + at + 16);
            }
        }
        float values[8] = {};
#pragma unroll
        for (int part = 0; part < kLinearMaxCluster; ++part)
        {
#pragma unroll
            for (int half = 0; half < 2; ++half)
            {
                values[half * 4] += bitsToFloat(found[part][half].x);
                values[half * 4 + 1] += bitsToFloat(found[part][half].y);
                values[half * 4 + 2] += bitsToFloat(found[part][half].z);
                values[half * 4 + 3] += bitsToFloat(found[part][half].w);
            }
        }
#pragma unroll
        for (int j = 0; j < 8; ++j)
        {
            values[j] = p.activation == NIT_ACTIVATION_GELU_TANH ? geluTanh<T>(values[j]) : values[j];
        }
        storeVector(static_cast<T*>(p.out) + token * p.outFeatures + column, packVector<T>(values));
    }
}

//! kHeadDim: of the heads that the layer makes; 0: a plain layer.
template <typename T, int kConsumers, int kColumns, int kHeadDim = 0>
NIT_KERNEL((LinearLayout<kConsumers, kColumns>::kThreads), (LinearHeads<kConsumers, kColumns, kHeadDim>::kBlocks))
linearKernel(NIT_GRID_CONSTANT LinearLaunch launch)
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NIT_SHARED_MEMORY(memory);
    uint32_t const shared = sharedAddress(memory);
    NitLinearParams const& p = launch.p;
    LinearPlace const place = linearPlace(launch, Layout::kRows, kColumns);
    int const warpgroup = shuffleFrom(static_cast<int>(threadIndex()) / 128, 0);
    bool const copies = static_cast<int>(threadIndex()) == Layout::kMultiplying;
    if (copies)
    {
        prefetchTensorMap(&launch.weight);
        prefetchTensorMap(&launch.x);
        // Every warp that multiplies tells every block that copies to it.
        unsigned const releases = static_cast<unsigned>((p.shareWeight + p.shareTokens - 1) * kConsumers * 4);
        for (int i = 0; i < p.stages; ++i)
        {
            barrierInit(Layout::full(shared, i), 1);
            barrierInit(Layout::empty(shared, i), releases);
        }
        if constexpr (kHeadDim != 0)
        {
            barrierInit(LinearHeads<kConsumers, kColumns, kHeadDim>::full(shared), 1);
        }
        barrierInitFence();
    }
    allowDependents();
    // Nobody sends copies to a block, or gives a buffer back to it, before its barriers are there.
    if (launch.cut.clusterBlocks == p.split)
    {
        syncBlock();
    }
    else
    {
        syncCluster();
    }

    if (warpgroup == kConsumers)
    {
        if constexpr (Layout::kReallocates)
        {
            giveRegisters<24>();
        }
        if (static_cast<int>(threadIndex()) == Layout::kMultiplying)
        {
            copyLinear<kConsumers, kColumns, kHeadDim>(launch, place, shared);
        }
        syncWarp();
        if (p.split > 1)
        {
            syncCluster();
        }
        if (launch.cut.clusterBlocks > 1)
        {
            leaveCluster();
        }
    }
    else
    {
        if constexpr (Layout::kReallocates)
        {
            takeRegisters<104>();
        }
        float sums[kColumns / 2];
        beginSums<T, kColumns>(launch, place, sums);
        multiplyLinear<T, kConsumers, kColumns>(launch, place, shared, warpgroup, sums);
        waitForPrerequisites(); // what was written to `out` before, or read from it, is over
        if constexpr (kHeadDim != 0)
        {
            rotateHeads<T, kConsumers, kColumns, kHeadDim>(launch, place, shared, sums);
        }
        if (kHeadDim != 0 || p.split == 1)
        {
            writeSums<T, kColumns, kHeadDim == 0>(launch, place, sums);
        }
        else
        {
            syncNamed(1, Layout::kMultiplying); // all of the block's products have read their tiles
            storeSums<kConsumers, kColumns>(shared, sums);
            syncCluster();
            writeParts<T, kConsumers, kColumns>(launch, place, shared);
        }
        if (launch.cut.clusterBlocks > 1)
        {
            leaveCluster(); // others may read this block's sums, or wait for what it copies to them
        }
    }
}

} // namespace nit
