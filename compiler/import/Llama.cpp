//===- Llama.cpp - the Llama family ----------------------------------------===//
// All that is known of the family stands here: configuration keys of both worlds, tensor names, and the step.
// Only what is known to leave the mathematics alone is passed over; the rest is refused by name.
#include "compiler/import/Family.h"
#include "compiler/import/Shown.h"
#include "dialect/lora/Lora.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <set>

using namespace mlir;

namespace lorac {
namespace {

struct Shape {
  uint64_t layers = 0, hidden = 0, intermediate = 0, heads = 0, kvHeads = 0, headSize = 0, vocab = 0;
  uint64_t maxPositions = 0;
  double epsilon = 0;
  std::vector<double> frequencies;
  bool tied = false;
  std::set<std::string> biases; // names of the tensors that there are
};

constexpr const char *kEmbedding = "model.embed_tokens.weight";
constexpr const char *kFinalNorm = "model.norm.weight";
constexpr const char *kHead = "lm_head.weight";

std::string layerPrefix(uint64_t layer) { return "model.layers." + std::to_string(layer) + "."; }

/// The linears of a layer: Hugging Face module, GGUF name, output and input width.
struct Linear {
  const char *module;
  const char *gguf;
  uint64_t out;
  uint64_t in;
  uint64_t rotaryHeads; // of q and k, whose rows GGUF interleaves
};
std::vector<Linear> linearsOf(const Shape &shape) {
  const uint64_t q = shape.heads * shape.headSize, kv = shape.kvHeads * shape.headSize;
  return {{"self_attn.q_proj", "attn_q", q, shape.hidden, shape.heads},
          {"self_attn.k_proj", "attn_k", kv, shape.hidden, shape.kvHeads},
          {"self_attn.v_proj", "attn_v", kv, shape.hidden, 0},
          {"self_attn.o_proj", "attn_output", shape.hidden, q, 0},
          {"mlp.gate_proj", "ffn_gate", shape.intermediate, shape.hidden, 0},
          {"mlp.up_proj", "ffn_up", shape.intermediate, shape.hidden, 0},
          {"mlp.down_proj", "ffn_down", shape.hidden, shape.intermediate, 0}};
}

/// Relations between the sizes, whatever file they came from.
Status checkShape(const std::string &path, Shape &shape) {
  if (shape.layers > kMaxLayers)
    return Status(Code::Unsupported) << path << ": has " << shape.layers << " layers, at most " << kMaxLayers
                                     << " are supported";
  if (shape.headSize == 0) {
    if (shape.hidden % shape.heads != 0)
      return Status(Code::CorruptFile) << path << ": " << shape.heads << " heads do not divide a width of "
                                       << shape.hidden << ", and no head size is given";
    shape.headSize = shape.hidden / shape.heads;
  }
  if (shape.headSize > kMaxHeadSize)
    return Status(Code::Unsupported) << path << ": heads have " << shape.headSize << " values, at most "
                                     << kMaxHeadSize << " are supported";
  for (uint64_t width : {shape.hidden, shape.intermediate, shape.heads * shape.headSize})
    if (width > kMaxModelWidth)
      return Status(Code::Unsupported) << path << ": has rows of " << width << " values, at most "
                                       << kMaxModelWidth << " are supported";
  if (shape.headSize % 2 != 0)
    return Status(Code::Unsupported) << path << ": heads have " << shape.headSize
                                     << " values, rotary embeddings need an even number";
  if (shape.heads % shape.kvHeads != 0)
    return Status(Code::CorruptFile) << path << ": " << shape.kvHeads << " key heads do not divide "
                                     << shape.heads << " heads";
  if (!(shape.epsilon >= 0) || shape.epsilon > kMaxNormEpsilon)
    return Status(Code::CorruptFile) << path << ": the norms' epsilon is " << shape.epsilon << ", 0 to "
                                     << kMaxNormEpsilon << " was expected";
  return Status::ok();
}

/// theta^(-2i/d), the frequencies of a rotary embedding without scaling (Su et al. 2021).
std::vector<double> plainFrequencies(double theta, uint64_t headSize) {
  std::vector<double> frequencies(headSize / 2);
  for (uint64_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(theta, -2.0 * double(i) / double(headSize));
  return frequencies;
}

/// A wild base or factor gives frequencies that are no numbers, though it is one itself.
Status checkFrequencies(const std::string &path, const std::vector<double> &frequencies) {
  for (double frequency : frequencies)
    if (!(frequency >= 0) || frequency > kMaxRopeFrequency)
      return Status(Code::CorruptFile) << path << ": the rope parameters give a frequency of " << frequency
                                       << ", 0 to " << kMaxRopeFrequency << " was expected";
  return Status::ok();
}

// ---- Hugging Face ---------------------------------------------------------------------------------

/// Reads config.json, in the keys of transformers 4 and 5.
class ConfigReader {
public:
  ConfigReader(const std::string &path, const JsonValue &config) : path(path), config(config) {}

  Result<Shape> read() {
    LORAC_TRY(refuseOtherModels());
    Shape shape;
    LORAC_ASSIGN(shape.layers, size("num_hidden_layers", 0));
    LORAC_ASSIGN(shape.hidden, size("hidden_size", 0));
    LORAC_ASSIGN(shape.intermediate, size("intermediate_size", 0));
    LORAC_ASSIGN(shape.heads, size("num_attention_heads", 0));
    LORAC_ASSIGN(shape.kvHeads, size("num_key_value_heads", shape.heads));
    LORAC_ASSIGN(shape.vocab, size("vocab_size", 0));
    LORAC_ASSIGN(shape.maxPositions, size("max_position_embeddings", 2048));
    if (config.findSet("head_dim")) {
      LORAC_ASSIGN(shape.headSize, size("head_dim", 0));
    }
    LORAC_ASSIGN(shape.epsilon, real(config, "rms_norm_eps", 1e-6));
    LORAC_TRY(checkShape(path, shape));
    LORAC_TRY(checkLayerTypes(shape.layers));
    LORAC_ASSIGN(shape.frequencies, frequencies(shape.headSize));
    LORAC_TRY(checkFrequencies(path, shape.frequencies));
    LORAC_ASSIGN(shape.tied, flag("tie_word_embeddings"));
    LORAC_ASSIGN(bool attentionBias, flag("attention_bias"));
    LORAC_ASSIGN(bool mlpBias, flag("mlp_bias"));
    for (const Linear &linear : linearsOf(shape)) {
      bool attention = std::string_view(linear.module).starts_with("self_attn.");
      for (uint64_t layer = 0; layer < shape.layers && (attention ? attentionBias : mlpBias); ++layer)
        shape.biases.insert(layerPrefix(layer) + linear.module + ".bias");
    }
    return shape;
  }

private:
  Status refuse(std::string_view key, const JsonValue &value, std::string_view supported) const {
    return Status(Code::Unsupported) << path << ": " << key << " is " << value.text() << ", supported is "
                                     << supported;
  }

  Status refuseOtherModels() const {
    if (const JsonValue *names = config.findSet("architectures"); names && !names->isUnset()) {
      bool found = false;
      for (const JsonValue &name : names->items)
        found = found || (name.isString() && name.string == "LlamaForCausalLM");
      if (!found)
        return refuse("architectures", *names, "LlamaForCausalLM");
    }
    if (const JsonValue *act = config.findSet("hidden_act");
        act && (!act->isString() || act->string != "silu"))
      return refuse("hidden_act", *act, "\"silu\"");
    if (const JsonValue *quantization = config.findSet("quantization_config")) {
      const JsonValue *method = quantization->find("quant_method");
      return refuse("quantization_config", method ? *method : *quantization,
                    "a checkpoint of floats or a .gguf file");
    }
    if (const JsonValue *window = config.findSet("sliding_window"); window && !window->isUnset())
      return refuse("sliding_window", *window, "full attention (null)");
    if (const JsonValue *tp = config.findSet("pretraining_tp"); tp && !(tp->isInteger() && tp->integer <= 1))
      return refuse("pretraining_tp", *tp, "1");
    return Status::ok();
  }

  Status checkLayerTypes(uint64_t layers) const {
    const JsonValue *types = config.findSet("layer_types");
    if (!types)
      return Status::ok();
    if (!types->isArray() || types->items.size() != layers)
      return refuse("layer_types", *types, "a list of " + std::to_string(layers) + ", one a layer");
    for (const JsonValue &type : types->items)
      if (!type.isString() || type.string != "full_attention")
        return refuse("layer_types", type, "\"full_attention\"");
    return Status::ok();
  }

  Result<uint64_t> size(const char *key, uint64_t fallback) const {
    const JsonValue *value = config.findSet(key);
    if (!value && fallback)
      return fallback;
    if (!value)
      return Status(Code::CorruptFile) << path << ": has no " << key;
    if (!value->isInteger() || value->integer < 1 || uint64_t(value->integer) > kMaxModelSize)
      return Status(Code::CorruptFile) << path << ": " << key << " is " << value->text()
                                       << ", a number from 1 to 2^31 - 1 was expected";
    return uint64_t(value->integer);
  }

  /// NaN as `fallback`: there is none.
  Result<double> real(const JsonValue &from, const char *key, double fallback) const {
    const JsonValue *value = from.findSet(key);
    if (!value && !std::isnan(fallback))
      return fallback;
    if (!value || !value->isNumber() || !std::isfinite(value->real))
      return Status(Code::CorruptFile)
             << path << ": " << key << " is " << (value ? value->text() : std::string("absent"))
             << ", a number was expected";
    return value->real;
  }

  Result<bool> flag(const char *key) const {
    const JsonValue *value = config.findSet(key);
    if (!value)
      return false;
    if (!value->isBool())
      return Status(Code::CorruptFile)
             << path << ": " << key << " is " << value->text() << ", true or false was expected";
    return value->boolean;
  }

  /// transformers 5 writes rope_parameters, 4 wrote rope_theta and rope_scaling.
  Result<std::vector<double>> frequencies(uint64_t headSize) const {
    static const JsonValue none;
    const JsonValue *parameters = config.findSet("rope_parameters"),
                    *scaling = config.findSet("rope_scaling");
    for (const JsonValue *value : {parameters, scaling})
      if (value && !value->isObject())
        return Status(Code::CorruptFile)
               << path << ": rope parameters are " << value->text() << ", an object was expected";
    if (parameters && scaling && *parameters != *scaling)
      return Status(Code::CorruptFile) << path << ": rope_parameters and rope_scaling say different things ("
                                       << parameters->text() << " and " << scaling->text() << "); remove one";
    const JsonValue &rope = parameters ? *parameters : scaling ? *scaling : none;
    const JsonValue *inner = rope.findSet("rope_theta"), *outer = config.findSet("rope_theta");
    if (inner && outer && inner->real != outer->real)
      return Status(Code::CorruptFile) << path << ": rope_theta is " << outer->text()
                                       << " and, in the rope parameters, " << inner->text();
    LORAC_ASSIGN(double theta, real(inner ? rope : config, "rope_theta", 10000.0));
    if (theta <= 0)
      return Status(Code::CorruptFile) << path << ": rope_theta is " << theta << ", it must be positive";
    for (const JsonValue *from : {&rope, &config}) {
      LORAC_ASSIGN(double part, real(*from, "partial_rotary_factor", 1.0));
      if (part != 1.0)
        return refuse("partial_rotary_factor", *from->find("partial_rotary_factor"), "1");
    }
    std::vector<double> result = plainFrequencies(theta, headSize);
    const JsonValue *type = rope.findSet("rope_type") ? rope.findSet("rope_type") : rope.findSet("type");
    if (!type && rope.findSet("factor"))
      return Status(Code::CorruptFile) << path << ": rope parameters have a factor but no rope_type";
    if (!type && !rope.members.empty() && !inner)
      return refuse("rope_parameters", rope,
                    "one object for all layers, of rope_type default, linear or llama3");
    const std::string name = !type ? "default" : type->isString() ? type->string : type->text();
    if (name == "default")
      return result;
    if (name != "linear" && name != "llama3")
      return Status(Code::Unsupported)
             << path << ": rope_type is " << shown(name) << ", supported are default, linear and llama3";
    LORAC_ASSIGN(double factor, real(rope, "factor", NAN));
    if (factor <= 0)
      return Status(Code::CorruptFile)
             << path << ": the rope factor is " << factor << ", it must be positive";
    if (name == "linear") {
      for (double &frequency : result)
        frequency /= factor;
      return result;
    }
    LORAC_ASSIGN(double low, real(rope, "low_freq_factor", NAN));
    LORAC_ASSIGN(double high, real(rope, "high_freq_factor", NAN));
    LORAC_ASSIGN(double original, real(rope, "original_max_position_embeddings", NAN));
    if (!(low > 0) || !(high > low) || !(original > 0))
      return Status(Code::CorruptFile)
             << path << ": llama3 rope has low_freq_factor " << low << ", high_freq_factor " << high
             << " and original_max_position_embeddings " << original
             << "; 0 < low < high and a positive length were expected";
    // Long waves are stretched, short ones kept, those between blended.
    for (double &frequency : result) {
      const double wave = 2.0 * std::numbers::pi / frequency;
      if (wave > original / low) {
        frequency /= factor;
      } else if (wave >= original / high) {
        const double keep = (original / wave - low) / (high - low);
        frequency = (1.0 - keep) * frequency / factor + keep * frequency;
      }
    }
    return result;
  }

  const std::string &path;
  const JsonValue &config;
};

/// Picks the tensors that the shape asks for, in the model's order, and refuses what is left over.
class TensorPicker {
public:
  using Finder = std::function<Result<std::optional<ImportedTensor>>(const std::string &name)>;

  TensorPicker(const std::string &path, const Shape &shape, Finder find)
      : path(path), shape(shape), find(std::move(find)) {}

  Result<std::vector<ImportedTensor>> pick() {
    LORAC_TRY(take(kEmbedding, {shape.vocab, shape.hidden}));
    const std::vector<Linear> linears = linearsOf(shape);
    for (uint64_t layer = 0; layer < shape.layers; ++layer) {
      const std::string prefix = layerPrefix(layer);
      LORAC_TRY(take(prefix + "input_layernorm.weight", {shape.hidden}));
      for (const Linear &linear : linears) {
        if (std::string_view(linear.module) == "mlp.gate_proj")
          LORAC_TRY(take(prefix + "post_attention_layernorm.weight", {shape.hidden}));
        LORAC_TRY(take(prefix + linear.module + ".weight", {linear.out, linear.in}));
        if (shape.biases.count(prefix + linear.module + ".bias"))
          LORAC_TRY(take(prefix + linear.module + ".bias", {linear.out}));
      }
    }
    LORAC_TRY(take(kFinalNorm, {shape.hidden}));
    if (!shape.tied)
      LORAC_TRY(take(kHead, {shape.vocab, shape.hidden}));
    return std::move(taken);
  }

  Status take(const std::string &name, std::vector<uint64_t> expected) {
    LORAC_ASSIGN(std::optional<ImportedTensor> tensor, find(name));
    if (!tensor)
      return Status(Code::CorruptFile)
             << path << ": tensor " << name << " is missing; fetch the checkpoint again";
    if (tensor->shape != expected)
      return Status(Code::CorruptFile)
             << path << ": tensor " << name << " has shape " << shownShape(tensor->shape)
             << ", the configuration says " << shownShape(expected);
    taken.push_back(*std::move(tensor));
    return Status::ok();
  }

private:
  const std::string &path;
  const Shape &shape;
  Finder find;
  std::vector<ImportedTensor> taken;
};

Status refuseExtra(const std::string &path, const std::string &name) {
  return Status(Code::Unsupported)
         << path << ": tensor " << shown(name)
         << " is not one that a Llama of this configuration has; it would be left out "
            "of the model, so mend the configuration or remove the tensor";
}

// ---- the step -------------------------------------------------------------------------------------

class StepBuilder {
public:
  StepBuilder(OpBuilder &builder, const Shape &shape)
      : builder(builder), location(builder.getUnknownLoc()), shape(shape), f32(builder.getF32Type()) {}

  void build() {
    auto frequencies = RankedTensorType::get({int64_t(shape.frequencies.size())}, builder.getF64Type());
    lora::RopeTableOp::create(builder, location, builder.getStringAttr("rope"),
                              DenseElementsAttr::get(frequencies, ArrayRef(shape.frequencies)));
    auto step = lora::StepOp::create(builder, location);
    Block &body = step.getBody().emplaceBlock();
    auto cacheType = lora::CacheType::get(builder.getContext());
    auto tokensType = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
    Value tokens = body.addArgument(tokensType, location);
    Value cache = body.addArgument(cacheType, location);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&body);
    Value hidden = lora::EmbedOp::create(builder, location, rows(shape.hidden), tokens, symbol(kEmbedding));
    for (uint64_t layer = 0; layer < shape.layers; ++layer)
      std::tie(hidden, cache) = buildLayer(layer, hidden, cache);
    Value asked = lora::GatherRowsOp::create(builder, location, hidden.getType(), hidden);
    Value normed = norm(asked, kFinalNorm);
    Value logits = linear(normed, "lm_head", shape.tied ? kEmbedding : kHead, "", shape.vocab);
    lora::YieldOp::create(builder, location, ValueRange{logits, cache});
  }

private:
  std::pair<Value, Value> buildLayer(uint64_t layer, Value hidden, Value cache) {
    const std::string prefix = layerPrefix(layer);
    const uint64_t q = shape.heads * shape.headSize, kv = shape.kvHeads * shape.headSize;
    Value x = norm(hidden, prefix + "input_layernorm.weight");
    Value query = project(x, prefix + "self_attn.q_proj", q);
    Value key = project(x, prefix + "self_attn.k_proj", kv);
    Value value = project(x, prefix + "self_attn.v_proj", kv);
    query = rope(query, shape.heads);
    key = rope(key, shape.kvHeads);
    auto attend = lora::AttendOp::create(builder, location, query.getType(), cache.getType(), query, key,
                                         value, cache, builder.getI64IntegerAttr(int64_t(layer)),
                                         builder.getI64IntegerAttr(int64_t(shape.heads)),
                                         builder.getI64IntegerAttr(int64_t(shape.kvHeads)),
                                         builder.getF64FloatAttr(1.0 / std::sqrt(double(shape.headSize))));
    Value attended = project(attend.getResult(), prefix + "self_attn.o_proj", shape.hidden);
    hidden = map(hidden, attended, &StepBuilder::sum);
    x = norm(hidden, prefix + "post_attention_layernorm.weight");
    Value gate = project(x, prefix + "mlp.gate_proj", shape.intermediate);
    Value up = project(x, prefix + "mlp.up_proj", shape.intermediate);
    Value gated = map(gate, up, &StepBuilder::siluTimes);
    Value down = project(gated, prefix + "mlp.down_proj", shape.hidden);
    return {map(hidden, down, &StepBuilder::sum), attend.getNewCache()};
  }

  RankedTensorType rows(uint64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, int64_t(width)}, f32);
  }
  FlatSymbolRefAttr symbol(StringRef name) { return FlatSymbolRefAttr::get(builder.getContext(), name); }

