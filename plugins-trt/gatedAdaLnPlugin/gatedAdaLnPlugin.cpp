#include "gatedAdaLnPlugin/gatedAdaLnPlugin.h"

#include <new>
#include <stdexcept>
#include <string>

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
        {{"epsilon", PluginFieldType::kFLOAT32},
         {"gate_at", PluginFieldType::kINT32},
         {"shift_at", PluginFieldType::kINT32},
         {"scale_at", PluginFieldType::kINT32}},
    };
    return table;
}

namespace
{

char const* const kParts[] = {"gate_at", "shift_at", "scale_at"}; // in the order of the inputs

} // namespace

GatedAdaLnPlugin::GatedAdaLnPlugin(Attributes const& attributes) : Plugin(table(), attributes)
{
    attributes.requireEpsilon();
    for (char const* part : kParts)
    {
        if (attributes.integer(part) < 0)
        {
            throw std::invalid_argument(
                std::string("expected ") + part + " >= 0, found " + std::to_string(attributes.integer(part)));
        }
    }
}

void GatedAdaLnPlugin::checkShapes(PluginTensorDesc const* in) const
{
    expect("y's rows (tokens)", in[0].dims.d[0], in[1].dims.d[0]);
    expect("y's columns (hidden)", in[0].dims.d[1], in[1].dims.d[1]);
    int64_t const hidden = in[0].dims.d[1];
    for (int i = 2; i < 5; ++i)
    {
        expect("columns of gate, shift and scale", in[2].dims.d[1], in[i].dims.d[1]);
        expect("rows of gate, shift and scale (images)", in[2].dims.d[0], in[i].dims.d[0]);
        int64_t const end = (attributes().integer(kParts[i - 2]) + int64_t{1}) * hidden;
        if (in[i].dims.d[1] % hidden != 0 || end > in[i].dims.d[1])
        {
            throw std::invalid_argument(
                std::string(kParts[i - 2]) + ": expected a multiple of hidden (" + std::to_string(hidden) +
                ") columns, at least " + std::to_string(end) + ", found " + std::to_string(in[i].dims.d[1]));
        }
    }
    expect("image_index's length (tokens)", in[0].dims.d[0], in[5].dims.d[0]);
}

int GatedAdaLnPlugin::launch(
    PluginTensorDesc const* in, void const* const* inputs, void* const* outputs, CUstream_st* stream) const
{
    NitAdaLnParams p{};
    p.x = inputs[0];
    p.y = inputs[1];
    int64_t const hidden = in[0].dims.d[1];
    auto const part = [&](int i)
    {
        constexpr int64_t kBytes = 2; // of bf16 and fp16
        return static_cast<char const*>(inputs[i]) + attributes().integer(kParts[i - 2]) * hidden * kBytes;
    };
    p.gate = part(2);
    p.shift = part(3);
    p.scale = part(4);
    p.imageIndex = static_cast<int32_t const*>(inputs[5]);
    p.residual = outputs[0];
    p.out = outputs[1];
    p.tokens = in[0].dims.d[0];
    p.hidden = static_cast<int32_t>(hidden);
    p.modulationStride = in[2].dims.d[1];
    p.epsilon = attributes().real("epsilon");
    p.type = kernelType(in[0].type);
    return nitGatedAdaLn(&p, stream);
}

IPluginV3* GatedAdaLnPlugin::clone() noexcept
{
    return new (std::nothrow) GatedAdaLnPlugin(attributes());
}

} // namespace nit
