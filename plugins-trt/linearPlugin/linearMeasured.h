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
    {128, 1152, 1152, 64, 72, 2, 1, 1, 8},    // 4.18 us
    {256, 1152, 1152, 64, 72, 1, 1, 1, 8},    // 4.24 us
    {512, 1152, 1152, 64, 144, 1, 1, 1, 7},   // 5.07 us
    {1024, 1152, 1152, 64, 144, 1, 1, 1, 7},  // 6.76 us
    {2048, 1152, 1152, 128, 144, 1, 1, 1, 5}, // 9.94 us
    {128, 1152, 3456, 64, 128, 1, 2, 1, 8},   // 5.04 us
    {256, 1152, 3456, 64, 128, 1, 2, 1, 7},   // 6.26 us
    {512, 1152, 3456, 128, 128, 1, 1, 1, 5},  // 9.01 us
    {1024, 1152, 3456, 128, 128, 1, 1, 1, 3}, // 14.98 us
    {2048, 1152, 3456, 128, 144, 1, 1, 1, 5}, // 29.33 us
    {128, 1152, 4608, 64, 96, 1, 2, 1, 8},    // 6.18 us
    {256, 1152, 4608, 64, 144, 1, 2, 1, 7},   // 7.98 us
    {512, 1152, 4608, 128, 144, 1, 2, 1, 4},  // 11.80 us
    {1024, 1152, 4608, 128, 144, 1, 2, 1, 3}, // 19.81 us
    {2048, 1152, 4608, 128, 144, 1, 1, 1, 3}, // 38.17 us
    {128, 4608, 1152, 64, 72, 3, 1, 1, 8},    // 8.42 us
    {256, 4608, 1152, 64, 96, 2, 2, 1, 8},    // 10.62 us
    {512, 4608, 1152, 128, 96, 2, 1, 2, 8},   // 14.47 us
    {1024, 4608, 1152, 128, 96, 1, 2, 2, 6},  // 20.02 us
    {2048, 4608, 1152, 128, 144, 1, 1, 2, 6}, // 31.40 us
};

} // namespace nit
