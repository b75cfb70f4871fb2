// Both attention kernels on the CPU, against softmax attention in double precision.
#include "test/checks.h"
#include "varlenAttentionPlugin/varlenAttentionHopper.cuh"
#include "varlenAttentionPlugin/varlenAttentionPortable.cuh"

namespace nit
{
namespace test
{
namespace
{

enum class Path
{
    kPortable,
    kHopper,
};

//! A packed qkv buffer [tokens, 3, heads, headDim], rows `pad` elements longer and its start `shift` elements in.
template <typename T>
struct Pack
{
    std::vector<int32_t> cuSeqlens{0};
    int heads;
    int headDim;
    int64_t stride;
    int shift;
    std::vector<T> memory;

    Pack(std::vector<int> const& lengths, int heads_, int headDim_, unsigned seed, int pad = 0, int shift_ = 0)
        : heads(heads_), headDim(headDim_), stride(static_cast<int64_t>(3) * heads_ * headDim_ + pad), shift(shift_)
    {
        for (int length : lengths)
        {
            cuSeqlens.push_back(cuSeqlens.back() + length);
        }
        memory = normals<T>(static_cast<size_t>(tokens() * stride + shift), seed);
    }

    int64_t tokens() const
    {
        return cuSeqlens.back();
    }

    T* at(int64_t token, int which, int head)
    {
        return memory.data() + shift + token * stride + (static_cast<int64_t>(which) * heads + head) * headDim;
    }
};

template <typename T>
struct Result
{
    std::vector<T> out;
    std::vector<float> logSumExp;
};

TensorMap emulatedMap(
    NitVarlenAttentionParams const& p, void const* base, int64_t stride, int64_t headStride, int rows, bool rest)
{
    RaggedMap const numbers = raggedMap(p.headDim, p.heads, stride, headStride, rows, rest);
    TensorMap map;
    map.base = base;
    std::copy(numbers.sizes, numbers.sizes + 5, map.sizes);
    std::copy(numbers.strides, numbers.strides + 4, map.strides);
    std::copy(numbers.box, numbers.box + 5, map.box);
    map.swizzle = static_cast<int>(rest ? Swizzle::k32Bytes : Swizzle::k128Bytes);
    return map;
}

template <typename T, int kHeadDim>
void runHopper(NitVarlenAttentionParams const& p, emulator::Options const& options, unsigned grid)
{
    HopperAttentionParams params;
    params.p = p;
    params.q = emulatedMap(p, p.q, p.qTokenStride, p.qHeadStride, kBandRows, false);
    params.k = emulatedMap(p, p.k, p.kTokenStride, p.kHeadStride, kLongKeys, false);
    params.v = emulatedMap(p, p.v, p.vTokenStride, p.vHeadStride, kLongKeys, false);
    params.qRest = emulatedMap(p, p.q, p.qTokenStride, p.qHeadStride, kBandRows, true);
    params.kRest = emulatedMap(p, p.k, p.kTokenStride, p.kHeadStride, kLongKeys, true);
    emulator::launch(
        grid, kLongThreads, LongLayout<kHeadDim>::kBytes, options,
        [&] { varlenAttentionLongKernel<T, kHeadDim>(params); });
    emulator::launch(
        grid, kShortThreads, ShortLayout<kHeadDim>::kBytes, options,
        [&] { varlenAttentionShortKernel<T, kHeadDim>(p); });
}

template <typename T>
Result<T> attend(Pack<T>& pack, Path path, emulator::Options const& options = {}, unsigned grid = 3)
{
    int64_t const width = static_cast<int64_t>(pack.heads) * pack.headDim;
    Result<T> result;
    result.out.assign(static_cast<size_t>(pack.tokens() * width), T{kNaNBits});
    result.logSumExp.assign(static_cast<size_t>(pack.tokens() * pack.heads), NAN);
    NitVarlenAttentionParams p{};
    p.q = pack.at(0, 0, 0);
    p.k = pack.at(0, 1, 0);
    p.v = pack.at(0, 2, 0);
    p.out = result.out.data();
    p.logSumExp = result.logSumExp.data();
    p.cuSeqlens = pack.cuSeqlens.data();
    p.tokens = pack.tokens();
    p.images = static_cast<int32_t>(pack.cuSeqlens.size()) - 1;
    p.heads = pack.heads;
    p.headDim = pack.headDim;
    p.qTokenStride = p.kTokenStride = p.vTokenStride = pack.stride;
    p.outTokenStride = width;
    p.qHeadStride = p.kHeadStride = p.vHeadStride = p.outHeadStride = pack.headDim;
    p.scale = 1.0f / std::sqrt(static_cast<float>(pack.headDim));
    if (path == Path::kHopper)
    {
        if (pack.headDim == 64)
        {
            runHopper<T, 64>(p, options, grid);
        }
        else
        {
            runHopper<T, 72>(p, options, grid);
        }
        return result;
    }
    bool const aligned = pack.stride % 8 == 0 && pack.shift % 8 == 0;
    auto const launch = [&](auto padded)
    {
        constexpr int kPadded = decltype(padded)::value;
        emulator::launch(
            grid, kPortableThreads, portableSharedBytes(kPadded), options,
            [&] { varlenAttentionPortableKernel<T, kPadded>(p, aligned); });
    };
    if (pack.headDim <= 32)
    {
        launch(std::integral_constant<int, 32>{});
    }
    else if (pack.headDim <= 64)
    {
        launch(std::integral_constant<int, 64>{});
    }
    else if (pack.headDim <= 80)
    {
        launch(std::integral_constant<int, 80>{});
    }
    else if (pack.headDim <= 96)
    {
        launch(std::integral_constant<int, 96>{});
    }
    else
    {
        launch(std::integral_constant<int, 128>{});
    }
    return result;
}

template <typename T>
void reference(Pack<T>& pack, std::vector<double>& out, std::vector<double>& logSumExp)
{
    int64_t const width = static_cast<int64_t>(pack.heads) * pack.headDim;
    out.assign(static_cast<size_t>(pack.tokens() * width), 0.0);
    logSumExp.assign(static_cast<size_t>(pack.tokens() * pack.heads), 0.0);
    for (size_t image = 0; image + 1 < pack.cuSeqlens.size(); ++image)
    {
        int const first = pack.cuSeqlens[image];
        int const end = pack.cuSeqlens[image + 1];
        for (int head = 0; head < pack.heads; ++head)
        {
            for (int i = first; i < end; ++i)
            {
                std::vector<double> scores;
                double highest = -INFINITY;
                for (int j = first; j < end; ++j)
                {
                    double score = 0;
                    for (int c = 0; c < pack.headDim; ++c)
                    {
                        score += static_cast<double>(toFloat(pack.at(i, 0, head)[c])) * toFloat(pack.at(j, 1, head)[c]);
                    }
                    scores.push_back(score / std::sqrt(static_cast<double>(pack.headDim)));
                    highest = std::max(highest, scores.back());
                }
                double sum = 0;
                for (double& score : scores)
                {
                    score = std::exp(score - highest);
                    sum += score;
                }
                logSumExp[static_cast<size_t>(head * pack.tokens() + i)] = highest + std::log(sum);
                for (int j = first; j < end; ++j)
                {
                    for (int c = 0; c < pack.headDim; ++c)
                    {
                        out[static_cast<size_t>(i * width + head * pack.headDim + c)] +=
                            scores[static_cast<size_t>(j - first)] / sum * toFloat(pack.at(j, 2, head)[c]);
                    }
                }
            }
        }
    }
}

//! Rounding of the weights and of the output, each to 8 or 11 bits, leaves about this.
template <typename T>
constexpr double bound()
{
    return isBf16<T>() ? 4e-3 : 5e-4;
}

template <typename T>
void agrees(
    std::vector<int> const& lengths, int heads, int headDim, Path path, emulator::Options const& options = {},
    int pad = 0, int shift = 0)
{
    Pack<T> pack(lengths, heads, headDim, 7, pad, shift);
    Result<T> const result = attend(pack, path, options);
    std::vector<double> out;
    std::vector<double> logSumExp;
    reference(pack, out, logSumExp);
    double const error = relativeError(floats(result.out), out);
    check(
        error < bound<T>(), "output of headDim " + std::to_string(headDim) + ": relative error " +
                                std::to_string(error) + ", expected below " + std::to_string(bound<T>()));
    double const sums = relativeError(result.logSumExp, logSumExp);
    check(sums < 1e-5, "logSumExp of headDim " + std::to_string(headDim) + ": relative error " + std::to_string(sums));
}

std::vector<int> const kRagged{1, 2, 63, 64, 65, 97, 128, 129, 257};

template <typename T>
void noAttentionAcrossImages(int headDim, Path path)
{
    std::vector<int> const lengths{30, 70, 5, 129};
    Pack<T> pack(lengths, 2, headDim, 3);
    Result<T> const plain = attend(pack, path);
    for (size_t poisoned = 0; poisoned < lengths.size(); ++poisoned)
    {
        Pack<T> other(lengths, 2, headDim, 3);
        int const first = other.cuSeqlens[poisoned];
        int const end = other.cuSeqlens[poisoned + 1];
        for (int64_t i = first * other.stride; i < end * other.stride; ++i)
        {
            other.memory[static_cast<size_t>(i)] = T{kNaNBits};
        }
        Result<T> const result = attend(other, path);
        int const width = 2 * headDim;
        int different = 0;
        int finite = 0;
        for (int token = 0; token < other.tokens(); ++token)
        {
            for (int c = 0; c < width; ++c)
            {
                size_t const i = static_cast<size_t>(token * width + c);
                if (token >= first && token < end)
                {
                    finite += std::isfinite(toFloat(result.out[i])) ? 1 : 0;
                }
                else
                {
                    different += result.out[i].bits != plain.out[i].bits ? 1 : 0;
                }
            }
        }
        check(different == 0, std::to_string(different) + " values changed beside an image of NaNs");
        check(finite == 0, std::to_string(finite) + " values of an image of NaNs are numbers");
    }
}

//! The same bits whatever the threads' order, the copies' moment and the number of blocks.
template <typename T>
void deterministic(int headDim, Path path)
{
    std::vector<int> const lengths{64, 300, 1, 150};
    Pack<T> pack(lengths, 2, headDim, 11);
    Result<T> const first = attend(pack, path);
    for (unsigned seed = 1; seed <= 4; ++seed)
    {
        emulator::Options options;
        options.seed = seed;
        options.lateCopies = seed % 2 == 0;
        Result<T> const again = attend(pack, path, options, seed);
        bool same = true;
        for (size_t i = 0; i < first.out.size(); ++i)
        {
            same = same && first.out[i].bits == again.out[i].bits;
        }
        check(same, "seed " + std::to_string(seed) + " gave other bits");
    }
}

//! Scores of about 900: exponentials overflow without the running maximum.
template <typename T>
void largeScores(int headDim, Path path)
{
    Pack<T> pack({40, 200}, 1, headDim, 5);
    for (T& value : pack.memory)
    {
        value = fromFloat<T>(toFloat(value) * 10.0f);
    }
    Result<T> const result = attend(pack, path);
    std::vector<double> out;
    std::vector<double> logSumExp;
    reference(pack, out, logSumExp);
    double const error = relativeError(floats(result.out), out);
    check(error < bound<T>(), "large scores: relative error " + std::to_string(error));
}

template <typename T>
void manyImages(int headDim, Path path)
{
    std::vector<int> lengths;
    for (int i = 0; i < 150; ++i) // several windows of the scheduler, some of them empty for a kernel
    {
        lengths.push_back(i % 37 == 0 ? 66 : i > 40 && i < 110 ? 3 : 1 + i % 5);
    }
    agrees<T>(lengths, 2, headDim, path);
}

} // namespace

int all()
{
    run("portable, ragged, bf16, headDim 72", [] { agrees<Bf16>(kRagged, 3, 72, Path::kPortable); });
    run("portable, ragged, fp16, headDim 64", [] { agrees<Fp16>(kRagged, 2, 64, Path::kPortable); });
    run("portable, every headDim",
        []
        {
            for (int headDim = 8; headDim <= 128; headDim += 8)
            {
                agrees<Bf16>({33, 70}, 2, headDim, Path::kPortable);
            }
        });
    run("portable, misaligned rows",
        []
        {
            agrees<Bf16>({33, 70}, 2, 72, Path::kPortable, {}, 3);
            agrees<Fp16>({33, 70}, 2, 64, Path::kPortable, {}, 0, 1);
        });
    run("portable, padded rows", [] { agrees<Bf16>({33, 70}, 2, 72, Path::kPortable, {}, 24); });
    run("portable, many images", [] { manyImages<Bf16>(32, Path::kPortable); });
    run("portable, images without tokens", [] { agrees<Bf16>({33, 0, 70, 0, 0}, 2, 72, Path::kPortable); });
    run("portable, no attention across images", [] { noAttentionAcrossImages<Bf16>(72, Path::kPortable); });
    run("portable, deterministic", [] { deterministic<Bf16>(72, Path::kPortable); });
    run("portable, large scores", [] { largeScores<Bf16>(72, Path::kPortable); });

    run("hopper, ragged, bf16, headDim 72", [] { agrees<Bf16>(kRagged, 3, 72, Path::kHopper); });
    run("hopper, images without tokens", [] { agrees<Bf16>({33, 0, 70, 0, 0}, 2, 72, Path::kHopper); });
    run("hopper, ragged, fp16, headDim 72", [] { agrees<Fp16>(kRagged, 2, 72, Path::kHopper); });
    run("hopper, ragged, bf16, headDim 64", [] { agrees<Bf16>(kRagged, 3, 64, Path::kHopper); });
    run("hopper, ragged, fp16, headDim 64", [] { agrees<Fp16>(kRagged, 2, 64, Path::kHopper); });
    run("hopper, many rounds", [] { agrees<Bf16>({700}, 1, 72, Path::kHopper); });
    run("hopper, early copies",
        []
        {
            emulator::Options options;
            options.lateCopies = false;
            options.seed = 9;
            agrees<Bf16>(kRagged, 2, 72, Path::kHopper, options);
        });
    run("hopper, padded rows", [] { agrees<Bf16>({33, 70, 200}, 2, 72, Path::kHopper, {}, 24); });
    run("hopper, many images", [] { manyImages<Bf16>(72, Path::kHopper); });
    run("hopper, no attention across images", [] { noAttentionAcrossImages<Bf16>(72, Path::kHopper); });
    run("hopper, deterministic", [] { deterministic<Bf16>(72, Path::kHopper); });
    run("hopper, large scores", [] { largeScores<Bf16>(64, Path::kHopper); });
    return result();
}

} // namespace test
} // namespace nit

int main()
{
    return nit::test::all();
}
