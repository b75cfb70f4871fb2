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

QkNormRope2dPlugin::QkNormRope2dPlugin(Attributes const& attributes) : RopePlugin(table(), attributes, 1)
{
}

void QkNormRope2dPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("qkv's columns (3 num_heads head_dim)", qkvColumns(), in[0].dims.d[1]);
    checkRope(in);
}

int QkNormRope2dPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitQkNormRope2dParams p{};
    p.qkv = inputs[0];
    p.out = outputs[0];
    setRope(p, inputs);
    p.tokens = in[0].dims.d[0];
    p.qkvTokenStride = p.outTokenStride = in[0].dims.d[1];
    p.type = kernelType(in[0].type);
    return nitQkNormRope2d(&p, stream);
}

IPluginV3* QkNormRope2dPlugin::clone() noexcept
{
    return new (std::nothrow) QkNormRope2dPlugin(attributes());
}

} // namespace nit
