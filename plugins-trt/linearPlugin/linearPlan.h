// How a linear layer is cut into blocks: tiles, parts of K, clusters. Plain numbers, so that the CPU tests them too.
//
// Letters: M tokens, N out features, K in features.
#pragma once

#include <cmath>
#include <cstdint>

#include "api/nitKernels.h"
#include "linearPlugin/linearMeasured.h"

namespace nit
{

constexpr int kLinearDepth = 64;             //!< of K a stage: rows of 128 bytes
constexpr int kLinearMaxStages = 8;          //!< barriers there are room for
constexpr int kLinearTileStart = 1024;       //!< the tiles come after them
constexpr int kLinearMaxShared = 227 * 1024; //!< of a block
constexpr int kLinearMaxCluster = 8;         //!< what every GPU of the kind takes
constexpr int kLinearMaxShare = 2;           //!< blocks that are sent one copy
constexpr int kLinearTileTokens[] = {64, 128, 256};
constexpr int kLinearTileColumns[] = {72, 96, 128, 144, 192};

//! Whether there is a kernel of this tile; 0 stands for any.
constexpr bool linearHasTile(int tileTokens, int tileColumns)
{
    bool const tokens = tileTokens == 0 || tileTokens == 64 || tileTokens == 128 || tileTokens == 256;
    bool const narrow = tileColumns == 0 || tileColumns == 72 || tileColumns == 96 || tileColumns == 128;
    bool const wide = tileColumns == 144 || tileColumns == 192;
    return tokens && (narrow || (wide && tileTokens != 256));
}

//! The narrowest tile of a layer that makes heads of so many columns; 0 where there is none.
constexpr int linearHeadTileColumns(int headDim)
{
    return headDim == 64 ? 128 : headDim == 72 ? 72 : 0;
}

//! Whether there is a kernel of this tile that makes such heads: whole ones, all of them q's, k's or v's.
constexpr bool linearHasHeadTile(int tileTokens, int tileColumns, int heads, int headDim)
{
    int const least = linearHeadTileColumns(headDim);
    bool const columns = least != 0 && (tileColumns == least || (least == 72 && tileColumns == 144));
    return (tileTokens == 64 || tileTokens == 128) && columns && heads % (tileColumns / headDim) == 0;
}

//! Blocks that fit on a multiprocessor by their registers: sums, and some 40 for all else, and never more than four.
constexpr int linearBlocksByRegisters(int tileTokens, int tileColumns)
{
    if (tileTokens == 64)
    {
        return tileColumns <= 96 ? 4 : tileColumns <= 144 ? 3 : 2;
    }
    return tileTokens == 128 && tileColumns <= 144 ? 2 : 1;
}

//! Floats from row to row of a tile of sums in shared memory: an odd multiple of 8, so that four rows of 32 bytes fall
//! in different banks.
constexpr int linearPitch(int tileColumns)
{
    return tileColumns % 16 == 0 ? tileColumns + 8 : tileColumns;
}

constexpr int linearStageBytes(int tileTokens, int tileColumns)
{
    return (tileTokens + tileColumns) * kLinearDepth * 2;
}

//! Of one table of angles for a tile's rows: each pair's cosine or sine twice, in single precision.
constexpr int linearTableBytes(int tileTokens, int headDim)
{
    return tileTokens * headDim * 4;
}

//! What a block that makes heads keeps beside its tiles: both tables, then weight and bias of the norm.
constexpr int linearHeadBytes(int tileTokens, int headDim)
{
    return 2 * linearTableBytes(tileTokens, headDim) + 2 * headDim * 2;
}

inline int linearSharedBytes(NitLinearParams const& p)
{
    int const tiles = p.stages * linearStageBytes(p.tileTokens, p.tileColumns);
    int const sums = p.split == 1 ? 0 : p.tileTokens * linearPitch(p.tileColumns) * 4;
    int const heads = p.heads == 0 ? 0 : linearHeadBytes(p.tileTokens, p.headDim);
    return kLinearTileStart + (tiles > sums ? tiles : sums) + heads;
}

//! What a block needs to know of the cut; filled from parameters without a 0.
struct LinearCut
{
    int depthSteps;      //!< of K, all parts
    int splitReciprocal; //!< of 2^16, rounded up: times a rank, shifted back, it divides by the number of parts
    int partSteps;       //!< of a part of K; the first longerParts have one more
    int longerParts;     //!< fewer than there are parts
    int clusterBlocks;   //!< split shareWeight shareTokens
    int rowClusters;     //!< clusters along M
    int columnClusters;  //!< clusters along N
    int clusters;

