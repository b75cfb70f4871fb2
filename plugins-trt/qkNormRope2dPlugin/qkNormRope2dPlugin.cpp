#include "qkNormRope2dPlugin/qkNormRope2dPlugin.h"

#include <new>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& QkNormRope2dPlugin::table()
{
    static PluginTable const table{
        "NitQkNormRope2d",
        {{"qkv", TensorType::kNetwork, 2},
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

QkNormRope2dPlugin::QkNormRope2dPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    attributes.requireHeads();
    attributes.requireFlag("qk_norm");
    attributes.requireEpsilon();
}

int32_t QkNormRope2dPlugin::inputCount() const noexcept
{
    return attributes().integer("qk_norm") == 1 ? 7 : 3;
}

void QkNormRope2dPlugin::checkShapes(PluginTensorDesc const* in) const
{
    int64_t const headDim = attributes().integer("head_dim");
    expect("qkv's columns (3 num_heads head_dim)", 3 * attributes().integer("num_heads") * headDim, in[0].dims.d[1]);
    expect("rope_cos's rows (tokens)", in[0].dims.d[0], in[1].dims.d[0]);
    expect("rope_cos's columns (head_dim)", headDim, in[1].dims.d[1]);
    expect("rope_sin's rows (tokens)", in[0].dims.d[0], in[2].dims.d[0]);
    expect("rope_sin's columns (head_dim)", headDim, in[2].dims.d[1]);
    for (int32_t i = 3; i < inputCount(); ++i)
    {
        expect(table().inputs[static_cast<size_t>(i)].name, headDim, in[i].dims.d[0]);
    }
}

int QkNormRope2dPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitQkNormRope2dParams p{};
    p.qkv = inputs[0];
    p.out = outputs[0];
    p.cosine = static_cast<float const*>(inputs[1]);
    p.sine = static_cast<float const*>(inputs[2]);
    if (inputCount() == 7)
    {
        p.qWeight = inputs[3];
        p.qBias = inputs[4];
        p.kWeight = inputs[5];
        p.kBias = inputs[6];
    }
    p.tokens = in[0].dims.d[0];
    p.heads = attributes().integer("num_heads");
    p.headDim = attributes().integer("head_dim");
    p.qkvTokenStride = p.outTokenStride = in[0].dims.d[1];
    p.epsilon = attributes().real("epsilon");
    p.type = kernelType(in[0].type);
    return nitQkNormRope2d(&p, stream);
}

IPluginV3* QkNormRope2dPlugin::clone() noexcept
{
    return new (std::nothrow) QkNormRope2dPlugin(attributes());
}

} // namespace nit
