// AdamW with clipped gradients, the moving average of the weights and their copy in bfloat16, in one pass: 38 bytes an
// element. Whether the step is taken is read on the device, so that the host need not know the gradients' norm.
#pragma once

#include "training/rows.cuh"

namespace nit
{

constexpr int kAdamWThreads = 256;

//! A thread takes eight elements.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
NIT_KERNEL(kAdamWThreads, 3) // of the registers for four, two values would spill there
#else
NIT_KERNEL(kAdamWThreads, 4)
#endif
adamWKernel(NitAdamWParams const p)
{
    int64_t const at = (static_cast<int64_t>(blockIndex()) * kAdamWThreads + threadIndex()) * 8;
    float const factor = p.scalars[0];
    bool const taken = p.scalars[1] != 0.0f;
    float const stepSize = p.scalars[2];
    float const correction = p.scalars[3];
    float const decay = p.scalars[4];
    float const towards = p.scalars[5];
    if (at >= p.elements || !taken)
    {
        return;
    }
    float g[8];
    float m[8];
    float v[8];
    float w[8];
    float average[8] = {};
    loadFloats(p.gradients + at, g);
    loadFloats(p.expAvg + at, m);
    loadFloats(p.expAvgSq + at, v);
    loadFloats(p.parameters + at, w);
    if (p.average != nullptr)
    {
        loadFloats(p.average + at, average);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
    {
        float const gradient = g[i] * factor;
        m[i] += (1.0f - p.beta1) * (gradient - m[i]);
        v[i] = p.beta2 * v[i] + (1.0f - p.beta2) * gradient * gradient;
        w[i] = w[i] * decay - stepSize * m[i] / (squareRoot(v[i]) / correction + p.epsilon);
        average[i] += towards * (w[i] - average[i]);
    }
    storeFloats(p.expAvg + at, m);
    storeFloats(p.expAvgSq + at, v);
    storeFloats(p.parameters + at, w);
    if (p.average != nullptr)
    {
        storeFloats(p.average + at, average);
    }
    if (p.copy != nullptr)
    {
        storeVector(static_cast<Bf16*>(p.copy) + at, packVector<Bf16>(w));
    }
}

} // namespace nit
