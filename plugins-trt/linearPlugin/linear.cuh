// A linear layer for few tokens on sm_90a: out [M, N] = activation(x [M, K] weight [N, K]^T + bias).
//
// A block computes a tile of 64 or 128 tokens and tileColumns out features over its part of K: one or two warpgroups of
// 64 tokens multiply with wgmma, 64 of K a stage; the first thread also gives the bulk tensor copy engine its orders,
// so that no warp takes registers for that alone. Blocks that belong together are one cluster:
//  - `split` blocks have the same tile and a part of K each. Their sums meet in shared memory: every block adds up its
//    share of the tile, always in the order of the parts, so that the result has the same bits in every run.
//  - `shareWeight` blocks have the same weights and neighbouring tokens: one of them, in turn, copies a stage of
//  weights
//    to all of them. With 512 tokens the second-level cache would otherwise send every weight four times, and what it
//    can send is what the layer waits for.
//  - `shareTokens` blocks have the same tokens and neighbouring out features: the same, with the tokens.
//
// Weights do not depend on the kernel before this one, so their first stages are under way before the wait for it. Two
// blocks fit on a multiprocessor, so that this also holds when that kernel is such a layer itself.
#pragma once

#include "api/nitKernels.h"
#include "common/hopper.cuh"
#include "linearPlugin/linearPlan.h"

namespace nit
{

//! Passed by value: the copy engine reads the maps where the parameters are. Boxes are kLinearDepth columns of
//! tileTokens rows of x and of tileColumns rows of the weight. p has no field that is 0 for "choose".
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
    int firstToken;
    int firstColumn;
    int firstStep; //!< of K
    int steps;
};

