// How TensorRT finds the plugins: IPluginRegistry::loadLibrary, trtexec --dynamicPlugins and Triton look these up by
// name. getCreators is TensorRT 10's and later; getPluginCreators (V2 plugins only) is asked by some loaders first and
// answers none.
#include "api/nitKernels.h"
#include "gatedAdaLnPlugin/gatedAdaLnPlugin.h"
#include "gatedResidualPlugin/gatedResidualPlugin.h"
#include "linearPlugin/linearPlugin.h"
#include "packedAdaLnPlugin/packedAdaLnPlugin.h"
#include "qkNormRope2dPlugin/qkNormRope2dPlugin.h"
#include "qkvLinearPlugin/qkvLinearPlugin.h"
#include "varlenAttentionPlugin/varlenAttentionPlugin.h"

extern "C" NIT_API nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count)
{
    using namespace nit;
    static PluginCreator<VarlenAttentionPlugin> varlenAttention;
    static PluginCreator<QkNormRope2dPlugin> qkNormRope2d;
    static PluginCreator<PackedAdaLnPlugin> packedAdaLn;
    static PluginCreator<GatedResidualPlugin> gatedResidual;
    static PluginCreator<GatedAdaLnPlugin> gatedAdaLn;
    static PluginCreator<LinearPlugin> linear;
    static PluginCreator<QkvLinearPlugin> qkvLinear;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {
        &varlenAttention, &qkNormRope2d, &packedAdaLn, &gatedResidual, &gatedAdaLn, &linear, &qkvLinear};
    count = static_cast<int32_t>(sizeof(creators) / sizeof(creators[0]));
    return creators;
}

extern "C" NIT_API void* const* getPluginCreators(int32_t& count)
{
    count = 0;
    return nullptr;
}
