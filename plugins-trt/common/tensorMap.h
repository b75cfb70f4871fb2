// The driver's encoder of tensor maps.
#pragma once

#include <cuda.h>

namespace nit
{

using EncodeTiled = CUresult (*)(
    CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, cuuint64_t const*, cuuint64_t const*, cuuint32_t const*,
    cuuint32_t const*, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

//! Looked up so that the library loads where there is no driver; null where there is none, with the error kept for
//! nitLastError().
EncodeTiled tensorMapEncoder(char const* where);

} // namespace nit
