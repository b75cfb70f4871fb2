#pragma once

#include "common/ropePlugin.h"

namespace nit
{

//! The node NitQkNormRope2d; README.md and qkNormRope2d_PluginConfig.yaml beside this file are its contract.
class QkNormRope2dPlugin : public RopePlugin
{
public:
    static PluginTable const& table();

    //! Throws std::invalid_argument on attributes that no node can have.
    explicit QkNormRope2dPlugin(Attributes const& attributes);

    nvinfer1::IPluginV3* clone() noexcept override;

protected:
    void checkShapes(nvinfer1::PluginTensorDesc const* in) const override;
    int launch(
        nvinfer1::PluginTensorDesc const* in, void const* const* inputs, void* const* outputs,
        CUstream_st* stream) const override;
};

} // namespace nit
