// A build's progress, told as TensorRT tells it: through the interface, phases inside phases, from several threads.
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

void expectShare(double expected, nit::BuildProgress const& progress, char const* where)
{
    double const found = progress.share();
    check(
        std::abs(found - expected) < 1e-12,
        std::string(where) + ": expected " + std::to_string(expected) + ", found " + std::to_string(found));
}

void phasesInsidePhases()
{
    nit::BuildProgress progress;
    nvinfer1::IProgressMonitor& monitor = progress;
    check(std::strcmp(monitor.getInterfaceInfo().kind, "IProgressMonitor") == 0, "the interface's name");
    expectShare(-1, progress, "before the first phase");
    check(progress.phases().empty(), "no phase runs yet");

    monitor.phaseStart("build", nullptr, 4);
    expectShare(0, progress, "the first phase begins");
    check(monitor.stepComplete("build", 0), "the build goes on");
    expectShare(0.25, progress, "a step of four");
    monitor.phaseStart("costs", "build", 10);
    for (int i = 0; i < 5; ++i)
    {
        monitor.stepComplete("costs", i);
    }
    expectShare(0.375, progress, "half of the second step");
    monitor.phaseStart("nodes", "costs", 2);
    monitor.stepComplete("nodes", 0);
    expectShare(0.25 + 0.25 * 0.55, progress, "a phase in a phase in a phase");
    check(progress.phases() == "build > costs > nodes", "names: " + progress.phases());
    monitor.phaseFinish("nodes");
    monitor.phaseFinish("costs");
    monitor.stepComplete("build", 1);
    expectShare(0.5, progress, "the second step ends");
    monitor.phaseFinish("build");
    expectShare(-1, progress, "all ended");
}

void phasesBesideOneAnother()
{
    nit::BuildProgress progress;
    progress.phaseStart("build", "", 1);
    progress.phaseStart("a", "build", 4);
    progress.phaseStart("b", "build", 4);
    progress.stepComplete("a", 2);
    progress.stepComplete("b", 0);
    expectShare(0.25, progress, "the slower of two");
}

void strangeCalls()
{
    nit::BuildProgress progress;
    progress.stepComplete("unknown", 3);
    progress.phaseFinish("unknown");
    progress.phaseFinish(nullptr);
    progress.phaseStart("build", nullptr, 0);
    progress.stepComplete("build", 99);
    expectShare(1, progress, "more steps than there are");
    progress.phaseStart("build", nullptr, 5);
    expectShare(0, progress, "the same phase anew");
    progress.stepComplete("build", 2);
    progress.stepComplete("build", 0);
    expectShare(0.6, progress, "steps out of their order");
    progress.phaseStart("ring", "ring", 2);
    progress.phaseStart("one", "other", 2);
    progress.phaseStart("other", "one", 2);
    expectShare(0.6, progress, "phases that are each other's parents");
    progress.phaseStart(nullptr, "build", 2);
    progress.stepComplete(nullptr, 0);
    expectShare(0.6, progress, "a phase without a name");
}

void manyThreads()
{
    nit::BuildProgress progress;
    progress.phaseStart("build", nullptr, 1000);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
    {
        threads.emplace_back(
            [&progress, t]
            {
                std::string const name = "part " + std::to_string(t);
                for (int i = 0; i < 250; ++i)
                {
                    progress.phaseStart(name.c_str(), "build", 2);
                    progress.stepComplete(name.c_str(), 0);
                    check(progress.share() >= 0 && progress.share() <= 1, "a share while others run");
                    progress.phases();
                    progress.phaseFinish(name.c_str());
                    progress.stepComplete("build", 4 * i + t);
                }
            });
    }
    for (std::thread& thread : threads)
    {
        thread.join();
    }
    expectShare(1, progress, "all steps of all threads");
    check(progress.phases() == "build", "what runs at last: " + progress.phases());
}

} // namespace

int main()
{
    phasesInsidePhases();
    phasesBesideOneAnother();
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