  Value norm(Value x, const std::string &weight) {
    return lora::RmsNormOp::create(builder, location, x.getType(), x, symbol(weight),
                                   builder.getF64FloatAttr(shape.epsilon));
  }

  Value rope(Value x, uint64_t heads) {
    return lora::RopeOp::create(builder, location, x.getType(), x, symbol("rope"),
                                builder.getI64IntegerAttr(int64_t(heads)));
  }

  Value project(Value x, const std::string &module, uint64_t width) {
    std::string bias = module + ".bias";
    return linear(x, module, module + ".weight", shape.biases.count(bias) ? bias : std::string(), width);
  }

  Value linear(Value x, const std::string &site, const std::string &weight, const std::string &bias,
               uint64_t width) {
    Attribute segment =
        lora::SegmentAttr::get(builder.getContext(), symbol(weight), builder.getStringAttr(site),
                               bias.empty() ? FlatSymbolRefAttr() : symbol(bias), /*open=*/true);
    auto op = lora::LinearOp::create(builder, location, TypeRange{rows(width)}, x, ValueRange{},
                                     builder.getArrayAttr({segment}), ArrayAttr());
    return op.getResult(0);
  }

  Value map(Value a, Value b, Value (StepBuilder::*function)(Value, Value)) {
    auto op = lora::MapOp::create(builder, location, a.getType(), ValueRange{a, b});
    Block &body = op.getBody().emplaceBlock();
    Value left = body.addArgument(f32, location), right = body.addArgument(f32, location);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(&body);
    lora::YieldOp::create(builder, location, ValueRange{(this->*function)(left, right)});
    return op.getResult();
  }

