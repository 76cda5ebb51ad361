//===- Import.cpp - a checkpoint becomes a module of the lora dialect ------===//
// What all families share: opening the checkpoint, digests, end tokens, and the ops that are not the step.
#include "compiler/import/Import.h"

#include "compiler/import/Family.h"
#include "compiler/import/Shown.h"
#include "compiler/import/TokenizerReader.h"
#include "dialect/lora/Lora.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"

#include <algorithm>
#include <filesystem>

using namespace mlir;

namespace lorac {
namespace {

/// A checkpoint read as far as values go: all that is left is to write it down.
struct Checkpoint {
  std::string source; // "hf" or "gguf"
  ImportedModel model;
  std::string tokenizerFile, tokenizerConfig, chatTemplate; // empty: none
  std::vector<int64_t> eos;
  std::string warning;
};

void addEos(std::vector<int64_t> &eos, int64_t id) {
  if (std::find(eos.begin(), eos.end(), id) == eos.end())
    eos.push_back(id);
}

/// eos_token_id of a configuration: absent, an id or a list of ids.
Status readEos(const std::string &path, const JsonValue &config, std::vector<int64_t> &eos) {
  const JsonValue *value = config.findSet("eos_token_id");
  if (!value)
    return Status::ok();
  if (value->items.size() > kMaxEndTokens)
    return Status(Code::Unsupported) << path << ": eos_token_id lists " << value->items.size()
                                     << " tokens, at most " << kMaxEndTokens << " are supported";
  bool good = value->isInteger() || value->isArray();
  if (value->isInteger())
    addEos(eos, value->integer);
  for (const JsonValue &item : value->items) {
    good = good && item.isInteger();
    addEos(eos, item.integer);
  }
  if (!good)
    return Status(Code::CorruptFile) << path << ": eos_token_id is " << value->text()
                                     << ", a token id or a list of them was expected";
  return Status::ok();
}

Result<Checkpoint> readHuggingFace(FileCache &files, const std::string &directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  auto beside = [&](const char *name) {
    std::string path = directory + "/" + name;
    return fs::exists(path, error) ? path : std::string();
  };
  HuggingFaceCheckpoint hf;
  hf.configPath = directory + "/config.json";
  if (beside("config.json").empty())
    return Status(Code::NotFound) << directory
                                  << ": has no config.json; name the folder of a Hugging Face checkpoint"
                                  << (beside("adapter_config.json").empty()
                                          ? ""
                                          : " (this is an adapter: lorac adapter reads those)");
  LORAC_ASSIGN(hf.config, readJsonFile(hf.configPath, kMaxModelConfigBytes));
  const JsonValue *type = hf.config.findSet("model_type");
  if (!type || !type->isString() || type->string != "llama")
    return Status(Code::Unsupported) << hf.configPath << ": model_type is "
                                     << (type ? type->text() : std::string("absent"))
                                     << ", supported is \"llama\"";
  LORAC_ASSIGN(hf.tensors, readSafetensorsCheckpoint(files, directory));
  Checkpoint checkpoint;
  checkpoint.source = "hf";
  LORAC_ASSIGN(checkpoint.model, readLlama(hf));
  if (std::string path = beside("generation_config.json"); !path.empty()) {
    LORAC_ASSIGN(JsonValue generation, readJsonFile(path, kMaxModelConfigBytes));
    if (!generation.isObject())
      return Status(Code::CorruptFile) << path << ": is not a JSON object; fetch the file again";
    LORAC_TRY(readEos(path, generation, checkpoint.eos));
  }
  if (checkpoint.eos.empty())
    LORAC_TRY(readEos(hf.configPath, hf.config, checkpoint.eos));
  checkpoint.tokenizerFile = beside("tokenizer.json");
  if (!checkpoint.tokenizerFile.empty()) {
    checkpoint.tokenizerConfig = beside("tokenizer_config.json");
    checkpoint.chatTemplate = beside("chat_template.jinja");
  } else if (std::string path = beside("tokenizer.model"); !path.empty()) {
    checkpoint.warning = path + ": only tokenizer.json is read; this model will have no tokenizer";
  }
  return checkpoint;
}

Result<Checkpoint> readGguf(FileCache &files, const std::string &path) {
  LORAC_ASSIGN(GgufFile gguf, GgufFile::open(files, path));
  LORAC_ASSIGN(std::optional<std::string_view> architecture, gguf.stringKey("general.architecture"));
  LORAC_ASSIGN(std::optional<std::string_view> type, gguf.stringKey("general.type"));
  if (type && *type != "model")
    return Status(Code::Unsupported) << path << ": general.type is " << shown(*type)
                                     << ", a model was expected";
  if (!architecture || *architecture != "llama")
    return Status(Code::Unsupported) << path << ": general.architecture is "
                                     << shown(architecture.value_or("absent")) << ", supported is llama";
  Checkpoint checkpoint;
  checkpoint.source = "gguf";
  LORAC_ASSIGN(checkpoint.model, readLlama(files, gguf));
  if (gguf.find("tokenizer.ggml.model"))
    checkpoint.tokenizerFile = path;
  return checkpoint;
}

/// Opens the tokenizer, so that a wrong one is an error now, and adds its end tokens.
Status addTokenizer(Checkpoint &checkpoint) {
  if (checkpoint.tokenizerFile.empty())
    return Status::ok();
  LORAC_ASSIGN(TokenizerData data, readTokenizer(checkpoint.source, checkpoint.tokenizerFile,
                                                 checkpoint.tokenizerConfig, checkpoint.chatTemplate));
  if (data.tokenizer.tokens.size() > checkpoint.model.vocab)
    return Status(Code::Incompatible)
           << checkpoint.tokenizerFile << ": has token " << data.tokenizer.tokens.size() - 1
           << ", the model's embedding has rows 0 to " << checkpoint.model.vocab - 1
           << "; use the tokenizer that belongs to the model";
  for (uint32_t id : data.eosIds)
    addEos(checkpoint.eos, id);
  return Status::ok();
}

Result<std::vector<Digest>> digestAll(FileCache &files, const ImportedModel &model, unsigned threads,
                                      const ImportProgress &progress) {
  std::vector<TensorSource> sources;
  for (const ImportedTensor &tensor : model.tensors) {
    LORAC_ASSIGN(TensorSource source, TensorSource::open(files, tensor.location, tensor.name));
    sources.push_back(std::move(source));
  }
  LORAC_ASSIGN(std::vector<Digest> digests, digestTensors(sources, threads, progress));
  for (size_t i = 0; i < sources.size(); ++i)
    for (size_t j = 0; j < sources.size() && !model.tensors[i].copyOf.empty(); ++j)
      if (model.tensors[j].name == model.tensors[i].copyOf && digests[i] != digests[j])
        return Status(Code::Unsupported)
               << model.tensors[i].location.file << ": " << model.tensors[i].name << " differs from "
               << model.tensors[j].name
               << " though config.json ties them (tie_word_embeddings); set it to false or remove one";
  return digests;
}

lora::SourceAttr sourceAttr(MLIRContext *context, const TensorLocation &location) {
  static_assert(uint32_t(Encoding::Q6_K) == uint32_t(lora::SourceType::Q6_K));
  return lora::SourceAttr::get(context, StringAttr::get(context, location.file), location.offset,
                               location.size, lora::SourceType(uint32_t(location.encoding)),
                               location.interleavedHeads);
}

void writeModule(ModuleOp module, const Checkpoint &checkpoint, const std::vector<Digest> &digests,
                 const ImportOptions &options) {
  MLIRContext *context = module.getContext();
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Location location = builder.getUnknownLoc();
  auto number = [&](std::optional<uint64_t> value) {
    return value ? builder.getI64IntegerAttr(int64_t(*value)) : IntegerAttr();
  };
  ArrayAttr quantize;
  if (!options.quantize.empty()) {
    SmallVector<StringRef> rules(options.quantize.begin(), options.quantize.end());
    quantize = builder.getStrArrayAttr(rules);
  }
  const ImportedModel &model = checkpoint.model;
  lora::ModelOp::create(builder, location, builder.getStringAttr(model.architecture),
                        builder.getStringAttr(checkpoint.source), number(model.vocab),
                        number(model.maxPositions), builder.getDenseI64ArrayAttr(checkpoint.eos),
                        number(options.maxContext), number(options.maxRows), quantize,
                        /*cache=*/StringAttr());
  auto text = [&](const std::string &value) {
    return value.empty() ? StringAttr() : builder.getStringAttr(value);
  };
  if (!checkpoint.tokenizerFile.empty())
    lora::TokenizerOp::create(builder, location, builder.getStringAttr(checkpoint.source),
                              builder.getStringAttr(checkpoint.tokenizerFile),
                              text(checkpoint.tokenizerConfig), text(checkpoint.chatTemplate));
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const ImportedTensor &tensor = model.tensors[i];
    if (!tensor.copyOf.empty())
      continue;
    SmallVector<int64_t> shape(tensor.shape.begin(), tensor.shape.end());
    lora::WeightOp::create(builder, location, builder.getStringAttr(tensor.name),
                           sourceAttr(context, tensor.location), builder.getStringAttr(toHex(digests[i])),
                           TypeAttr::get(RankedTensorType::get(shape, builder.getF32Type())), ArrayAttr());
  }
  model.buildStep(builder);
}

Status checkOptions(const std::string &path, const Checkpoint &checkpoint, const ImportOptions &options) {
  if (options.maxContext && (*options.maxContext == 0 || *options.maxContext > checkpoint.model.maxPositions))
    return Status(Code::InvalidArgument)
           << path << ": --max-context " << *options.maxContext << " is outside 1 to "
           << checkpoint.model.maxPositions << ", the model's own limit";
  if (options.maxRows && (*options.maxRows == 0 || *options.maxRows > kMaxStepRows))
    return Status(Code::InvalidArgument)
           << path << ": --max-rows " << *options.maxRows << " is outside 1 to " << kMaxStepRows;
  for (int64_t id : checkpoint.eos)
    if (id < 0 || uint64_t(id) >= checkpoint.model.vocab)
      return Status(Code::Incompatible) << path << ": end token " << id << " is outside the vocabulary of "
                                        << checkpoint.model.vocab << "; mend eos_token_id";
  return Status::ok();
}

} // namespace

