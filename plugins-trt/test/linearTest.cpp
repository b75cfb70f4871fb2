// The linear layer on the CPU, against products in double precision: every tile, parts of K, shared operands, ragged
// sizes; and how layers are cut.
#include <cstring>

#include "linearPlugin/linear.cuh"
#include "test/checks.h"

namespace nit
{
namespace test
{
namespace
{

TensorMap emulatedMap(void const* base, int64_t rows, int64_t columns, int boxRows)
{
    TensorMap map;
    map.base = base;
    uint64_t const sizes[5] = {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), 1, 1, 1};
    std::copy(sizes, sizes + 5, map.sizes);
    map.strides[0] = static_cast<uint64_t>(columns) * 2;
    uint32_t const box[5] = {kLinearDepth, static_cast<uint32_t>(boxRows), 1, 1, 1};
    std::copy(box, box + 5, map.box);
    map.swizzle = static_cast<int>(Swizzle::k128Bytes);
    return map;
}

template <typename T, int kConsumers, int kColumns, int kHeadDim = 0>
void runKernel(NitLinearParams const& p, emulator::Options const& options)
{
    LinearLaunch launch;
    launch.p = p;
    launch.cut = linearCut(p);
    launch.x = emulatedMap(p.x, p.tokens, p.inFeatures, p.tileTokens / p.shareTokens);
    launch.weight = emulatedMap(p.weight, p.outFeatures, p.inFeatures, p.tileColumns / p.shareWeight);
    emulator::launch(
        {static_cast<unsigned>(launch.cut.rowClusters * launch.cut.clusterBlocks),
         static_cast<unsigned>(launch.cut.columnClusters)},
        LinearLayout<kConsumers, kColumns>::kThreads, static_cast<size_t>(linearSharedBytes(p)), options,
        [&] { linearKernel<T, kConsumers, kColumns, kHeadDim>(launch); },
        static_cast<unsigned>(launch.cut.clusterBlocks));
}

template <typename T, int kConsumers>
void runColumns(NitLinearParams const& p, emulator::Options const& options)
{
    switch (p.tileColumns)
    {
    case 72:
        return runKernel<T, kConsumers, 72>(p, options);
    case 96:
        return runKernel<T, kConsumers, 96>(p, options);
    case 128:
        return runKernel<T, kConsumers, 128>(p, options);
    default:
        break;
    }
    if constexpr (kConsumers < 4)
    {
        return p.tileColumns == 144 ? runKernel<T, kConsumers, 144>(p, options)
                                    : runKernel<T, kConsumers, 192>(p, options);
    }
    throw std::runtime_error("no tile of 256 tokens and " + std::to_string(p.tileColumns) + " columns");
}

template <typename T, int kConsumers>
void runHeads(NitLinearParams const& p, emulator::Options const& options)
{
    if (p.headDim == 64)
    {
        return runKernel<T, kConsumers, 128, 64>(p, options);
    }
    return p.tileColumns == 72 ? runKernel<T, kConsumers, 72, 72>(p, options)
                               : runKernel<T, kConsumers, 144, 72>(p, options);
}

//! A layer of random values, and its result in double precision.
template <typename T>
struct Layer
{
    int tokens;
    int inFeatures;
    int outFeatures;
    std::vector<T> x;
    std::vector<T> weight;
    std::vector<T> bias;

    Layer(int tokens_, int inFeatures_, int outFeatures_)
        : tokens(tokens_), inFeatures(inFeatures_), outFeatures(outFeatures_),
          x(normals<T>(static_cast<size_t>(tokens_) * inFeatures_, 1)),
          weight(normals<T>(static_cast<size_t>(outFeatures_) * inFeatures_, 2, 0.1f)),
          bias(normals<T>(static_cast<size_t>(outFeatures_), 3))
    {
    }

    std::vector<double> expected(bool gelu) const
    {
        std::vector<double> out;
        for (int token = 0; token < tokens; ++token)
        {
            for (int column = 0; column < outFeatures; ++column)
            {
                double sum = toFloat(bias[static_cast<size_t>(column)]);
                for (int k = 0; k < inFeatures; ++k)
                {
                    sum += static_cast<double>(toFloat(x[static_cast<size_t>(token * inFeatures + k)])) *
                           toFloat(weight[static_cast<size_t>(column * inFeatures + k)]);
                }
                double const root = std::sqrt(2.0 / 3.14159265358979323846);
                out.push_back(gelu ? 0.5 * sum * (1.0 + std::tanh(root * (sum + 0.044715 * sum * sum * sum))) : sum);
            }
        }
        return out;
    }

