// AdaLN, the gated residual and QK-norm + RoPE on the CPU, against double precision.
#include "packedAdaLnPlugin/adaLn.cuh"
#include "qkNormRope2dPlugin/qkNormRope2d.cuh"
#include "test/checks.h"

namespace nit
{
namespace test
{
namespace
{

template <typename T>
constexpr double bound()
{
    return isBf16<T>() ? 3e-3 : 4e-4; // one rounding of the output to 8 or 11 bits
}

std::vector<int32_t> imageIndices(std::vector<int> const& lengths)
{
    std::vector<int32_t> indices;
    for (size_t i = 0; i < lengths.size(); ++i)
    {
        indices.insert(indices.end(), static_cast<size_t>(lengths[i]), static_cast<int32_t>(i));
    }
    return indices;
}

template <typename T>
double at(std::vector<T> const& values, int64_t i)
{
    return toFloat(values[static_cast<size_t>(i)]);
}

//! kVectors 0: the kernel for any size.
template <typename T, int kVectors, bool kGated, bool kNormed>
void adaLnAgrees(int hidden, int modulationStride, bool inPlace = false)
{
    std::vector<int32_t> const image = imageIndices({3, 1, 6});
    int64_t const tokens = static_cast<int64_t>(image.size());
    std::vector<T> x = normals<T>(static_cast<size_t>(tokens * hidden), 1, 2.0f);
    std::vector<T> const original = x;
    std::vector<T> const y = normals<T>(static_cast<size_t>(tokens * hidden), 2);
    std::vector<T> const modulations = normals<T>(static_cast<size_t>(3 * modulationStride), 3);
    std::vector<T> residual(x.size(), T{kNaNBits});
    std::vector<T> out(x.size(), T{kNaNBits});

    NitAdaLnParams p{};
    p.x = x.data();
    p.y = kGated ? y.data() : nullptr;
    p.gate = modulations.data();
    p.shift = modulations.data() + modulationStride - 2 * hidden;
    p.scale = modulations.data() + modulationStride - hidden;
    p.imageIndex = image.data();
    p.residual = inPlace ? x.data() : residual.data();
    p.out = out.data();
    p.tokens = tokens;
    p.hidden = hidden;
    p.modulationStride = modulationStride;
    p.epsilon = 1e-6f;
    unsigned const blocks = static_cast<unsigned>((tokens + kAdaLnWarps - 1) / kAdaLnWarps);
    if constexpr (kVectors < 0)
    {
        constexpr int kWarps = -kVectors;
        emulator::launch(
            static_cast<unsigned>(tokens), kWarps * 32, kAdaLnRowShared, {},
            [&] { adaLnRowKernel<T, kWarps, kGated, kNormed>(p); });
    }
    else
    {
        emulator::launch(
            blocks, kAdaLnWarps * 32, 0, {},
            [&]
            {
                if constexpr (kVectors == 0)
                {
                    adaLnAnyKernel<T, kGated, kNormed>(p);
                }
                else
                {
                    adaLnKernel<T, kVectors, kGated, kNormed>(p);
                }
            });
    }

    std::vector<double> sums;
    std::vector<double> normed;
    for (int64_t token = 0; token < tokens; ++token)
    {
        int64_t const m = image[static_cast<size_t>(token)] * static_cast<int64_t>(modulationStride);
        std::vector<double> row;
        double mean = 0;
        for (int i = 0; i < hidden; ++i)
        {
            double value = at(original, token * hidden + i);
            if (kGated)
            {
                value += at(modulations, m + i) * at(y, token * hidden + i);
                sums.push_back(value);
                value = toFloat(fromFloat<T>(static_cast<float>(value)));
            }
            row.push_back(value);
            mean += value / hidden;
        }
        double variance = 0;
        for (double value : row)
        {
            variance += (value - mean) * (value - mean) / hidden;
        }
        for (int i = 0; i < hidden; ++i)
        {
            double const shift = at(modulations, m + modulationStride - 2 * hidden + i);
            double const scale = at(modulations, m + modulationStride - hidden + i);
            normed.push_back((row[static_cast<size_t>(i)] - mean) / std::sqrt(variance + 1e-6) * (1 + scale) + shift);
        }
    }
    std::string const what = "hidden " + std::to_string(hidden) + ": relative error ";
    if (kGated)
    {
        double const error = relativeError(floats(inPlace ? x : residual), sums);
        check(error < bound<T>(), "residual, " + what + std::to_string(error));
    }
    if (kNormed)
    {
        double const error = relativeError(floats(out), normed);
        check(error < bound<T>(), "out, " + what + std::to_string(error));
    }
    else
    {
        check(out[0].bits == kNaNBits, "out was written");
    }
}

//! A row far from zero: E[x^2] - E[x]^2 would lose every digit.
void adaLnKeepsDigits()
{
    int const hidden = 1152;
    std::vector<Bf16> x(hidden);
    for (int i = 0; i < hidden; ++i)
    {
        x[static_cast<size_t>(i)] = fromFloat<Bf16>(4096.0f + static_cast<float>(i % 2 * 32)); // exact in bf16
    }
    std::vector<Bf16> const zeros(hidden, fromFloat<Bf16>(0.0f));
    std::vector<Bf16> out(hidden);
    int32_t const image = 0;
    NitAdaLnParams p{};
    p.x = x.data();
    p.shift = zeros.data();
    p.scale = zeros.data();
    p.imageIndex = &image;
    p.out = out.data();
    p.tokens = 1;
    p.hidden = hidden;
    p.modulationStride = hidden;
    p.epsilon = 1e-6f;
    emulator::launch(1, kAdaLnWarps * 32, 0, {}, [&] { adaLnKernel<Bf16, 5, false, true>(p); });
    check(
        toFloat(out[0]) == -1.0f && toFloat(out[1]) == 1.0f,
        "expected -1 and 1, found " + std::to_string(toFloat(out[0])) + " and " + std::to_string(toFloat(out[1])));
}

struct Rope
{
    bool normed = true;
    bool tables = true;
    bool inPlace = false;
    int pad = 0;
    bool few = false; //!< a block a token
};

template <typename T, int kLanes, int kVectors, int kTokens, int kWarps>
void ropeKernel(bool tables, NitQkNormRope2dParams const& p)
{
    if (tables)
    {
        qkNormRope2dKernel<T, kLanes, kVectors, true, kTokens, kWarps>(p);
    }
    else
    {
        qkNormRope2dKernel<T, kLanes, kVectors, false, kTokens, kWarps>(p);
    }
}

//! kLanes 0: the kernel for any size.
template <typename T, int kLanes, int kVectors>
void ropeAgrees(int heads, int headDim, Rope const& options)
{
    int64_t const tokens = 7;
    int64_t const width = static_cast<int64_t>(3) * heads * headDim;
    int64_t const stride = width + options.pad;
    int const axisPairs = headDim / 4;
    std::vector<T> qkv = normals<T>(static_cast<size_t>(tokens * stride), 1, 3.0f);
    std::vector<T> const original = qkv;
    std::vector<T> out(static_cast<size_t>(tokens * width), T{kNaNBits});
    std::vector<T> const weights = normals<T>(static_cast<size_t>(4 * headDim), 2);
    std::vector<int32_t> positions;
    std::vector<float> frequencies;
    for (int j = 0; j < axisPairs; ++j)
    {
        frequencies.push_back(std::pow(10000.0f, -2.0f * static_cast<float>(j) / static_cast<float>(headDim / 2)));
    }
    float const magnitude = 1.25f;
    std::vector<float> cosine;
    std::vector<float> sine;
    for (int token = 0; token < tokens; ++token)
    {
        positions.push_back(token * 5 % 31);
        positions.push_back(token * 11 % 17);
        for (int c = 0; c < headDim; ++c)
        {
            int const pair = c / 2;
            double const angle = positions[static_cast<size_t>(token * 2 + pair / axisPairs)] *
                                 static_cast<double>(frequencies[static_cast<size_t>(pair % axisPairs)]);
            cosine.push_back(static_cast<float>(std::cos(angle) * magnitude));
            sine.push_back(static_cast<float>(std::sin(angle) * magnitude));
        }
    }

    NitQkNormRope2dParams p{};
    p.qkv = qkv.data();
    p.out = options.inPlace ? qkv.data() : out.data();
    p.cosine = options.tables ? cosine.data() : nullptr;
    p.sine = options.tables ? sine.data() : nullptr;
    p.positions = options.tables ? nullptr : positions.data();
    p.frequencies = options.tables ? nullptr : frequencies.data();
    p.magnitude = magnitude;
    if (options.normed)
    {
        p.qWeight = weights.data();
        p.qBias = weights.data() + headDim;
        p.kWeight = weights.data() + 2 * headDim;
        p.kBias = weights.data() + 3 * headDim;
    }
    p.tokens = tokens;
    p.heads = heads;
    p.headDim = headDim;
    p.qkvTokenStride = stride;
    p.outTokenStride = options.inPlace ? stride : width;
    p.epsilon = 1e-5f;
    unsigned const warps = static_cast<unsigned>(tokens * 3 * heads);
    if constexpr (kLanes == 0)
    {
        emulator::launch(
            (warps + kRopeWarps - 1) / kRopeWarps, kRopeWarps * 32, 0, {}, [&] { qkNormRope2dAnyKernel<T>(p); });
    }
    else
    {
        auto const launch = [&](int tokensOfBlock, int warpsOfBlock, auto const& kernel)
        {
            emulator::launch(
                static_cast<unsigned>((tokens + tokensOfBlock - 1) / tokensOfBlock), warpsOfBlock * 32,
                static_cast<size_t>(ropeSharedBytes(headDim, tokensOfBlock)), {}, kernel);
        };
        if (options.few)
        {
            launch(1, kFewRopeWarps, [&] { ropeKernel<T, kLanes, kVectors, 1, kFewRopeWarps>(options.tables, p); });
        }
        else
        {
            launch(
                kRopeTokens, kRopeWarps,
                [&] { ropeKernel<T, kLanes, kVectors, kRopeTokens, kRopeWarps>(options.tables, p); });
        }
    }

    std::vector<double> expected;
    std::vector<float> found;
    std::vector<T> const& result = options.inPlace ? qkv : out;
    for (int64_t token = 0; token < tokens; ++token)
    {
        for (int slot = 0; slot < 3 * heads; ++slot)
        {
            std::vector<double> row;
            double mean = 0;
            for (int c = 0; c < headDim; ++c)
            {
                row.push_back(at(original, token * stride + slot * headDim + c));
                mean += row.back() / headDim;
                found.push_back(toFloat(result[static_cast<size_t>(token * p.outTokenStride + slot * headDim + c)]));
            }
            if (slot >= 2 * heads)
            {
                expected.insert(expected.end(), row.begin(), row.end());
                continue;
            }
            if (options.normed)
            {
                double variance = 0;
                for (double value : row)
                {
                    variance += (value - mean) * (value - mean) / headDim;
                }
                int const weight = slot < heads ? 0 : 2 * headDim;
                for (int c = 0; c < headDim; ++c)
                {
                    double& value = row[static_cast<size_t>(c)];
                    value = (value - mean) / std::sqrt(variance + 1e-5) * at(weights, weight + c) +
                            at(weights, weight + headDim + c);
                }
            }
            for (int c = 0; c < headDim; ++c)
            {
                double const other = c % 2 == 0 ? -row[static_cast<size_t>(c + 1)] : row[static_cast<size_t>(c - 1)];
                size_t const entry = static_cast<size_t>(token * headDim + c);
                expected.push_back(row[static_cast<size_t>(c)] * cosine[entry] + other * sine[entry]);
            }
        }
    }
    double const error = relativeError(found, expected);
    check(error < bound<T>(), "headDim " + std::to_string(headDim) + ": relative error " + std::to_string(error));
}

} // namespace

int all()
{
    run("packed AdaLN, hidden 1152", [] { adaLnAgrees<Bf16, 5, false, true>(1152, 6 * 1152); });
    run("packed AdaLN, half-filled vectors", [] { adaLnAgrees<Fp16, 2, false, true>(264, 2 * 264); });
    run("packed AdaLN, any size", [] { adaLnAgrees<Bf16, 0, false, true>(37, 3 * 37); });
    run("AdaLN, a block a token",
        []
        {
            adaLnAgrees<Bf16, -5, false, true>(1152, 6 * 1152);
            adaLnAgrees<Fp16, -5, true, false>(264, 2 * 264);
            adaLnAgrees<Bf16, -5, true, true>(1152, 6 * 1152);
            adaLnAgrees<Bf16, -5, true, true>(1280, 170 * 1280, true);
            adaLnAgrees<Fp16, -8, true, true>(2048, 3 * 2048);
        });
    run("packed AdaLN keeps its digits", [] { adaLnKeepsDigits(); });
    run("gated residual",
        []
        {
            adaLnAgrees<Bf16, 3, true, false>(768, 6 * 768);
            adaLnAgrees<Fp16, 0, true, false>(51, 3 * 51);
        });
    run("gated AdaLN",
        []
        {
            adaLnAgrees<Bf16, 5, true, true>(1152, 6 * 1152);
            adaLnAgrees<Fp16, 8, true, true>(2048, 3 * 2048);
            adaLnAgrees<Bf16, 0, true, true>(37, 3 * 37);
        });
    run("gated AdaLN in place",
        []
        {
            adaLnAgrees<Bf16, 5, true, true>(1152, 6 * 1152, true);
            adaLnAgrees<Bf16, 0, true, true>(37, 3 * 37, true);
        });
    run("rope, every headDim with its own kernel",
        []
        {
            ropeAgrees<Bf16, 4, 1>(3, 32, {});
            ropeAgrees<Bf16, 4, 2>(6, 64, {});
            ropeAgrees<Fp16, 3, 3>(16, 72, {});
            ropeAgrees<Bf16, 5, 2>(5, 80, {});
            ropeAgrees<Fp16, 4, 3>(2, 96, {});
            ropeAgrees<Bf16, 8, 2>(3, 128, {});
        });
    run("rope, any headDim",
        []
        {
            for (int headDim = 8; headDim <= 128; headDim += 8)
            {
                ropeAgrees<Bf16, 0, 0>(2, headDim, {});
            }
        });
    run("rope from positions",
        []
        {
            ropeAgrees<Bf16, 3, 3>(16, 72, {true, false});
            ropeAgrees<Bf16, 0, 0>(2, 72, {true, false});
        });
    run("rope in place, padded rows",
        []
        {
            ropeAgrees<Bf16, 3, 3>(16, 72, {true, true, true, 16});
            ropeAgrees<Bf16, 0, 0>(2, 40, {true, true, true, 5});
        });
    run("rope, a block a token",
        []
        {
            ropeAgrees<Bf16, 3, 3>(16, 72, {true, true, false, 0, true});
            ropeAgrees<Fp16, 4, 2>(21, 64, {true, false, false, 8, true}); // more heads than at once
            ropeAgrees<Bf16, 3, 3>(16, 72, {true, true, true, 16, true});
            ropeAgrees<Fp16, 4, 2>(6, 64, {false, true, false, 0, true});
        });
    run("rope without norm",
        []
        {
            ropeAgrees<Fp16, 4, 2>(6, 64, {false, true});
            ropeAgrees<Fp16, 0, 0>(6, 64, {false, true, true});
        });
    return result();
}

} // namespace test
} // namespace nit

int main()
{
    return nit::test::all();
}
