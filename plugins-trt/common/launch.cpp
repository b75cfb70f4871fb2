#include "common/launch.h"

#include <cstdarg>
#include <cstdio>

#include "api/nitKernels.h"
#include "common/version.h"

namespace nit
{
namespace
{

thread_local char gLastError[512] = "";

void keep(char const* format, va_list arguments)
{
    std::vsnprintf(gLastError, sizeof(gLastError), format, arguments);
}

int attribute(cudaDeviceAttr which)
{
    int device = 0;
    int value = 0;
    if (check(cudaGetDevice(&device), "cudaGetDevice") != 0 ||
        check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute") != 0)
    {
        return 0;
    }
    return value;
}

} // namespace

void setLastError(char const* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep(format, arguments);
    va_end(arguments);
}

int invalid(char const* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    keep(format, arguments);
    va_end(arguments);
    return static_cast<int>(cudaErrorInvalidValue);
}

int check(cudaError_t error, char const* where)
{
    if (error != cudaSuccess)
    {
        setLastError("%s: %s (%s)", where, cudaGetErrorString(error), cudaGetErrorName(error));
    }
    return static_cast<int>(error);
}

int multiprocessors()
{
    return attribute(cudaDevAttrMultiProcessorCount);
}

int computeCapability()
{
    return attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor);
}

int SharedMemoryGrant::request(void const* kernel, int bytes)
{
    int device = 0;
    if (int const error = check(cudaGetDevice(&device), "cudaGetDevice"))
    {
        return error;
    }
    uint64_t const bit = device < 64 ? uint64_t{1} << device : 0;
    if ((mDone.load() & bit) != 0)
    {
        return 0;
    }
    int const error =
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "cudaFuncSetAttribute");
    if (error == 0)
    {
        mDone.fetch_or(bit);
    }
    return error;
}

} // namespace nit

char const* nitLastError(void)
{
    return nit::gLastError;
}

char const* nitPluginsDescription(void)
{
    // The marker lets a reader of the file find the text without loading it: NIT_PLUGINS{...}.
    static constexpr char kDescription[] = "NIT_PLUGINS{version=" NIT_PLUGINS_VERSION ";cuda=" NIT_PLUGINS_CUDA
                                           ";architectures=" NIT_PLUGINS_ARCHITECTURES "}";
    return kDescription;
}
