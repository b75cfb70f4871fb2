// What the emulated tests share: a check that prints and counts, random numbers, 16-bit conversions, errors.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/device.cuh"
#include "common/numeric.cuh"

namespace nit
{
namespace test
{

inline int& failures()
{
    static int count = 0;
    return count;
}

inline void check(bool holds, std::string const& claim)
{
    if (!holds)
    {
        ++failures();
        std::printf("FAILED: %s\n", claim.c_str());
    }
}

//! Runs one test case; exceptions are failures.
template <typename Body>
void run(char const* name, Body const& body)
{
    int const before = failures();
    try
    {
        body();
    }
    catch (std::exception const& error)
    {
        check(false, error.what());
    }
    std::printf("%s %s\n", failures() == before ? "ok    " : "FAILED", name);
    std::fflush(stdout);
}

inline int result()
{
    return failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

template <typename T>
std::vector<T> normals(size_t count, unsigned seed, float deviation = 1.0f)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<T> values(count);
    for (T& value : values)
    {
        value = fromFloat<T>(normal(random));
    }
    return values;
}

constexpr uint16_t kNaNBits = 0x7fff; // of both types

//! ||found - expected|| / ||expected||; NaN where found has one.
inline double relativeError(std::vector<float> const& found, std::vector<double> const& expected)
{
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < expected.size(); ++i)
    {
        difference += (found[i] - expected[i]) * (found[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    return std::sqrt(difference / norm);
}

template <typename T>
std::vector<float> floats(std::vector<T> const& values)
{
    std::vector<float> wide;
    wide.reserve(values.size());
    for (T const& value : values)
    {
        wide.push_back(toFloat(value));
    }
    return wide;
}

template <typename T>
constexpr bool isBf16()
{
    return IsBf16<T>::kValue;
}

} // namespace test
} // namespace nit