NIT_DEVICE LinearPlace linearPlace(LinearLaunch const& launch, int tileTokens, int tileColumns)
{
    NitLinearParams const& p = launch.p;
    LinearCut const& cut = launch.cut;
    int const block = static_cast<int>(blockIndex());
    int const cluster = block / cut.clusterBlocks;
    LinearPlace place;
    place.rank = block % cut.clusterBlocks;
    place.part = place.rank % p.split;
    place.row = place.rank / p.split % p.shareWeight;
    place.column = place.rank / p.split / p.shareWeight;
    // Clusters of the same weights follow each other.
    place.firstToken = (cluster % cut.rowClusters * p.shareWeight + place.row) * tileTokens;
    place.firstColumn = (cluster / cut.rowClusters * p.shareTokens + place.column) * tileColumns;
    place.firstStep = cut.depthSteps * place.part / p.split;
    place.steps = cut.depthSteps * (place.part + 1) / p.split - place.firstStep;
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
    static constexpr int kThreads = kConsumers * 128;
    static constexpr int kPitch = linearPitch(kColumns);

    static_assert(kStage % 1024 == 0, "swizzle atoms");
    static_assert(kLinearBiasStart + kColumns * 2 <= kLinearTileStart, "room for the bias");
    static_assert(kColumns % 8 == 0, "whole vectors");

    NIT_DEVICE static uint32_t full(uint32_t shared, int stage)
    {
        return shared + 8 * stage;
    }
    NIT_DEVICE static uint32_t empty(uint32_t shared, int stage)
    {
        return shared + 8 * (kLinearMaxStages + stage);
    }
    //! Eight values of the bias.
    NIT_DEVICE static uint32_t bias(uint32_t shared, int chunk)
    {
        return shared + kLinearBiasStart + 16 * chunk;
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

//! What the block's first thread does: it orders the copies of this block, and of those that share its operands.
template <int kConsumers, int kColumns>
class LinearCopies
{
public:
    using Layout = LinearLayout<kConsumers, kColumns>;

    NIT_DEVICE LinearCopies(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
        : mLaunch(launch), mPlace(place), mShared(shared)
    {
    }

    //! The stage's barrier waits for both operands, whoever copies them.
    NIT_DEVICE void expect(int stage) const
    {
        barrierArriveExpect(Layout::full(mShared, stage), Layout::kStage);
    }

    NIT_DEVICE void weights(int step, int stage) const
    {
        NitLinearParams const& p = mLaunch.p;
        copy(
            &mLaunch.weight, Layout::weights(mShared, stage), step, stage, mPlace.firstColumn, mPlace.row,
            p.shareWeight, mPlace.part + p.split * p.shareWeight * mPlace.column, p.split);
    }

    NIT_DEVICE void tokens(int step, int stage) const
    {
        NitLinearParams const& p = mLaunch.p;
        copy(
            &mLaunch.x, Layout::tokens(mShared, stage), step, stage, mPlace.firstToken, mPlace.column, p.shareTokens,
            mPlace.part + p.split * mPlace.row, p.split * p.shareWeight);
    }

private:
    //! Copies a box if this is the step's block among the `shares` that are sent it: those of rank first, first +
    //! stride, ...
    NIT_DEVICE void copy(
        TensorMap const* map, uint32_t target, int step, int stage, int row, int mine, int shares, int first,
        int stride) const
    {
        int const depth = (mPlace.firstStep + step) * kLinearDepth;
        uint32_t const barrier = Layout::full(mShared, stage);
        if (shares == 1)
        {
            copyBox(target, map, barrier, depth, row);
        }
        else if (step % shares == mine)
        {
            unsigned blocks = 0;
            for (int i = 0; i < shares; ++i)
            {
                blocks |= 1u << (first + stride * i);
            }
            copyBoxToMany(target, map, barrier, depth, row, blocks);
        }
    }

    LinearLaunch const& mLaunch;
    LinearPlace const& mPlace;
    uint32_t mShared;
};

//! A warpgroup's sums [64, kColumns] over the block's part of K.
template <typename T, int kConsumers, int kColumns>
NIT_DEVICE void multiplyLinear(
    LinearLaunch const& launch, LinearPlace const& place, uint32_t shared, int consumer, float (&sums)[kColumns / 2])
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NitLinearParams const& p = launch.p;
    LinearCopies<kConsumers, kColumns> const copies(launch, place, shared);
    if (threadIndex() == 0)
    {
        int const ready = place.steps < p.stages ? place.steps : p.stages;
#pragma unroll 1
        for (int step = 0; step < ready; ++step)
        {
            copies.expect(step);
            copies.weights(step, step);
        }
        waitForPrerequisites(); // x is the result of the kernel before
#pragma unroll 1
        for (int step = 0; step < ready; ++step)
        {
            copies.tokens(step, step);
        }
    }
    syncWarp();

    // A lane for each block that may send copies here, and so must know when a buffer is free. With both operands
    // shared those of other rows and columns must know too: else a block could be a round ahead of one that it hears
    // nothing of, and be counted in its place.
    int const lane = static_cast<int>(threadIndex()) % 32;
    bool const releases = lane < p.shareWeight * p.shareTokens;
    bool const alone = launch.cut.clusterBlocks == p.split;
    uint32_t const firstEmpty = Layout::empty(shared, 0);
    uint32_t const target = alone || !releases ? firstEmpty : inCluster(firstEmpty, place.part + p.split * lane);

#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i)
    {
        sums[i] = 0.0f;
    }
    LinearRing ring(p.stages);
    LinearRing last = ring;
#pragma unroll 1
    for (int step = 0; step < place.steps; ++step)
    {
        barrierWait(Layout::full(shared, ring.stage), ring.parity);
        uint32_t const tokens = Layout::tokens(shared, ring.stage) + consumer * 64 * 128;
        uint32_t const weights = Layout::weights(shared, ring.stage);
        holdRegisters(sums);
        wgmmaFence();
#pragma unroll
        for (int k = 0; k < kLinearDepth / 16; ++k)
        {
            wgmmaShared<T, kColumns>(
                sums, matrixDescriptor(tokens + k * 32, 16, 1024, Swizzle::k128Bytes),
                matrixDescriptor(weights + k * 32, 16, 1024, Swizzle::k128Bytes), 1);
        }
        wgmmaCommit();
        wgmmaWait<1>();
        holdRegisters(sums);
        int const next = step - 1 + p.stages; // takes the buffer of the step before, whose products are over
        if (step > 0 && next < place.steps)
        {
            if (releases)
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
            if (threadIndex() == 0)
            {
                // A copy from another block may arrive before this one expects it: the phase does not end without this
                // block's own arrival.
                barrierWait(Layout::empty(shared, last.stage), last.parity);
                copies.expect(last.stage);
                copies.weights(next, last.stage);
                copies.tokens(next, last.stage);
            }
            syncWarp();
        }
        last = ring;
        ring.advance();
    }
    wgmmaWait<0>();
    holdRegisters(sums);
}

//! x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the same as 0.5 x (1 + tanh(u)).
NIT_DEVICE float geluTanh(float x)
{
    constexpr float kMinusTwoLog2ERoot = -2.885390081777927f * 0.7978845608028654f;
    float const u = x * (1.0f + 0.044715f * x * x);
    return x * reciprocalFast(1.0f + exp2Fast(kMinusTwoLog2ERoot * u)); // 1 / infinity is 0
}

//! Adds the parts' sums of this block's share of the tile, in the order of the parts, and writes the result.
template <typename T, int kConsumers, int kColumns>
NIT_DEVICE void writeLinear(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
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
    for (int i = place.part * Layout::kThreads + static_cast<int>(threadIndex()); i < Layout::kRows * kChunks;
         i += p.split * Layout::kThreads)
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
        float biases[8];
        unpack<T>(loadShared16(Layout::bias(shared, chunk)), biases);
#pragma unroll
        for (int j = 0; j < 8; ++j)
        {
            values[j] += biases[j];
            values[j] = p.activation == NIT_ACTIVATION_GELU_TANH ? geluTanh(values[j]) : values[j];
        }
        storeVector(static_cast<T*>(p.out) + token * p.outFeatures + column, packVector<T>(values));
    }
}

//! One warp brings the tile's part of the bias to shared memory, so that nobody waits for it at the end.
template <typename T, int kConsumers, int kColumns>
NIT_DEVICE void loadBias(LinearLaunch const& launch, LinearPlace const& place, uint32_t shared)
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    static_assert(kColumns / 8 <= 32, "a lane a vector");
    int const chunk = static_cast<int>(threadIndex()) % 32;
    if (chunk < kColumns / 8)
    {
        int const column = place.firstColumn + chunk * 8;
        Vector16 bias{0, 0, 0, 0};
        if (launch.p.bias != nullptr && column < launch.p.outFeatures)
        {
            bias = loadVector(static_cast<T const*>(launch.p.bias) + column);
        }
        storeShared16(Layout::bias(shared, chunk), bias);
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

template <typename T, int kConsumers, int kColumns>
NIT_KERNEL(kConsumers * 128, 2)
linearKernel(NIT_GRID_CONSTANT LinearLaunch launch)
{
    using Layout = LinearLayout<kConsumers, kColumns>;
    NIT_SHARED_MEMORY(memory);
    uint32_t const shared = sharedAddress(memory);
    NitLinearParams const& p = launch.p;
    LinearPlace const place = linearPlace(launch, Layout::kRows, kColumns);
    if (threadIndex() == 0)
    {
        unsigned const releases = static_cast<unsigned>(p.shareWeight * p.shareTokens * kConsumers * 4);
        for (int i = 0; i < p.stages; ++i)
        {
            barrierInit(Layout::full(shared, i), 1);
            barrierInit(Layout::empty(shared, i), releases);
        }
        barrierInitFence();
        prefetchTensorMap(&launch.weight);
        prefetchTensorMap(&launch.x);
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

    int const warp = shuffleFrom(static_cast<int>(threadIndex()) / 32, 0);
    if (warp == 1) // not the one that orders the copies
    {
        loadBias<T, kConsumers, kColumns>(launch, place, shared);
    }
    float sums[kColumns / 2];
    multiplyLinear<T, kConsumers, kColumns>(launch, place, shared, warp / 4, sums);
    syncBlock(); // all of the block's products have read their tiles
    storeSums<kConsumers, kColumns>(shared, sums);
    if (p.split > 1)
    {
        syncCluster();
    }
    else
    {
        syncBlock();
    }
    waitForPrerequisites(); // what was written to `out` before, or read from it, is over
    writeLinear<T, kConsumers, kColumns>(launch, place, shared);
    if (launch.cut.clusterBlocks > 1)
    {
        syncCluster(); // no block leaves while others read its sums or give buffers back to it
    }
}

} // namespace nit
