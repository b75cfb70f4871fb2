// The kernel behind nitLinear, in its own file: it is code for sm_90a alone.
#pragma once

#include <cuda_runtime.h>

#include "api/nitKernels.h"

namespace nit
{

//! Checked parameters without a 0 among the fields that choose, a device of compute capability 9.0.
int launchLinear(NitLinearParams const& params, cudaStream_t stream);

} // namespace nit