  Value sum(Value a, Value b) { return arith::AddFOp::create(builder, location, a, b); }

  /// g / (1 + exp(-g)) * u: for a large negative g the exponential is infinite and the quotient 0, as it
  /// should be.
  Value siluTimes(Value gate, Value up) {
    Value one = arith::ConstantOp::create(builder, location, builder.getF32FloatAttr(1.0f));
    Value negated = arith::NegFOp::create(builder, location, gate);
    Value exponential = math::ExpOp::create(builder, location, negated);
    Value denominator = arith::AddFOp::create(builder, location, one, exponential);
    Value silu = arith::DivFOp::create(builder, location, gate, denominator);
    return arith::MulFOp::create(builder, location, silu, up);
  }

  OpBuilder &builder;
  Location location;
  const Shape &shape;
  Type f32;
};

ImportedModel modelOf(const Shape &shape, std::vector<ImportedTensor> tensors) {
  ImportedModel model;
  model.architecture = "llama";
  model.vocab = shape.vocab;
  model.maxPositions = shape.maxPositions;
  model.tensors = std::move(tensors);
  model.buildStep = [shape](OpBuilder &builder) { StepBuilder(builder, shape).build(); };
  return model;
}

// ---- GGUF -----------------------------------------------------------------------------------------

/// What is known of the keys under "llama.": those that are read here, and those that change nothing.
const std::set<std::string_view> kGgufKeys = {"block_count",
                                              "context_length",
                                              "embedding_length",
                                              "feed_forward_length",
                                              "attention.head_count",
                                              "attention.head_count_kv",
                                              "attention.key_length",
                                              "attention.causal",
                                              "attention.value_length",
                                              "attention.layer_norm_rms_epsilon",
                                              "rope.freq_base",
                                              "rope.dimension_count",
                                              "rope.scaling.type",
                                              "rope.scaling.factor",
                                              "rope.scaling.original_context_length",
                                              "rope.scaling.finetuned",
                                              "vocab_size",
                                              "tensor_data_layout"};

