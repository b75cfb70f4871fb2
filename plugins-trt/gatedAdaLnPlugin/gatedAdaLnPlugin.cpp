#include "gatedAdaLnPlugin/gatedAdaLnPlugin.h"

#include <new>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& GatedAdaLnPlugin::table()
{
    static PluginTable const table{
        "NitGatedAdaLn",
        {{"x", TensorType::kNetwork, 2},
         {"y", TensorType::kNetwork, 2},
         {"gate", TensorType::kNetwork, 2},
         {"shift", TensorType::kNetwork, 2},
         {"scale", TensorType::kNetwork, 2},
         {"image_index", TensorType::kInt32, 1}},
        {{"residual", TensorType::kNetwork, 2}, {"out", TensorType::kNetwork, 2}},
        {{"epsilon", PluginFieldType::kFLOAT32}},
    };
    return table;
}

GatedAdaLnPlugin::GatedAdaLnPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    attributes.requireEpsilon();
}

void GatedAdaLnPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("y's rows (tokens)", in[0].dims.d[0], in[1].dims.d[0]);
    expect("y's columns (hidden)", in[0].dims.d[1], in[1].dims.d[1]);
    for (int i = 2; i < 5; ++i)
    {
        expect("columns of gate, shift and scale (hidden)", in[0].dims.d[1], in[i].dims.d[1]);
        expect("rows of gate, shift and scale (images)", in[2].dims.d[0], in[i].dims.d[0]);
    }
    expect("image_index's length (tokens)", in[0].dims.d[0], in[5].dims.d[0]);
}

int GatedAdaLnPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitAdaLnParams p{};
    p.x = inputs[0];
    p.y = inputs[1];
    p.gate = inputs[2];
    p.shift = inputs[3];
    p.scale = inputs[4];
    p.imageIndex = static_cast<int32_t const*>(inputs[5]);
    p.residual = outputs[0];
    p.out = outputs[1];
    p.tokens = in[0].dims.d[0];
    p.hidden = static_cast<int32_t>(in[0].dims.d[1]);
    p.modulationStride = p.hidden;
    p.epsilon = attributes().real("epsilon");
    p.type = kernelType(in[0].type);
    return nitGatedAdaLn(&p, stream);
}

IPluginV3* GatedAdaLnPlugin::clone() noexcept
{
    return new (std::nothrow) GatedAdaLnPlugin(attributes());
}

} // namespace nit
