// The tensor map of one operand, in numbers: what the host hands to the driver's encoder, and the emulator's tests to
// the emulator. varlenAttentionHopper.cuh tells why there are five dimensions.
#pragma once

#include <cstdint>

namespace nit
{

constexpr int kRaggedEnd = 1 << 30;

struct RaggedMap
{
    uint64_t sizes[5];   //!< headDim, heads, rows up to the image's end, and the two that bring the address back
    uint64_t strides[4]; //!< bytes, of dimensions 1 to 4; all are below 2^40 and multiples of 16
    uint32_t box[5];     //!< elements
};

//! boxRows: rows a copy. rest: the map of columns 64 and up in rows of 32 bytes, else of 64 columns in rows of 128
//! bytes.
inline RaggedMap raggedMap(int headDim, int heads, int64_t tokenStride, int64_t headStride, int boxRows, bool rest)
{
    uint64_t const row = static_cast<uint64_t>(tokenStride) * 2;
    uint64_t const anyCoordinate = 0x7fff0000u;
    return RaggedMap{
        {static_cast<uint64_t>(headDim), static_cast<uint64_t>(heads), static_cast<uint64_t>(kRaggedEnd), anyCoordinate,
         anyCoordinate},
        {static_cast<uint64_t>(headStride) * 2, row, row, (uint64_t{1} << 35) - row},
        {rest ? 16u : 64u, 1, static_cast<uint32_t>(boxRows), 1, 1}};
}

} // namespace nit
