#include "progress/buildProgress.h"

#include <algorithm>

namespace nit
{

// A phase that cannot be noted is left out: a progress line is not worth a build. Hence the empty handlers.

void BuildProgress::phaseStart(char const* phaseName, char const* parentPhase, int32_t nbSteps) noexcept
{
    if (phaseName == nullptr || *phaseName == '\0')
    {
        return; // an empty name stands for no parent
    }
    try
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        Phase phase{phaseName, parentPhase == nullptr ? "" : parentPhase, std::max(1, nbSteps), 0};
        if (Phase* const known = find(phaseName))
        {
            *known = std::move(phase); // begins anew
        }
        else
        {
            mRunning.push_back(std::move(phase));
        }
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
        if (Phase* const phase = find(phaseName))
        {
            // Steps may be told out of their order.
            phase->done = std::min(phase->steps, std::max(phase->done, step + 1));
        }
    }
    catch (...)
    {
    }
    return true;
}

void BuildProgress::phaseFinish(char const* phaseName) noexcept
{
    try
    {
        std::lock_guard<std::mutex> const lock(mMutex);
        if (Phase const* const phase = find(phaseName))
        {
            mRunning.erase(mRunning.begin() + (phase - mRunning.data()));
        }
    }
    catch (...)
    {
    }
}

BuildProgress::Phase* BuildProgress::find(char const* name) noexcept
{
    for (Phase& phase : mRunning)
    {
        if (phase.name == (name == nullptr ? "" : name))
        {
            return &phase;
        }
    }
    return nullptr;
}

double BuildProgress::share() const
{
    std::lock_guard<std::mutex> const lock(mMutex);
    for (Phase const& phase : mRunning)
    {
        if (phase.parent.empty())
        {
            return share(phase, 0);
        }
    }
    return -1.0;
}

//! Steps that are done, and of the step that runs what the phases inside it have done: the least of them, as a step
//! ends with its last.
double BuildProgress::share(Phase const& phase, size_t depth) const
{
    double inside = 1.0;
    bool any = false;
    if (depth < mRunning.size()) // a phase that names itself or a child as its parent has no depth
    {
        for (Phase const& child : mRunning)
        {
            if (&child != &phase && child.parent == phase.name)
            {
                inside = std::min(inside, share(child, depth + 1));
                any = true;
            }
        }
    }
    double const done = phase.done + (any ? inside : 0.0);
    return std::min(1.0, done / phase.steps);
}

std::string BuildProgress::phases() const
{
    std::lock_guard<std::mutex> const lock(mMutex);
    std::string names;
    for (Phase const& phase : mRunning)
    {
        names += (names.empty() ? "" : " > ") + phase.name;
    }
    return names;
}

} // namespace nit
