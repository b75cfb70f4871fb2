#pragma once

#include "common/plugin.h"

namespace nit
{

//! A node that norms and rotates the heads of q and k: rope_cos and rope_sin, with qk_norm weight and bias of both
//! norms behind them, and the attributes num_heads, head_dim, qk_norm and epsilon.
class RopePlugin : public Plugin
{
protected:
    //! firstTable: which input is rope_cos. Throws std::invalid_argument on attributes that no node can have.
    RopePlugin(PluginTable const& table, Attributes const& attributes, int32_t firstTable);

    int32_t inputCount() const noexcept override;

    //! 3 num_heads head_dim.
    int64_t qkvColumns() const;

    //! Of the inputs from rope_cos on.
    void checkRope(nvinfer1::PluginTensorDesc const* in) const;

    //! Fills in those fields of the kernel's parameters that these inputs and attributes give.
    template <typename Params>
    void setRope(Params& p, void const* const* inputs) const
    {
        void const* const* const rope = inputs + mFirstTable;
        p.cosine = static_cast<float const*>(rope[0]);
        p.sine = static_cast<float const*>(rope[1]);
        if (norms())
        {
            p.qWeight = rope[2];
            p.qBias = rope[3];
            p.kWeight = rope[4];
            p.kBias = rope[5];
        }
        p.heads = attributes().integer("num_heads");
        p.headDim = attributes().integer("head_dim");
        p.epsilon = attributes().real("epsilon");
    }

private:
    bool norms() const;

    int32_t mFirstTable;
};

} // namespace nit