class GgufReader {
public:
  GgufReader(FileCache &files, const GgufFile &gguf) : files(files), gguf(gguf) {}

  Result<ImportedModel> read() {
    LORAC_TRY(refuseUnknownKeys());
    LORAC_TRY(readSizes());
    LORAC_TRY(nameTensors());
    LORAC_TRY(readFrequencies());
    TensorPicker picker(gguf.path(), shape, [&](const std::string &name) { return take(name); });
    LORAC_ASSIGN(std::vector<ImportedTensor> tensors, picker.pick());
    if (!byName.empty())
      return refuseExtra(gguf.path(), byName.begin()->second);
    return modelOf(shape, std::move(tensors));
  }

private:
  Status refuse(const std::string &key, std::string_view value, std::string_view supported) const {
    return Status(Code::Unsupported) << gguf.path() << ": " << shown(key) << " is " << shown(value)
                                     << ", supported is " << supported;
  }

  Status refuseUnknownKeys() const {
    LORAC_ASSIGN(std::optional<uint64_t> parts, gguf.unsignedKey("split.count"));
    if (parts.value_or(0) > 1)
      return refuse("split.count", std::to_string(*parts), "1 (join the parts into one file)");
    for (const auto &[key, value] : gguf.keys()) {
      std::string_view name = key;
      if (!name.starts_with("llama."))
        continue;
      name.remove_prefix(6);
      if (name == "attention.causal" && value.integer == 0)
        return refuse(key, "false", "true: each token sees those before it");
      bool unset = (value.kind == GgufValue::Kind::Integer || value.kind == GgufValue::Kind::Bool) &&
                   value.integer == 0;
      if (!kGgufKeys.count(name) && !unset)
        return Status(Code::Unsupported) << gguf.path() << ": key " << shown(key)
                                         << " is not known and may change the model's mathematics";
    }
    return Status::ok();
  }

