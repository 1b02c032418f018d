// Puts a classifier onto a trunk: mobilevit_core/conversion/graft.py in JavaScript, whose docstring has the contract.
//
// A FlatBuffer is written from its end to its start, and what it refers to always lies behind what refers to it.
// So the trunk's file is left as it is, as the end of a new one: new tensors, operators and weights go before it,
// and new lists in front of them name the old parts beside the new. The flatbuffers package does all reading and
// writing; the schema is needed for the few tables below alone, in place of 15,000 generated lines for all.

import { Builder, ByteBuffer } from "./flatbuffers/flatbuffers.js";

// Fields of the TFLite schema: number and type. A test compares them with those that LiteRT's own code has.
export const FIELDS = {
  Model: { version: [0, "Int32"], operatorCodes: [1, "Offset"], subgraphs: [2, "Offset"], description: [3, "Offset"], buffers: [4, "Offset"], metadata: [6, "Offset"], signatureDefs: [7, "Offset"] },
  SubGraph: { tensors: [0, "Offset"], inputs: [1, "Offset"], outputs: [2, "Offset"], operators: [3, "Offset"], name: [4, "Offset"] },
  Tensor: { shape: [0, "Offset"], type: [1, "Int8"], buffer: [2, "Int32"], name: [3, "Offset"], quantization: [4, "Offset"], hasRank: [8, "Int8"] },
  QuantizationParameters: { scale: [2, "Offset"], zeroPoint: [3, "Offset"] },
  Buffer: { data: [0, "Offset"] },
  Operator: { opcodeIndex: [0, "Int32"], inputs: [1, "Offset"], outputs: [2, "Offset"], builtinOptionsType: [3, "Int8"], builtinOptions: [4, "Offset"] },
  OperatorCode: { deprecatedBuiltinCode: [0, "Int8"], version: [2, "Int32"], builtinCode: [3, "Int32"] },
  SoftmaxOptions: { beta: [0, "Float32"] },
  FullyConnectedOptions: { asymmetricQuantizeInputs: [3, "Int8"] },
  SignatureDef: { inputs: [0, "Offset"], outputs: [1, "Offset"], signatureKey: [2, "Offset"], subgraphIndex: [4, "Int32"] },
  TensorMap: { name: [0, "Offset"], tensorIndex: [1, "Int32"] },
  Metadata: { name: [0, "Offset"], buffer: [1, "Int32"] },
};
export const CODES = { DEQUANTIZE: 6, FULLY_CONNECTED: 9, SOFTMAX: 25, QUANTIZE: 114 };
export const OPTIONS = { FullyConnectedOptions: 8, SoftmaxOptions: 9 };
export const TYPES = { float32: 0, float16: 1, int32: 2, int8: 9 };
const IDENTIFIER = "TFL3", DAMAGED = "the network's file is damaged; reload the page";
const ALIGNED = 16; // bytes, weights in a file
const PER_CHANNEL_HYBRID = 12; // version of FULLY_CONNECTED: float32 features, int8 weights, a scale for each class
const SMALL_MATRIX = 1024; // numbers, under which a matrix stays in float32 in dynamic_int8
const DEFAULTS = { OperatorCode: { version: 1 } }; // what a field that is left out means, if not 0

/** A trunk's file that tensors and operators are put before. */
class Graph {
  constructor(trunk, more, width) {
    const padded = Math.ceil(trunk.length / ALIGNED) * ALIGNED;
    this.old = new ByteBuffer(trunk);
    this.end = padded;
    this.builder = new Builder(padded + more);
    this.builder.space -= padded;
    this.builder.bb.bytes().set(trunk, this.builder.space);
    this.model = this.old.__indirect(0);
    if (!this.old.__has_identifier(IDENTIFIER)) throw new Error(DAMAGED);
    this.graph = this.list(this.model, "Model", "subgraphs")[0];
    this.tensors = this.list(this.graph, "SubGraph", "tensors").map((place) => this.kept(place));
    this.operators = this.list(this.graph, "SubGraph", "operators").map((place) => this.kept(place));
    this.buffers = this.list(this.model, "Model", "buffers").map((place) => this.kept(place));
    this.codes = this.list(this.model, "Model", "operatorCodes").map((place) => ({ place: this.kept(place), ...this.code(place) }));
    this.features = this.old.readInt32(this.old.__vector(this.at(this.graph, "SubGraph", "outputs")));
    this.check(width);
  }

  /** What is no trunk with so many features is refused. */
  check(width) {
    const tensor = this.list(this.graph, "SubGraph", "tensors")[this.features], shape = tensor && this.at(tensor, "Tensor", "shape");
    const last = shape && this.old.readInt32(this.old.__vector(shape) + 4 * (this.old.__vector_len(shape) - 1));
    if (last !== width) throw new Error(DAMAGED);
  }

