// What our TensorRT plugins share: names, attributes, types, serialisation, errors. A plugin of
// its own adds its table, its shapes and its launch.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "api/trtPlugin.h"

namespace nit
{

constexpr char kNamespace[] = "ai.nit";
constexpr char kVersion[] = "1";

//! A message through TensorRT's logger where one was handed over, else on stderr.
void logError(std::string const& message) noexcept;

//! Type of an input or output, as in the plugin's YAML.
enum class TensorType
{
    kNetwork, //!< T: bf16 or fp16, the same for all of the node
    kInt32,
    kFloat32,
};

struct TensorSpec
{
    char const* name;
    TensorType type;
    int rank;
};

struct AttributeSpec
{
    char const* name;
    nvinfer1::PluginFieldType type; //!< kINT32 or kFLOAT32
};

//! The node's table: the same as the YAML beside it and NitOps in Java.
struct PluginTable
{
    char const* name;
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
    std::vector<AttributeSpec> attributes;
};

//! The attributes of one node, checked against its table.
class Attributes
{
public:
    //! Throws std::invalid_argument: expected, found, where.
    Attributes(PluginTable const& table, nvinfer1::PluginFieldCollection const* fields);

    int32_t integer(char const* name) const;
    float real(char const* name) const;

    //! What several nodes ask of num_heads and head_dim. Throws std::invalid_argument.
    void requireHeads() const;

    //! An integer that is 0 or 1. Throws std::invalid_argument.
    void requireFlag(char const* name) const;

    //! What several nodes ask of epsilon. Throws std::invalid_argument.
    void requireEpsilon() const;

    //! For getFieldsToSerialize; lives as long as this object.
    nvinfer1::PluginFieldCollection const* fields() const;

    Attributes(Attributes const& other);
    Attributes& operator=(Attributes const&) = delete;

private:
    struct Value
    {
        int32_t integer = 0;
        float real = 0.0f;
    };

    void collect();
    size_t index(char const* name) const;

    PluginTable const& mTable;
    std::vector<Value> mValues;
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

//! Base of every plugin. Errors are logged and returned as codes: no exception crosses TensorRT's boundary.
class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime
{
public:
    Plugin(PluginTable const& table, Attributes const& attributes);

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;

    char const* getPluginName() const noexcept override;
    char const* getPluginVersion() const noexcept override;
    char const* getPluginNamespace() const noexcept override;

    int32_t configurePlugin(
        nvinfer1::DynamicPluginTensorDesc const* in, int32_t nbInputs, nvinfer1::DynamicPluginTensorDesc const* out,
        int32_t nbOutputs) noexcept override;
    int32_t getOutputDataTypes(
        nvinfer1::DataType* outputTypes, int32_t nbOutputs, nvinfer1::DataType const* inputTypes,
        int32_t nbInputs) const noexcept override;
    int32_t getOutputShapes(
        nvinfer1::DimsExprs const* inputs, int32_t nbInputs, nvinfer1::DimsExprs const* shapeInputs,
        int32_t nbShapeInputs, nvinfer1::DimsExprs* outputs, int32_t nbOutputs,
        nvinfer1::IExprBuilder& exprBuilder) noexcept override;
    bool supportsFormatCombination(
        int32_t pos, nvinfer1::DynamicPluginTensorDesc const* inOut, int32_t nbInputs,
        int32_t nbOutputs) noexcept override;
    int32_t getNbOutputs() const noexcept override;

    int32_t onShapeChange(
        nvinfer1::PluginTensorDesc const* in, int32_t nbInputs, nvinfer1::PluginTensorDesc const* out,
        int32_t nbOutputs) noexcept override;
    int32_t enqueue(
        nvinfer1::PluginTensorDesc const* inputDesc, nvinfer1::PluginTensorDesc const* outputDesc,
        void const* const* inputs, void* const* outputs, void* workspace, CUstream_st* stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

protected:
    //! How many of the table's inputs this node has; the last ones may be absent.
    virtual int32_t inputCount() const noexcept;

    //! Output 0 has input 0's shape unless a plugin says otherwise.
    virtual void outputShape(
        nvinfer1::DimsExprs const* inputs, nvinfer1::DimsExprs* output, nvinfer1::IExprBuilder& builder) const;

    //! Sizes that must agree, once they are known. Throws std::invalid_argument: expected, found, where.
    virtual void checkShapes(nvinfer1::PluginTensorDesc const* in) const = 0;

    //! Launches; 0 or a cudaError_t whose message nitLastError() has.
    virtual int launch(
        nvinfer1::PluginTensorDesc const* in, void const* const* inputs, void* const* outputs,
        CUstream_st* stream) const = 0;

    Attributes const& attributes() const noexcept;

    //! The table's name of an input.
    char const* inputName(int32_t input) const;

    //! NIT_BF16 or NIT_FP16.
    static int32_t kernelType(nvinfer1::DataType type) noexcept;

    //! Throws unless found is expected.
    void expect(char const* what, int64_t expected, int64_t found) const;

private:
    int32_t guarded(char const* where, int32_t (*body)(void*), void* argument) const noexcept;

    PluginTable const& mTable;
    Attributes mAttributes;
};

//! Makes plugins of one class; T has `static PluginTable const& table()` and a constructor from Attributes.
template <typename T>
class PluginCreator : public nvinfer1::IPluginCreatorV3One
{
public:
    PluginCreator()
    {
        for (AttributeSpec const& attribute : T::table().attributes)
        {
            mFields.push_back({attribute.name, nullptr, attribute.type, 1});
        }
        mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
    }

    nvinfer1::IPluginV3* createPlugin(
        char const* name, nvinfer1::PluginFieldCollection const* fields, nvinfer1::TensorRTPhase) noexcept override
    {
        try
        {
            return new T(Attributes(T::table(), fields));
        }
        catch (std::exception const& error)
        {
            logError(std::string(name == nullptr ? T::table().name : name) + ": " + error.what());
            return nullptr;
        }
    }

    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override
    {
        return &mCollection;
    }

    char const* getPluginName() const noexcept override
    {
        return T::table().name;
    }

    char const* getPluginVersion() const noexcept override
    {
        return kVersion;
    }

    char const* getPluginNamespace() const noexcept override
    {
        return kNamespace;
    }

private:
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

} // namespace nit
