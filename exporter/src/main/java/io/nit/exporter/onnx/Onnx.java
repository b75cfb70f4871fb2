package io.nit.exporter.onnx;

import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_FLOAT;
import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_GRAPH;
import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_INT;
import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_INTS;
import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_STRING;
import static org.bytedeco.onnx.global.onnx.AttributeProto_AttributeType_TENSOR;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_BFLOAT16;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT16;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT64;

import io.nit.core.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.bytedeco.onnx.AttributeProto;
import org.bytedeco.onnx.Dimension;
import org.bytedeco.onnx.FunctionProto;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.NodeProto;
import org.bytedeco.onnx.OperatorSetIdProto;
import org.bytedeco.onnx.StringStringEntryProto;
import org.bytedeco.onnx.TensorProto;
import org.bytedeco.onnx.TensorShapeProto;
import org.bytedeco.onnx.TypeProto;
import org.bytedeco.onnx.TypeProto_Sequence;
import org.bytedeco.onnx.TypeProto_Tensor;
import org.bytedeco.onnx.ValueInfoProto;

/** The ONNX messages that our models are made of. */
final class Onnx {
  private Onnx() {}

  /** A node; an empty input name stands for an input left out. */
  static Message node(
      String domain,
      String opType,
      List<String> inputs,
      List<String> outputs,
      List<Message> attributes) {
    Message node = new Message().texts(NodeProto.kInputFieldNumber, inputs);
    node.texts(NodeProto.kOutputFieldNumber, outputs);
    node.text(NodeProto.kNameFieldNumber, outputs.get(0));
    node.text(NodeProto.kOpTypeFieldNumber, opType);
    if (!domain.isEmpty()) {
      node.text(NodeProto.kDomainFieldNumber, domain);
    }
    return node.messages(NodeProto.kAttributeFieldNumber, attributes);
  }

  private static Message attribute(String name, int type) {
    return new Message()
        .text(AttributeProto.kNameFieldNumber, name)
        .number(AttributeProto.kTypeFieldNumber, type);
  }

  /** An integer attribute. */
  static Message attribute(String name, long value) {
    return attribute(name, AttributeProto_AttributeType_INT)
        .number(AttributeProto.kIFieldNumber, value);
  }

  /** A list of integers as attribute. */
  static Message attribute(String name, long[] values) {
    return attribute(name, AttributeProto_AttributeType_INTS)
        .numbers(AttributeProto.kIntsFieldNumber, values);
  }

  /** A float attribute. */
  static Message attribute(String name, float value) {
    return attribute(name, AttributeProto_AttributeType_FLOAT)
        .number(AttributeProto.kFFieldNumber, value);
  }

  /** A string attribute. */
  static Message attribute(String name, String value) {
    return attribute(name, AttributeProto_AttributeType_STRING)
        .text(AttributeProto.kSFieldNumber, value);
  }

  /** A tensor attribute. */
  static Message tensorAttribute(String name, Message tensor) {
    return attribute(name, AttributeProto_AttributeType_TENSOR)
        .message(AttributeProto.kTFieldNumber, tensor);
  }

  /** A graph attribute. */
  static Message graphAttribute(String name, Message graph) {
    return attribute(name, AttributeProto_AttributeType_GRAPH)
        .message(AttributeProto.kGFieldNumber, graph);
  }

  /** A float attribute inside a function's body that takes its value from the function's node. */
  static Message floatOfFunction(String name, String functionAttribute) {
    return attribute(name, AttributeProto_AttributeType_FLOAT)
        .text(AttributeProto.kRefAttrNameFieldNumber, functionAttribute);
  }

  /** An integer attribute inside a function's body that takes its value likewise. */
  static Message intOfFunction(String name, String functionAttribute) {
    return attribute(name, AttributeProto_AttributeType_INT)
        .text(AttributeProto.kRefAttrNameFieldNumber, functionAttribute);
  }

  /** A float32 tensor with its values inside. */
  static Message tensor(float[] values, long... dims) {
    ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(values);
    return tensor(TensorProto_DataType_FLOAT, dims)
        .bytes(TensorProto.kRawDataFieldNumber, raw.array());
  }

