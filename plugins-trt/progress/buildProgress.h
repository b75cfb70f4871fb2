// How far a build of TensorRT's is. TensorRT times the kernels of every layer once for each optimization profile, which
// is what takes the time; of the phases that it tells, this follows the two that say so.
#pragma once

#include <chrono>
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
    //! Of the build that runs or, where none runs, of the one before.
    struct Timing
    {
        int32_t profiles{0};    //!< optimization profiles whose layers are all timed
        double profilesTook{0}; //!< seconds, those profiles together
        double layers{-1};      //!< share of the layers of the profile after them that are timed, 0 to 1; less than
                                //!< 0 where none is being timed
        double seconds{0};      //!< since that profile began; 0 where none is being timed
    };

    void phaseStart(char const* phaseName, char const* parentPhase, int32_t nbSteps) noexcept override;

    //! True: the build goes on.
    bool stepComplete(char const* phaseName, int32_t step) noexcept override;

    void phaseFinish(char const* phaseName) noexcept override;

    Timing timing() const;

    //! The name of the phase that started last of those that run; may be empty.
    std::string phase() const;

private:
    using Clock = std::chrono::steady_clock;

    mutable std::mutex mMutex;
    std::vector<std::string> mRunning; //!< in the order that they started
    int32_t mProfiles{0};
    Clock::duration mProfilesTook{0};
    bool mTiming{false}; //!< a profile is being timed
    Clock::time_point mSince;
    int32_t mLayers{1};
    int32_t mLayersTimed{0};
};

} // namespace nit
