// The two kernel families behind nitVarlenAttention; each in its own file, so that they compile side by side.
#pragma once

#include <cuda_runtime.h>

#include "api/nitKernels.h"

namespace nit
{

//! Checked parameters, scale filled in.
int launchPortableAttention(NitVarlenAttentionParams const& params, bool aligned, cudaStream_t stream);

//! headDim 64 or 72, everything on 16 bytes, a device of compute capability 9.0.
int launchHopperAttention(NitVarlenAttentionParams const& params, cudaStream_t stream);

} // namespace nit
