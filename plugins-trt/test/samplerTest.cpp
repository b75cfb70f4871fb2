// The sampler's passes on the CPU: bits against the formulas written out, states that move, guidance, NaN.
#include "sampler/sampler.cuh"
#include "test/checks.h"

#include <cstring>
#include <limits>

namespace nit
{
namespace test
{
namespace
{

std::vector<double> randoms(size_t count, unsigned seed)
{
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    std::vector<double> values(count);
    for (double& value : values)
    {
        value = normal(random);
    }
    return values;
}

unsigned blocksFor(NitSamplerParams const& p)
{
    return static_cast<unsigned>((p.elements + kSamplerThreads - 1) / kSamplerThreads);
}

void gather(NitSamplerParams const& p)
{
    emulator::launch(blocksFor(p), kSamplerThreads, 0, {}, [&] { samplerGatherKernel(p); });
}

void advance(NitSamplerParams const& p)
{
    emulator::launch(blocksFor(p), kSamplerThreads, 0, {}, [&] { samplerAdvanceKernel(p); });
}

template <typename T>
bool sameBits(T a, T b)
{
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}

struct Pack
{
    std::vector<NitSampledImage> images;
    std::vector<int> lengths;
    int64_t elements = 0;
    int64_t values = 0; //!< with the guided images' second places
    int64_t capacity = 0;
};

//! Images of ragged lengths, one for each rule, guided and not; states from a shuffled half into the other.
Pack mixedPack()
{
    Pack pack;
    pack.lengths = {5, 300, 1, 256, 77, 512, 40, 3};
    int64_t first = 0;
    for (size_t i = 0; i < pack.lengths.size(); ++i)
    {
        NitSampledImage image{};
        image.first = first;
        image.second = -1;
        image.t = 0.9 - 0.1 * static_cast<double>(i);
        image.dt = -0.02 * static_cast<double>(i + 1);
        image.scale = 1.5 + 0.25 * static_cast<double>(i);
        image.rule = static_cast<int32_t>(i % 4);
        image.spread = i == 3 ? 0.37 : 0.0; // the other image that diffuses is at its last step
        pack.images.push_back(image);
        first += pack.lengths[i];
    }
    pack.elements = first;
    pack.values = first;
    for (size_t i = 0; i < pack.lengths.size(); ++i)
    {
        if (i % 3 != 1)
        {
            pack.images[i].second = pack.values;
            pack.values += pack.lengths[i];
        }
    }
    pack.capacity = pack.elements + 100;
    int64_t from = 0;
    for (size_t i = pack.lengths.size(); i-- > 0;)
    {
        pack.images[i].from = from;
        pack.images[i].to = pack.capacity + pack.images[i].first;
        from += pack.lengths[i];
    }
    return pack;
}

void aStepHasTheBitsOfItsFormulas()
{
    Pack const pack = mixedPack();
    size_t const half = static_cast<size_t>(pack.capacity);
    std::vector<double> state = randoms(2 * half, 1);
    std::vector<double> velocity = randoms(2 * half, 2);
    std::vector<double> const states = state;
    std::vector<double> const velocities = velocity;
    std::vector<double> const noise = randoms(static_cast<size_t>(pack.elements), 3);
    std::vector<float> x(static_cast<size_t>(pack.values) + 9, -7.0f);
    std::vector<float> v;
    for (double value : randoms(static_cast<size_t>(pack.values), 4))
    {
        v.push_back(static_cast<float>(value));
    }
    std::vector<int32_t> failed(pack.images.size(), 0);
    NitSamplerParams p{};
    p.images = pack.images.data();
    p.state = state.data();
    p.velocity = velocity.data();
    p.x = x.data();
    p.v = v.data();
    p.noise = noise.data();
    p.failed = failed.data();
    p.elements = pack.elements;
    p.count = static_cast<int32_t>(pack.images.size());
    gather(p);
    check(x.back() == -7.0f, "values beyond the pack were written");
    check(state == states && velocity == velocities, "a state was written while it was gathered");
    advance(p);

    for (size_t i = 0; i < pack.images.size(); ++i)
    {
        NitSampledImage const& image = pack.images[i];
        std::string const where = "image " + std::to_string(i) + ", value ";
        for (int k = 0; k < pack.lengths[i]; ++k)
        {
            size_t const from = static_cast<size_t>(image.from + k);
            size_t const to = static_cast<size_t>(image.to + k);
            size_t const at = static_cast<size_t>(image.first + k);
            double const was = states[from];
            double const wanted = image.rule == NIT_MOVE_CORRECT ? was + image.dt * velocities[from] : was;
            check(x[at] == static_cast<float>(wanted), where + std::to_string(k) + ": the model's input");
            double value = v[at];
            if (image.second >= 0)
            {
                size_t const twin = static_cast<size_t>(image.second + k);
                check(x[twin] == static_cast<float>(wanted), where + std::to_string(k) + ": its twin");
                double const uncond = v[twin];
                value = uncond + image.scale * (value - uncond);
            }
            double expected = was;
            switch (image.rule)
            {
            case NIT_MOVE_PREDICT:
                check(sameBits(velocity[to], value), where + std::to_string(k) + ": the velocity");
                break;
            case NIT_MOVE_CORRECT:
                expected = was + image.dt * (0.5 * velocities[from] + 0.5 * value);
                break;
            case NIT_MOVE_DIFFUSE:
            {
                double const t = image.t;
                double const score = (-(1 - t) * value - was) / (t * t + (1 - t) * t);
                double const drift = value - 0.5 * (2 * t) * score;
                double const added = image.spread == 0 ? 0 : image.spread * noise[at];
                expected = was + (drift * image.dt + added);
                break;
            }
            default:
                expected = was + image.dt * value;
            }
            check(sameBits(state[to], expected), where + std::to_string(k) + ": the state");
        }
        check(failed[i] == 0, where + "any: failed");
    }
}

void onlyTheImageWithNaNOrInfinityFails()
{
    for (double const bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    {
        for (size_t target = 0; target < 4; ++target) // every rule
        {
            Pack const pack = mixedPack();
            std::vector<double> state = randoms(static_cast<size_t>(2 * pack.capacity), 5);
            std::vector<double> velocity = randoms(static_cast<size_t>(2 * pack.capacity), 6);
            std::vector<double> const noise(static_cast<size_t>(pack.elements), 0.5);
            std::vector<float> v(static_cast<size_t>(pack.values), 0.25f);
            v[static_cast<size_t>(pack.images[target].first + pack.lengths[target] - 1)] = static_cast<float>(bad);
            std::vector<int32_t> failed(pack.images.size(), 0);
            NitSamplerParams p{};
            p.images = pack.images.data();
            p.state = state.data();
            p.velocity = velocity.data();
            p.v = v.data();
            p.noise = noise.data();
            p.failed = failed.data();
            p.elements = pack.elements;
            p.count = static_cast<int32_t>(pack.images.size());
            advance(p);
            for (size_t i = 0; i < failed.size(); ++i)
            {
                check(
                    failed[i] == (i == target ? 1 : 0), "image " + std::to_string(target) + " is bad, found " +
                                                            std::to_string(failed[i]) + " for image " +
                                                            std::to_string(i));
            }
        }
    }
}

} // namespace
} // namespace test
} // namespace nit

int main()
{
    using namespace nit::test;
    run("a step has the bits of its formulas", aStepHasTheBitsOfItsFormulas);
    run("only the image with NaN or infinity fails", onlyTheImageWithNaNOrInfinityFails);
    return result();
}
