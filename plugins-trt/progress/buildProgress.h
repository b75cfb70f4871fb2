// How far a build of TensorRT's is. TensorRT tells phases, each with a number of steps and most inside a step of
// another phase; this makes one share of them.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "api/trtPlugin.h"

namespace nit
{

//! A monitor for IBuilderConfig::setProgressMonitor. Any thread may call any of its functions.
class BuildProgress final : public nvinfer1::IProgressMonitor
{
public:
    void phaseStart(char const* phaseName, char const* parentPhase, int32_t nbSteps) noexcept override;

    //! True: the build goes on.
    bool stepComplete(char const* phaseName, int32_t step) noexcept override;

    void phaseFinish(char const* phaseName) noexcept override;

    //! What is done of the outermost phase that runs, 0 to 1; less than 0 where none runs.
    double share() const;

    //! The names of the phases that run, in the order that they started, with " > " between; may be empty.
    std::string phases() const;

private:
    struct Phase
    {
        std::string name;
        std::string parent; //!< empty for an outermost one
        int32_t steps;
        int32_t done;
    };

    Phase* find(char const* name) noexcept;
    double share(Phase const& phase, size_t depth) const;

    mutable std::mutex mMutex;
    std::vector<Phase> mRunning; //!< in the order that they started
};

} // namespace nit