  Result<uint64_t> size(const char *name, uint64_t fallback) const {
    const std::string key = std::string("llama.") + name;
    LORAC_ASSIGN(std::optional<uint64_t> value, gguf.unsignedKey(key));
    if (!value && fallback)
      return fallback;
    if (!value || *value == 0 || *value > kMaxModelSize)
      return Status(Code::CorruptFile)
             << gguf.path() << ": " << key << " is " << (value ? std::to_string(*value) : "absent")
             << ", a number from 1 to 2^31 - 1 was expected";
    return *value;
  }

  Status readSizes() {
    LORAC_ASSIGN(shape.layers, size("block_count", 0));
    LORAC_ASSIGN(shape.hidden, size("embedding_length", 0));
    LORAC_ASSIGN(shape.intermediate, size("feed_forward_length", 0));
    LORAC_ASSIGN(shape.heads, size("attention.head_count", 0));
    LORAC_ASSIGN(shape.kvHeads, size("attention.head_count_kv", shape.heads));
    LORAC_ASSIGN(shape.maxPositions, size("context_length", 0));
    if (gguf.find("llama.attention.key_length")) {
      LORAC_ASSIGN(shape.headSize, size("attention.key_length", 0));
    }
    LORAC_ASSIGN(std::optional<double> epsilon, gguf.realKey("llama.attention.layer_norm_rms_epsilon"));
    if (!epsilon)
      return Status(Code::CorruptFile) << gguf.path() << ": has no llama.attention.layer_norm_rms_epsilon";
    shape.epsilon = *epsilon;
    LORAC_TRY(checkShape(gguf.path(), shape));
    for (const char *name : {"attention.value_length", "rope.dimension_count"}) {
      LORAC_ASSIGN(uint64_t value, size(name, shape.headSize));
      if (value != shape.headSize)
        return refuse(std::string("llama.") + name, std::to_string(value),
                      "the head size, " + std::to_string(shape.headSize));
    }
    return Status::ok();
  }

