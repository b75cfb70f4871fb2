// How a linear layer is cut into blocks: tiles, parts of K, clusters. Plain numbers, so that the CPU tests them too.
//
// Letters: M tokens, N out features, K in features.
#pragma once

#include <cstdint>

#include "api/nitKernels.h"

namespace nit
{

constexpr int kLinearDepth = 64;              //!< of K a stage: rows of 128 bytes
constexpr int kLinearMaxStages = 8;           //!< barriers there are room for
constexpr int kLinearBiasStart = 256;         //!< the bias comes after them
constexpr int kLinearTileStart = 1024;        //!< and then the tiles
constexpr int kLinearMaxShared = 227 * 1024;  //!< of a block
constexpr int kLinearHalfShared = 113 * 1024; //!< of a block that leaves room for a second one
constexpr int kLinearMaxCluster = 8;          //!< what every GPU of the kind takes
constexpr int kLinearTileTokens[] = {64, 128};
constexpr int kLinearTileColumns[] = {72, 96, 112, 128, 144};

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

constexpr int linearSharedBytes(int tileTokens, int tileColumns, int stages)
{
    int const tiles = stages * linearStageBytes(tileTokens, tileColumns);
    int const sums = tileTokens * linearPitch(tileColumns) * 4;
    return kLinearTileStart + (tiles > sums ? tiles : sums);
}

//! What a block needs to know of the cut; filled from parameters without a 0.
struct LinearCut
{
    int depthSteps;    //!< of K, all parts
    int clusterBlocks; //!< split shareWeight shareTokens
    int rowClusters;   //!< clusters along M
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
    cut.clusterBlocks = p.split * p.shareWeight * p.shareTokens;
    cut.rowClusters = static_cast<int>(ceilDivide(p.tokens, static_cast<int64_t>(p.tileTokens) * p.shareWeight));
    cut.clusters = cut.rowClusters *
                   static_cast<int>(ceilDivide(p.outFeatures, static_cast<int64_t>(p.tileColumns) * p.shareTokens));
    return cut;
}

//! Clocks that the cut takes, by a simple model of the GPU. Its constants are those of an H100: bytes a clock that the
//! second-level cache gives all multiprocessors and one of them, bytes a clock of memory, products a clock.
inline double linearClocks(NitLinearParams const& p, int processors)
{
    LinearCut const cut = linearCut(p);
    // A cluster lies in one of eight groups of multiprocessors.
    int const group = processors / 8;
    int const room = cut.clusterBlocks <= 2 ? processors : group / cut.clusterBlocks * cut.clusterBlocks * 8;
    int const blocks = cut.blocks();
    double const waves = static_cast<double>(ceilDivide(blocks, room));
    double const active = blocks < room ? blocks : room;

    double const sent = linearStageBytes(p.tileTokens, p.tileColumns);
    double const read = 128.0 * p.tileTokens / p.shareTokens + 128.0 * p.tileColumns / p.shareWeight;
    double const products = p.tileTokens * p.tileColumns * kLinearDepth / 2048.0 / 0.9;
    double const cache = read * active / 3300.0;
    double const entrance = sent / 60.0;
    double step = products > cache ? products : cache;
    step = step > entrance ? step : entrance;
    double const main = step * static_cast<double>(ceilDivide(cut.depthSteps, p.split)) * waves;
    double const memory = 2.0 * p.inFeatures * p.outFeatures / 1765.0;
    double const sums =
        p.split == 1 ? 0.0 : 600.0 + 4.0 * p.tileTokens * p.tileColumns * (p.split - 1) / p.split / 24.0;
    double const start = 2000.0 + (cut.clusterBlocks > 1 ? 200.0 : 0.0);
    return start + (main > memory ? main : memory) + sums * waves;
}

//! As many stages as fit, leaving room for a second block where it can: the next kernel's, whose weights are then under
//! way while this one ends.
inline int linearStages(NitLinearParams const& p)
{
    int stages = kLinearMaxStages;
    while (stages > 2 && linearSharedBytes(p.tileTokens, p.tileColumns, stages) > kLinearHalfShared)
    {
        --stages;
    }
    return stages;
}

//! Fills in what is 0 with the cut of the fewest clocks, or with the least where no cut fits what is forced.
inline void planLinear(NitLinearParams& p, int processors)
{
    NitLinearParams best = p;
    best.tileTokens = p.tileTokens != 0 ? p.tileTokens : kLinearTileTokens[0];
    best.tileColumns = p.tileColumns != 0 ? p.tileColumns : kLinearTileColumns[0];
    best.split = p.split != 0 ? p.split : 1;
    best.shareWeight = p.shareWeight != 0 ? p.shareWeight : 1;
    best.shareTokens = p.shareTokens != 0 ? p.shareTokens : 1;
    double fewest = 0;
    int const steps = static_cast<int>(ceilDivide(p.inFeatures, kLinearDepth));
    for (int const tileTokens : kLinearTileTokens)
    {
        for (int const tileColumns : kLinearTileColumns)
        {
            for (int split = 1; split <= kLinearMaxCluster && split <= steps; ++split)
            {
                for (int shareWeight = 1; shareWeight <= 4; shareWeight *= 2)
                {
                    for (int shareTokens = 1; shareTokens <= 4; shareTokens *= 2)
                    {
                        NitLinearParams q = p;
                        q.tileTokens = p.tileTokens != 0 ? p.tileTokens : tileTokens;
                        q.tileColumns = p.tileColumns != 0 ? p.tileColumns : tileColumns;
                        q.split = p.split != 0 ? p.split : split;
                        q.shareWeight = p.shareWeight != 0 ? p.shareWeight : shareWeight;
                        q.shareTokens = p.shareTokens != 0 ? p.shareTokens : shareTokens;
                        if (q.split * q.shareWeight * q.shareTokens > kLinearMaxCluster)
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
    }
    p = best;
    if (p.stages == 0)
    {
        p.stages = linearStages(p);
    }
}

} // namespace nit
