#include "linearPlugin/linearPlugin.h"

#include <new>
#include <stdexcept>
#include <string>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& LinearPlugin::table()
{
    static PluginTable const table{
        "NitLinear",
        {{"x", TensorType::kNetwork, 2}, {"weight", TensorType::kNetwork, 2}, {"bias", TensorType::kNetwork, 1}},
        {{"out", TensorType::kNetwork, 2}},
        {{"activation", PluginFieldType::kINT32}},
    };
    return table;
}

LinearPlugin::LinearPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    int32_t const activation = attributes.integer("activation");
    if (activation != NIT_ACTIVATION_NONE && activation != NIT_ACTIVATION_GELU_TANH)
    {
        throw std::invalid_argument(
            "expected activation 0 (none) or 1 (GELU, tanh), found " + std::to_string(activation));
    }
}

int32_t LinearPlugin::configurePlugin(
    DynamicPluginTensorDesc const* in, int32_t nbInputs, DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept
{
    if (int32_t const error = Plugin::configurePlugin(in, nbInputs, out, nbOutputs))
    {
        return error;
    }
    int64_t const outFeatures = in[1].desc.dims.d[0];
    int64_t const inFeatures = in[1].desc.dims.d[1];
    if (nitLinearSupports(static_cast<int32_t>(inFeatures), static_cast<int32_t>(outFeatures)) == 0)
    {
        logError(
            std::string(table().name) +
            ": expected compute capability 9.0 and in and out features in multiples of 8, found another device or " +
            std::to_string(inFeatures) + " and " + std::to_string(outFeatures));
        return 1;
    }
    return 0;
}

void LinearPlugin::outputShape(DimsExprs const* inputs, DimsExprs* output, IExprBuilder&) const
{
    output->d[1] = inputs[1].d[0];
}

void LinearPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("weight's columns (in features)", in[0].dims.d[1], in[1].dims.d[1]);
    expect("bias's length (out features)", in[1].dims.d[0], in[2].dims.d[0]);
}

int LinearPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitLinearParams p{};
    p.x = inputs[0];
    p.weight = inputs[1];
    p.bias = inputs[2];
    p.out = outputs[0];
    p.tokens = in[0].dims.d[0];
    p.inFeatures = static_cast<int32_t>(in[1].dims.d[1]);
    p.outFeatures = static_cast<int32_t>(in[1].dims.d[0]);
    p.activation = attributes().integer("activation");
    p.type = kernelType(in[0].type);
    return nitLinear(&p, stream);
}

IPluginV3* LinearPlugin::clone() noexcept
{
    return new (std::nothrow) LinearPlugin(attributes());
}

} // namespace nit
