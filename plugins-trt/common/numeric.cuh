// 16-bit floating point as the kernels hold it: raw bits in memory, fp32 in registers.
// Own types, so that the same kernel source compiles for the GPU and for the emulator of test/emulator.
#pragma once

#include <cstdint>

#include "common/device.cuh"

namespace nit
{

struct Bf16
{
    uint16_t bits;
};

struct Fp16
{
    uint16_t bits;
};

//! Two values from one 32-bit register; the lower address is in the lower half.
template <typename T>
NIT_DEVICE float lower(uint32_t pair);
template <typename T>
NIT_DEVICE float upper(uint32_t pair);

//! Rounds to nearest even and packs.
template <typename T>
NIT_DEVICE uint32_t pack(float lowerValue, float upperValue);

template <>
NIT_DEVICE float lower<Bf16>(uint32_t pair)
{
    return bitsToFloat(pair << 16);
}

template <>
NIT_DEVICE float upper<Bf16>(uint32_t pair)
{
    return bitsToFloat(pair & 0xffff0000u);
}

template <>
NIT_DEVICE uint32_t pack<Bf16>(float lowerValue, float upperValue)
{
    return packBf16(lowerValue, upperValue);
}

template <>
NIT_DEVICE float lower<Fp16>(uint32_t pair)
{
    return halfToFloat(static_cast<uint16_t>(pair & 0xffffu));
}

template <>
NIT_DEVICE float upper<Fp16>(uint32_t pair)
{
    return halfToFloat(static_cast<uint16_t>(pair >> 16));
}

template <>
NIT_DEVICE uint32_t pack<Fp16>(float lowerValue, float upperValue)
{
    return packFp16(lowerValue, upperValue);
}

template <typename T>
NIT_DEVICE float toFloat(T value)
{
    return lower<T>(value.bits);
}

template <typename T>
NIT_DEVICE T fromFloat(float value)
{
    return T{static_cast<uint16_t>(pack<T>(value, 0.0f) & 0xffffu)};
}

//! Eight values of one 16-byte vector.
template <typename T>
NIT_DEVICE void unpack(Vector16 const& vector, float (&values)[8])
{
    values[0] = lower<T>(vector.x);
    values[1] = upper<T>(vector.x);
    values[2] = lower<T>(vector.y);
    values[3] = upper<T>(vector.y);
    values[4] = lower<T>(vector.z);
    values[5] = upper<T>(vector.z);
    values[6] = lower<T>(vector.w);
    values[7] = upper<T>(vector.w);
}

template <typename T>
NIT_DEVICE Vector16 packVector(float const (&values)[8])
{
    Vector16 vector;
    vector.x = pack<T>(values[0], values[1]);
    vector.y = pack<T>(values[2], values[3]);
    vector.z = pack<T>(values[4], values[5]);
    vector.w = pack<T>(values[6], values[7]);
    return vector;
}

} // namespace nit
