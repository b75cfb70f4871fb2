#include "common/plugin.h"

#include <cstring>
#include <exception>
#include <stdexcept>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

Attributes::Attributes(PluginTable const& table, PluginFieldCollection const* fields)
    : mTable(table), mValues(table.attributes.size())
{
    std::vector<bool> given(table.attributes.size());
    int32_t const count = fields == nullptr ? 0 : fields->nbFields;
    for (int32_t i = 0; i < count; ++i)
    {
        PluginField const& field = fields->fields[i];
        for (size_t j = 0; j < table.attributes.size(); ++j)
        {
            AttributeSpec const& spec = table.attributes[j];
            if (field.name == nullptr || std::strcmp(field.name, spec.name) != 0)
            {
                continue; // TensorRT hands over all attributes of the node, plugin_version among them
            }
            if (field.length != 1 || field.data == nullptr)
            {
                throw std::invalid_argument(
                    std::string("attribute ") + spec.name + ": expected one value, found " +
                    std::to_string(field.data == nullptr ? 0 : field.length));
            }
            if (spec.type == PluginFieldType::kINT32 && field.type == PluginFieldType::kINT32)
            {
                mValues[j].integer = *static_cast<int32_t const*>(field.data);
            }
            else if (spec.type == PluginFieldType::kINT32 && field.type == PluginFieldType::kINT64)
            {
                int64_t const value = *static_cast<int64_t const*>(field.data);
                mValues[j].integer = static_cast<int32_t>(value);
                if (mValues[j].integer != value)
                {
                    throw std::invalid_argument(
                        std::string("attribute ") + spec.name + ": expected 32 bits, found " + std::to_string(value));
                }
            }
            else if (spec.type == PluginFieldType::kFLOAT32 && field.type == PluginFieldType::kFLOAT32)
            {
                mValues[j].real = *static_cast<float const*>(field.data);
            }
            else
            {
                throw std::invalid_argument(
                    std::string("attribute ") + spec.name + ": expected " +
                    (spec.type == PluginFieldType::kINT32 ? "an integer" : "a float") + ", found field type " +
                    std::to_string(static_cast<int32_t>(field.type)));
            }
            given[j] = true;
        }
    }
    for (size_t j = 0; j < given.size(); ++j)
    {
        if (!given[j])
        {
            throw std::invalid_argument(std::string("attribute ") + table.attributes[j].name + ": expected, not found");
        }
    }
    collect();
}

Attributes::Attributes(Attributes const& other) : mTable(other.mTable), mValues(other.mValues)
{
    collect(); // the fields point at this object's values
}

void Attributes::collect()
{
    mFields.clear();
    for (size_t j = 0; j < mValues.size(); ++j)
    {
        AttributeSpec const& spec = mTable.attributes[j];
        void const* data = spec.type == PluginFieldType::kINT32 ? static_cast<void const*>(&mValues[j].integer)
                                                                : static_cast<void const*>(&mValues[j].real);
        mFields.push_back({spec.name, data, spec.type, 1});
    }
    mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
}

size_t Attributes::index(char const* name) const
{
    for (size_t j = 0; j < mTable.attributes.size(); ++j)
    {
        if (std::strcmp(mTable.attributes[j].name, name) == 0)
        {
            return j;
        }
    }
    throw std::logic_error(std::string("no attribute ") + name);
}

int32_t Attributes::integer(char const* name) const
{
    return mValues[index(name)].integer;
}

float Attributes::real(char const* name) const
{
    return mValues[index(name)].real;
}

void Attributes::requireHeads() const
{
    int32_t const heads = integer("num_heads");
    int32_t const headDim = integer("head_dim");
    if (heads < 1 || headDim < 8 || headDim > 128 || headDim % 8 != 0)
    {
        throw std::invalid_argument(
            "expected num_heads >= 1 and head_dim a multiple of 8 from 8 to 128, found " + std::to_string(heads) +
            " and " + std::to_string(headDim));
    }
}

void Attributes::requireFlag(char const* name) const
{
    int32_t const found = integer(name);
    if (found != 0 && found != 1)
    {
        throw std::invalid_argument(std::string("expected ") + name + " 0 or 1, found " + std::to_string(found));
    }
}

void Attributes::requireEpsilon() const
{
    if (!(real("epsilon") >= 0.0f))
    {
        throw std::invalid_argument("expected epsilon >= 0, found " + std::to_string(real("epsilon")));
    }
}

PluginFieldCollection const* Attributes::fields() const
{
    return &mCollection;
}

Plugin::Plugin(PluginTable const& table, Attributes const& attributes) : mTable(table), mAttributes(attributes)
{
}

