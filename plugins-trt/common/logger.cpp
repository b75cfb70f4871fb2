// Errors reach the user through TensorRT's logger: whoever loads the library calls setLoggerFinder.
#include <atomic>
#include <cstdio>
#include <dlfcn.h>

#include "api/nitKernels.h"
#include "common/plugin.h"

namespace nit
{
namespace
{

std::atomic<void*> gFinder{nullptr};

//! From TensorRT 11 on a finder is a versioned interface, and findLogger stands behind that one's functions.
bool finderIsVersioned()
{
    using Version = int32_t (*)();
    auto const version = reinterpret_cast<Version>(dlsym(RTLD_DEFAULT, "getInferLibVersion"));
    return version != nullptr && version() >= 110000; // major * 10000 + minor * 100 + patch since 10.0
}

nvinfer1::ILogger* logger()
{
    void* const finder = gFinder.load();
    if (finder == nullptr)
    {
        return nullptr;
    }
    return finderIsVersioned() ? static_cast<nvinfer1::IVersionedLoggerFinder*>(finder)->findLogger()
                               : static_cast<nvinfer1::ILoggerFinder*>(finder)->findLogger();
}

} // namespace

void logError(std::string const& message) noexcept
{
    nvinfer1::ILogger* const target = logger();
    if (target != nullptr)
    {
        target->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
    }
    else
    {
        std::fprintf(stderr, "nit-plugins: %s\n", message.c_str());
    }
}

} // namespace nit

extern "C" NIT_API void setLoggerFinder(void* finder)
{
    nit::gFinder.store(finder);
}
