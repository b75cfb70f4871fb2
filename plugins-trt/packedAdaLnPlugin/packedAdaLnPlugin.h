#pragma once

#include "common/plugin.h"

namespace nit
{

//! The node NitPackedAdaLn; README.md and packedAdaLn_PluginConfig.yaml beside this file are its contract.
class PackedAdaLnPlugin : public Plugin
{
public:
    static PluginTable const& table();

    //! Throws std::invalid_argument on attributes that no node can have.
    explicit PackedAdaLnPlugin(Attributes const& attributes);

    nvinfer1::IPluginV3* clone() noexcept override;

protected:
    void checkShapes(nvinfer1::PluginTensorDesc const* in) const override;
    int launch(
        nvinfer1::PluginTensorDesc const* in, void const* const* inputs, void* const* outputs,
        CUstream_st* stream) const override;
};

} // namespace nit