    std::vector<T> run(NitLinearParams p, emulator::Options const& options = {}) const
    {
        std::vector<T> out(static_cast<size_t>(tokens) * outFeatures, T{kNaNBits});
        p.x = x.data();
        p.weight = weight.data();
        p.bias = bias.data();
        p.out = out.data();
        p.tokens = tokens;
        p.inFeatures = inFeatures;
        p.outFeatures = outFeatures;
        planLinear(p, 132);
        if (p.heads != 0)
        {
            p.tileTokens == 64 ? runHeads<T, 1>(p, options) : runHeads<T, 2>(p, options);
            return out;
        }
        switch (p.tileTokens)
        {
        case 64:
            runColumns<T, 1>(p, options);
            break;
        case 128:
            runColumns<T, 2>(p, options);
            break;
        default:
            runColumns<T, 4>(p, options);
        }
        return out;
    }
};

NitLinearParams cut(int tileTokens, int tileColumns, int split, int shareWeight, int shareTokens, int stages = 0)
{
    NitLinearParams p{};
    p.tileTokens = tileTokens;
    p.tileColumns = tileColumns;
    p.split = split;
    p.shareWeight = shareWeight;
    p.shareTokens = shareTokens;
    p.stages = stages;
    return p;
}

template <typename T>
constexpr double bound()
{
    return isBf16<T>() ? 3e-3 : 4e-4;
}

template <typename T>
void agrees(Layer<T> const& layer, NitLinearParams const& p, emulator::Options const& options = {})
{
    double const error =
        relativeError(floats(layer.run(p, options)), layer.expected(p.activation == NIT_ACTIVATION_GELU_TANH));
    check(
        error < bound<T>(), std::to_string(layer.tokens) + " tokens, " + std::to_string(layer.inFeatures) + " to " +
                                std::to_string(layer.outFeatures) + " features, tile " + std::to_string(p.tileTokens) +
                                " x " + std::to_string(p.tileColumns) + ", split " + std::to_string(p.split) +
                                ", shares " + std::to_string(p.shareWeight) + " and " + std::to_string(p.shareTokens) +
                                ": relative error " + std::to_string(error));
}

void everyTile()
{
    Layer<Bf16> const layer(70, 200, 152);
    for (int const tileTokens : kLinearTileTokens)
    {
        for (int const tileColumns : kLinearTileColumns)
        {
            for (int split = 1; split <= 2 && linearHasTile(tileTokens, tileColumns); ++split)
            {
                agrees(layer, cut(tileTokens, tileColumns, split, 1, 1));
            }
        }
    }
}

//! Parts of K of different lengths, each with its share of the sums.
void everySplit()
{
    Layer<Fp16> const layer(66, 600, 80);
    for (int split = 1; split <= kLinearMaxCluster; ++split)
    {
        NitLinearParams p = cut(128, 72, split, 1, 1, 2);
        p.activation = split % 2;
        agrees(layer, p);
    }
}

//! More stages than K has, fewer, and every way to share, in orders that the engine might choose.
void everyShare(unsigned seed)
{
    Layer<Bf16> const layer(150, 460, 200);
    emulator::Options options;
    options.seed = seed;
    options.lateCopies = seed % 3 != 1;
    for (int shareWeight = 1; shareWeight <= kLinearMaxShare; ++shareWeight)
    {
        for (int shareTokens = 1; shareTokens <= kLinearMaxShare; ++shareTokens)
        {
            for (int split = 1; split <= 2; ++split)
            {
                int const columns = shareWeight == 1 ? 72 : 96;
                agrees(layer, cut(64, columns, split, shareWeight, shareTokens, 2 + split), options);
                agrees(layer, cut(128, 144, split, shareWeight, shareTokens, 2), options);
            }
        }
    }
}

//! What norm and rotation make of the layer's exact result.
template <typename T>
std::vector<double> normedAndRotated(std::vector<double> qkv, NitLinearParams const& p, int tokens)
{
    for (int token = 0; token < tokens; ++token)
    {
        for (int slot = 0; slot < 2 * p.heads; ++slot)
        {
            double* const head = qkv.data() + (static_cast<size_t>(token) * 3 * p.heads + slot) * p.headDim;
            double mean = 0;
            double variance = 0;
            for (int i = 0; i < p.headDim; ++i)
            {
                mean += head[i] / p.headDim;
            }
            for (int i = 0; i < p.headDim; ++i)
            {
                variance += (head[i] - mean) * (head[i] - mean) / p.headDim;
            }
            T const* const weight = static_cast<T const*>(slot < p.heads ? p.qWeight : p.kWeight);
            T const* const bias = static_cast<T const*>(slot < p.heads ? p.qBias : p.kBias);
            for (int i = 0; i < p.headDim && weight != nullptr; ++i)
            {
                head[i] = (head[i] - mean) / std::sqrt(variance + p.epsilon) * toFloat(weight[i]) + toFloat(bias[i]);
            }
            for (int i = 0; i < p.headDim; i += 2)
            {
                double const c = p.cosine[token * p.headDim + i];
                double const s = p.sine[token * p.headDim + i];
                double const a = head[i];
                double const b = head[i + 1];
                head[i] = a * c - b * s;
                head[i + 1] = b * c + a * s;
            }
        }
    }
    return qkv;
}

//! q, k and v of a layer that norms and rotates: every tile, ragged tokens, with and without norm.
template <typename T>
void heads(int headDim, int count, int tokens)
{
    Layer<T> const layer(tokens, 200, 3 * count * headDim);
    std::vector<float> cosine;
    std::vector<float> sine;
    for (float const angle : floats(normals<T>(static_cast<size_t>(tokens) * headDim / 2, 4)))
    {
        cosine.insert(cosine.end(), 2, std::cos(angle));
        sine.insert(sine.end(), 2, std::sin(angle));
    }
    std::vector<T> const norm = normals<T>(static_cast<size_t>(headDim) * 4, 5);
    for (int const tileTokens : kLinearTileTokens)
    {
        for (int const tileColumns : kLinearTileColumns)
        {
            for (int const variant : {0, 1, 2})
            {
                if (!linearHasHeadTile(tileTokens, tileColumns, count, headDim))
                {
                    continue;
                }
                NitLinearParams p = cut(
                    tileTokens, tileColumns, 1, variant == 2 && tileColumns % 16 == 0 ? 2 : 1, variant == 2 ? 2 : 1);
                p.heads = count;
                p.headDim = headDim;
                p.epsilon = 1e-5f;
                p.cosine = cosine.data();
                p.sine = sine.data();
                if (variant != 0)
                {
                    p.qWeight = norm.data();
                    p.qBias = norm.data() + headDim;
                    p.kWeight = norm.data() + 2 * headDim;
                    p.kBias = norm.data() + 3 * headDim;
                }
                double const error =
                    relativeError(floats(layer.run(p)), normedAndRotated<T>(layer.expected(false), p, tokens));
                check(
                    error < bound<T>(), std::to_string(tokens) + " tokens, " + std::to_string(count) + " heads of " +
                                            std::to_string(headDim) + ", tile " + std::to_string(tileTokens) + " x " +
                                            std::to_string(tileColumns) + ": relative error " + std::to_string(error));
            }
        }
    }
}

void ragged()
{
    for (int const tokens : {1, 7, 64, 65, 129})
    {
        for (int const features : {8, 72, 136})
        {
            NitLinearParams p{};
            p.activation = NIT_ACTIVATION_GELU_TANH;
            agrees(Layer<Bf16>(tokens, features, 144 - features + 8), p);
        }
    }
}

//! The same bits whatever the order of threads, blocks and copies.
void deterministic()
{
    Layer<Bf16> const layer(130, 520, 144);
    NitLinearParams const p = cut(64, 96, 4, 2, 1, 2);
    std::vector<Bf16> const first = layer.run(p);
    for (unsigned seed = 1; seed <= 4; ++seed)
    {
        emulator::Options options;
        options.seed = seed;
        options.lateCopies = seed % 2 == 0;
        std::vector<Bf16> const again = layer.run(p, options);
        check(
            std::memcmp(first.data(), again.data(), first.size() * sizeof(Bf16)) == 0,
            "seed " + std::to_string(seed) + " gave other bits");
    }
}

//! Every choice is one that can run, and its tiles cover the layer.
void choicesCoverTheLayer()
{
    for (int const tokens : {1, 64, 65, 128, 200, 512, 1000, 2048, 16384})
    {
        for (int const hidden : {384, 768, 1024, 1152, 1536})
        {
            int const layers[4][2] = {
                {hidden, 3 * hidden}, {hidden, hidden}, {hidden, 4 * hidden}, {4 * hidden, hidden}};
            for (auto const& layer : layers)
            {
                NitLinearParams p{};
                p.tokens = tokens;
                p.inFeatures = layer[0];
                p.outFeatures = layer[1];
                planLinear(p, 132);
                LinearCut const c = linearCut(p);
                int64_t const covered =
                    static_cast<int64_t>(c.clusters) * p.shareWeight * p.shareTokens * p.tileTokens * p.tileColumns;
                bool const fits = linearSharedBytes(p) <= kLinearMaxShared && p.stages >= 2 &&
                                  p.stages <= kLinearMaxStages && linearHasTile(p.tileTokens, p.tileColumns) &&
                                  p.tileColumns % (8 * p.shareWeight) == 0 && c.clusterBlocks <= kLinearMaxCluster &&
                                  p.split <= c.depthSteps;
                check(
                    fits && covered >= static_cast<int64_t>(tokens) * layer[1],
                    "the cut of " + std::to_string(tokens) + " tokens, " + std::to_string(layer[0]) + " to " +
                        std::to_string(layer[1]));
            }
        }
    }
}

//! A layer that makes heads has tiles of whole ones, and K in one part.
void choicesForHeads()
{
    for (int const tokens : {1, 64, 128, 300, 512, 2048})
    {
        for (int const headDim : {64, 72})
        {
            for (int const count : {6, 12, 16})
            {
                NitLinearParams p{};
                p.tokens = tokens;
                p.inFeatures = count * headDim;
                p.outFeatures = 3 * count * headDim;
                p.heads = count;
                p.headDim = headDim;
                planLinear(p, 132);
                check(
                    linearHasHeadTile(p.tileTokens, p.tileColumns, count, headDim) && p.split == 1 && p.stages >= 2 &&
                        linearSharedBytes(p) <= kLinearMaxShared,
                    "the cut of " + std::to_string(tokens) + " tokens, " + std::to_string(count) + " heads of " +
                        std::to_string(headDim));
            }
        }
    }
}

void whatNoCutFitsIsLeftAsForced()
{
    NitLinearParams p = cut(0, 0, 8, 2, 0);
    p.tokens = 8;
    p.inFeatures = 1152;
    p.outFeatures = 1152;
    planLinear(p, 132);
    check(
        p.split == 8 && p.shareWeight == 2 && p.shareTokens == 1 && p.tileTokens == 64 && p.tileColumns == 72 &&
            p.stages == 2,
        "a cluster of 16 keeps what was forced, and nothing is 0");
}

//! A measured cut holds for the GPU it was measured on, for its tokens and down to half of them, unless forced.
void measuredCutsAreTaken()
{
    for (LinearMeasured const& m : kLinearMeasured)
    {
        NitLinearParams p{};
        p.inFeatures = m.inFeatures;
        p.outFeatures = m.outFeatures;
        p.headDim = m.headDim;
        p.heads = m.headDim == 0 ? 0 : m.outFeatures / (3 * m.headDim);
        for (int64_t const tokens : {m.tokens, m.tokens / 2 + 1})
        {
            p.tokens = tokens;
            check(linearMeasured(p, kLinearMeasuredProcessors) == &m, "the cut of " + std::to_string(m.tokens));
        }
        check(linearMeasured(p, 78) == nullptr, "another GPU has another cut");
        NitLinearParams q = p;
        planLinear(q, kLinearMeasuredProcessors);
        check(q.tileTokens == m.tileTokens && q.split == m.split && q.stages == m.stages, "the measured cut");
        p.split = m.split == 1 ? 2 : 1;
        planLinear(p, kLinearMeasuredProcessors);
        check(p.split != m.split, "what is forced stays");
    }
}

} // namespace

int all()
{
    run("linear, choices cover the layer", [] { choicesCoverTheLayer(); });
    run("linear, what no cut fits is left as forced", [] { whatNoCutFitsIsLeftAsForced(); });
    run("linear, measured cuts are taken", [] { measuredCutsAreTaken(); });
    run("linear, every tile", [] { everyTile(); });
    run("linear, every split", [] { everySplit(); });
    for (unsigned seed = 0; seed < 4; ++seed)
    {
        run("linear, every share", [seed] { everyShare(seed); });
    }
    run("linear, ragged", [] { ragged(); });
    run("linear, choices for heads", [] { choicesForHeads(); });
    run("linear, heads of 72, bf16", [] { heads<Bf16>(72, 2, 70); });
    run("linear, heads of 72, fp16, ragged", [] { heads<Fp16>(72, 3, 131); });
    run("linear, heads of 64, bf16, ragged", [] { heads<Bf16>(64, 4, 37); });
    run("linear, deterministic", [] { deterministic(); });
    return result();
}

} // namespace test
} // namespace nit

int main()
{
    return nit::test::all();
}