  // Reading the trunk.
  at(table, type, field) {
    const place = this.old.__offset(table, 4 + 2 * FIELDS[type][field][0]);
    return place && table + place;
  }
  list(table, type, field) {
    const place = this.at(table, type, field), length = place && this.old.__vector_len(place);
    if (length < 0 || length > this.old.capacity() / 4) throw new Error(DAMAGED);
    return Array.from({ length }, (_, index) => this.old.__indirect(this.old.__vector(place) + 4 * index));
  }
  number(table, type, field) {
    const place = this.at(table, type, field), kind = FIELDS[type][field][1];
    return place ? this.old[`read${kind}`](place) : (DEFAULTS[type]?.[field] ?? 0);
  }
  code(place) {
    const read = (field) => this.number(place, "OperatorCode", field);
    return { kind: Math.max(read("builtinCode"), read("deprecatedBuiltinCode")), version: read("version") };
  }
  /** An old part as the builder counts: from the end. */
  kept(place) { return this.end - place; }
  keptField(table, type, field) {
    const place = this.at(table, type, field);
    return place ? this.kept(this.old.__indirect(place)) : null;
  }

  // Writing what is new.
  table(type, values) {
    const fields = FIELDS[type], builder = this.builder;
    builder.startObject(1 + Math.max(...Object.values(fields).map(([number]) => number)));
    for (const [name, value] of Object.entries(values)) {
      if (value !== null) builder[`addField${fields[name][1]}`](fields[name][0], value, DEFAULTS[type]?.[name] ?? 0);
    }
    return builder.endObject();
  }
  offsets(places) { return this.vector(places, 4, (place) => this.builder.addOffset(place)); }
  int32s(values) { return this.vector(values, 4, (value) => this.builder.addInt32(value)); }
  vector(values, bytes, add) {
    this.builder.startVector(bytes, values.length, bytes);
    for (let place = values.length - 1; place >= 0; place--) add(values[place]);
    return this.builder.endVector();
  }
  bytes(content) {
    this.builder.startVector(1, content.length, ALIGNED);
    this.builder.space -= content.length;
    this.builder.bb.bytes().set(content, this.builder.space);
    return this.builder.endVector();
  }
  quantization(scales, zeros) {
    return this.table("QuantizationParameters", {
      scale: this.vector(scales, 4, (value) => this.builder.addFloat32(value)),
      zeroPoint: this.vector(zeros, 8, (value) => this.builder.addInt64(BigInt(value))),
    });
  }

  buffer(content) {
    this.buffers.push(this.table("Buffer", { data: this.bytes(content) }));
    return this.buffers.length - 1;
  }
  tensor(name, shape, type, buffer = 0, quantization = null) {
    const values = { shape: this.int32s(shape), type: TYPES[type], buffer, name: this.builder.createString(name), quantization, hasRank: 1 };
    this.tensors.push(this.table("Tensor", values));
    return this.tensors.length - 1;
  }
  /** Adds weights: a typed array; int8 and int32 with a scale for each row. */
  constant(name, shape, values, type, scales = null) {
    const quantization = scales && this.quantization(scales, scales.map(() => 0));
    return this.tensor(name, shape, type, this.buffer(new Uint8Array(values.buffer)), quantization);
  }
  activation(name, width, span = null) {
    return this.tensor(name, [1, width], span ? "int8" : "float32", 0, span && this.quantization([span[0]], [span[1]]));
  }
  append(kind, inputs, output, type = "", options = {}, version = 1) {
    let index = this.codes.findIndex((code) => code.kind === kind && code.version === version);
    if (index < 0) {
      const place = this.table("OperatorCode", { deprecatedBuiltinCode: Math.min(kind, 127), version, builtinCode: kind });
      index = this.codes.push({ place, kind, version }) - 1;
    }
    const values = { opcodeIndex: index, inputs: this.int32s(inputs), outputs: this.int32s([output]) };
    if (type) Object.assign(values, { builtinOptions: this.table(type, options), builtinOptionsType: OPTIONS[type] });
    this.operators.push(this.table("Operator", values));
    return output;
  }
  dequantized(name, shape, values, type, scales = null) {
    const output = this.tensor(`${name}_float32`, shape, "float32");
    return this.append(CODES.DEQUANTIZE, [this.constant(name, shape, values, type, scales)], output);
  }
  dense(inputs, output, hybrid = false) {
    const options = { asymmetricQuantizeInputs: Number(hybrid) };
    return this.append(CODES.FULLY_CONNECTED, inputs, output, "FullyConnectedOptions", options, hybrid ? PER_CHANNEL_HYBRID : 1);
  }

  /** The file, whose only output is a tensor. */
  finish(output, metadata) {
    const { builder } = this, name = builder.createString("probabilities");
    const [signature] = this.list(this.model, "Model", "signatureDefs");
    const signatureDef = signature && this.table("SignatureDef", {
      inputs: this.keptField(signature, "SignatureDef", "inputs"),
      outputs: this.offsets([this.table("TensorMap", { name, tensorIndex: output })]),
      signatureKey: this.keptField(signature, "SignatureDef", "signatureKey"),
    });
    const entry = this.table("Metadata", { name: builder.createString("TFLITE_METADATA"), buffer: this.buffer(metadata) });
    const subgraph = this.table("SubGraph", {
      tensors: this.offsets(this.tensors), inputs: this.keptField(this.graph, "SubGraph", "inputs"),
      outputs: this.int32s([output]), operators: this.offsets(this.operators), name: this.keptField(this.graph, "SubGraph", "name"),
    });
    builder.finish(this.table("Model", {
      version: this.number(this.model, "Model", "version"),
      operatorCodes: this.offsets(this.codes.map(({ place }) => place)), subgraphs: this.offsets([subgraph]),
      description: this.keptField(this.model, "Model", "description"), buffers: this.offsets(this.buffers),
      metadata: this.offsets([...this.list(this.model, "Model", "metadata").map((place) => this.kept(place)), entry]),
      signatureDefs: signatureDef ? this.offsets([signatureDef]) : null,
    }), IDENTIFIER);
    return builder.asUint8Array();
  }
}

