// The kernels of training/ on the CPU, against double precision.
#include "test/checks.h"
#include "training/adamW.cuh"
#include "training/columns.cuh"
#include "training/gatedResidualBackward.cuh"
#include "training/layerNormBackward.cuh"
#include "training/qkNormRope2dBackward.cuh"

namespace nit
{
namespace test
{
namespace
{

constexpr double kBf16Bound = 3e-3; // one rounding of the output to 8 bits
constexpr double kSumBound = 1e-5;  // sums in fp32
unsigned gSeed = 0;

//! The order in which warps run ahead of each other; every test is run with several.
emulator::Options order()
{
    emulator::Options options;
    options.seed = gSeed;
    return options;
}

struct Pack
{
    explicit Pack(std::vector<int> const& lengths)
    {
        chunkStarts.push_back(0);
        for (size_t image = 0; image < lengths.size(); ++image)
        {
            for (int at = 0; at < lengths[image]; at += NIT_CHUNK_ROWS)
            {
                int const count = std::min<int>(NIT_CHUNK_ROWS, lengths[image] - at);
                chunks.insert(chunks.end(), {static_cast<int32_t>(image), tokens + at, count, 0});
            }
            imageOf.insert(imageOf.end(), static_cast<size_t>(lengths[image]), static_cast<int>(image));
            tokens += lengths[image];
            chunkStarts.push_back(static_cast<int32_t>(chunks.size() / 4));
        }
    }

    int chunkCount() const
    {
        return static_cast<int>(chunks.size() / 4);
    }

    int images() const
    {
        return static_cast<int>(chunkStarts.size()) - 1;
    }