  /** An int64 tensor with its values inside. */
  static Message tensor(long[] values, long... dims) {
    ByteBuffer raw = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asLongBuffer().put(values);
    return tensor(TensorProto_DataType_INT64, dims)
        .bytes(TensorProto.kRawDataFieldNumber, raw.array());
  }

  /** The head of a weight: all but its values. */
  static Message tensor(String name, DType type, long... dims) {
    return tensor(elementType(type), dims).text(TensorProto.kNameFieldNumber, name);
  }

  private static Message tensor(int elementType, long... dims) {
    return new Message()
        .numbers(TensorProto.kDimsFieldNumber, dims)
        .number(TensorProto.kDataTypeFieldNumber, elementType);
  }

  /** ONNX's number of a weight type. */
  static int elementType(DType type) {
    return switch (type) {
      case F32 -> TensorProto_DataType_FLOAT;
      case F16 -> TensorProto_DataType_FLOAT16;
      case BF16 -> TensorProto_DataType_BFLOAT16;
      default ->
          throw new IllegalArgumentException("dtype: expected f32, f16 or bf16, found " + type);
    };
  }

  /**
   * Name, type and shape of a graph's input or output.
   *
   * @param dims a {@link Number} where fixed, else the name of a dynamic extent
   */
  static Message value(String name, int elementType, Object... dims) {
    Message shape = new Message();
    for (Object dim : dims) {
      shape.message(
          TensorShapeProto.kDimFieldNumber,
          dim instanceof Number fixed
              ? new Message().number(Dimension.kDimValueFieldNumber, fixed.longValue())
              : new Message().text(Dimension.kDimParamFieldNumber, (String) dim));
    }
    Message tensor =
        new Message()
            .number(TypeProto_Tensor.kElemTypeFieldNumber, elementType)
            .message(TypeProto_Tensor.kShapeFieldNumber, shape);
    return value(name, new Message().message(TypeProto.kTensorTypeFieldNumber, tensor));
  }

  /** A sequence of tensors of any shape. */
  static Message sequence(String name, int elementType) {
    Message element =
        new Message()
            .message(
                TypeProto.kTensorTypeFieldNumber,
                new Message().number(TypeProto_Tensor.kElemTypeFieldNumber, elementType));
    Message type = new Message().message(TypeProto_Sequence.kElemTypeFieldNumber, element);
    return value(name, new Message().message(TypeProto.kSequenceTypeFieldNumber, type));
  }

  private static Message value(String name, Message type) {
    return new Message()
        .text(ValueInfoProto.kNameFieldNumber, name)
        .message(ValueInfoProto.kTypeFieldNumber, type);
  }

  /** A graph, without its weights. */
  static Message graph(String name, NodeList nodes, List<Message> inputs, List<Message> outputs) {
    return new Message()
        .messages(GraphProto.kNodeFieldNumber, nodes.messages())
        .text(GraphProto.kNameFieldNumber, name)
        .messages(GraphProto.kInputFieldNumber, inputs)
        .messages(GraphProto.kOutputFieldNumber, outputs);
  }

  /** A local function. */
  static Message function(
      String domain,
      String name,
      List<String> inputs,
      List<String> outputs,
      List<String> attributes,
      NodeList body,
      int opset) {
    return new Message()
        .text(FunctionProto.kNameFieldNumber, name)
        .text(FunctionProto.kDomainFieldNumber, domain)
        .texts(FunctionProto.kInputFieldNumber, inputs)
        .texts(FunctionProto.kOutputFieldNumber, outputs)
        .texts(FunctionProto.kAttributeFieldNumber, attributes)
        .messages(FunctionProto.kNodeFieldNumber, body.messages())
        .message(FunctionProto.kOpsetImportFieldNumber, opset("", opset));
  }

  /** An operator set in use. */
  static Message opset(String domain, int version) {
    return new Message()
        .text(OperatorSetIdProto.kDomainFieldNumber, domain)
        .number(OperatorSetIdProto.kVersionFieldNumber, version);
  }

  /** A string by its key. */
  static Message entry(String key, String value) {
    return new Message()
        .text(StringStringEntryProto.kKeyFieldNumber, key)
        .text(StringStringEntryProto.kValueFieldNumber, value);
  }
}
