// Sums over tokens: the second pass of the chunks' sums, sums of columns, and GELU's backward, which has both.
#pragma once

#include "training/rows.cuh"

namespace nit
{

constexpr int kColumnThreads = 96; //!< 768 columns: a whole number of blocks at every published width of the MLP
constexpr int kImageSumThreads = 128;
constexpr int kSumColumns = 32; //!< columns of a block of sumRowsKernel
constexpr int kSumGroups = 32;  //!< threads that share a column

//! A block takes kImageSumThreads columns of one image.
NIT_KERNEL(kImageSumThreads, 4)
imageSumsKernel(NitImageSumsParams const p)
{
    int const blocks = (p.hidden + kImageSumThreads - 1) / kImageSumThreads;
    int64_t const image = blockIndex() / static_cast<unsigned>(blocks);
    int const column = static_cast<int>(blockIndex()) % blocks * kImageSumThreads + static_cast<int>(threadIndex());
    if (column >= p.hidden)
    {
        return;
    }
    float first = 0.0f;
    float second = 0.0f;
    int const end = p.chunkStarts[image + 1];
#pragma unroll 4
    for (int chunk = p.chunkStarts[image]; chunk < end; ++chunk)
    {
        int64_t const entry = static_cast<int64_t>(chunk) * p.hidden + column;
        first += p.partialFirst[entry];
        second += p.partialSecond[entry];
    }
    p.first[image * p.firstStride + column] = first;
    p.second[image * p.secondStride + column] = second;
}

//! gelu(x) = x s, s = 1 / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3); the same as 0.5 x (1 + tanh(u)).
NIT_DEVICE void gelu(float x, float& value, float& slope)
{
    constexpr float kRoot = 0.7978845608028654f;
    constexpr float kCubic = 0.044715f;
    constexpr float kMinusTwoLog2E = -2.885390081777927f;
    float const square = x * x;
    float const u = kRoot * x * (1.0f + kCubic * square);
    float const s = 1.0f / (1.0f + exp2Fast(kMinusTwoLog2E * u)); // exp2 of a large number is infinity: s = 0
    value = x * s;
    slope = s + 2.0f * value * (1.0f - s) * kRoot * (1.0f + 3.0f * kCubic * square);
}

//! A block takes NIT_COLUMN_ROWS rows of kColumnThreads vectors. kGelu: GELU's backward, else the sums of x alone.
template <bool kGelu>
NIT_KERNEL(kColumnThreads, 6)
columnsKernel(NitGeluBackwardParams const p)
{
    int const vectors = p.width / 8;
    int const blocks = (vectors + kColumnThreads - 1) / kColumnThreads;
    int64_t const group = blockIndex() / static_cast<unsigned>(blocks);
    int const vector = static_cast<int>(blockIndex()) % blocks * kColumnThreads + static_cast<int>(threadIndex());
    if (vector >= vectors)
    {
        return;
    }
    int64_t const first = group * NIT_COLUMN_ROWS;
    int const count = p.tokens - first < NIT_COLUMN_ROWS ? static_cast<int>(p.tokens - first) : NIT_COLUMN_ROWS;
    float sum[8] = {};
    for (int row = 0; row < count; row += kRowsAtOnce)
    {
        Vector16 xs[kRowsAtOnce];
        Vector16 ds[kRowsAtOnce];
#pragma unroll
        for (int i = 0; i < kRowsAtOnce; ++i)
        {
            bool const there = row + i < count;
            int64_t const element = (first + row + i) * p.width + vector * 8;
            xs[i] = loadOrZero(p.x, element, there);
            ds[i] = loadOrZero(p.dOut, element, kGelu && there);
        }
#pragma unroll
        for (int i = 0; i < kRowsAtOnce; ++i)
        {
            if (row + i < count)
            {
                float x[8];
                unpack<Bf16>(xs[i], x);
                if (kGelu)
                {
                    float d[8];
                    unpack<Bf16>(ds[i], d);
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        float value;
                        float slope;
                        gelu(x[j], value, slope);
                        d[j] *= slope;
                        x[j] = value;
                        sum[j] += d[j];
                    }
                    int64_t const element = (first + row + i) * p.width + vector * 8;
                    storeVector(static_cast<Bf16*>(p.dx) + element, packVector<Bf16>(d));
                    storeVector(static_cast<Bf16*>(p.out) + element, packVector<Bf16>(x));
                }
                else
                {
#pragma unroll
                    for (int j = 0; j < 8; ++j)
                    {
                        sum[j] += x[j];
                    }
                }
            }
        }
    }
    storeFloats(p.partial + group * p.width + vector * 8, sum);
}

struct PadLogSumExpParams
{
    float const* logSumExp;
    int32_t const* imageIndex;
    int32_t const* cuSeqlens;
    float* padded;
    int64_t tokens;
    int32_t heads;
    int32_t longest;
};

constexpr int kPadThreads = 256;

//! A thread takes one entry of [heads, tokens].
NIT_KERNEL(kPadThreads, 4)
padLogSumExpKernel(PadLogSumExpParams const p)
{
    int64_t const entry = static_cast<int64_t>(blockIndex()) * kPadThreads + threadIndex();
    if (entry >= p.tokens * p.heads)
    {
        return;
    }
    int64_t const head = entry / p.tokens;
    int64_t const token = entry % p.tokens;
    int64_t const image = p.imageIndex[token];
    int64_t const at = token - p.cuSeqlens[image];
    p.padded[(image * p.heads + head) * p.longest + at] = p.logSumExp[entry];
}

struct SumRowsParams
{
    float const* partial;
    float* out;
    int64_t rows;
    int32_t width;
    int64_t rowStride;
    int32_t accumulate;
};

constexpr int kSumRowsShared = kSumGroups * kSumColumns * static_cast<int>(sizeof(float));

//! A block takes kSumColumns columns; each of its warps every kSumGroups-th row.
NIT_KERNEL(kSumColumns* kSumGroups, 1)
sumRowsKernel(SumRowsParams const p)
{
    NIT_SHARED_MEMORY(shared);
    float* const sums = reinterpret_cast<float*>(shared); // [kSumGroups, kSumColumns]
    int const lane = static_cast<int>(threadIndex()) % kSumColumns;
    int const group = static_cast<int>(threadIndex()) / kSumColumns;
    int const column = static_cast<int>(blockIndex()) * kSumColumns + lane;
    float sum = 0.0f;
    if (column < p.width)
    {
#pragma unroll 4
        for (int64_t row = group; row < p.rows; row += kSumGroups)
        {
            sum += p.partial[row * p.rowStride + column];
        }
    }
    sums[group * kSumColumns + lane] = sum;
    syncBlock();
    if (group == 0 && column < p.width)
    {
        float total = p.accumulate != 0 ? p.out[column] : 0.0f;
        for (int i = 0; i < kSumGroups; ++i)
        {
            total += sums[i * kSumColumns + lane];
        }
        p.out[column] = total;
    }
}

} // namespace nit
