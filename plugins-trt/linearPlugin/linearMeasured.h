// Written by bench/linear_table.py: the fastest cuts of the linear layers that were measured, on an H100 or H200.
#pragma once

#include <cstdint>

namespace nit
{

constexpr int kLinearMeasuredProcessors = 132; //!< of the GPU that was measured

struct LinearMeasured
{
    int64_t tokens;
    int32_t inFeatures;
    int32_t outFeatures;
    int32_t tileTokens;
    int32_t tileColumns;
    int32_t split;
    int32_t shareWeight;
    int32_t shareTokens;
    int32_t stages;
};

constexpr LinearMeasured kLinearMeasured[] = {
    {128, 1152, 1152, 64, 72, 2, 1, 1, 8},  // 5.03 us
    {512, 1152, 1152, 64, 96, 2, 1, 1, 5},  // 7.61 us
    {128, 1152, 3456, 128, 72, 2, 1, 1, 8}, // 6.99 us
    {512, 1152, 3456, 128, 72, 1, 1, 1, 4}, // 12.33 us
    {128, 1152, 4608, 128, 72, 2, 1, 1, 6}, // 8.75 us
    {512, 1152, 4608, 128, 72, 1, 1, 1, 4}, // 14.97 us
    {128, 4608, 1152, 64, 72, 6, 1, 1, 5},  // 10.32 us
    {512, 4608, 1152, 64, 144, 2, 1, 1, 5}, // 17.45 us
};

} // namespace nit
