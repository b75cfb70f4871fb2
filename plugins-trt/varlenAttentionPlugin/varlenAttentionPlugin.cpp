#include "varlenAttentionPlugin/varlenAttentionPlugin.h"

#include <new>
#include <stdexcept>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& VarlenAttentionPlugin::table()
{
    static PluginTable const table{
        "NitVarlenAttention",
        {{"qkv", TensorType::kNetwork, 2}, {"cu_seqlens", TensorType::kInt32, 1}},
        {{"out", TensorType::kNetwork, 2}},
        {{"num_heads", PluginFieldType::kINT32}, {"head_dim", PluginFieldType::kINT32}},
    };
    return table;
}

VarlenAttentionPlugin::VarlenAttentionPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    attributes.requireHeads();
}

void VarlenAttentionPlugin::outputShape(DimsExprs const*, DimsExprs* output, IExprBuilder& builder) const
{
    output->d[1] =
        builder.constant(static_cast<int64_t>(attributes().integer("num_heads")) * attributes().integer("head_dim"));
}

void VarlenAttentionPlugin::checkShapes(PluginTensorDesc const* in) const
{
    int64_t const width = static_cast<int64_t>(attributes().integer("num_heads")) * attributes().integer("head_dim");
    expect("qkv's columns (3 num_heads head_dim)", 3 * width, in[0].dims.d[1]);
    if (in[1].dims.d[0] < 1)
    {
        throw std::invalid_argument("cu_seqlens: expected images + 1 values, found none");
    }
}

int VarlenAttentionPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    int32_t const heads = attributes().integer("num_heads");
    int32_t const headDim = attributes().integer("head_dim");
    int64_t const width = static_cast<int64_t>(heads) * headDim;
    char const* const qkv = static_cast<char const*>(inputs[0]);
    NitVarlenAttentionParams p{};
    p.q = qkv;
    p.k = qkv + width * 2; // bytes: both types have two
    p.v = qkv + width * 4;
    p.out = outputs[0];
    p.cuSeqlens = static_cast<int32_t const*>(inputs[1]);
    p.tokens = in[0].dims.d[0];
    p.images = static_cast<int32_t>(in[1].dims.d[0] - 1);
    p.heads = heads;
    p.headDim = headDim;
    p.qTokenStride = p.kTokenStride = p.vTokenStride = 3 * width;
    p.outTokenStride = width;
    p.qHeadStride = p.kHeadStride = p.vHeadStride = p.outHeadStride = headDim;
    p.type = kernelType(in[0].type);
    return nitVarlenAttention(&p, stream);
}

IPluginV3* VarlenAttentionPlugin::clone() noexcept
{
    return new (std::nothrow) VarlenAttentionPlugin(attributes());
}

} // namespace nit