    int blocks() const
    {
        return clusters * clusterBlocks;
    }
};

inline int64_t ceilDivide(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

inline LinearCut linearCut(NitLinearParams const& p)
{
    LinearCut cut;
    cut.depthSteps = static_cast<int>(ceilDivide(p.inFeatures, kLinearDepth));
    cut.splitReciprocal = (65536 + p.split - 1) / p.split;
    cut.partSteps = cut.depthSteps / p.split;
    cut.longerParts = cut.depthSteps % p.split;
    cut.clusterBlocks = p.split * p.shareWeight * p.shareTokens;
    cut.rowClusters = static_cast<int>(ceilDivide(p.tokens, static_cast<int64_t>(p.tileTokens) * p.shareWeight));
    cut.columnClusters =
        static_cast<int>(ceilDivide(p.outFeatures, static_cast<int64_t>(p.tileColumns) * p.shareTokens));
    cut.clusters = cut.rowClusters * cut.columnClusters;
    return cut;
}

//! Blocks of the cut that fit on a multiprocessor: by registers, and by shared memory, of which each takes 1 KiB more.
inline int linearBlocksAtOnce(NitLinearParams const& p)
{
    int const byRegisters = linearBlocksByRegisters(p.tileTokens, p.tileColumns);
    int const byShared = 228 * 1024 / (linearSharedBytes(p) + 1024);
    int const blocks = byShared < byRegisters ? byShared : byRegisters;
    return blocks > 0 ? blocks : 1;
}

//! A number like the larger of two, without an edge between them.
inline double linearBoth(double a, double b)
{
    double const a2 = a * a;
    double const b2 = b * b;
    return std::sqrt(std::sqrt(a2 * a2 + b2 * b2));
}

//! Clocks that the cut takes, by a simple model of an H100 fitted to measured cuts without shared operands: on average
//! a tenth off. What sharing costs it does not know.
inline double linearClocks(NitLinearParams const& p, int processors)
{
    LinearCut const cut = linearCut(p);
    int const blocks = cut.blocks();
    int const atOnce = linearBlocksAtOnce(p);
    // A cluster lies in one of eight groups of multiprocessors, of which some are smaller than others.
    int const places = cut.clusterBlocks <= 2 ? processors : (processors - 12) / cut.clusterBlocks * cut.clusterBlocks;
    double const waves = static_cast<double>(ceilDivide(blocks, places * atOnce));
    double const active = blocks < places * atOnce ? blocks : places * atOnce;
    int const busiest = static_cast<int>(ceilDivide(blocks, processors));
    double const beside = busiest < atOnce ? busiest : atOnce;

    double const bytes = linearStageBytes(p.tileTokens, p.tileColumns);
    double const products = 1.15 * beside * p.tileTokens * p.tileColumns * kLinearDepth / 2048.0;
    double const entrance = beside * bytes / 60.0; // of a multiprocessor
    double const cache = active * bytes / 5600.0;  // of the second-level cache, for all of them
    double const latency = 1470.0 / p.stages + 225.0;
    double const step = linearBoth(linearBoth(products, entrance), linearBoth(cache, latency));
    double const main = waves * step * static_cast<double>(ceilDivide(cut.depthSteps, p.split));
    double const memory = 2.0 * p.inFeatures * p.outFeatures / 1040.0;
    double const sums =
        p.split == 1 ? 0.0 : 800.0 * (p.split - 2) + 0.77 * p.tileTokens * p.tileColumns * (p.split - 1) / p.split;
    return 2800.0 + linearBoth(main, memory) + sums * waves + 3400.0 * (waves - 1.0);
}

//! The measured cut of layers of this size and of so many tokens or up to twice as many; null without one.
inline LinearMeasured const* linearMeasured(NitLinearParams const& p, int processors)
{
    LinearMeasured const* best = nullptr;
    for (LinearMeasured const& m : kLinearMeasured)
    {
        bool const fits = m.headDim == (p.heads == 0 ? 0 : p.headDim) && m.inFeatures == p.inFeatures &&
                          m.outFeatures == p.outFeatures && m.tokens >= p.tokens && m.tokens < 2 * p.tokens &&
                          processors == kLinearMeasuredProcessors;
        if (fits && (best == nullptr || m.tokens < best->tokens))
        {
            best = &m;
        }
    }
    return best;
}

//! Fills in what is 0: all of it with a measured cut where there is one, else with the cut of the fewest clocks, else
//! (no cut fits what is forced) with the least.
inline void planLinear(NitLinearParams& p, int processors)
{
    bool const forced = (p.tileTokens | p.tileColumns | p.split | p.shareWeight | p.shareTokens | p.stages) != 0;
    LinearMeasured const* const measured = forced ? nullptr : linearMeasured(p, processors);
    if (measured != nullptr)
    {
        p.tileTokens = measured->tileTokens;
        p.tileColumns = measured->tileColumns;
        p.split = measured->split;
        p.shareWeight = measured->shareWeight;
        p.shareTokens = measured->shareTokens;
        p.stages = measured->stages;
        return;
    }
    NitLinearParams best = p;
    best.tileTokens = p.tileTokens != 0 ? p.tileTokens : kLinearTileTokens[0];
    int const narrow = p.heads == 0 ? kLinearTileColumns[0] : linearHeadTileColumns(p.headDim);
    best.tileColumns = p.tileColumns != 0 ? p.tileColumns : narrow;
    best.split = p.split != 0 ? p.split : 1;
    best.shareWeight = p.shareWeight != 0 ? p.shareWeight : 1;
    best.shareTokens = p.shareTokens != 0 ? p.shareTokens : 1;
    best.stages = p.stages != 0 ? p.stages : 2;
    double fewest = 0;
    int const most = p.heads == 0 ? 6 : 1; // the sums of more parts take longer than they save
    int const steps = static_cast<int>(ceilDivide(p.inFeatures, kLinearDepth));
    for (int const tileTokens : kLinearTileTokens)
    {
        for (int const tileColumns : kLinearTileColumns)
        {
            for (int split = 1; split <= most && split <= steps; ++split)
            {
                for (int stages = 2; stages <= kLinearMaxStages; ++stages)
                {
                    NitLinearParams q = best;
                    q.tileTokens = p.tileTokens != 0 ? p.tileTokens : tileTokens;
                    q.tileColumns = p.tileColumns != 0 ? p.tileColumns : tileColumns;
                    q.split = p.split != 0 ? p.split : split;
                    q.stages = p.stages != 0 ? p.stages : stages;
                    if (!linearHasTile(q.tileTokens, q.tileColumns) || linearSharedBytes(q) > kLinearMaxShared ||
                        q.tileColumns % (8 * q.shareWeight) != 0 ||
                        q.split * q.shareWeight * q.shareTokens > kLinearMaxCluster ||
                        (p.heads != 0 && !linearHasHeadTile(q.tileTokens, q.tileColumns, p.heads, p.headDim)))
                    {
                        continue;
                    }
                    double const clocks = linearClocks(q, processors);
                    if (fewest == 0 || clocks < fewest)
                    {
                        fewest = clocks;
                        best = q;
                    }
                }
            }
        }
    }
    p = best;
}

} // namespace nit
