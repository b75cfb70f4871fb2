#pragma once

#include "common/ropePlugin.h"

namespace nit
{

//! The node NitQkvLinear; README.md and qkvLinear_PluginConfig.yaml beside this file are its contract.
class QkvLinearPlugin : public RopePlugin
{
public:
    static PluginTable const& table();

    //! Throws std::invalid_argument on attributes that no node can have.
    explicit QkvLinearPlugin(Attributes const& attributes);

    nvinfer1::IPluginV3* clone() noexcept override;

    //! Refuses devices, sizes and heads that the kernel does not serve, as NitLinear does.
    int32_t configurePlugin(
        nvinfer1::DynamicPluginTensorDesc const* in, int32_t nbInputs, nvinfer1::DynamicPluginTensorDesc const* out,
        int32_t nbOutputs) noexcept override;

protected:
    void outputShape(
        nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* output, nvinfer1::IExprBuilder& builder) const override;
    void checkShapes(nvinfer1::PluginTensorDesc const* in) const override;
    int launch(
        nvinfer1::PluginTensorDesc const* in, void const* const* inputs, void* const* outputs,
        CUstream_st* stream) const override;
};

} // namespace nit
