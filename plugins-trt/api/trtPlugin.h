// The part of TensorRT's C++ interface that a V3 plugin and a monitor of builds touch, declared by us.
//
// TensorRT's headers come in no package that the build could name, and a plugin needs little of them: the layout of a
// few plain structs and the order of the virtual functions of the V3 interfaces. Both are public and versioned: every
// interface says its kind and version (getInterfaceInfo), and these stand unchanged in TensorRT 10.0 to 11.1. Written
// after NVIDIA's API reference; a library built with it was loaded by TensorRT 10.6.
//
// Order matters here and nowhere else: do not sort, add or drop virtual functions.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace nvinfer1
{

using AsciiChar = char;

enum class DataType : int32_t
{
    kFLOAT = 0,
    kHALF = 1,
    kINT8 = 2,
    kINT32 = 3,
    kBF16 = 7,
    kINT64 = 8,
};

enum class TensorFormat : int32_t
{
    kLINEAR = 0,
};

struct Dims64
{
    int32_t nbDims;
    int64_t d[8];
};

struct PluginTensorDesc
{
    Dims64 dims;
    DataType type;
    TensorFormat format;
    float scale;
};

struct DynamicPluginTensorDesc
{
    PluginTensorDesc desc;
    Dims64 min;
    Dims64 max;
    Dims64 opt;
};

enum class PluginFieldType : int32_t
{
    kFLOAT32 = 1,
    kINT32 = 5,
    kINT64 = 10,
};

struct PluginField
{
    AsciiChar const* name;
    void const* data;
    PluginFieldType type;
    int32_t length; // elements
};

struct PluginFieldCollection
{
    int32_t nbFields;
    PluginField const* fields;
};

enum class TensorRTPhase : int32_t
{
    kBUILD = 0,
    kRUNTIME = 1,
};

enum class PluginCapabilityType : int32_t
{
    kCORE = 0,
    kBUILD = 1,
    kRUNTIME = 2,
};

// ---------------------------------------------------------------------------------------------------------------------
// Dimensions of outputs as expressions. These objects are TensorRT's; a call goes through the object behind mImpl.

enum class DimensionOperation : int32_t
{
    kSUM = 0,
    kPROD = 1,
};

class IDimensionExpr;

namespace apiv
{

class VExprBuilder
{
public:
    virtual ~VExprBuilder() noexcept = default;
    virtual IDimensionExpr const* constant(int64_t value) = 0;
    virtual IDimensionExpr const* operation(
        DimensionOperation op, IDimensionExpr const& first, IDimensionExpr const& second) = 0;
};

} // namespace apiv

class IExprBuilder
{
public:
    IDimensionExpr const* constant(int64_t value) noexcept
    {
        return mImpl->constant(value);
    }

protected:
    virtual ~IExprBuilder() noexcept = default;
    apiv::VExprBuilder* mImpl;
};

struct DimsExprs
{
    int32_t nbDims;
    IDimensionExpr const* d[8];
};

// ---------------------------------------------------------------------------------------------------------------------
// Interfaces that the plugin implements.

struct InterfaceInfo
{
    char const* kind;
    int32_t major;
    int32_t minor;
};

enum class APILanguage : int32_t
{
    kCPP = 0,
};

class IVersionedInterface
{
public:
    virtual APILanguage getAPILanguage() const noexcept
    {
        return APILanguage::kCPP;
    }
    virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
    virtual ~IVersionedInterface() noexcept = default;
};

class IPluginCapability : public IVersionedInterface
{
};

class IPluginResourceContext;

class IPluginV3 : public IVersionedInterface
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"PLUGIN", 1, 0};
    }
    virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept = 0;
    virtual IPluginV3* clone() noexcept = 0;
};

class IPluginV3OneCore : public IPluginCapability
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"PLUGIN_V3ONE_CORE", 1, 0};
    }
    virtual AsciiChar const* getPluginName() const noexcept = 0;
    virtual AsciiChar const* getPluginVersion() const noexcept = 0;
    virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

