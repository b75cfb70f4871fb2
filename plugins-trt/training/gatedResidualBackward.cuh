// Backward of residual = x + gate[image] y.
//
//   dy = gate dResidual, partialGate = sum of dResidual y, partialSum = sum of dResidual, over the chunk
#pragma once

#include "training/rows.cuh"

namespace nit
{

NIT_KERNEL(kRowThreads, 2)
gatedResidualBackwardKernel(NitGatedResidualBackwardParams const p)
{
    int const column = static_cast<int>(threadIndex()) * 8;
    if (column >= p.hidden)
    {
        return;
    }
    Chunk const chunk = chunkOf(p.chunks, blockIndex());
    float gate[8];
    unpack<Bf16>(loadOrZero(p.gate, chunk.image * p.modulationStride + column, true), gate);
    float sumGate[8] = {};
    float sum[8] = {};
    for (int row = 0; row < chunk.count; row += kRowsAtOnce)
    {
        Vector16 ds[kRowsAtOnce];
        Vector16 ys[kRowsAtOnce];
#pragma unroll
        for (int i = 0; i < kRowsAtOnce; ++i)
        {
            bool const there = row + i < chunk.count;
            int64_t const element = (chunk.first + row + i) * p.hidden + column;
            ds[i] = loadOrZero(p.dResidual, element, there);
            ys[i] = loadOrZero(p.y, element, there);
        }
#pragma unroll
        for (int i = 0; i < kRowsAtOnce; ++i)
        {
            if (row + i < chunk.count)
            {
                float d[8];
                float y[8];
                unpack<Bf16>(ds[i], d);
                unpack<Bf16>(ys[i], y);
#pragma unroll
                for (int j = 0; j < 8; ++j)
                {
                    sumGate[j] += d[j] * y[j];
                    sum[j] += d[j];
                    d[j] *= gate[j];
                }
                int64_t const element = (chunk.first + row + i) * p.hidden + column;
                storeVector(static_cast<Bf16*>(p.dy) + element, packVector<Bf16>(d));
            }
        }
    }
    int64_t const partial = static_cast<int64_t>(blockIndex()) * p.hidden + column;
    storeFloats(p.partialGate + partial, sumGate);
    storeFloats(p.partialSum + partial, sum);
}

} // namespace nit