  /// Hugging Face name of every tensor in the file. The vocabulary is the embedding's height.
  Status nameTensors() {
    std::map<std::string, std::string> names = {
        {"token_embd.weight", kEmbedding}, {"output_norm.weight", kFinalNorm}, {"output.weight", kHead}};
    const std::vector<Linear> linears = linearsOf(shape);
    for (const auto &[name, tensor] : gguf.tensors()) {
      if (name == "rope_freqs.weight")
        continue;
      std::string translated;
      if (auto found = names.find(name); found != names.end())
        translated = found->second;
      else
        translated = translateBlock(name, linears);
      if (translated.empty())
        return refuseExtra(gguf.path(), name);
      byName.emplace(translated, name);
      if (std::string_view(translated).ends_with(".bias"))
        shape.biases.insert(translated);
    }
    shape.tied = !byName.count(kHead);
    auto embedding = gguf.tensors().find("token_embd.weight");
    if (embedding == gguf.tensors().end() || embedding->second.shape.size() != 2 ||
        embedding->second.shape[0] == 0)
      return Status(Code::CorruptFile) << gguf.path() << ": tensor token_embd.weight is missing or no matrix";
    shape.vocab = embedding->second.shape[0];
    LORAC_ASSIGN(uint64_t vocab, size("vocab_size", shape.vocab));
    if (vocab != shape.vocab)
      return Status(Code::CorruptFile) << gguf.path() << ": llama.vocab_size is " << vocab
                                       << ", token_embd.weight has " << shape.vocab << " rows";
    return Status::ok();
  }