class IPluginV3OneBuild : public IPluginCapability
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"PLUGIN_V3ONE_BUILD", 1, 0};
    }
    virtual int32_t configurePlugin(
        DynamicPluginTensorDesc const* in, int32_t nbInputs, DynamicPluginTensorDesc const* out,
        int32_t nbOutputs) noexcept = 0;
    virtual int32_t getOutputDataTypes(
        DataType* outputTypes, int32_t nbOutputs, DataType const* inputTypes, int32_t nbInputs) const noexcept = 0;
    virtual int32_t getOutputShapes(
        DimsExprs const* inputs, int32_t nbInputs, DimsExprs const* shapeInputs, int32_t nbShapeInputs,
        DimsExprs* outputs, int32_t nbOutputs, IExprBuilder& exprBuilder) noexcept = 0;
    virtual bool supportsFormatCombination(
        int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept = 0;
    virtual int32_t getNbOutputs() const noexcept = 0;
    virtual size_t getWorkspaceSize(
        DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) const noexcept
    {
        return 0;
    }
    virtual int32_t getValidTactics(int32_t*, int32_t) noexcept
    {
        return 0;
    }
    virtual int32_t getNbTactics() noexcept
    {
        return 0;
    }
    virtual char const* getTimingCacheID() noexcept
    {
        return nullptr;
    }
    virtual int32_t getFormatCombinationLimit() noexcept
    {
        return 100;
    }
    virtual char const* getMetadataString() noexcept
    {
        return nullptr;
    }
};

class IPluginV3OneRuntime : public IPluginCapability
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"PLUGIN_V3ONE_RUNTIME", 1, 0};
    }
    virtual int32_t setTactic(int32_t) noexcept
    {
        return 0;
    }
    virtual int32_t onShapeChange(
        PluginTensorDesc const* in, int32_t nbInputs, PluginTensorDesc const* out, int32_t nbOutputs) noexcept = 0;
    virtual int32_t enqueue(
        PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs,
        void* const* outputs, void* workspace, CUstream_st* stream) noexcept = 0;
    virtual IPluginV3* attachToContext(IPluginResourceContext* context) noexcept = 0;
    virtual PluginFieldCollection const* getFieldsToSerialize() noexcept = 0;
};

class IPluginCreatorInterface : public IVersionedInterface
{
};

class IPluginCreatorV3One : public IPluginCreatorInterface
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"PLUGIN CREATOR_V3ONE", 1, 0};
    }
    virtual IPluginV3* createPlugin(
        AsciiChar const* name, PluginFieldCollection const* fields, TensorRTPhase phase) noexcept = 0;
    virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
    virtual AsciiChar const* getPluginName() const noexcept = 0;
    virtual AsciiChar const* getPluginVersion() const noexcept = 0;
    virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
// What a build tells of its progress, from threads of its own.

class IProgressMonitor : public IVersionedInterface
{
public:
    InterfaceInfo getInterfaceInfo() const noexcept override
    {
        return {"IProgressMonitor", 1, 0};
    }
    virtual void phaseStart(AsciiChar const* phaseName, AsciiChar const* parentPhase, int32_t nbSteps) noexcept = 0;
    virtual bool stepComplete(AsciiChar const* phaseName, int32_t step) noexcept = 0;
    virtual void phaseFinish(AsciiChar const* phaseName) noexcept = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
// TensorRT's logger, handed over by whoever loads the library.

class ILogger
{
public:
    enum class Severity : int32_t
    {
        kINTERNAL_ERROR = 0,
        kERROR = 1,
        kWARNING = 2,
        kINFO = 3,
        kVERBOSE = 4,
    };
    virtual void log(Severity severity, AsciiChar const* message) noexcept = 0;
    virtual ~ILogger() = default;
};

//! TensorRT 10's finder. TensorRT 11 put IVersionedInterface before it, so that findLogger moved; logger.cpp asks the
//! version first.
class ILoggerFinder
{
public:
    virtual ILogger* findLogger() = 0;

protected:
    virtual ~ILoggerFinder() = default;
};

class IVersionedLoggerFinder : public IVersionedInterface
{
public:
    virtual ILogger* findLogger() = 0;
};

} // namespace nvinfer1
