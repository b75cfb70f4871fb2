#include "common/launch.h"
#include "sampler/sampler.cuh"

namespace nit
{
namespace
{

int checkSampler(char const* name, NitSamplerParams const* p, bool gathers)
{
    if (p == nullptr || p->images == nullptr || p->state == nullptr || p->velocity == nullptr ||
        (gathers ? p->x == nullptr : p->v == nullptr || p->failed == nullptr))
    {
        return invalid(
            "%s: expected images, state, velocity%s, found NULL among them", name,
            gathers ? " and x" : ", v and failed");
    }
    if (p->count < 1 || p->elements < p->count)
    {
        return invalid(
            "%s: expected 1 image or more and a value or more of each, found %d and %lld", name, p->count,
            static_cast<long long>(p->elements));
    }
    return 0;
}

unsigned samplerBlocks(NitSamplerParams const& p)
{
    return static_cast<unsigned>((p.elements + kSamplerThreads - 1) / kSamplerThreads);
}

} // namespace
} // namespace nit

int nitSamplerGather(NitSamplerParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitSamplerGather";
    int const error = checkSampler(name, p, true);
    if (error != 0)
    {
        return error;
    }
    samplerGatherKernel<<<samplerBlocks(*p), kSamplerThreads, 0, static_cast<cudaStream_t>(stream)>>>(*p);
    return check(cudaGetLastError(), name);
}

int nitSamplerAdvance(NitSamplerParams const* p, void* stream)
{
    using namespace nit;
    char const* const name = "nitSamplerAdvance";
    int const error = checkSampler(name, p, false);
    if (error != 0)
    {
        return error;
    }
    samplerAdvanceKernel<<<samplerBlocks(*p), kSamplerThreads, 0, static_cast<cudaStream_t>(stream)>>>(*p);
    return check(cudaGetLastError(), name);
}