  /// blk.N.attn_q.weight to model.layers.N.self_attn.q_proj.weight; empty where it is no such name.
  std::string translateBlock(std::string_view name, const std::vector<Linear> &linears) const {
    if (!name.starts_with("blk."))
      return {};
    name.remove_prefix(4);
    size_t dot = name.find('.'), last = name.rfind('.');
    if (dot == std::string_view::npos || dot == 0 || dot > 4 || last <= dot)
      return {};
    uint64_t layer = 0;
    for (char c : name.substr(0, dot)) {
      if (c < '0' || c > '9')
        return {};
      layer = layer * 10 + uint64_t(c - '0');
    }
    if (layer >= shape.layers || std::to_string(layer) != name.substr(0, dot))
      return {};
    std::string_view part = name.substr(dot + 1, last - dot - 1), kind = name.substr(last);
    std::string prefix = layerPrefix(layer);
    if (kind == ".weight" && part == "attn_norm")
      return prefix + "input_layernorm.weight";
    if (kind == ".weight" && part == "ffn_norm")
      return prefix + "post_attention_layernorm.weight";
    for (const Linear &linear : linears)
      if (part == linear.gguf && (kind == ".weight" || kind == ".bias"))
        return prefix + linear.module + std::string(kind);
    return {};
  }

