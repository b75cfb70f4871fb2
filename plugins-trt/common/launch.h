// What the launch functions share: checks with messages, and facts of the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <cuda_runtime.h>

namespace nit
{

//! Keeps a message for nitLastError() of this thread, printf-style.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void setLastError(char const* format, ...);

//! Keeps "expected ..., found ..." and returns cudaErrorInvalidValue.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
int invalid(char const* format, ...);

//! Keeps the message of a CUDA error and returns it as int; success passes.
int check(cudaError_t error, char const* where);

inline bool aligned16(void const* pointer)
{
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

//! Multiprocessors of the current device; 0 where there is none, with the error kept.
int multiprocessors();

//! Compute capability of the current device, major * 10 + minor; 0 where there is none.
int computeCapability();

//! Launches a kernel whose blocks may take their places while the kernel before it on the stream ends: it calls
//! waitForPrerequisites() before it reads or writes. GPUs older than Hopper launch it as any other.
template <typename Params>
int launchAfter(
    char const* name, void (*kernel)(Params), unsigned blocks, int threads, int sharedBytes, cudaStream_t stream,
    Params const& params)
{
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<size_t>(sharedBytes);
    config.stream = stream;
    config.attrs = &early;
    config.numAttrs = computeCapability() >= 90 ? 1 : 0;
    return check(cudaLaunchKernelEx(&config, kernel, params), name);
}

//! Lets a kernel have more than 48 KiB of dynamic shared memory: once a kernel and device.
class SharedMemoryGrant
{
public:
    int request(void const* kernel, int bytes);

private:
    std::atomic<uint64_t> mDone{0}; // a bit a device, of the first 64
};

} // namespace nit
