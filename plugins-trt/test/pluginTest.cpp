// The TensorRT side without TensorRT: this test plays its part through the same interfaces. Launches are recorded, not
// made. Argument: the plugins-trt folder, whose YAML files the tables are compared with.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "api/nitKernels.h"
#include "api/trtPlugin.h"

extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count);
extern "C" void setLoggerFinder(void* finder);
extern "C" int32_t getInferLibVersion();

namespace
{

using namespace nvinfer1;

int gFailures = 0;
std::string gLaunched;
NitVarlenAttentionParams gAttention;
NitQkNormRope2dParams gRope;
NitAdaLnParams gAdaLn;
NitLinearParams gLinear;
bool gLinearSupported = true;
bool gHeadsSupported = true;
int gLaunchResult = 0;

void check(bool holds, std::string const& claim)
{
    if (!holds)
    {
        ++gFailures;
        std::printf("FAILED: %s\n", claim.c_str());
    }
}

struct Logger : ILogger
{
    std::string last;

    void log(Severity, char const* message) noexcept override
    {
        last = message;
    }
};

struct Finder : ILoggerFinder
{
    Logger logger;

    ILogger* findLogger() override
    {
        return &logger;
    }
};

Finder gFinder;

//! TensorRT's expressions, as far as the plugins use them: an address with a value.
struct Expressions : apiv::VExprBuilder
{
    std::vector<std::unique_ptr<int64_t>> values;

    IDimensionExpr const* constant(int64_t value) override
    {
        values.push_back(std::make_unique<int64_t>(value));
        return reinterpret_cast<IDimensionExpr const*>(values.back().get());
    }

    IDimensionExpr const* operation(DimensionOperation, IDimensionExpr const&, IDimensionExpr const&) override
    {
        return nullptr;
    }

    static int64_t value(IDimensionExpr const* expression)
    {
        return *reinterpret_cast<int64_t const*>(expression);
    }
};

struct Builder : IExprBuilder
{
    explicit Builder(Expressions* expressions)
    {
        mImpl = expressions;
    }
};

//! A node's attributes. The values live on the heap, so that copies share them.
struct Fields
{
    std::vector<std::shared_ptr<void>> values;
    std::vector<PluginField> fields;

    template <typename V>
    Fields& add(char const* name, V value)
    {
        auto const kept = std::make_shared<V>(value);
        values.push_back(kept);
        bool const integer = std::is_same<V, int>::value;
        fields.push_back({name, kept.get(), integer ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32, 1});
        return *this;
    }

