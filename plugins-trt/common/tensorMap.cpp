#include "common/tensorMap.h"

#include <cuda_runtime.h>

#include "common/launch.h"

namespace nit
{

EncodeTiled tensorMapEncoder(char const* where)
{
    static EncodeTiled const function = []
    {
        void* pointer = nullptr;
        cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
        cudaError_t const error =
            cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &pointer, 12000, cudaEnableDefault, &found);
        return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(pointer)
                                                                            : nullptr;
    }();
    if (function == nullptr)
    {
        setLastError("%s: expected a driver with cuTensorMapEncodeTiled (CUDA 12 or newer), found none", where);
    }
    return function;
}

} // namespace nit
