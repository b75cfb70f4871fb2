#include "packedAdaLnPlugin/packedAdaLnPlugin.h"

#include <new>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& PackedAdaLnPlugin::table()
{
    static PluginTable const table{
        "NitPackedAdaLn",
        {{"x", TensorType::kNetwork, 2},
         {"shift", TensorType::kNetwork, 2},
         {"scale", TensorType::kNetwork, 2},
         {"image_index", TensorType::kInt32, 1}},
        {{"out", TensorType::kNetwork, 2}},
        {{"epsilon", PluginFieldType::kFLOAT32}},
    };
    return table;
}

PackedAdaLnPlugin::PackedAdaLnPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    attributes.requireEpsilon();
}

void PackedAdaLnPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("shift's columns (hidden)", in[0].dims.d[1], in[1].dims.d[1]);
    expect("scale's columns (hidden)", in[0].dims.d[1], in[2].dims.d[1]);
    expect("scale's rows (images)", in[1].dims.d[0], in[2].dims.d[0]);
    expect("image_index's length (tokens)", in[0].dims.d[0], in[3].dims.d[0]);
}

int PackedAdaLnPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitAdaLnParams p{};
    p.x = inputs[0];
    p.shift = inputs[1];
    p.scale = inputs[2];
    p.imageIndex = static_cast<int32_t const*>(inputs[3]);
    p.out = outputs[0];
    p.tokens = in[0].dims.d[0];
    p.hidden = static_cast<int32_t>(in[0].dims.d[1]);
    p.modulationStride = p.hidden;
    p.epsilon = attributes().real("epsilon");
    p.type = kernelType(in[0].type);
    return nitPackedAdaLn(&p, stream);
}

IPluginV3* PackedAdaLnPlugin::clone() noexcept
{
    return new (std::nothrow) PackedAdaLnPlugin(attributes());
}

} // namespace nit