    PluginFieldCollection collection() const
    {
        return {static_cast<int32_t>(fields.size()), fields.data()};
    }
};

IPluginCreatorV3One* creator(std::string const& name)
{
    int32_t count = 0;
    IPluginCreatorInterface* const* const creators = getCreators(count);
    for (int32_t i = 0; i < count; ++i)
    {
        check(std::string(creators[i]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE", "kind of a creator");
        IPluginCreatorV3One* const found = static_cast<IPluginCreatorV3One*>(creators[i]);
        if (name == found->getPluginName())
        {
            return found;
        }
    }
    std::printf("no creator of %s\n", name.c_str());
    std::exit(1);
}

std::unique_ptr<IPluginV3> create(std::string const& name, Fields const& fields)
{
    PluginFieldCollection const collection = fields.collection();
    return std::unique_ptr<IPluginV3>(creator(name)->createPlugin("node", &collection, TensorRTPhase::kBUILD));
}

template <typename T>
T* capability(IPluginV3& plugin, PluginCapabilityType type)
{
    return static_cast<T*>(plugin.getCapabilityInterface(type));
}

IPluginV3OneBuild* build(IPluginV3& plugin)
{
    return capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}

IPluginV3OneRuntime* runtime(IPluginV3& plugin)
{
    return capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

PluginTensorDesc tensor(DataType type, std::vector<int64_t> const& dims)
{
    PluginTensorDesc desc{};
    desc.type = type;
    desc.dims.nbDims = static_cast<int32_t>(dims.size());
    for (size_t i = 0; i < dims.size(); ++i)
    {
        desc.dims.d[i] = dims[i];
    }
    return desc;
}

std::vector<DynamicPluginTensorDesc> dynamic(std::vector<PluginTensorDesc> const& tensors)
{
    std::vector<DynamicPluginTensorDesc> result;
    for (PluginTensorDesc const& desc : tensors)
    {
        DynamicPluginTensorDesc d{};
        d.desc = desc;
        result.push_back(d);
    }
    return result;
}

constexpr DataType kB = DataType::kBF16;
constexpr DataType kI = DataType::kINT32;
constexpr DataType kF = DataType::kFLOAT;

Fields attentionFields(int32_t heads = 16, int32_t headDim = 72)
{
    Fields fields;
    fields.add("num_heads", heads).add("head_dim", headDim);
    return fields;
}

Fields ropeFields(int32_t qkNorm = 1)
{
    Fields fields;
    fields.add("num_heads", 16).add("head_dim", 72).add("qk_norm", qkNorm).add("epsilon", 1e-5f);
    return fields;
}

Fields epsilonFields()
{
    Fields fields;
    fields.add("epsilon", 1e-6f);
    return fields;
}

Fields gatedFields(int32_t gate = 0, int32_t shift = 0, int32_t scale = 0)
{
    Fields fields;
    fields.add("epsilon", 1e-6f).add("gate_at", gate).add("shift_at", shift).add("scale_at", scale);
    return fields;
}

Fields linearFields(int32_t activation = NIT_ACTIVATION_GELU_TANH)
{
    Fields fields;
    fields.add("activation", activation);
    return fields;
}

void interfacesTellTheirKind()
{
    auto const plugin = create("NitVarlenAttention", attentionFields());
    check(std::string(plugin->getInterfaceInfo().kind) == "PLUGIN", "kind of a plugin");
    auto const kind = [&](PluginCapabilityType type)
    { return std::string(plugin->getCapabilityInterface(type)->getInterfaceInfo().kind); };
    check(kind(PluginCapabilityType::kCORE) == "PLUGIN_V3ONE_CORE", "kind of the core interface");
    check(kind(PluginCapabilityType::kBUILD) == "PLUGIN_V3ONE_BUILD", "kind of the build interface");
    check(kind(PluginCapabilityType::kRUNTIME) == "PLUGIN_V3ONE_RUNTIME", "kind of the runtime interface");
    auto* const core = capability<IPluginV3OneCore>(*plugin, PluginCapabilityType::kCORE);
    check(std::string(core->getPluginNamespace()) == "ai.nit", "namespace");
    check(std::string(core->getPluginVersion()) == "1", "version");
}

//! Every `name:` of a YAML file, in order.
std::vector<std::string> names(std::string const& path)
{
    std::ifstream file(path);
    check(file.good(), "cannot read " + path);
    std::vector<std::string> found;
    std::string line;
    while (std::getline(file, line))
    {
        size_t const at = line.find("name: ");
        if (at != std::string::npos && (at == 0 || line[at - 1] == '{'))
        {
            size_t const from = at + 6;
            found.push_back(line.substr(from, line.find_first_of(",}", from) - from));
        }
    }
    return found;
}

//! Types of the inputs and outputs as the plugin accepts them: for each position, which of bf16, int32 and fp32.
void tablesMatchYaml(std::string const& folder)
{
    struct Case
    {
        char const* name;
        char const* file;
        Fields fields;
        int32_t inputs;
    };
    std::vector<Case> const cases{
        {"NitVarlenAttention", "varlenAttention", attentionFields(), 2},
        {"NitQkNormRope2d", "qkNormRope2d", ropeFields(), 7},
        {"NitPackedAdaLn", "packedAdaLn", epsilonFields(), 4},
        {"NitGatedResidual", "gatedResidual", Fields(), 4},
        {"NitGatedAdaLn", "gatedAdaLn", gatedFields(), 6},
        {"NitLinear", "linear", linearFields(), 3},
        {"NitQkvLinear", "qkvLinear", ropeFields(), 9},
    };
    int32_t count = 0;
    getCreators(count);
    check(count == static_cast<int32_t>(cases.size()), "expected 7 creators, found " + std::to_string(count));
    for (Case const& c : cases)
    {
        std::string const path = folder + "/" + c.file + "Plugin/" + c.file + "_PluginConfig.yaml";
        std::vector<std::string> const expected = names(path);
        auto const plugin = create(c.name, c.fields);
        check(plugin != nullptr, std::string("cannot create ") + c.name);
        PluginFieldCollection const* const fields = creator(c.name)->getFieldNames();
        int32_t const outputs = build(*plugin)->getNbOutputs();
        check(
            expected.size() == static_cast<size_t>(1 + c.inputs + outputs + fields->nbFields),
            path + ": expected as many names as the plugin has");
        check(expected.front() == c.name, path + ": name");
        for (int32_t i = 0; i < fields->nbFields; ++i)
        {
            std::string const& name = expected[expected.size() - static_cast<size_t>(fields->nbFields - i)];
            check(name == fields->fields[i].name, path + ": attribute " + name);
        }

        // dtype: the type that the plugin takes at each position, next to a bf16 first input.
        std::ifstream file(path);
        std::string line;
        int32_t position = 0;
        while (std::getline(file, line))
        {
            size_t const at = line.find("dtype: ");
            if (at == std::string::npos)
            {
                continue;
            }
            std::string const dtype = line.substr(at + 7, line.find(',', at) - at - 7);
            for (DataType type : {kB, DataType::kHALF, kI, kF})
            {
                std::vector<PluginTensorDesc> tensors(static_cast<size_t>(c.inputs + outputs), tensor(kB, {1, 1}));
                tensors[static_cast<size_t>(position)].type = type;
                auto const descs = dynamic(tensors);
                bool const taken = build(*plugin)->supportsFormatCombination(position, descs.data(), c.inputs, outputs);
                bool const half = type == DataType::kHALF && position == 0; // then all of T are fp16
                bool const right = (dtype == "T" && (type == kB || half)) || (dtype == "int32" && type == kI) ||
                                   (dtype == "float32" && type == kF);
                check(
                    taken == right, path + ": position " + std::to_string(position) + " and type " +
                                        std::to_string(static_cast<int32_t>(type)));
            }
            ++position;
        }
        check(position == c.inputs + outputs, path + ": a dtype for every input and output");
    }
}

void shapesFollowTheInputs()
{
    Expressions expressions;
    Builder builder(&expressions);
    auto const plugin = create("NitVarlenAttention", attentionFields());
    DimsExprs inputs[2]{};
    inputs[0].nbDims = 2;
    inputs[0].d[0] = expressions.constant(1234);
    inputs[0].d[1] = expressions.constant(3456);
    inputs[1].nbDims = 1;
    inputs[1].d[0] = expressions.constant(5);
    DimsExprs output{};
    check(build(*plugin)->getOutputShapes(inputs, 2, nullptr, 0, &output, 1, builder) == 0, "shapes of attention");
    check(output.nbDims == 2 && output.d[0] == inputs[0].d[0], "attention keeps its tokens");
    check(Expressions::value(output.d[1]) == 1152, "attention's columns");

    inputs[0].nbDims = 3;
    check(build(*plugin)->getOutputShapes(inputs, 2, nullptr, 0, &output, 1, builder) != 0, "three dimensions refused");
    check(gFinder.logger.last == "NitVarlenAttention: qkv: expected 2 dimensions, found 3", gFinder.logger.last);
}

void attributesAreChecked()
{
    auto const refused = [](std::string const& name, Fields const& fields, std::string const& message)
    {
        gFinder.logger.last.clear();
        check(create(name, fields) == nullptr, name + " was made from bad attributes");
        check(gFinder.logger.last == "node: " + message, gFinder.logger.last);
    };
    refused("NitVarlenAttention", Fields(), "attribute num_heads: expected, not found");
    refused(
        "NitVarlenAttention", attentionFields(16, 71),
        "expected num_heads >= 1 and head_dim a multiple of 8 from 8 to 128, found 16 and 71");
    refused(
        "NitVarlenAttention", attentionFields(0, 72),
        "expected num_heads >= 1 and head_dim a multiple of 8 from 8 to 128, found 0 and 72");
    refused("NitLinear", linearFields(2), "expected activation 0 (none) or 1 (GELU, tanh), found 2");
    refused("NitQkNormRope2d", ropeFields(2), "expected qk_norm 0 or 1, found 2");
    refused("NitQkvLinear", ropeFields(2), "expected qk_norm 0 or 1, found 2");
    Fields wrong;
    wrong.add("epsilon", 1);
    refused("NitPackedAdaLn", wrong, "attribute epsilon: expected a float, found field type 5");
    Fields many = epsilonFields();
    many.fields[0].length = 2;
    refused("NitPackedAdaLn", many, "attribute epsilon: expected one value, found 2");

    Fields wide;
    int64_t const heads = 16;
    wide.add("head_dim", 72);
    wide.fields.push_back({"num_heads", &heads, PluginFieldType::kINT64, 1});
    wide.fields.push_back({"plugin_version", nullptr, PluginFieldType::kINT32, 0});
    check(create("NitVarlenAttention", wide) != nullptr, "64-bit attributes and foreign ones are taken");
}

void serialisedFieldsMakeTheSamePlugin()
{
    auto const plugin = create("NitQkNormRope2d", ropeFields());
    std::unique_ptr<IPluginV3> copy(plugin->clone());
    PluginFieldCollection const* const fields = runtime(*copy)->getFieldsToSerialize();
    check(fields->nbFields == 4, "four fields are serialised");
    check(*static_cast<int32_t const*>(fields->fields[1].data) == 72, "head_dim is serialised");
    std::unique_ptr<IPluginV3> const again(
        creator("NitQkNormRope2d")->createPlugin("node", fields, TensorRTPhase::kRUNTIME));
    PluginFieldCollection const* const second = runtime(*again)->getFieldsToSerialize();
    check(*static_cast<float const*>(second->fields[3].data) == 1e-5f, "epsilon survives");
    check(second->fields[3].data != fields->fields[3].data, "a plugin owns its values");
}

void mismatchedShapesAreNamed()
{
    auto const refused =
        [](IPluginV3& plugin, std::vector<PluginTensorDesc> const& in, int32_t outputs, std::string const& message)
    {
        gFinder.logger.last.clear();
        std::vector<PluginTensorDesc> const out(static_cast<size_t>(outputs));
        int32_t const code =
            runtime(plugin)->onShapeChange(in.data(), static_cast<int32_t>(in.size()), out.data(), outputs);
        check((code == 0) == message.empty(), "onShapeChange for: " + message);
        check(gFinder.logger.last == message, gFinder.logger.last);
    };
    auto const attention = create("NitVarlenAttention", attentionFields());
    refused(*attention, {tensor(kB, {7, 3456}), tensor(kI, {3})}, 1, "");
    refused(
        *attention, {tensor(kB, {7, 3455}), tensor(kI, {3})}, 1,
        "NitVarlenAttention shapes: qkv's columns (3 num_heads head_dim): expected 3456, found 3455");
    auto const fused = create("NitGatedAdaLn", gatedFields());
    std::vector<PluginTensorDesc> in{tensor(kB, {7, 1152}), tensor(kB, {7, 1152}), tensor(kB, {2, 1152}),
                                     tensor(kB, {2, 1152}), tensor(kB, {2, 1152}), tensor(kI, {7})};
    refused(*fused, in, 2, "");
    in[5] = tensor(kI, {8});
    refused(*fused, in, 2, "NitGatedAdaLn shapes: image_index's length (tokens): expected 7, found 8");
    in[5] = tensor(kI, {7});
    in[2] = in[3] = in[4] = tensor(kB, {2, 6 * 1152});
    auto const parts = create("NitGatedAdaLn", gatedFields(5, 0, 1));
    refused(*parts, in, 2, "");
    in[4] = tensor(kB, {2, 2 * 1152});
    refused(*parts, in, 2, "NitGatedAdaLn shapes: columns of gate, shift and scale: expected 6912, found 2304");
    in[2] = in[3] = in[4] = tensor(kB, {2, 5 * 1152});
    refused(
        *parts, in, 2,
        "NitGatedAdaLn shapes: gate_at: expected a multiple of hidden (1152) columns, at least 6912, found 5760");
    auto const linear = create("NitLinear", linearFields());
    refused(*linear, {tensor(kB, {7, 1152}), tensor(kB, {4608, 1152}), tensor(kB, {4608})}, 1, "");
    refused(
        *linear, {tensor(kB, {7, 1152}), tensor(kB, {4608, 1024}), tensor(kB, {4608})}, 1,
        "NitLinear shapes: weight's columns (in features): expected 1152, found 1024");
    refused(
        *linear, {tensor(kB, {7, 1152}), tensor(kB, {4608, 1152}), tensor(kB, {1152})}, 1,
        "NitLinear shapes: bias's length (out features): expected 4608, found 1152");
    auto const qkv = create("NitQkvLinear", ropeFields(0));
    std::vector<PluginTensorDesc> qkvIn{
        tensor(kB, {7, 1152}), tensor(kB, {3456, 1152}), tensor(kB, {3456}), tensor(kF, {7, 72}), tensor(kF, {7, 72})};
    refused(*qkv, qkvIn, 1, "");
    qkvIn[4] = tensor(kF, {7, 64});
    refused(*qkv, qkvIn, 1, "NitQkvLinear shapes: rope_sin's columns (head_dim): expected 72, found 64");
    qkvIn[1] = tensor(kB, {3072, 1152});
    refused(*qkv, qkvIn, 1, "NitQkvLinear shapes: weight's rows (3 num_heads head_dim): expected 3456, found 3072");
    check(create("NitGatedAdaLn", gatedFields(0, -1, 0)) == nullptr, "a negative part is refused");
}

void launchesCarryPointersAndStrides()
{
    auto const attention = create("NitVarlenAttention", attentionFields());
    std::vector<uint16_t> qkv(7 * 3456);
    std::vector<uint16_t> out(7 * 1152);
    std::vector<int32_t> cu{0, 3, 7};
    void const* inputs[2] = {qkv.data(), cu.data()};
    void* outputs[1] = {out.data()};
    std::vector<PluginTensorDesc> in{tensor(DataType::kHALF, {7, 3456}), tensor(kI, {3})};
    PluginTensorDesc const result = tensor(DataType::kHALF, {7, 1152});
    check(runtime(*attention)->enqueue(in.data(), &result, inputs, outputs, nullptr, nullptr) == 0, "attention runs");
    check(
        gLaunched == "attention" && gAttention.q == qkv.data() && gAttention.k == qkv.data() + 1152 &&
            gAttention.v == qkv.data() + 2304 && gAttention.images == 2 && gAttention.tokens == 7 &&
            gAttention.qTokenStride == 3456 && gAttention.outTokenStride == 1152 && gAttention.kHeadStride == 72 &&
            gAttention.type == NIT_FP16,
        "attention's parameters");

    auto const rope = create("NitQkNormRope2d", ropeFields(0));
    std::vector<float> table(7 * 72);
    void const* ropeInputs[3] = {qkv.data(), table.data(), table.data()};
    std::vector<PluginTensorDesc> ropeIn{tensor(kB, {7, 3456}), tensor(kF, {7, 72}), tensor(kF, {7, 72})};
    check(runtime(*rope)->enqueue(ropeIn.data(), &result, ropeInputs, outputs, nullptr, nullptr) == 0, "rope runs");
    check(
        gLaunched == "rope" && gRope.qWeight == nullptr && gRope.type == NIT_BF16 && gRope.qkvTokenStride == 3456,
        "rope's parameters");

    std::vector<uint16_t> modulation(2 * 3456);
    std::vector<int32_t> index(7);
    auto const fused = create("NitGatedAdaLn", gatedFields(2, 0, 1));
    void const* fusedInputs[6] = {qkv.data(),        out.data(),        modulation.data(),
                                  modulation.data(), modulation.data(), index.data()};
    void* fusedOutputs[2] = {qkv.data(), out.data()};
    std::vector<PluginTensorDesc> fusedIn{tensor(kB, {7, 1152}), tensor(kB, {7, 1152}), tensor(kB, {2, 3456}),
                                          tensor(kB, {2, 3456}), tensor(kB, {2, 3456}), tensor(kI, {7})};
    check(runtime(*fused)->enqueue(fusedIn.data(), &result, fusedInputs, fusedOutputs, nullptr, nullptr) == 0, "fused");
    check(
        gLaunched == "gatedAdaLn" && gAdaLn.gate == modulation.data() + 2304 && gAdaLn.shift == modulation.data() &&
            gAdaLn.scale == modulation.data() + 1152 && gAdaLn.modulationStride == 3456 && gAdaLn.hidden == 1152,
        "the fused node's parts");

    auto const linear = create("NitLinear", linearFields());
    std::vector<uint16_t> weight(64 * 32);
    std::vector<uint16_t> bias(64);
    void const* linearInputs[3] = {qkv.data(), weight.data(), bias.data()};
    std::vector<PluginTensorDesc> linearIn{tensor(kB, {7, 32}), tensor(kB, {64, 32}), tensor(kB, {64})};
    check(
        runtime(*linear)->enqueue(linearIn.data(), &result, linearInputs, outputs, nullptr, nullptr) == 0,
        "the linear layer runs");
    check(
        gLaunched == "linear" && gLinear.x == qkv.data() && gLinear.weight == weight.data() &&
            gLinear.bias == bias.data() && gLinear.out == out.data() && gLinear.tokens == 7 &&
            gLinear.inFeatures == 32 && gLinear.outFeatures == 64 && gLinear.activation == NIT_ACTIVATION_GELU_TANH &&
            gLinear.type == NIT_BF16 && gLinear.tileColumns == 0,
        "the linear layer's parameters");

    auto const heads = create("NitQkvLinear", ropeFields());
    std::vector<uint16_t> norm(4 * 72);
    void const* headInputs[9] = {qkv.data(),  weight.data(), bias.data(),   table.data(), table.data() + 1,
                                 norm.data(), &norm[72],     &norm[2 * 72], &norm[3 * 72]};
    std::vector<PluginTensorDesc> headIn{tensor(kB, {7, 1152}), tensor(kB, {3456, 1152}), tensor(kB, {3456}),
                                         tensor(kF, {7, 72}),   tensor(kF, {7, 72}),      tensor(kB, {72}),
                                         tensor(kB, {72}),      tensor(kB, {72}),         tensor(kB, {72})};
    check(
        runtime(*heads)->enqueue(headIn.data(), &result, headInputs, outputs, nullptr, nullptr) == 0,
        "the layer that makes q, k and v runs");
    check(
        gLaunched == "linear" && gLinear.x == qkv.data() && gLinear.weight == weight.data() &&
            gLinear.bias == bias.data() && gLinear.out == out.data() && gLinear.outFeatures == 3456 &&
            gLinear.heads == 16 && gLinear.headDim == 72 && gLinear.epsilon == 1e-5f &&
            gLinear.cosine == table.data() && gLinear.sine == table.data() + 1 && gLinear.qWeight == &norm[0] &&
            gLinear.qBias == &norm[72] && gLinear.kWeight == &norm[144] && gLinear.kBias == &norm[216] &&
            gLinear.activation == NIT_ACTIVATION_NONE,
        "its parameters");
    auto const plain = create("NitQkvLinear", ropeFields(0));
    check(runtime(*plain)->enqueue(headIn.data(), &result, headInputs, outputs, nullptr, nullptr) == 0, "without norm");
    check(gLinear.qWeight == nullptr && gLinear.kBias == nullptr && gLinear.heads == 16, "its parameters without norm");

    gLaunchResult = 700;
    gFinder.logger.last.clear();
    check(runtime(*rope)->enqueue(ropeIn.data(), &result, ropeInputs, outputs, nullptr, nullptr) == 700, "its code");
    check(gFinder.logger.last == "NitQkNormRope2d: the launch failed", gFinder.logger.last);
    gLaunchResult = 0;
}

//! The linear layer is for Hopper alone: elsewhere the builder is told so.
void linearIsRefusedWhereItDoesNotRun()
{
    auto const linear = create("NitLinear", linearFields());
    auto const in = dynamic({tensor(kB, {-1, 1152}), tensor(kB, {4608, 1152}), tensor(kB, {4608})});
    auto const out = dynamic({tensor(kB, {-1, 4608})});
    check(build(*linear)->configurePlugin(in.data(), 3, out.data(), 1) == 0, "taken on Hopper");
    gLinearSupported = false;
    gFinder.logger.last.clear();
    check(build(*linear)->configurePlugin(in.data(), 3, out.data(), 1) != 0, "refused elsewhere");
    check(
        gFinder.logger.last == "NitLinear: expected compute capability 9.0 and in and out features in multiples of 8, "
                               "found another device or 1152 and 4608",
        gFinder.logger.last);
    gLinearSupported = true;
    auto const qkv = create("NitQkvLinear", ropeFields(0));
    auto const qkvIn = dynamic(
        {tensor(kB, {-1, 1152}), tensor(kB, {3456, 1152}), tensor(kB, {3456}), tensor(kF, {-1, 72}),
         tensor(kF, {-1, 72})});
    auto const qkvOut = dynamic({tensor(kB, {-1, 3456})});
    check(build(*qkv)->configurePlugin(qkvIn.data(), 5, qkvOut.data(), 1) == 0, "heads taken on Hopper");
    gHeadsSupported = false;
    gFinder.logger.last.clear();
    check(build(*qkv)->configurePlugin(qkvIn.data(), 5, qkvOut.data(), 1) != 0, "other heads refused");
    check(
        gFinder.logger.last ==
            "NitQkvLinear: expected compute capability 9.0, in and out features in multiples of 8, and heads of 72 "
            "columns or an even number of 64, found another device or 1152 and 3456, 16 heads of 72",
        gFinder.logger.last);
    gHeadsSupported = true;

    Expressions expressions;
    Builder builder(&expressions);
    DimsExprs inputs[3]{};
    for (int i = 0; i < 3; ++i)
    {
        inputs[i].nbDims = i < 2 ? 2 : 1;
        inputs[i].d[0] = expressions.constant(10 + i);
        inputs[i].d[1] = expressions.constant(20 + i);
    }
    DimsExprs output{};
    check(build(*linear)->getOutputShapes(inputs, 3, nullptr, 0, &output, 1, builder) == 0, "shapes of the layer");
    check(output.nbDims == 2 && output.d[0] == inputs[0].d[0] && output.d[1] == inputs[1].d[0], "tokens, out features");
}

} // namespace

int32_t getInferLibVersion()
{
    return 100600;
}

int nitVarlenAttention(NitVarlenAttentionParams const* params, void*)
{
    gLaunched = "attention";
    gAttention = *params;
    return gLaunchResult;
}

int nitQkNormRope2d(NitQkNormRope2dParams const* params, void*)
{
    gLaunched = "rope";
    gRope = *params;
    return gLaunchResult;
}

int nitPackedAdaLn(NitAdaLnParams const* params, void*)
{
    gLaunched = "packedAdaLn";
    gAdaLn = *params;
    return gLaunchResult;
}

int nitGatedResidual(NitAdaLnParams const* params, void*)
{
    gLaunched = "gatedResidual";
    gAdaLn = *params;
    return gLaunchResult;
}

int nitGatedAdaLn(NitAdaLnParams const* params, void*)
{
    gLaunched = "gatedAdaLn";
    gAdaLn = *params;
    return gLaunchResult;
}

int nitLinear(NitLinearParams const* params, void*)
{
    gLaunched = "linear";
    gLinear = *params;
    return gLaunchResult;
}

int nitLinearSupports(int32_t, int32_t)
{
    return gLinearSupported ? 1 : 0;
}

int nitLinearSupportsHeads(int32_t, int32_t)
{
    return gHeadsSupported ? 1 : 0;
}

char const* nitLastError(void)
{
    return "the launch failed";
}

int main(int argc, char** argv)
{
    setLoggerFinder(static_cast<ILoggerFinder*>(&gFinder));
    interfacesTellTheirKind();
    tablesMatchYaml(argc > 1 ? argv[1] : ".");
    shapesFollowTheInputs();
    attributesAreChecked();
    serialisedFieldsMakeTheSamePlugin();
    mismatchedShapesAreNamed();
    launchesCarryPointersAndStrides();
    linearIsRefusedWhereItDoesNotRun();
    std::printf(gFailures == 0 ? "ok     plugins\n" : "FAILED plugins\n");
    return gFailures == 0 ? 0 : 1;
}
