#include "common/ropePlugin.h"

namespace nit
{

using namespace nvinfer1;

RopePlugin::RopePlugin(PluginTable const& table, Attributes const& attributes, int32_t firstTable)
    : Plugin(table, attributes), mFirstTable(firstTable)
{
    attributes.requireHeads();
    attributes.requireFlag("qk_norm");
    attributes.requireEpsilon();
}

bool RopePlugin::norms() const
{
    return attributes().integer("qk_norm") == 1;
}

int32_t RopePlugin::inputCount() const noexcept
{
    return mFirstTable + (norms() ? 6 : 2);
}

int64_t RopePlugin::qkvColumns() const
{
    return int64_t{3} * attributes().integer("num_heads") * attributes().integer("head_dim");
}

void RopePlugin::checkRope(PluginTensorDesc const* in) const
{
    int64_t const headDim = attributes().integer("head_dim");
    PluginTensorDesc const* const rope = in + mFirstTable;
    expect("rope_cos's rows (tokens)", in[0].dims.d[0], rope[0].dims.d[0]);
    expect("rope_cos's columns (head_dim)", headDim, rope[0].dims.d[1]);
    expect("rope_sin's rows (tokens)", in[0].dims.d[0], rope[1].dims.d[0]);
    expect("rope_sin's columns (head_dim)", headDim, rope[1].dims.d[1]);
    for (int32_t i = mFirstTable + 2; i < inputCount(); ++i)
    {
        expect(inputName(i), headDim, in[i].dims.d[0]);
    }
}

} // namespace nit