    std::vector<int32_t> chunks;
    std::vector<int32_t> chunkStarts;
    std::vector<int> imageOf;
    int32_t tokens = 0;
};

double at(std::vector<Bf16> const& values, int64_t i)
{
    return toFloat(values[static_cast<size_t>(i)]);
}

void within(double bound, std::vector<float> const& found, std::vector<double> const& expected, char const* what)
{
    double const error = relativeError(found, expected);
    check(error < bound, std::string(what) + ": relative error " + std::to_string(error));
}

std::vector<Bf16> unwritten(int64_t count)
{
    return std::vector<Bf16>(static_cast<size_t>(count), Bf16{kNaNBits});
}

//! Second pass over two arrays of partial sums; rows of the result are `stride` apart.
std::vector<float> imageSums(
    Pack const& pack, std::vector<float> const& first, std::vector<float> const& second, int hidden, int stride)
{
    std::vector<float> sums(static_cast<size_t>(pack.images() * stride), std::nanf(""));
    NitImageSumsParams p{};
    p.partialFirst = first.data();
    p.partialSecond = second.data();
    p.chunkStarts = pack.chunkStarts.data();
    p.first = sums.data();
    p.second = sums.data() + hidden;
    p.firstStride = p.secondStride = stride;
    p.images = pack.images();
    p.hidden = hidden;
    unsigned const blocks = static_cast<unsigned>(pack.images() * ((hidden + kImageSumThreads - 1) / kImageSumThreads));
    emulator::launch(blocks, kImageSumThreads, 0, order(), [&] { imageSumsKernel(p); });
    return sums;
}

void layerNormBackwardAgrees(int hidden, bool residual, bool inPlace)
{
    Pack const pack({1, 40, 3, 65});
    int64_t const elements = static_cast<int64_t>(pack.tokens) * hidden;
    int const stride = 6 * hidden;
    std::vector<Bf16> x = normals<Bf16>(static_cast<size_t>(elements), 1, 2.0f);
    for (Bf16& value : x)
    {
        value = fromFloat<Bf16>(toFloat(value) + 3.0f); // far from a mean of 0
    }
    std::vector<Bf16> dOut = normals<Bf16>(static_cast<size_t>(elements), 2);
    std::vector<Bf16> dResidual = normals<Bf16>(static_cast<size_t>(elements), 3);
    std::vector<Bf16> const gradient = dOut;
    std::vector<Bf16> const before = dResidual;
    std::vector<Bf16> const modulations = normals<Bf16>(static_cast<size_t>(pack.images() * stride), 4);
    std::vector<Bf16> dx = unwritten(elements);
    std::vector<Bf16> out = unwritten(elements);
    std::vector<float> partialShift(static_cast<size_t>(pack.chunkCount() * hidden), std::nanf(""));
    std::vector<float> partialScale = partialShift;

    NitLayerNormBackwardParams p{};
    p.x = x.data();
    p.dOut = dOut.data();
    p.dResidual = residual ? dResidual.data() : nullptr;
    p.shift = modulations.data() + hidden;
    p.scale = modulations.data() + 2 * hidden;
    p.chunks = pack.chunks.data();
    p.dx = inPlace ? dResidual.data() : dx.data();
    p.out = inPlace ? dOut.data() : out.data();
    p.partialShift = partialShift.data();
    p.partialScale = partialScale.data();
    p.chunkCount = pack.chunkCount();
    p.hidden = hidden;
    p.modulationStride = stride;
    p.epsilon = 1e-6f;
    emulator::launch(
        static_cast<unsigned>(pack.chunkCount()), static_cast<unsigned>(rowThreads(hidden)),
        static_cast<size_t>(kLayerNormBackwardShared), order(), [&] { layerNormBackwardKernel(p); });

    std::vector<double> expectedDx;
    std::vector<double> expectedOut;
    std::vector<double> expectedSums(static_cast<size_t>(pack.images() * 2 * hidden));
    for (int64_t token = 0; token < pack.tokens; ++token)
    {
        int64_t const image = pack.imageOf[static_cast<size_t>(token)];
        double mean = 0;
        double variance = 0;
        for (int i = 0; i < hidden; ++i)
        {
            mean += at(x, token * hidden + i) / hidden;
        }
        for (int i = 0; i < hidden; ++i)
        {
            double const centred = at(x, token * hidden + i) - mean;
            variance += centred * centred / hidden;
        }
        double const sigma = std::sqrt(variance + 1e-6);
        double meanG = 0;
        double meanGn = 0;
        for (int i = 0; i < hidden; ++i)
        {
            double const n = (at(x, token * hidden + i) - mean) / sigma;
            double const d = at(gradient, token * hidden + i);
            double const g = d * (1 + at(modulations, image * stride + 2 * hidden + i));
            meanG += g / hidden;
            meanGn += g * n / hidden;
            expectedSums[static_cast<size_t>((image * 2) * hidden + i)] += d;
            expectedSums[static_cast<size_t>((image * 2 + 1) * hidden + i)] += d * n;
        }
        for (int i = 0; i < hidden; ++i)
        {
            double const n = (at(x, token * hidden + i) - mean) / sigma;
            double const factor = 1 + at(modulations, image * stride + 2 * hidden + i);
            double const g = at(gradient, token * hidden + i) * factor;
            expectedDx.push_back((g - meanG - n * meanGn) / sigma + (residual ? at(before, token * hidden + i) : 0.0));
            expectedOut.push_back(n * factor + at(modulations, image * stride + hidden + i));
        }
    }
    within(kBf16Bound, floats(inPlace ? dResidual : dx), expectedDx, "dx");
    within(kBf16Bound, floats(inPlace ? dOut : out), expectedOut, "out");
    within(kSumBound, imageSums(pack, partialShift, partialScale, hidden, 2 * hidden), expectedSums, "shift and scale");
}

void gatedResidualBackwardAgrees(int hidden)
{
    Pack const pack({33, 2, 64});
    int64_t const elements = static_cast<int64_t>(pack.tokens) * hidden;
    int const stride = 2 * hidden;
    std::vector<Bf16> const d = normals<Bf16>(static_cast<size_t>(elements), 1);
    std::vector<Bf16> const y = normals<Bf16>(static_cast<size_t>(elements), 2);
    std::vector<Bf16> const gates = normals<Bf16>(static_cast<size_t>(pack.images() * stride), 3);
    std::vector<Bf16> dy = unwritten(elements);
    std::vector<float> partialGate(static_cast<size_t>(pack.chunkCount() * hidden), std::nanf(""));
    std::vector<float> partialSum = partialGate;
    NitGatedResidualBackwardParams p{};
    p.dResidual = d.data();
    p.y = y.data();
    p.gate = gates.data() + hidden;
    p.chunks = pack.chunks.data();
    p.dy = dy.data();
    p.partialGate = partialGate.data();
    p.partialSum = partialSum.data();
    p.chunkCount = pack.chunkCount();
    p.hidden = hidden;
    p.modulationStride = stride;
    emulator::launch(
        static_cast<unsigned>(pack.chunkCount()), static_cast<unsigned>(rowThreads(hidden)), 0, {},
        [&] { gatedResidualBackwardKernel(p); });
    std::vector<double> expected;
    std::vector<double> sums(static_cast<size_t>(pack.images() * 2 * hidden));
    for (int64_t token = 0; token < pack.tokens; ++token)
    {
        int64_t const image = pack.imageOf[static_cast<size_t>(token)];
        for (int i = 0; i < hidden; ++i)
        {
            double const gradient = at(d, token * hidden + i);
            expected.push_back(gradient * at(gates, image * stride + hidden + i));
            sums[static_cast<size_t>(image * 2 * hidden + i)] += gradient * at(y, token * hidden + i);
            sums[static_cast<size_t>((image * 2 + 1) * hidden + i)] += gradient;
        }
    }
    within(kBf16Bound, floats(dy), expected, "dy");
    within(kSumBound, imageSums(pack, partialGate, partialSum, hidden, 2 * hidden), sums, "gate and sum");
}

std::vector<float> sumRows(std::vector<float> const& partial, int rows, int width, int rowStride, float before)
{
    std::vector<float> out(static_cast<size_t>(width), before);
    SumRowsParams const p{partial.data(), out.data(), rows, width, rowStride, before != 0.0f};
    emulator::launch(
        static_cast<unsigned>((width + kSumColumns - 1) / kSumColumns), kSumColumns * kSumGroups,
        static_cast<size_t>(kSumRowsShared), order(), [&] { sumRowsKernel(p); });
    return out;
}

void geluBackwardAgrees(int tokens, int width, bool inPlace)
{
    int64_t const elements = static_cast<int64_t>(tokens) * width;
    std::vector<Bf16> x = normals<Bf16>(static_cast<size_t>(elements), 1, 3.0f);
    x[0] = fromFloat<Bf16>(200.0f); // far beyond where exp overflows
    x[1] = fromFloat<Bf16>(-200.0f);
    std::vector<Bf16> d = normals<Bf16>(static_cast<size_t>(elements), 2);
    std::vector<Bf16> const inputs = x;
    std::vector<Bf16> const gradients = d;
    std::vector<Bf16> dx = unwritten(elements);
    std::vector<Bf16> out = unwritten(elements);
    int const groups = (tokens + NIT_COLUMN_ROWS - 1) / NIT_COLUMN_ROWS;
    std::vector<float> partial(static_cast<size_t>(groups * width), std::nanf(""));
    NitGeluBackwardParams p{};
    p.x = x.data();
    p.dOut = d.data();
    p.dx = inPlace ? d.data() : dx.data();
    p.out = inPlace ? x.data() : out.data();
    p.partial = partial.data();
    p.tokens = tokens;
    p.width = width;
    unsigned const blocks = static_cast<unsigned>(groups * ((width / 8 + kColumnThreads - 1) / kColumnThreads));
    emulator::launch(blocks, kColumnThreads, 0, order(), [&] { columnsKernel<true>(p); });
    std::vector<double> expectedDx;
    std::vector<double> expectedOut;
    std::vector<double> sums(static_cast<size_t>(width), 2.5);
    for (int64_t i = 0; i < elements; ++i)
    {
        double const v = at(inputs, i);
        double const u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
        double const t = std::tanh(u);
        double const slope = 0.5 * (1 + t) + 0.5 * v * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * v * v);
        expectedOut.push_back(0.5 * v * (1 + t));
        expectedDx.push_back(at(gradients, i) * slope);
        sums[static_cast<size_t>(i % width)] += expectedDx.back();
    }
    within(kBf16Bound, floats(inPlace ? d : dx), expectedDx, "dx");
    within(kBf16Bound, floats(inPlace ? x : out), expectedOut, "out");
    within(kSumBound, sumRows(partial, groups, width, width, 2.5f), sums, "sums");
}

void columnSumsAgree(int tokens, int width)
{
    std::vector<Bf16> const x = normals<Bf16>(static_cast<size_t>(tokens * width), 1);
    int const groups = (tokens + NIT_COLUMN_ROWS - 1) / NIT_COLUMN_ROWS;
    std::vector<float> partial(static_cast<size_t>(groups * width), std::nanf(""));
    NitGeluBackwardParams p{};
    p.x = x.data();
    p.partial = partial.data();
    p.tokens = tokens;
    p.width = width;
    unsigned const blocks = static_cast<unsigned>(groups * ((width / 8 + kColumnThreads - 1) / kColumnThreads));
    emulator::launch(blocks, kColumnThreads, 0, order(), [&] { columnsKernel<false>(p); });
    std::vector<double> sums(static_cast<size_t>(width));
    for (int64_t i = 0; i < static_cast<int64_t>(tokens) * width; ++i)
    {
        sums[static_cast<size_t>(i % width)] += at(x, i);
    }
    within(kSumBound, sumRows(partial, groups, width, width, 0.0f), sums, "sums");
    // Part of the columns, rows a stride apart.
    std::vector<double> const some(sums.begin(), sums.begin() + 5);
    within(kSumBound, sumRows(partial, groups, 5, width, 0.0f), some, "some of the sums");
}

template <int kLanes, int kVectors>
void ropeBackwardAgrees(int tokens, int heads, bool normed)
{
    int const headDim = kLanes * kVectors * 8;
    int64_t const width = static_cast<int64_t>(heads) * headDim;
    std::vector<Bf16> const qkv = normals<Bf16>(static_cast<size_t>(tokens * 3 * width), 1, 2.0f);
    std::vector<Bf16> const gradients = normals<Bf16>(static_cast<size_t>(tokens * 3 * width), 2); // dq, dk, dv
    std::vector<Bf16> const weights = normals<Bf16>(static_cast<size_t>(2 * headDim), 3);
    std::vector<float> cosine;
    std::vector<float> sine;
    for (int token = 0; token < tokens; ++token)
    {
        for (int c = 0; c < headDim; ++c)
        {
            cosine.push_back(1.25f * std::cos(static_cast<float>(token * (c / 2))));
            sine.push_back(1.25f * std::sin(static_cast<float>(token * (c / 2))));
        }
    }
    std::vector<Bf16> dqkv = unwritten(tokens * 3 * width);
    int const blocks = (tokens + NIT_ROPE_BACKWARD_ROWS - 1) / NIT_ROPE_BACKWARD_ROWS;
    std::vector<float> partialQ(static_cast<size_t>(blocks * 2 * headDim), std::nanf(""));
    std::vector<float> partialK = partialQ;
    NitQkNormRope2dBackwardParams p{};
    p.dq = gradients.data();
    p.dk = gradients.data() + tokens * width;
    p.dv = gradients.data() + 2 * tokens * width;
    p.qkv = qkv.data();
    p.cosine = cosine.data();
    p.sine = sine.data();
    p.qWeight = normed ? weights.data() : nullptr;
    p.kWeight = normed ? weights.data() + headDim : nullptr;
    p.dqkv = dqkv.data();
    p.partialQ = partialQ.data();
    p.partialK = partialK.data();
    p.tokens = tokens;
    p.heads = heads;
    p.headDim = headDim;
    p.epsilon = 1e-5f;
    emulator::launch(
        static_cast<unsigned>(3 * blocks), kRopeBackwardWarps * 32, static_cast<size_t>(ropeBackwardShared(headDim)),
        order(), [&] { qkNormRope2dBackwardKernel<kLanes, kVectors>(p); });

    std::vector<double> expected;
    std::vector<double> sums(static_cast<size_t>(4 * headDim)); // q weight, q bias, k weight, k bias
    for (int64_t token = 0; token < tokens; ++token)
    {
        for (int slot = 0; slot < 3 * heads; ++slot)
        {
            int const kind = slot / heads;
            std::vector<double> d;
            std::vector<double> n;
            double mean = 0;
            double variance = 0;
            for (int c = 0; c < headDim; ++c)
            {
                d.push_back(at(gradients, (kind * tokens + token) * width + slot % heads * headDim + c));
                n.push_back(at(qkv, (token * 3 * heads + slot) * headDim + c));
                mean += n.back() / headDim;
            }
            if (kind == 2)
            {
                expected.insert(expected.end(), d.begin(), d.end());
                continue;
            }
            std::vector<double> z(d.size());
            for (int c = 0; c < headDim; ++c)
            {
                double const other = c % 2 == 0 ? d[static_cast<size_t>(c + 1)] : -d[static_cast<size_t>(c - 1)];
                size_t const entry = static_cast<size_t>(token * headDim + c);
                z[static_cast<size_t>(c)] = d[static_cast<size_t>(c)] * cosine[entry] + other * sine[entry];
            }
            if (!normed)
            {
                expected.insert(expected.end(), z.begin(), z.end());
                continue;
            }
            for (double value : n)
            {
                variance += (value - mean) * (value - mean) / headDim;
            }
            double const sigma = std::sqrt(variance + 1e-5);
            double meanG = 0;
            double meanGn = 0;
            for (int c = 0; c < headDim; ++c)
            {
                double& normedValue = n[static_cast<size_t>(c)];
                normedValue = (normedValue - mean) / sigma;
                sums[static_cast<size_t>(kind * 2 * headDim + c)] += z[static_cast<size_t>(c)] * normedValue;
                sums[static_cast<size_t>((kind * 2 + 1) * headDim + c)] += z[static_cast<size_t>(c)];
                double const g = z[static_cast<size_t>(c)] * at(weights, kind * headDim + c);
                meanG += g / headDim;
                meanGn += g * normedValue / headDim;
            }
            for (int c = 0; c < headDim; ++c)
            {
                double const g = z[static_cast<size_t>(c)] * at(weights, kind * headDim + c);
                expected.push_back((g - meanG - n[static_cast<size_t>(c)] * meanGn) / sigma);
            }
        }
    }
    within(kBf16Bound, floats(dqkv), expected, "dqkv");
    if (normed)
    {
        std::vector<float> found = sumRows(partialQ, blocks, 2 * headDim, 2 * headDim, 0.0f);
        std::vector<float> const ofK = sumRows(partialK, blocks, 2 * headDim, 2 * headDim, 0.0f);
        found.insert(found.end(), ofK.begin(), ofK.end());
        within(kSumBound, found, sums, "weights' and biases' gradients");
    }
}

void logSumExpIsPadded()
{
    Pack const pack({3, 1, 5});
    int const heads = 2;
    int const longest = 5;
    std::vector<float> lse;
    for (int i = 0; i < heads * pack.tokens; ++i)
    {
        lse.push_back(static_cast<float>(i));
    }
    std::vector<int32_t> const image(pack.imageOf.begin(), pack.imageOf.end());
    std::vector<int32_t> const starts{0, 3, 4, 9};
    std::vector<float> padded(static_cast<size_t>(pack.images() * heads * longest), -1.0f);
    PadLogSumExpParams const p{lse.data(), image.data(), starts.data(), padded.data(), pack.tokens, heads, longest};
    emulator::launch(1, kPadThreads, 0, order(), [&] { padLogSumExpKernel(p); });
    std::vector<float> const expected{0,  1,  2,  -1, -1, 9, 10, 11, -1, -1, 3,  -1, -1, -1, -1,
                                      12, -1, -1, -1, -1, 4, 5,  6,  7,  8,  13, 14, 15, 16, 17};
    check(padded == expected, "entries stand where they should not");
}

void adamWAgrees(bool average, bool taken)
{
    int64_t const elements = 2 * kAdamWThreads * 8 + 8;
    std::vector<float> const gradients = floats(normals<Bf16>(static_cast<size_t>(elements), 1));
    std::vector<float> w = floats(normals<Bf16>(static_cast<size_t>(elements), 2));
    std::vector<float> m = floats(normals<Bf16>(static_cast<size_t>(elements), 3));
    std::vector<float> v(static_cast<size_t>(elements), 0.5f);
    std::vector<float> ema = w;
    std::vector<Bf16> copy = unwritten(elements);
    std::vector<float> const before = w;
    float const scalars[6] = {0.25f, taken ? 1.0f : 0.0f, 0.02f, 0.9f, 0.999f, 0.1f};
    std::vector<double> expectedW;
    std::vector<double> expectedM;
    std::vector<double> expectedEma;
    for (int64_t i = 0; i < elements; ++i)
    {
        size_t const e = static_cast<size_t>(i);
        double const g = gradients[e] * 0.25;
        double const mean = 0.9 * m[e] + 0.1 * g;
        double const square = 0.95 * v[e] + 0.05 * g * g;
        double const weight = w[e] * 0.999 - 0.02 * mean / (std::sqrt(square) / 0.9 + 1e-6);
        expectedW.push_back(taken ? weight : before[e]);
        expectedM.push_back(taken ? mean : m[e]);
        expectedEma.push_back(taken && average ? 0.9 * before[e] + 0.1 * weight : before[e]);
    }
    NitAdamWParams p{};
    p.parameters = w.data();
    p.expAvg = m.data();
    p.expAvgSq = v.data();
    p.average = average ? ema.data() : nullptr;
    p.copy = average ? copy.data() : nullptr;
    p.gradients = gradients.data();
    p.scalars = scalars;
    p.elements = elements;
    p.beta1 = 0.9f;
    p.beta2 = 0.95f;
    p.epsilon = 1e-6f;
    emulator::launch(3, kAdamWThreads, 0, order(), [&] { adamWKernel(p); });
    within(1e-6, w, expectedW, "weights");
    within(1e-6, m, expectedM, "running mean");
    within(1e-6, ema, expectedEma, "average");
    if (average && taken)
    {
        within(kBf16Bound, floats(copy), expectedW, "copy");
    }
    else
    {
        check(copy[0].bits == kNaNBits, "the copy was written");
    }
}

void everyKernel()
{
    run("backward of AdaLN", [] { layerNormBackwardAgrees(1152, true, false); });
    run("backward of AdaLN in place", [] { layerNormBackwardAgrees(384, true, true); });
    run("backward of AdaLN without a residual", [] { layerNormBackwardAgrees(2048, false, false); });
    run("backward of the gated residual",
        []
        {
            gatedResidualBackwardAgrees(1152);
            gatedResidualBackwardAgrees(40);
        });
    run("backward of GELU",
        []
        {
            geluBackwardAgrees(130, 1536, false);
            geluBackwardAgrees(3, 24, true);
        });
    run("sums of columns",
        []
        {
            columnSumsAgree(200, 96);
            columnSumsAgree(1, 8);
        });
    run("backward of QK-norm and RoPE",
        []
        {
            ropeBackwardAgrees<3, 3>(23, 16, true);
            ropeBackwardAgrees<4, 2>(41, 6, true);
        });
    run("backward of RoPE alone", [] { ropeBackwardAgrees<4, 2>(7, 3, false); });
    run("log-sum-exp, padded", [] { logSumExpIsPadded(); });
    run("AdamW, average and copy",
        []
        {
            adamWAgrees(true, true);
            adamWAgrees(false, true);
        });
    run("a step that is not taken changes nothing", [] { adamWAgrees(true, false); });
}

} // namespace

int all()
{
    for (gSeed = 0; gSeed < 4; ++gSeed)
    {
        std::printf("warps in order %u\n", gSeed);
        everyKernel();
    }
    return result();
}

} // namespace test
} // namespace nit

int main()
{
    return nit::test::all();
}