IPluginCapability* Plugin::getCapabilityInterface(PluginCapabilityType type) noexcept
{
    switch (type)
    {
    case PluginCapabilityType::kCORE:
        return static_cast<IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD:
        return static_cast<IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME:
        return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

char const* Plugin::getPluginName() const noexcept
{
    return mTable.name;
}

char const* Plugin::getPluginVersion() const noexcept
{
    return kVersion;
}

char const* Plugin::getPluginNamespace() const noexcept
{
    return kNamespace;
}

int32_t Plugin::configurePlugin(
    DynamicPluginTensorDesc const*, int32_t nbInputs, DynamicPluginTensorDesc const*, int32_t nbOutputs) noexcept
{
    if (nbInputs != inputCount() || nbOutputs != getNbOutputs())
    {
        logError(
            std::string(mTable.name) + ": expected " + std::to_string(inputCount()) + " inputs and " +
            std::to_string(getNbOutputs()) + " outputs, found " + std::to_string(nbInputs) + " and " +
            std::to_string(nbOutputs));
        return 1;
    }
    return 0;
}

int32_t Plugin::getOutputDataTypes(
    DataType* outputTypes, int32_t nbOutputs, DataType const* inputTypes, int32_t nbInputs) const noexcept
{
    if (nbInputs < 1 || nbOutputs != getNbOutputs())
    {
        return 1;
    }
    for (int32_t i = 0; i < nbOutputs; ++i)
    {
        outputTypes[i] = inputTypes[0];
    }
    return 0;
}

int32_t Plugin::getOutputShapes(
    DimsExprs const* inputs, int32_t nbInputs, DimsExprs const*, int32_t, DimsExprs* outputs, int32_t nbOutputs,
    IExprBuilder& exprBuilder) noexcept
{
    if (nbInputs < 1 || nbOutputs != getNbOutputs())
    {
        return 1;
    }
    for (int32_t i = 0; i < nbInputs && i < static_cast<int32_t>(mTable.inputs.size()); ++i)
    {
        TensorSpec const& spec = mTable.inputs[static_cast<size_t>(i)];
        if (inputs[i].nbDims != spec.rank)
        {
            logError(
                std::string(mTable.name) + ": " + spec.name + ": expected " + std::to_string(spec.rank) +
                " dimensions, found " + std::to_string(inputs[i].nbDims));
            return 1;
        }
    }
    for (int32_t i = 0; i < nbOutputs; ++i)
    {
        outputs[i] = inputs[0];
        outputShape(inputs, &outputs[i], exprBuilder);
    }
    return 0;
}

void Plugin::outputShape(DimsExprs const*, DimsExprs*, IExprBuilder&) const
{
}

bool Plugin::supportsFormatCombination(
    int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept
{
    if (nbInputs != inputCount() || nbOutputs != getNbOutputs() || pos < 0 || pos >= nbInputs + nbOutputs)
    {
        return false;
    }
    TensorSpec const& spec =
        pos < nbInputs ? mTable.inputs[static_cast<size_t>(pos)] : mTable.outputs[static_cast<size_t>(pos - nbInputs)];
    PluginTensorDesc const& found = inOut[pos].desc;
    if (found.format != TensorFormat::kLINEAR)
    {
        return false;
    }
    switch (spec.type)
    {
    case TensorType::kInt32:
        return found.type == DataType::kINT32;
    case TensorType::kFloat32:
        return found.type == DataType::kFLOAT;
    case TensorType::kNetwork:
        break;
    }
    // Input 0 is of the network's type in every table.
    bool const known = found.type == DataType::kBF16 || found.type == DataType::kHALF;
    return known && found.type == inOut[0].desc.type;
}

int32_t Plugin::getNbOutputs() const noexcept
{
    return static_cast<int32_t>(mTable.outputs.size());
}

int32_t Plugin::guarded(char const* where, int32_t (*body)(void*), void* argument) const noexcept
{
    try
    {
        return body(argument);
    }
    catch (std::exception const& error)
    {
        logError(std::string(mTable.name) + " " + where + ": " + error.what());
        return 1;
    }
}

int32_t Plugin::onShapeChange(
    PluginTensorDesc const* in, int32_t nbInputs, PluginTensorDesc const*, int32_t nbOutputs) noexcept
{
    if (nbInputs != inputCount() || nbOutputs != getNbOutputs())
    {
        return 1;
    }
    struct Call
    {
        Plugin const* self;
        PluginTensorDesc const* in;
    } call{this, in};
    return guarded(
        "shapes",
        [](void* argument)
        {
            Call const& c = *static_cast<Call*>(argument);
            c.self->checkShapes(c.in);
            return int32_t{0};
        },
        &call);
}

int32_t Plugin::enqueue(
    PluginTensorDesc const* inputDesc, PluginTensorDesc const*, void const* const* inputs, void* const* outputs, void*,
    CUstream_st* stream) noexcept
{
    int const error = launch(inputDesc, inputs, outputs, stream);
    if (error != 0)
    {
        logError(std::string(mTable.name) + ": " + nitLastError());
    }
    return error;
}

IPluginV3* Plugin::attachToContext(IPluginResourceContext*) noexcept
{
    return clone();
}

PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept
{
    return mAttributes.fields();
}

int32_t Plugin::inputCount() const noexcept
{
    return static_cast<int32_t>(mTable.inputs.size());
}

char const* Plugin::inputName(int32_t input) const
{
    return mTable.inputs[static_cast<size_t>(input)].name;
}

Attributes const& Plugin::attributes() const noexcept
{
    return mAttributes;
}

int32_t Plugin::kernelType(DataType type) noexcept
{
    return type == DataType::kBF16 ? NIT_BF16 : NIT_FP16;
}

void Plugin::expect(char const* what, int64_t expected, int64_t found) const
{
    if (expected != found)
    {
        throw std::invalid_argument(
            std::string(what) + ": expected " + std::to_string(expected) + ", found " + std::to_string(found));
    }
}

} // namespace nit
