#include "gatedResidualPlugin/gatedResidualPlugin.h"

#include <new>

#include "api/nitKernels.h"

namespace nit
{

using namespace nvinfer1;

PluginTable const& GatedResidualPlugin::table()
{
    static PluginTable const table{
        "NitGatedResidual",
        {{"x", TensorType::kNetwork, 2},
         {"y", TensorType::kNetwork, 2},
         {"gate", TensorType::kNetwork, 2},
         {"image_index", TensorType::kInt32, 1}},
        {{"out", TensorType::kNetwork, 2}},
        {},
    };
    return table;
}

GatedResidualPlugin::GatedResidualPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
}

void GatedResidualPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("y's rows (tokens)", in[0].dims.d[0], in[1].dims.d[0]);
    expect("y's columns (hidden)", in[0].dims.d[1], in[1].dims.d[1]);
    expect("gate's columns (hidden)", in[0].dims.d[1], in[2].dims.d[1]);
    expect("image_index's length (tokens)", in[0].dims.d[0], in[3].dims.d[0]);
}

int GatedResidualPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitAdaLnParams p{};
    p.x = inputs[0];
    p.y = inputs[1];
    p.gate = inputs[2];
    p.imageIndex = static_cast<int32_t const*>(inputs[3]);
    p.residual = outputs[0];
    p.tokens = in[0].dims.d[0];
    p.hidden = static_cast<int32_t>(in[0].dims.d[1]);
    p.modulationStride = p.hidden;
    p.type = kernelType(in[0].type);
    return nitGatedResidual(&p, stream);
}

IPluginV3* GatedResidualPlugin::clone() noexcept
{
    return new (std::nothrow) GatedResidualPlugin(attributes());
}

} // namespace nit
