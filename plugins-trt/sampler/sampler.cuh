// The sampler's two passes over the values of a pack: a thread a value. Every operation is rounded once and none is
// fused, so that the bits are those of io.nit.core.flow.Move.
#pragma once

#include "api/nitSampler.h"
#include "common/device.cuh"

namespace nit
{

constexpr int kSamplerThreads = 256;

//! The image that a value belongs to: the last whose first value is not behind it.
NIT_DEVICE int imageOf(NitSamplerParams const& p, int64_t value)
{
    int low = 0;
    int high = p.count - 1;
    while (low < high)
    {
        int const middle = (low + high + 1) / 2;
        if (p.images[middle].first <= value)
        {
            low = middle;
        }
        else
        {
            high = middle - 1;
        }
    }
    return low;
}

NIT_DEVICE double guided(double cond, double uncond, double scale)
{
    return addDouble(uncond, multiplyDouble(scale, addDouble(cond, -uncond)));
}

NIT_DEVICE double diffused(NitSampledImage const& image, double x, double v, double noise)
{
    double const rest = addDouble(1.0, -image.t);
    double const score = divideDouble(
        addDouble(multiplyDouble(-rest, v), -x),
        addDouble(multiplyDouble(image.t, image.t), multiplyDouble(rest, image.t)));
    double const drift = addDouble(v, -multiplyDouble(image.t, score));
    double const spread = image.spread == 0.0 ? 0.0 : multiplyDouble(image.spread, noise);
    return addDouble(x, addDouble(multiplyDouble(drift, image.dt), spread));
}

NIT_KERNEL(kSamplerThreads, 1)
samplerGatherKernel(NitSamplerParams const p)
{
    int64_t const value = static_cast<int64_t>(blockIndex()) * kSamplerThreads + threadIndex();
    if (value >= p.elements)
    {
        return;
    }
    NitSampledImage const image = p.images[imageOf(p, value)];
    int64_t const local = value - image.first;
    double x = p.state[image.from + local];
    if (image.rule == NIT_MOVE_CORRECT)
    {
        x = addDouble(x, multiplyDouble(image.dt, p.velocity[image.from + local]));
    }
    float const rounded = static_cast<float>(x);
    p.x[value] = rounded;
    if (image.second >= 0)
    {
        p.x[image.second + local] = rounded;
    }
}

NIT_KERNEL(kSamplerThreads, 1)
samplerAdvanceKernel(NitSamplerParams const p)
{
    int64_t const value = static_cast<int64_t>(blockIndex()) * kSamplerThreads + threadIndex();
    if (value >= p.elements)
    {
        return;
    }
    int const index = imageOf(p, value);
    NitSampledImage const image = p.images[index];
    int64_t const local = value - image.first;
    double v = p.v[value];
    if (image.second >= 0)
    {
        v = guided(v, p.v[image.second + local], image.scale);
    }
    double const x = p.state[image.from + local];
    double moved;
    double kept = x;
    switch (image.rule)
    {
    case NIT_MOVE_PREDICT:
        p.velocity[image.to + local] = v;
        moved = addDouble(x, multiplyDouble(image.dt, v));
        break;
    case NIT_MOVE_CORRECT:
        moved = addDouble(
            x, multiplyDouble(
                   image.dt, addDouble(multiplyDouble(0.5, p.velocity[image.from + local]), multiplyDouble(0.5, v))));
        kept = moved;
        break;
    case NIT_MOVE_DIFFUSE:
        moved = diffused(image, x, v, image.spread == 0.0 ? 0.0 : p.noise[value]);
        kept = moved;
        break;
    default:
        moved = addDouble(x, multiplyDouble(image.dt, v));
        kept = moved;
    }
    p.state[image.to + local] = kept;
    if (addDouble(moved, -moved) != 0.0) // of infinity and NaN it is NaN
    {
        p.failed[index] = 1;
    }
}

} // namespace nit
