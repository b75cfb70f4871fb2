#include "qkvLinearPlugin/qkvLinearPlugin.h"

#include <new>
#include <string>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& QkvLinearPlugin::table()
{
    static PluginTable const table{
        "NitQkvLinear",
        {{"x", TensorType::kNetwork, 2},
         {"weight", TensorType::kNetwork, 2},
         {"bias", TensorType::kNetwork, 1},
         {"rope_cos", TensorType::kFloat32, 2},
         {"rope_sin", TensorType::kFloat32, 2},
         {"q_norm_weight", TensorType::kNetwork, 1},
         {"q_norm_bias", TensorType::kNetwork, 1},
         {"k_norm_weight", TensorType::kNetwork, 1},
         {"k_norm_bias", TensorType::kNetwork, 1}},
        {{"out", TensorType::kNetwork, 2}},
        {{"num_heads", PluginFieldType::kINT32},
         {"head_dim", PluginFieldType::kINT32},
         {"qk_norm", PluginFieldType::kINT32},
         {"epsilon", PluginFieldType::kFLOAT32}},
    };
    return table;
}

QkvLinearPlugin::QkvLinearPlugin(Attributes const& attributes) : RopePlugin(table(), attributes, 3)
{
}

int32_t QkvLinearPlugin::configurePlugin(
    DynamicPluginTensorDesc const* in, int32_t nbInputs, DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept
{
    if (int32_t const error = Plugin::configurePlugin(in, nbInputs, out, nbOutputs))
    {
        return error;
    }
    int32_t const outFeatures = static_cast<int32_t>(in[1].desc.dims.d[0]);
    int32_t const inFeatures = static_cast<int32_t>(in[1].desc.dims.d[1]);
    int32_t const heads = attributes().integer("num_heads");
    int32_t const headDim = attributes().integer("head_dim");
    if (nitLinearSupports(inFeatures, outFeatures) == 0 || nitLinearSupportsHeads(heads, headDim) == 0)
    {
        logError(
            std::string(table().name) +
            ": expected compute capability 9.0, in and out features in multiples of 8, and heads of 72 columns or an "
            "even number of 64, found another device or " +
            std::to_string(inFeatures) + " and " + std::to_string(outFeatures) + ", " + std::to_string(heads) +
            " heads of " + std::to_string(headDim));
        return 1;
    }
    return 0;
}

void QkvLinearPlugin::outputShape(DimsExprs const* inputs, DimsExprs* output, IExprBuilder&) const
{
    output->d[1] = inputs[1].d[0];
}

void QkvLinearPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("weight's columns (in features)", in[0].dims.d[1], in[1].dims.d[1]);
    expect("weight's rows (3 num_heads head_dim)", qkvColumns(), in[1].dims.d[0]);
    expect("bias's length (3 num_heads head_dim)", qkvColumns(), in[2].dims.d[0]);
    checkRope(in);
}

int QkvLinearPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitLinearParams p{};
    p.x = inputs[0];
    p.weight = inputs[1];
    p.bias = inputs[2];
    setRope(p, inputs);
    p.out = outputs[0];
    p.tokens = in[0].dims.d[0];
    p.inFeatures = static_cast<int32_t>(in[1].dims.d[1]);
    p.outFeatures = static_cast<int32_t>(in[1].dims.d[0]);
    p.type = kernelType(in[0].type);
    return nitLinear(&p, stream);
}

IPluginV3* QkvLinearPlugin::clone() noexcept
{
    return new (std::nothrow) QkvLinearPlugin(attributes());
}

} // namespace nit