  Status readFrequencies() {
    LORAC_ASSIGN(std::optional<double> base, gguf.realKey("llama.rope.freq_base"));
    const double theta = base.value_or(10000.0);
    if (!std::isfinite(theta) || theta <= 0)
      return Status(Code::CorruptFile) << gguf.path() << ": llama.rope.freq_base is " << theta;
    shape.frequencies = plainFrequencies(theta, shape.headSize);
    LORAC_ASSIGN(std::optional<std::string_view> scaling, gguf.stringKey("llama.rope.scaling.type"));
    LORAC_ASSIGN(std::optional<double> factor, gguf.realKey("llama.rope.scaling.factor"));
    if (factor && !scaling)
      return Status(Code::CorruptFile)
             << gguf.path() << ": has llama.rope.scaling.factor but no llama.rope.scaling.type";
    if (scaling.value_or("none") == "linear") {
      if (!factor || !std::isfinite(*factor) || *factor <= 0)
        return Status(Code::CorruptFile)
               << gguf.path() << ": linear rope scaling needs a positive llama.rope.scaling.factor";
      for (double &frequency : shape.frequencies)
        frequency /= *factor;
    } else if (scaling.value_or("none") != "none") {
      return refuse("llama.rope.scaling.type", *scaling, "none or linear");
    }
    // Llama 3's scheme is written as one divisor a frequency.
    auto divisors = gguf.tensors().find("rope_freqs.weight");
    if (divisors == gguf.tensors().end())
      return checkFrequencies(gguf.path(), shape.frequencies);
    if (divisors->second.shape != std::vector<uint64_t>{shape.frequencies.size()})
      return Status(Code::CorruptFile)
             << gguf.path() << ": rope_freqs.weight has shape " << shownShape(divisors->second.shape)
             << ", expected [" << shape.frequencies.size() << "]";
    LORAC_ASSIGN(TensorLocation where, gguf.locate(divisors->first, divisors->second));
    LORAC_ASSIGN(TensorSource source, TensorSource::open(files, where, divisors->first));
    std::vector<float> values(shape.frequencies.size());
    LORAC_TRY(source.readRows(0, 1, values.data()));
    for (size_t i = 0; i < values.size(); ++i) {
      if (!(values[i] > 0))
        return Status(Code::CorruptFile)
               << gguf.path() << ": rope_freqs.weight holds " << values[i] << ", divisors must be positive";
      shape.frequencies[i] /= double(values[i]);
    }
    return checkFrequencies(gguf.path(), shape.frequencies);
  }

  /// The tensor of that Hugging Face name, taken out of `byName`.
  Result<std::optional<ImportedTensor>> take(const std::string &name) {
    auto found = byName.find(name);
    if (found == byName.end())
      return std::optional<ImportedTensor>();
    const std::string stored = found->second;
    byName.erase(found);
    const GgufTensor &tensor = gguf.tensors().at(stored);
    ImportedTensor imported{name, tensor.shape, {}, {}};
    LORAC_ASSIGN(imported.location, gguf.locate(stored, tensor));
    for (const Linear &linear : linearsOf(shape)) {
      if (!linear.rotaryHeads || name.find(linear.module) == std::string::npos)
        continue;
      if (name.ends_with(".bias"))
        return Status(Code::Unsupported)
               << gguf.path() << ": tensor " << stored
               << " is a bias of rotary-interleaved rows; compile the Hugging Face folder "
                  "of this checkpoint instead";
      imported.location.interleavedHeads = linear.rotaryHeads;
    }
    return std::optional<ImportedTensor>(std::move(imported));
  }

  FileCache &files;
  const GgufFile &gguf;
  Shape shape;
  std::map<std::string, std::string> byName; // Hugging Face name -> name in the file
};

} // namespace

Result<ImportedModel> readLlama(const HuggingFaceCheckpoint &checkpoint) {
  LORAC_ASSIGN(Shape shape, ConfigReader(checkpoint.configPath, checkpoint.config).read());
  SafetensorsTable left = checkpoint.tensors;
  // Without a head of its own a model can only use the embedding.
  const bool headStored = left.count(kHead);
  const bool copy = shape.tied && headStored;
  shape.tied = shape.tied || !headStored;
  auto find = [&](const std::string &name) -> Result<std::optional<ImportedTensor>> {
    auto found = left.find(name);
    if (found == left.end())
      return std::optional<ImportedTensor>();
    ImportedTensor tensor{name, found->second.shape, {}, {}};
    LORAC_ASSIGN(tensor.location, locate(name, found->second));
    left.erase(found);
    return std::optional<ImportedTensor>(std::move(tensor));
  };
  TensorPicker picker(checkpoint.configPath, shape, find);
  LORAC_ASSIGN(std::vector<ImportedTensor> tensors, picker.pick());
  if (copy) {
    LORAC_ASSIGN(std::optional<ImportedTensor> head, find(kHead));
    head->copyOf = kEmbedding;
    tensors.push_back(*std::move(head));
  }
  for (const auto &[name, entry] : left) {
    // Old checkpoints stored the plain frequencies; they follow from the configuration.
    if (name.ends_with(".rotary_emb.inv_freq"))
      continue;
    return refuseExtra(entry.file, name);
  }
  return modelOf(shape, std::move(tensors));
}

Result<ImportedModel> readLlama(FileCache &files, const GgufFile &gguf) {
  return GgufReader(files, gguf).read();
}

} // namespace lorac