Status importCheckpoint(ModuleOp module, const std::string &path, const ImportOptions &options,
                        const ImportProgress &progress) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string absolute = fs::absolute(path, error).lexically_normal().string();
  while (absolute.size() > 1 && absolute.back() == '/')
    absolute.pop_back();
  FileCache files;
  Result<Checkpoint> read = Status(Code::NotFound)
                            << path << ": does not exist; name a Hugging Face folder or a .gguf file";
  if (fs::is_directory(absolute, error))
    read = readHuggingFace(files, absolute);
  else if (fs::exists(absolute, error))
    read = readGguf(files, absolute);
  LORAC_ASSIGN(Checkpoint checkpoint, std::move(read));
  LORAC_TRY(addTokenizer(checkpoint));
  LORAC_TRY(checkOptions(path, checkpoint, options));
  LORAC_ASSIGN(std::vector<Digest> digests, digestAll(files, checkpoint.model, options.threads, progress));
  module.getContext()->loadDialect<lora::LoraDialect, arith::ArithDialect, math::MathDialect>();
  if (!checkpoint.warning.empty())
    emitWarning(module.getLoc()) << checkpoint.warning;
  writeModule(module, checkpoint, digests, options);
  if (failed(verify(module))) {
    module.getBody()->clear();
    return Status(Code::Internal) << path
                                  << ": the imported module does not hold; report it with the message above";
  }
  return Status::ok();
}

} // namespace lorac
