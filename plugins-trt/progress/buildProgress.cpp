#include "progress/buildProgress.h"

#include <algorithm>

namespace nit
{

namespace
{

// TensorRT's names, seen in 10.6 (tests/bench/RESULTS.md). Where another version has others, no profile is told.
constexpr char const* kProfile{"Timing tactics"};
constexpr char const* kLayers{"Timing graph nodes"};

double seconds(std::chrono::steady_clock::duration time)
{
    return std::chrono::duration<double>(time).count();
}

} // namespace

// What cannot be noted is left out: a progress line is not worth a build. Hence the empty handlers.

void BuildProgress::phaseStart(char const* phaseName, char const* parentPhase, int32_t nbSteps) noexcept
{
    if (phaseName == nullptr)
    {
        return;
    }
    try
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        std::string const name{phaseName};
        if (parentPhase == nullptr || *parentPhase == '\0') // a build begins
        {
            mProfiles = 0;
            mProfilesTook = Clock::duration{0};
            mTiming = false;
        }
        if (name == kProfile)
        {
            mTiming = true;
            mSince = Clock::now();
            mLayersTimed = 0;
        }
        else if (name == kLayers)
        {
            mLayers = std::max(1, nbSteps);
            mLayersTimed = 0;
        }
        mRunning.push_back(name);
    }
    catch (...)
    {
    }
}

bool BuildProgress::stepComplete(char const* phaseName, int32_t step) noexcept
{
    try
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        if (phaseName != nullptr && std::string{phaseName} == kLayers)
        {
            // Steps may be told out of their order.
            mLayersTimed = std::max(mLayersTimed, std::min(step, mLayers - 1) + 1);
        }
    }
    catch (...)
    {
    }
    return true;
}

void BuildProgress::phaseFinish(char const* phaseName) noexcept
{
    if (phaseName == nullptr)
    {
        return;
    }
    try
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        std::string const name{phaseName};
        if (name == kProfile && mTiming)
        {
            ++mProfiles;
            mProfilesTook += Clock::now() - mSince;
            mTiming = false;
        }
        auto const last = std::find(mRunning.rbegin(), mRunning.rend(), name);
        if (last != mRunning.rend())
        {
            mRunning.erase(std::next(last).base());
        }
    }
    catch (...)
    {
    }
}

BuildProgress::Timing BuildProgress::timing() const
{
    std::lock_guard<std::mutex> const lock(mMutex);
    Timing timing;
    timing.profiles = mProfiles;
    timing.profilesTook = seconds(mProfilesTook);
    if (mTiming)
    {
        timing.layers = static_cast<double>(mLayersTimed) / mLayers;
        timing.seconds = seconds(Clock::now() - mSince);
    }
    return timing;
}

std::string BuildProgress::phase() const
{
    std::lock_guard<std::mutex> const lock(mMutex);
    return mRunning.empty() ? "" : mRunning.back();
}

} // namespace nit
