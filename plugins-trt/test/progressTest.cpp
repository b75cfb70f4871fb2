// A build's progress, told as TensorRT tells it: through the interface, phases inside phases, from several threads.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "progress/buildProgress.h"

namespace
{

int gFailures = 0;

void check(bool holds, std::string const& claim)
{
    if (!holds)
    {
        ++gFailures;
        std::printf("FAILED: %s\n", claim.c_str());
    }
}

void expect(int32_t profiles, double layers, nit::BuildProgress const& progress, char const* where)
{
    nit::BuildProgress::Timing const found = progress.timing();
    check(
        found.profiles == profiles && std::abs(found.layers - layers) < 1e-12,
        std::string(where) + ": expected " + std::to_string(profiles) + " and " + std::to_string(layers) + ", found " +
            std::to_string(found.profiles) + " and " + std::to_string(found.layers));
}

void pause()
{
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

//! One profile of a build, as TensorRT 10.6 tells it; stops before the profile's end.
void timeLayers(nvinfer1::IProgressMonitor& monitor, nit::BuildProgress const& progress, int32_t before)
{
    monitor.phaseStart("Timing tactics", "Computing profile costs", 3);
    expect(before, 0, progress, "a profile begins");
    monitor.phaseStart("Timing graph nodes", "Timing tactics", 4);
    monitor.phaseStart("Evaluating tactic times", "Timing graph nodes", 1);
    check(progress.phase() == "Evaluating tactic times", "the innermost phase, found " + progress.phase());
    monitor.stepComplete("Evaluating tactic times", 0);
    monitor.phaseFinish("Evaluating tactic times");
    expect(before, 0, progress, "a step of another phase");
    monitor.stepComplete("Timing graph nodes", 0);
    expect(before, 0.25, progress, "one layer of four");
    pause();
    monitor.stepComplete("Timing graph nodes", 3);
    monitor.stepComplete("Timing graph nodes", 2);
    expect(before, 1, progress, "all layers, told out of their order");
    monitor.phaseFinish("Timing graph nodes");
    monitor.stepComplete("Timing tactics", 0);
    expect(before, 1, progress, "layers are timed, the profile goes on");
}

void aBuildOfTwoProfiles()
{
    nit::BuildProgress progress;
    nvinfer1::IProgressMonitor& monitor = progress;
    check(std::strcmp(monitor.getInterfaceInfo().kind, "IProgressMonitor") == 0, "the interface's name");
    expect(0, -1, progress, "before the first build");
    check(progress.phase().empty(), "no phase runs yet");

    monitor.phaseStart("Building engine", nullptr, 6);
    check(monitor.stepComplete("Building engine", 0), "the build goes on");
    monitor.phaseStart("Computing profile costs", "Building engine", 10);
    expect(0, -1, progress, "no profile yet");
    timeLayers(monitor, progress, 0);
    check(progress.timing().seconds >= 0.02, "the time of a profile that runs");
    check(progress.timing().profilesTook == 0, "none has ended");
    monitor.phaseFinish("Timing tactics");
    expect(1, -1, progress, "between two profiles");
    check(progress.timing().seconds == 0, "no profile runs");
    double const first = progress.timing().profilesTook;
    check(first >= 0.02, "the time of the first");
    pause();
    timeLayers(monitor, progress, 1);
    check(progress.timing().profilesTook == first, "a profile that runs does not count");
    monitor.phaseFinish("Timing tactics");
    expect(2, -1, progress, "both have ended");
    check(progress.timing().profilesTook >= first + 0.02, "the time of both");
    monitor.phaseFinish("Computing profile costs");
    monitor.phaseFinish("Building engine");
    expect(2, -1, progress, "the build has ended");
    check(progress.phase().empty(), "no phase runs any more");

    monitor.phaseStart("Building engine", "", 6);
    expect(0, -1, progress, "the next build");
    check(progress.timing().profilesTook == 0, "the next build has taken no time");
}

void strangeCalls()
{
    nit::BuildProgress progress;
    progress.stepComplete("unknown", 3);
    progress.phaseFinish("unknown");
    progress.phaseFinish("Timing tactics");
    expect(0, -1, progress, "ends of what never began");
    progress.stepComplete(nullptr, 0);
    progress.phaseFinish(nullptr);
    progress.phaseStart(nullptr, nullptr, 2);
    check(progress.phase().empty(), "a phase without a name");
    progress.phaseStart("Timing tactics", "costs", 3);
    progress.phaseStart("Timing graph nodes", "Timing tactics", 0);
    expect(0, 0, progress, "no layers at all");
    progress.stepComplete("Timing graph nodes", 99);
    expect(0, 1, progress, "more layers than there are");
    progress.stepComplete("Timing graph nodes", -7);
    expect(0, 1, progress, "a step below the first");
    progress.phaseStart("Timing graph nodes", "Timing tactics", 2);
    expect(0, 0, progress, "the same phase anew");
    progress.phaseStart("Building engine", nullptr, 6);
    expect(0, -1, progress, "a build after one that was broken off");
}

void manyThreads()
{
    nit::BuildProgress progress;
    progress.phaseStart("Building engine", nullptr, 1);
    progress.phaseStart("Timing tactics", "Building engine", 3);
    progress.phaseStart("Timing graph nodes", "Timing tactics", 1000);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
    {
        threads.emplace_back(
            [&progress, t]
            {
                std::string const name = "part " + std::to_string(t);
                for (int i = 0; i < 250; ++i)
                {
                    progress.phaseStart(name.c_str(), "Timing graph nodes", 2);
                    double const layers = progress.timing().layers;
                    check(layers >= 0 && layers <= 1, "a share while others run");
                    progress.phase();
                    progress.phaseFinish(name.c_str());
                    progress.stepComplete("Timing graph nodes", 4 * i + t);
                }
            });
    }
    for (std::thread& thread : threads)
    {
        thread.join();
    }
    expect(0, 1, progress, "all layers of all threads");
    check(progress.phase() == "Timing graph nodes", "what runs at last: " + progress.phase());
}

} // namespace

int main()
{
    aBuildOfTwoProfiles();
    strangeCalls();
    manyThreads();
    if (gFailures > 0)
    {
        std::printf("%d failed\n", gFailures);
        return 1;
    }
    std::printf("all passed\n");
    return 0;
}