/** The kernel as int8, and the scale of each class. */
function rounded({ kernel, bias }) {
  const width = kernel.length / bias.length, values = new Int8Array(kernel.length);
  const scales = Array.from(bias, (_, row) => {
    let most = 1e-9;
    for (let at = row * width; at < (row + 1) * width; at++) most = Math.max(most, Math.abs(kernel[at]));
    const scale = Math.fround(Math.fround(most) / 127);
    for (let at = row * width; at < (row + 1) * width; at++) values[at] = even(Math.fround(kernel[at] / scale));
    return scale;
  });
  return { values, scales };
}

/** The nearest whole number; of two, the even one, as NumPy rounds. */
function even(value) {
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** Scale and zero point of int8 for these values and zero. */
function span(values) {
  let low = 0, high = 0;
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const scale = Math.max(high - low, 1e-9) / 255;
  return [scale, even(-128 - low / scale)];
}

/** The classifier's outputs before softmax. */
export function logits({ kernel, bias }, features) {
  const width = features.length;
  return Array.from(bias, (start, row) => {
    let sum = start;
    for (let at = 0; at < width; at++) sum += kernel[row * width + at] * features[at];
    return sum;
  });
}

function int8(graph, head, shape) {
  const { values, scales } = rounded(head), classes = head.bias.length;
  const ofFeatures = span(head.features.flatMap((one) => Array.from(one)));
  const ofLogits = span(head.features.flatMap((one) => logits(head, one)));
  const features = graph.append(CODES.QUANTIZE, [graph.features], graph.activation("features_int8", shape[1], ofFeatures));
  const steps = scales.map((scale) => Math.fround(Math.fround(ofFeatures[0]) * scale));
  const bias = graph.constant("bias", [classes], Int32Array.from(head.bias, (value, row) => even(Math.fround(value / steps[row]))), "int32", steps);
  const output = graph.dense([features, graph.constant("kernel", shape, values, "int8", scales), bias], graph.activation("logits_int8", classes, ofLogits));
  return graph.append(CODES.DEQUANTIZE, [output], graph.activation("logits", classes));
}

/** Format -> what appends kernel and bias to a trunk of it: their tensors, and whether the layer rounds its input. */
const WEIGHTS = {
  float32: (graph, head, shape) => [graph.constant("kernel", shape, head.kernel, "float32"), graph.constant("bias", [shape[0]], head.bias, "float32")],
  float16: (graph, head, shape) => [graph.dequantized("kernel", shape, Float16Array.from(head.kernel), "float16"), graph.dequantized("bias", [shape[0]], Float16Array.from(head.bias), "float16")],
  dynamic_int8: (graph, head, shape) => {
    if (head.kernel.length < SMALL_MATRIX) return WEIGHTS.float32(graph, head, shape);
    const { values, scales } = rounded(head);
    return [graph.constant("kernel", shape, values, "int8", scales), graph.constant("bias", [shape[0]], head.bias, "float32"), true];
  },
  int8_weights: (graph, head, shape) => {
    const { values, scales } = rounded(head);
    return [graph.dequantized("kernel", shape, values, "int8", scales), graph.constant("bias", [shape[0]], head.bias, "float32")];
  },
};

/** Whether this browser can write a format. */
export const isWritable = (format) => format === "int8" || (format in WEIGHTS && (format !== "float16" || typeof Float16Array === "function"));

/**
 * A trunk with a classifier: a .tflite file.
 * @param {Uint8Array} trunk of the format.
 * @param {string} format such as "float32".
 * @param {{kernel: Float32Array, bias: Float32Array, features: Float32Array[]}} head kernel by class, then by feature;
 *   features of the photos that it was made of.
 * @param {Uint8Array} metadata TFLite Metadata.
 */
export function graft(trunk, format, head, metadata) {
  const classes = head.bias.length, shape = [classes, head.kernel.length / classes];
  const graph = new Graph(trunk, 4 * head.kernel.length + 64 * 1024, shape[1]);
  let output;
  if (format === "int8") output = int8(graph, head, shape);
  else {
    const [kernel, bias, hybrid = false] = WEIGHTS[format](graph, head, shape);
    output = graph.dense([graph.features, kernel, bias], graph.activation("logits", classes), hybrid);
  }
  const probabilities = graph.append(CODES.SOFTMAX, [output], graph.activation("probabilities", classes), "SoftmaxOptions", { beta: 1 });
  return graph.finish(probabilities, metadata);
}
