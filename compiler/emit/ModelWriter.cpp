//===- ModelWriter.cpp - a plan to model.lorac -----------------------------===//
// Emit only serialises: each function below writes one kind of op into the metadata. Expressions and
// views repeat thousands of times, so equal ones are written once and referred to.
#include "compiler/emit/ModelWriter.h"

#include "compiler/emit/WeightPacker.h"
#include "compiler/import/TensorSource.h"
#include "compiler/import/TokenizerReader.h"
#include "compiler/kernels/KernelCompiler.h"
#include "compiler/kernels/ModulePacker.h"
#include "compiler/packed/Quantizer.h"
#include "dialect/lora/Lora.h"
#include "dialect/plan/Plan.h"
#include "schemas/Catalog.h"
#include "schemas/Header.h"
#include "schemas/StoredWeight.h"
#include "schemas/model_generated.h"
#include "support/Checked.h"
#include "support/Compression.h"
#include "support/Container.h"
#include "support/Files.h"
#include "support/Fingerprint.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

#include <atomic>
#include <thread>

using namespace mlir;

namespace lorac {

namespace {

constexpr int64_t DefaultMaxContext = 4096;
constexpr int64_t DefaultMaxRows = 64;
constexpr uint64_t MaxGroupsAnAxis = 65535; ///< what every Vulkan device takes along a grid axis
constexpr unsigned HashThreads = 2;
constexpr const char *CompilerName = "lorac 0.1.0";

LogicalResult report(Operation *op, const Status &status) {
  InFlightDiagnostic diagnostic = op->emitError(status.message());
  for (const std::string &note : status.notes())
    diagnostic.attachNote() << note;
  return failure();
}

fbs::Hash toHash(const Digest &digest) {
  return fbs::Hash(flatbuffers::span<const uint8_t, 32>(digest.data(), digest.size()));
}

TensorLocation locate(lora::SourceAttr source, uint64_t rows, uint64_t cols) {
  return {source.getFile().str(),
          source.getOffset(),
          source.getSize(),
          Encoding(source.getEncoding()),
          rows,
          cols,
          source.getInterleavedHeads()};
}

TensorLocation locate(lora::WeightOp weight) {
  RankedTensorType type = weight.getTensorType();
  bool matrix = type.getRank() == 2;
  return locate(weight.getSource(), matrix ? type.getDimSize(0) : 1, type.getDimSize(matrix ? 1 : 0));
}

/// Modules, packed, and where they lie in the code segment.
struct CodeSegment {
  struct Range {
    uint64_t offset, size;
  };
  std::vector<uint8_t> bytes;
  std::map<std::vector<uint32_t>, Range> ranges; ///< by module
  /// Equal code is kept once.
  Status add(const std::vector<uint32_t> &words) {
    auto [entry, inserted] = ranges.insert({words, {bytes.size(), 0}});
    if (!inserted)
      return Status::ok();
    LORAC_ASSIGN(std::vector<uint32_t> packed, packModule(words));
    entry->second.size = packed.size() * sizeof(uint32_t);
    const auto *first = reinterpret_cast<const uint8_t *>(packed.data());
    bytes.insert(bytes.end(), first, first + entry->second.size);
    return Status::ok();
  }
};

class ModelWriter {
public:
  ModelWriter(ModuleOp module, const Progress &progress, const KernelCache *kernelCache)
      : module(module), progress(progress), kernelCache(kernelCache) {}

  FailureOr<ModelSummary> write(const std::string &path);

private:
  LogicalResult collect();
  LogicalResult compileKernels();
  LogicalResult readTexts();
  LogicalResult readFolds();
  LogicalResult computeFingerprint();
  std::vector<uint8_t> buildMetadata(std::span<const SegmentRecord> segments);
  LogicalResult writeWeights(ContainerWriter &writer);
  LogicalResult writeBuffer(ContainerWriter &writer, plan::WeightsOp buffer, uint64_t start);
  FailureOr<PackedRest> writeTensor(ContainerWriter &writer, lora::WeightOp weight);
  LogicalResult padWeights(ContainerWriter &writer, Operation *op, uint64_t start, uint64_t offset);

  // Pieces of the metadata.
  using Builder = flatbuffers::FlatBufferBuilder;
  uint32_t expr(plan::ExprAttr attr);
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::Expr>>> expressionTable();
  flatbuffers::Offset<fbs::Program> programOf(plan::ProgramOp program);
  flatbuffers::Offset<fbs::Kernel> kernelOf(size_t index);
  flatbuffers::Offset<fbs::Chain> chainOf(size_t index);
  std::vector<std::unique_ptr<fbs::VariantT>> variantsOf(size_t index);
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::Weight>>> weightTable();
  plan::ExprAttr arenaBytes();
  std::vector<fbs::EpilogueTerm> epilogueOf(plan::KernelOp kernel);

  lora::WeightOp weightNamed(Attribute symbol) {
    return module.lookupSymbol<lora::WeightOp>(cast<FlatSymbolRefAttr>(symbol).getAttr());
  }
  int64_t maxRows() { return int64_t(model.getMaxRows().value_or(DefaultMaxRows)); }
  int64_t maxContext() {
    return int64_t(model.getMaxContext().value_or(
        std::min<int64_t>(int64_t(model.getMaxPositions()), DefaultMaxContext)));
  }

  ModuleOp module;
  const Progress &progress;
  const KernelCache *kernelCache;
  FileCache files;

  lora::ModelOp model;
  plan::CacheOp cache;
  SmallVector<plan::KernelOp> kernels;
  SmallVector<plan::ChainOp> chains;
  SmallVector<plan::WeightsOp> weightBuffers;
  SmallVector<lora::RopeTableOp> ropeTables;
  llvm::StringMap<uint32_t> kernelNumbers, chainNumbers, angleNumbers;
  std::vector<std::vector<CompiledVariant>> variants; ///< of kernels, then of chains
  CodeSegment code;
  std::optional<TokenizerData> tokenizer;
  std::vector<uint32_t> eosIds;
  llvm::StringMap<std::vector<FoldValues>> folds;
  std::vector<std::pair<lora::WeightOp, Digest>> base;
  Digest fingerprint = {};
  uint64_t weightBytes = 0;
  std::vector<packed::StoredMatrix> matrices;

  // Valid during one buildMetadata.
  Builder *builder = nullptr;
  std::vector<plan::ExprAttr> expressions;
  llvm::DenseMap<Attribute, uint32_t> expressionNumbers;
};

LogicalResult ModelWriter::collect() {
  auto single = [&](auto ops, StringRef name) -> FailureOr<typename decltype(ops)::value_type> {
    if (ops.size() != 1)
      return module.emitError() << "has " << ops.size() << " " << name
                                << ", expected one; compile it from an earlier stage";
    return ops.front();
  };
  auto models = single(llvm::to_vector(module.getOps<lora::ModelOp>()), "lora.model");
  auto caches = single(llvm::to_vector(module.getOps<plan::CacheOp>()), "plan.cache");
  if (failed(models) || failed(caches))
    return failure();
  model = *models;
  cache = *caches;
  kernels = llvm::to_vector(module.getOps<plan::KernelOp>());
  chains = llvm::to_vector(module.getOps<plan::ChainOp>());
  weightBuffers = llvm::to_vector(module.getOps<plan::WeightsOp>());
  ropeTables = llvm::to_vector(module.getOps<lora::RopeTableOp>());
  for (auto [index, kernel] : llvm::enumerate(kernels))
    kernelNumbers[kernel.getSymName()] = index;
  for (auto [index, chain] : llvm::enumerate(chains)) {
    chainNumbers[chain.getSymName()] = index;
    for (auto link : chain.getLinks().getAsRange<FlatSymbolRefAttr>())
      if (!kernelNumbers.contains(link.getValue()))
        return chain.emitError() << "'" << chain.getSymName() << "' has link " << link
                                 << ", which the module does not have";
  }
  for (auto [index, table] : llvm::enumerate(ropeTables))
    angleNumbers[table.getSymName()] = index;
  uint64_t end = 0;
  for (plan::WeightsOp buffer : weightBuffers) {
    if (!buffer.getOffset() || *buffer.getOffset() < end)
      return buffer.emitError() << "'" << buffer.getSymName()
                                << "' has no place in the weight space; run plan-memory";
    end = *buffer.getOffset() + buffer.getSize();
    for (Attribute held : buffer.getHolds())
      if (!weightNamed(held))
        return buffer.emitError() << "'" << buffer.getSymName() << "' holds " << held
                                  << ", which the module does not have";
      else if (lora::PackedAttr packed = weightNamed(held).getPacked())
        if (packed::Scales scales = packed::scalesOf(packed.getType());
            buffer.getScales().has_value() != (scales != packed::Scales::None) ||
            buffer.getNestedScales().has_value() != packed.getType().nested ||
            (packed.getType().nested &&
             uint64_t(buffer.getNestedScales()->front()) < packed::NestedHeaderBytes))
          return buffer.emitError() << "'" << buffer.getSymName() << "' holds " << held << " as "
                                    << packed::nameOf(packed.getType()) << ", whose planes it does not have";
  }
  weightBytes = roundUp(end, format::ViewAlignment);
  for (plan::ProgramOp program : module.getOps<plan::ProgramOp>()) {
    for (plan::BufferOp buffer : program.getBody().front().getOps<plan::BufferOp>())
      if (!buffer.getOffset())
        return buffer.emitError() << "'" << buffer.getSymName() << "' has no offset; run plan-memory";
    for (plan::DispatchOp dispatch : program.getBody().front().getOps<plan::DispatchOp>()) {
      auto kernel = module.lookupSymbol<plan::KernelOp>(dispatch.getKernel());
      size_t wanted = catalog::pushes(kernel.getCatalog()).size();
      if (dispatch.getPush().size() != wanted)
        return dispatch.emitError() << "of '" << dispatch.getKernel() << "' pushes "
                                    << dispatch.getPush().size() << " constants, kernel '"
                                    << kernel.getCatalog() << "' takes " << wanted;
      for (const catalog::Push &push : catalog::pushes(kernel.getCatalog()))
        if (!dispatch.getPush().contains(StringRef(push.name)))
          return dispatch.emitError()
                 << "of '" << dispatch.getKernel() << "' lacks push constant " << push.name;
    }
  }
  return success();
}

std::vector<fbs::EpilogueTerm> ModelWriter::epilogueOf(plan::KernelOp kernel) {
  std::vector<fbs::EpilogueTerm> terms;
  if (!kernel.getEpilogue())
    return terms;
  for (auto term : kernel.getEpilogue()->getAsRange<plan::TermAttr>()) {
    auto value = dyn_cast_or_null<FloatAttr>(term.getValue());
    auto index = dyn_cast_or_null<IntegerAttr>(term.getValue());
    terms.emplace_back(value ? float(value.getValueAsDouble()) : 0.0f, uint16_t(index ? index.getInt() : 0),
                       fbs::EpilogueOp(term.getOp()));
  }
  return terms;
}

LogicalResult ModelWriter::compileKernels() {
  std::vector<KernelRequest> requests;
  for (plan::KernelOp kernel : kernels) {
    KernelRequest request{kernel.getCatalog().str(), {}, epilogueOf(kernel)};
    for (NamedAttribute constant : kernel.getConstants())
      request.constants[constant.getName().str()] = cast<IntegerAttr>(constant.getValue()).getInt();
    requests.push_back(std::move(request));
  }
  std::vector<std::vector<ChainLink>> links;
  for (plan::ChainOp chain : chains) {
    links.emplace_back();
    for (auto [link, waits] : llvm::zip(chain.getLinks().getAsRange<FlatSymbolRefAttr>(), chain.getWaits()))
      links.back().push_back({requests[kernelNumbers.lookup(link.getValue())], waits});
  }
  const size_t count = requests.size() + links.size();
  variants.resize(count);
  std::vector<Status> failures(count);
  auto compile = [&](size_t i) -> Status {
    if (i < requests.size()) {
      LORAC_ASSIGN(variants[i], compileVulkan(requests[i], kernelCache));
    } else {
      LORAC_ASSIGN(CompiledVariant variant, compileChain(links[i - requests.size()], kernelCache));
      variants[i].push_back(std::move(variant));
    }
    return Status::ok();
  };
  std::atomic<size_t> next = 0, done = 0;
  auto work = [&](bool tellsProgress) {
    // Chains, the longest, first.
    for (size_t i = next++; i < count; i = next++) {
      failures[count - 1 - i] = compile(count - 1 - i);
      ++done;
      if (tellsProgress)
        progress("compiling kernels", done, count);
    }
  };
  {
    std::jthread second(work, false);
    work(true);
  }
  progress("compiling kernels", count, count); // the last may have been the second's
  for (size_t i = 0; i < count; ++i) {
    if (!failures[i].isOk())
      return report(i < kernels.size() ? kernels[i].getOperation() : chains[i - kernels.size()], failures[i]);
    for (const CompiledVariant &variant : variants[i])
      if (Status added = code.add(variant.spirv); !added)
        return report(module, added);
  }
  return success();
}

LogicalResult ModelWriter::readTexts() {
  for (int64_t id : model.getEos())
    eosIds.push_back(uint32_t(id));
  for (lora::TokenizerOp op : module.getOps<lora::TokenizerOp>()) {
    if (tokenizer)
      return op.emitError("is the second tokenizer of the module");
    Result<TokenizerData> data =
        readTokenizer(op.getKind().str(), op.getFile().str(), op.getConfig().value_or("").str(),
                      op.getChatTemplate().value_or("").str());
    if (!data)
      return report(op, data.status());
    if (data->tokenizer.tokens.size() > model.getVocab())
      return op.emitError() << op.getFile() << ": has " << data->tokenizer.tokens.size()
                            << " tokens, the model's vocabulary is " << model.getVocab();
    for (uint32_t id : data->eosIds)
      if (!llvm::is_contained(eosIds, id))
        eosIds.push_back(id);
    tokenizer = *std::move(data);
  }
  return success();
}

LogicalResult ModelWriter::readFolds() {
  for (lora::WeightOp weight : module.getOps<lora::WeightOp>()) {
    if (!weight.getFolds())
      continue;
    RankedTensorType type = weight.getTensorType();
    for (auto fold : weight.getFolds()->getAsRange<lora::FoldAttr>()) {
      FoldValues values;
      values.rank = fold.getRank();
      values.scale = fold.getScale().getValueAsDouble();
      auto readAll = [&](lora::SourceAttr source, uint64_t rows, uint64_t cols,
                         std::vector<float> &out) -> Status {
        LORAC_ASSIGN(TensorSource tensor,
                     TensorSource::open(files, locate(source, rows, cols), weight.getSymName().str()));
        out.resize(rows * cols);
        return tensor.readRows(0, rows, out.data());
      };
      for (const Status &status : {readAll(fold.getA(), values.rank, type.getDimSize(1), values.a),
                                   readAll(fold.getB(), type.getDimSize(0), values.rank, values.b)})
        if (!status.isOk())
          return report(weight, status);
      folds[weight.getSymName()].push_back(std::move(values));
    }
  }
  return success();
}

/// The base's tensors are those of the checkpoint: a weight that shares another's bytes (an untied copy) is
/// not listed, and a folded one counts with its folded values.
LogicalResult ModelWriter::computeFingerprint() {
  llvm::DenseSet<Attribute> seen;
  for (lora::WeightOp weight : module.getOps<lora::WeightOp>()) {
    bool folded = folds.contains(weight.getSymName());
    if (!seen.insert(weight.getSource()).second && !folded)
      continue;
    Digest digest = *digestFromHex(weight.getDigest().str());
    if (folded) {
      Result<TensorSource> source = TensorSource::open(files, locate(weight), weight.getSymName().str());
      if (!source)
        return report(weight, source.status());
      WeightPacker packer(*source, packed::Type{packed::Code::F32}, folds[weight.getSymName()]);
      Sha256 hash;
      std::vector<float> row(source->cols());
      for (uint64_t i = 0; i < source->rows(); ++i) {
        if (Status status = packer.readFolded(i, 1, row.data()); !status.isOk())
          return report(weight, status);
        hash.update(row.data(), row.size() * 4);
      }
      digest = hash.finish();
    }
    base.push_back({weight, digest});
  }
  llvm::sort(base, [](auto &a, auto &b) {
    return lora::WeightOp(a.first).getSymName() < lora::WeightOp(b.first).getSymName();
  });
  std::vector<std::vector<uint64_t>> shapes;
  std::vector<BaseTensorView> views;
  for (auto &[weight, digest] : base) {
    ArrayRef<int64_t> shape = weight.getTensorType().getShape();
    shapes.emplace_back(shape.begin(), shape.end());
  }
  for (auto [entry, shape] : llvm::zip(base, shapes))
    views.push_back({std::string_view(entry.first.getSymName()), shape, entry.second});
  fingerprint = baseFingerprint(views);
  return success();
}

// ---- metadata -----------------------------------------------------------------------------------

/// The number of an expression in the file; equal ones have one.
uint32_t ModelWriter::expr(plan::ExprAttr attr) {
  auto [known, isNew] = expressionNumbers.insert({attr, uint32_t(expressions.size())});
  if (isNew)
    expressions.push_back(attr);
  return known->second;
}

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::Expr>>> ModelWriter::expressionTable() {
  std::vector<flatbuffers::Offset<fbs::Expr>> table;
  for (plan::ExprAttr attr : expressions) {
    std::vector<fbs::ExprTerm> terms;
    ArrayRef<int64_t> codes = attr.getCode();
    for (size_t i = 0; i + 1 < codes.size(); i += 2)
      terms.emplace_back(uint64_t(codes[i + 1]), fbs::ExprOp(codes[i]));
    table.push_back(fbs::CreateExpr(*builder, builder->CreateVectorOfStructs(terms)));
  }
  return builder->CreateVector(table);
}

flatbuffers::Offset<fbs::Kernel> ModelWriter::kernelOf(size_t index) {
  plan::KernelOp kernel = kernels[index];
  fbs::KernelT table;
  table.name = kernel.getSymName().str();
  table.catalog = kernel.getCatalog().str();
  std::map<std::string, int64_t> values;
  for (NamedAttribute named : kernel.getConstants()) {
    auto constant = std::make_unique<fbs::ConstantT>();
    constant->name = named.getName().str();
    constant->value = values[constant->name] = cast<IntegerAttr>(named.getValue()).getInt();
    table.constants.push_back(std::move(constant));
  }
  table.epilogue = epilogueOf(kernel);
  for (const catalog::Binding &known : catalog::bindings(table.catalog, values)) {
    auto binding = std::make_unique<fbs::BindingT>();
    binding->role = known.role;
    binding->access = known.access;
    binding->element = known.element;
    table.bindings.push_back(std::move(binding));
  }
  for (const catalog::Push &push : catalog::pushes(table.catalog))
    table.push.emplace_back(push.name);
  table.variants = variantsOf(index);
  return fbs::CreateKernel(*builder, &table);
}

flatbuffers::Offset<fbs::Chain> ModelWriter::chainOf(size_t index) {
  plan::ChainOp chain = chains[index];
  fbs::ChainT table;
  table.name = chain.getSymName().str();
  for (auto link : chain.getLinks().getAsRange<FlatSymbolRefAttr>())
    table.kernels.push_back(kernelNumbers.lookup(link.getValue()));
  table.waits.assign(chain.getWaits().begin(), chain.getWaits().end());
  table.variants = variantsOf(kernels.size() + index);
  return fbs::CreateChain(*builder, &table);
}

/// Of kernel or chain number `index` in `variants`.
std::vector<std::unique_ptr<fbs::VariantT>> ModelWriter::variantsOf(size_t index) {
  std::vector<std::unique_ptr<fbs::VariantT>> list;
  for (const CompiledVariant &compiled : variants[index]) {
    auto variant = std::make_unique<fbs::VariantT>();
    variant->name = compiled.name;
    variant->features = compiled.features;
    variant->texel = compiled.texel;
    variant->lanes = compiled.lanes;
    variant->segment = 0;
    const CodeSegment::Range range = code.ranges.at(compiled.spirv);
    variant->offset = range.offset;
    variant->size = range.size;
    list.push_back(std::move(variant));
  }
  return list;
}

flatbuffers::Offset<fbs::Program> ModelWriter::programOf(plan::ProgramOp program) {
  llvm::StringMap<uint32_t> numbers;
  std::vector<flatbuffers::Offset<fbs::Buffer>> buffers;
  Block &block = program.getBody().front();
  for (plan::BufferOp op : block.getOps<plan::BufferOp>()) {
    numbers[op.getSymName()] = uint32_t(buffers.size());
    auto name = builder->CreateString(op.getSymName().str());
    auto offset = expr(*op.getOffset()), size = expr(op.getSize());
    buffers.push_back(fbs::CreateBuffer(
        *builder, name, fbs::Space(op.spaceKind()), offset, size, fbs::StepInput(op.inputKind()),
        op.getAngles() ? angleNumbers.lookup(*op.getAngles()) : 0, uint32_t(op.getRowStride().value_or(0)),
        uint32_t(op.getWidth().value_or(0))));
  }
  // Weight buffers that this program reads, in order of their first use.
  for (plan::DispatchOp dispatch : block.getOps<plan::DispatchOp>())
    for (auto attr : dispatch.getViews().getAsRange<plan::ViewAttr>()) {
      if (numbers.contains(attr.getBuffer().getValue()))
        continue;
      auto op = module.lookupSymbol<plan::WeightsOp>(attr.getBuffer().getValue());
      numbers[op.getSymName()] = uint32_t(buffers.size());
      auto name = builder->CreateString(op.getSymName().str());
      auto offset = expr(plan::Expr::constant(module.getContext(), *op.getOffset()).get());
      auto size = expr(plan::Expr::constant(module.getContext(), op.getSize()).get());
      buffers.push_back(fbs::CreateBuffer(*builder, name, fbs::Space::Weight, offset, size));
    }
  std::vector<flatbuffers::Offset<fbs::Command>> commands;
  auto viewOf = [&](plan::ViewAttr attr) {
    return fbs::View(numbers.lookup(attr.getBuffer().getValue()), expr(attr.getOffset()),
                     expr(attr.getSize()));
  };
  auto addTransfer = [&](fbs::CommandKind kind, ArrayRef<plan::ViewAttr> attrs) {
    std::vector<fbs::View> views;
    llvm::transform(attrs, std::back_inserter(views), viewOf);
    commands.push_back(fbs::CreateCommand(*builder, kind, 0, builder->CreateVectorOfStructs(views)));
  };
  for (Operation &op : block) {
    if (isa<plan::BarrierOp>(op))
      commands.push_back(fbs::CreateCommand(*builder, fbs::CommandKind::Barrier));
    else if (auto run = dyn_cast<plan::RunOp>(op))
      commands.push_back(fbs::CreateCommand(*builder, fbs::CommandKind::Run,
                                            chainNumbers.lookup(run.getChain()), 0, 0, 0,
                                            uint32_t(run.getCommands()), uint32_t(run.getLink())));
    else if (auto fill = dyn_cast<plan::FillOp>(op))
      addTransfer(fbs::CommandKind::Fill, {fill.getView()});
    else if (auto copy = dyn_cast<plan::CopyOp>(op))
      addTransfer(fbs::CommandKind::Copy, {copy.getSource(), copy.getTarget()});
    auto dispatch = dyn_cast<plan::DispatchOp>(op);
    if (!dispatch)
      continue;
    std::vector<fbs::View> views;
    llvm::transform(dispatch.getViews().getAsRange<plan::ViewAttr>(), std::back_inserter(views), viewOf);
    std::vector<uint32_t> grid, push;
    for (auto size : dispatch.getGrid().getAsRange<plan::ExprAttr>())
      grid.push_back(expr(size));
    auto kernel = module.lookupSymbol<plan::KernelOp>(dispatch.getKernel());
    for (const catalog::Push &name : catalog::pushes(kernel.getCatalog()))
      push.push_back(expr(cast<plan::ExprAttr>(dispatch.getPush().get(name.name))));
    auto viewVector = builder->CreateVectorOfStructs(views);
    auto gridVector = builder->CreateVector(grid);
    auto pushVector = builder->CreateVector(push);
    commands.push_back(fbs::CreateCommand(*builder, fbs::CommandKind::Dispatch,
                                          kernelNumbers.lookup(dispatch.getKernel()), viewVector, gridVector,
                                          pushVector));
  }
  auto name = builder->CreateString(program.getSymName().str());
  auto bufferVector = builder->CreateVector(buffers);
  auto commandVector = builder->CreateVector(commands);
  return fbs::CreateProgram(*builder, name, uint32_t(program.getRowsMin()), uint32_t(program.getRowsMax()),
                            program.getAdapters(), bufferVector, commandVector);
}

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fbs::Weight>>> ModelWriter::weightTable() {
  std::vector<flatbuffers::Offset<fbs::Weight>> table;
  llvm::StringSet<> names;
  for (plan::WeightsOp buffer : weightBuffers) {
    const uint64_t offset = *buffer.getOffset();
    if (buffer.getValues())
      table.push_back(fbs::CreateWeight(*builder, builder->CreateString(buffer.getSymName().str()),
                                        fbs::WeightType::VectorF32, buffer.getSize() / 4, 1, offset,
                                        buffer.getSize()));
    for (auto [i, held] : llvm::enumerate(buffer.getHolds())) {
      lora::WeightOp weight = weightNamed(held);
      RankedTensorType shape = weight.getTensorType();
      std::string name = weight.getSymName().str();
      if (!names.insert(name).second) // stored once more in another joined weight
        name += "@" + buffer.getSymName().str();
      auto nameOffset = builder->CreateString(name);
      const uint64_t rows = shape.getDimSize(0), start = offset + uint64_t(buffer.getStarts()[i]);
      if (shape.getRank() == 1) {
        table.push_back(
            fbs::CreateWeight(*builder, nameOffset, fbs::WeightType::VectorF32, rows, 1, start, rows * 4));
        continue;
      }
      const packed::Type type = weight.getPacked().getType();
      const uint64_t cols = shape.getDimSize(1), tileRows = roundUp(rows, packed::TileRows);
      auto at = [&](std::optional<ArrayRef<int64_t>> plane) {
        return plane ? offset + uint64_t((*plane)[i]) : 0;
      };
      table.push_back(fbs::CreateWeight(*builder, nameOffset, packed::weightTypeOf(type), rows, cols, start,
                                        tileRows * packed::codeRowBytes(type, cols),
                                        packed::scaleTypeOf(type), type.group, at(buffer.getScales()),
                                        tileRows * packed::scaleRowBytes(type, cols),
                                        at(buffer.getNestedScales()), packed::nestedBytes(type, rows, cols)));
    }
  }
  return builder->CreateVector(table);
}

/// The largest program's arena: a peak known now, and what lies behind it by the session's capacities.
plan::ExprAttr ModelWriter::arenaBytes() {
  llvm::SetVector<Attribute> ends;
  uint64_t peak = format::ViewAlignment; // never empty
  for (plan::ProgramOp program : module.getOps<plan::ProgramOp>())
    for (plan::BufferOp buffer : program.getBody().front().getOps<plan::BufferOp>()) {
      if (buffer.spaceKind() != plan::Space::Arena)
        continue;
      plan::Expr end = plan::Expr(*buffer.getOffset()) + plan::Expr(buffer.getSize());
      if (std::optional<uint64_t> known = end.asConstant())
        peak = std::max(peak, *known);
      else
        ends.insert(end.get());
    }
  plan::Expr largest = plan::Expr::constant(module.getContext(), peak);
  for (Attribute end : ends)
    largest = largest.max(plan::Expr(cast<plan::ExprAttr>(end)));
  return largest.get();
}

std::vector<uint8_t> ModelWriter::buildMetadata(std::span<const SegmentRecord> records) {
  Builder fresh(1 << 20);
  // Compressed, a vtable beside its table costs less than the distance to one far away, a name the same.
  fresh.DedupVtables(false);
  builder = &fresh;

  std::vector<fbs::Segment> segments;
  for (const SegmentRecord &record : records)
    segments.emplace_back(record.offset, record.size, toHash(record.hash));
  std::vector<flatbuffers::Offset<fbs::BaseTensor>> baseTensors;
  for (auto &[weight, digest] : base) {
    auto name = fresh.CreateString(weight.getSymName().str());
    ArrayRef<int64_t> shape = weight.getTensorType().getShape();
    auto shapeVector = fresh.CreateVector(std::vector<uint64_t>(shape.begin(), shape.end()));
    fbs::Hash hash = toHash(digest);
    baseTensors.push_back(fbs::CreateBaseTensor(fresh, name, shapeVector, &hash));
  }
  std::vector<flatbuffers::Offset<fbs::Site>> sites;
  std::optional<uint32_t> headSite;
  for (plan::SiteOp site : module.getOps<plan::SiteOp>()) {
    if (site.getLogits())
      headSite = uint32_t(sites.size());
    sites.push_back(fbs::CreateSite(fresh, fresh.CreateString(site.getSite().str()), site.getInFeatures(),
                                    site.getOutFeatures()));
  }
  std::vector<flatbuffers::Offset<fbs::Symbol>> symbols;
  for (const plan::SymbolInfo &symbol : plan::symbolTable()) {
    uint64_t maximum = symbol.maximum;
    if (StringRef(symbol.name).ends_with("rows"))
      maximum = uint64_t(maxRows());
    else if (symbol.name == "items" || symbol.name == "max_items") // a grid axis
      maximum = std::min(maximum, MaxGroupsAnAxis - uint64_t(maxRows()));
    symbols.push_back(fbs::CreateSymbol(fresh, fresh.CreateString(symbol.name.str()),
                                        symbol.isStep ? fbs::SymbolClass::Step : fbs::SymbolClass::Load,
                                        maximum));
  }
  std::vector<flatbuffers::Offset<fbs::Kernel>> kernelTables;
  for (size_t i = 0; i < kernels.size(); ++i)
    kernelTables.push_back(kernelOf(i));
  std::vector<flatbuffers::Offset<fbs::Chain>> chainTables;
  for (size_t i = 0; i < chains.size(); ++i)
    chainTables.push_back(chainOf(i));
  std::vector<flatbuffers::Offset<fbs::Program>> programs;
  for (plan::ProgramOp program : module.getOps<plan::ProgramOp>())
    programs.push_back(programOf(program));
  std::vector<flatbuffers::Offset<fbs::AngleTable>> angles;
  for (lora::RopeTableOp table : ropeTables) {
    std::vector<double> frequencies;
    for (const APFloat &value : cast<DenseFPElementsAttr>(table.getFrequencies()))
      frequencies.push_back(value.convertToDouble());
    angles.push_back(fbs::CreateAngleTable(fresh, fresh.CreateVector(frequencies)));
  }

  auto segmentVector = fresh.CreateVectorOfStructs(segments);
  auto baseVector = fresh.CreateVector(baseTensors);
  auto siteVector = fresh.CreateVector(sites);
  auto symbolVector = fresh.CreateVector(symbols);
  auto kernelVector = fresh.CreateVector(kernelTables);
  auto chainVector = fresh.CreateVector(chainTables);
  auto programVector = fresh.CreateVector(programs);
  auto angleVector = fresh.CreateVector(angles);
  auto weightVector = weightTable();
  auto eosVector = fresh.CreateVector(eosIds);
  const uint32_t arena = expr(arenaBytes());
  auto expressionVector = expressionTable(); // all that was numbered above
  llvm::StringSet<> types;
  std::string storage;
  for (lora::WeightOp weight : module.getOps<lora::WeightOp>())
    if (lora::PackedAttr packed = weight.getPacked())
      if (std::string name = packed::nameOf(packed.getType()); types.insert(name).second)
        storage += (storage.empty() ? "" : ",") + name;
  auto provenance = fbs::CreateProvenanceDirect(fresh, CompilerName, model.getArchitecture().str().c_str(),
                                                model.getSource().str().c_str(), storage.c_str());
  flatbuffers::Offset<fbs::Tokenizer> tokenizerTable;
  flatbuffers::Offset<flatbuffers::String> chatTemplate, bos, eos;
  if (tokenizer) {
    tokenizerTable = fbs::CreateTokenizer(fresh, &tokenizer->tokenizer);
    auto optional = [&](const std::string &text) {
      return text.empty() ? flatbuffers::Offset<flatbuffers::String>() : fresh.CreateString(text);
    };
    chatTemplate = optional(tokenizer->chatTemplate);
    bos = optional(tokenizer->bosToken);
    eos = optional(tokenizer->eosToken);
  }

  fbs::Hash hash = toHash(fingerprint);
  fbs::ModelBuilder root(fresh);
  root.add_version(format::ModelVersion);
  root.add_fingerprint(&hash);
  root.add_base(baseVector);
  root.add_segments(segmentVector);
  root.add_first_weight_segment(1);
  root.add_weight_bytes(weightBytes);
  root.add_weights(weightVector);
  root.add_sites(siteVector);
  root.add_symbols(symbolVector);
  root.add_kernels(kernelVector);
  root.add_programs(programVector);
  root.add_angles(angleVector);
  root.add_vocab_size(uint32_t(model.getVocab()));
  root.add_max_context(uint32_t(maxContext()));
  root.add_max_rows(uint32_t(maxRows()));
  root.add_page_tokens(uint32_t(cache.getPageTokens()));
  root.add_cache_page_bytes(cache.getPageBytes());
  if (tokenizer) {
    root.add_tokenizer(tokenizerTable);
    root.add_chat_template(chatTemplate);
    root.add_bos_token(bos);
    root.add_eos_token(eos);
  }
  root.add_eos_ids(eosVector);
  root.add_provenance(provenance);
  root.add_expressions(expressionVector);
  if (headSite)
    root.add_head_site(*headSite);
  root.add_arena_bytes(arena);
  root.add_chains(chainVector);
  fbs::FinishModelBuffer(fresh, root.Finish());
  builder = nullptr;
  return {fresh.GetBufferPointer(), fresh.GetBufferPointer() + fresh.GetSize()};
}

// ---- weights ------------------------------------------------------------------------------------

/// The plane of codes, or a vector. What else there is of a matrix comes back.
FailureOr<PackedRest> ModelWriter::writeTensor(ContainerWriter &writer, lora::WeightOp weight) {
  Result<TensorSource> source = TensorSource::open(files, locate(weight), weight.getSymName().str());
  if (!source)
    return report(weight, source.status());
  auto sink = [&](std::span<const uint8_t> bytes) { return writer.append(bytes); };
  Result<PackedRest> rest = PackedRest();
  if (weight.getTensorType().getRank() == 1) {
    std::vector<float> values(source->cols());
    Status status = source->readRows(0, 1, values.data());
    if (status.isOk())
      status = sink({reinterpret_cast<const uint8_t *>(values.data()), values.size() * 4});
    if (!status.isOk())
      rest = status;
  } else {
    auto held = folds.find(weight.getSymName());
    std::span<const FoldValues> values;
    if (held != folds.end())
      values = held->second;
    rest = WeightPacker(*source, weight.getPacked().getType(), values).pack(sink);
  }
  source->release();
  if (!rest)
    return report(weight, rest.status());
  return *std::move(rest);
}

/// The planes of a buffer in order: codes of all its tensors, scales of all, nested scales of all.
LogicalResult ModelWriter::writeBuffer(ContainerWriter &writer, plan::WeightsOp buffer, uint64_t start) {
  const uint64_t base = *buffer.getOffset();
  auto padTo = [&](uint64_t offset) { return padWeights(writer, buffer, start, offset); };
  auto append = [&](const void *bytes, size_t size) -> LogicalResult {
    Status status = writer.append({static_cast<const uint8_t *>(bytes), size});
    return status.isOk() ? success() : report(buffer, status);
  };
  if (std::optional<ElementsAttr> values = buffer.getValues()) {
    auto floats = llvm::to_vector(values->getValues<float>());
    return failure(failed(padTo(base)) || failed(append(floats.data(), floats.size() * 4)));
  }
  SmallVector<PackedRest> rests;
  for (auto [held, at] : llvm::zip(buffer.getHolds(), buffer.getStarts())) {
    lora::WeightOp weight = weightNamed(held);
    if (failed(padTo(base + uint64_t(at))))
      return failure();
    FailureOr<PackedRest> rest = writeTensor(writer, weight);
    if (failed(rest))
      return failure();
    if (weight.getPacked())
      matrices.push_back(
          {weight.getSymName().str(), lora::stringifySourceType(weight.getSource().getEncoding()).str(),
           packed::exactTypeOf(Encoding(weight.getSource().getEncoding())).has_value(),
           weight.getPacked().getType(), uint64_t(weight.getTensorType().getDimSize(0)),
           uint64_t(weight.getTensorType().getDimSize(1)), rest->error.squares, rest->error.reference});
    rests.push_back(*std::move(rest));
    progress("writing weights", writer.appended() - start, weightBytes);
  }
  if (std::optional<ArrayRef<int64_t>> scales = buffer.getScales())
    for (auto [rest, at] : llvm::zip(rests, *scales))
      if (failed(padTo(base + uint64_t(at))) || failed(append(rest.scales.data(), rest.scales.size())))
        return failure();
  std::optional<ArrayRef<int64_t>> nested = buffer.getNestedScales();
  if (!nested)
    return success();
  const uint64_t header = uint64_t(nested->front()) - packed::NestedHeaderBytes;
  uint32_t starts[packed::NestedHeaderBytes / 4] = {};
  for (auto [start, at] : llvm::zip(starts, *nested))
    start = uint32_t((uint64_t(at) - header) / 4);
  if (failed(padTo(base + header)) || failed(append(starts, sizeof(starts))))
    return failure();
  for (auto [rest, at] : llvm::zip(rests, *nested))
    if (failed(padTo(base + uint64_t(at))) || failed(append(rest.nested.data(), rest.nested.size())))
      return failure();
  return success();
}

/// Zeros from where the weight space, which starts at `start` of the file's segments, is now to `offset` in
/// it.
LogicalResult ModelWriter::padWeights(ContainerWriter &writer, Operation *op, uint64_t start,
                                      uint64_t offset) {
  uint64_t now = writer.appended() - start;
  if (now > offset)
    return op->emitError() << "starts at " << offset << " of the weight space, " << now << " bytes are taken";
  Status status = writer.appendZeros(offset - now);
  return status.isOk() ? success() : report(op, status);
}

LogicalResult ModelWriter::writeWeights(ContainerWriter &writer) {
  const uint64_t start = writer.appended();
  for (plan::WeightsOp buffer : weightBuffers)
    if (failed(writeBuffer(writer, buffer, start)))
      return failure();
  return padWeights(writer, module, start, weightBytes);
}

FailureOr<ModelSummary> ModelWriter::write(const std::string &path) {
  if (failed(collect()) || failed(compileKernels()) || failed(readTexts()) || failed(readFolds()) ||
      failed(computeFingerprint()))
    return failure();
  Result<AtomicFile> file = AtomicFile::create(path);
  if (!file)
    return report(module, file.status());
  if (code.bytes.size() > format::MaxCodeBytes)
    return module.emitError() << "its kernels have " << code.bytes.size()
                              << " bytes of code, a model file holds at most " << format::MaxCodeBytes
                              << "; use fewer packed types or a smaller --max-rows";
  Result<std::vector<uint8_t>> codeSegment = compress(code.bytes);
  if (!codeSegment)
    return report(module, codeSegment.status());
  std::vector<uint64_t> sizes{codeSegment->size()};
  for (uint64_t rest = weightBytes; rest > 0; rest -= std::min(rest, format::MaxWeightSegmentBytes))
    sizes.push_back(std::min(rest, format::MaxWeightSegmentBytes));
  ContainerWriter writer(*file, format::ModelMagic);
  if (Status status = writer.begin(sizes, 1); !status.isOk())
    return report(module, status);
  if (Status status = writer.append(*codeSegment); !status.isOk())
    return report(module, status);
  if (failed(writeWeights(writer)))
    return failure();
  ModelSummary summary;
  if (Status status = writer.finish(buildMetadata(writer.segments())); !status.isOk())
    return report(module, status);
  summary.fileBytes = file->position();
  if (Status status = file->commit(); !status.isOk())
    return report(module, status);
  summary.fingerprint = fingerprint;
  summary.weightBytes = weightBytes;
  summary.matrices = std::move(matrices);
  summary.kernels = kernels.size();
  for (plan::ProgramOp program : module.getOps<plan::ProgramOp>()) {
    summary.arenaPeakBytes = std::max<uint64_t>(summary.arenaPeakBytes, program.getArenaPeak().value_or(0));
    ++summary.programs;
  }
  return summary;
}

} // namespace

LogicalResult verifySources(ModuleOp module, const Progress &progress) {
  FileCache files;
  SmallVector<lora::WeightOp> weights;
  std::vector<TensorSource> sources;
  llvm::DenseSet<Attribute> seen;
  for (lora::WeightOp weight : module.getOps<lora::WeightOp>()) {
    if (!seen.insert(weight.getSource()).second)
      continue;
    Result<TensorSource> source = TensorSource::open(files, locate(weight), weight.getSymName().str());
    if (!source)
      return report(weight, source.status());
    weights.push_back(weight);
    sources.push_back(*std::move(source));
  }
  Result<std::vector<Digest>> digests = digestTensors(
      sources, HashThreads, [&](uint64_t done, uint64_t total) { progress("reading weights", done, total); });
  if (!digests)
    return report(module, digests.status());
  for (auto [weight, digest] : llvm::zip(weights, *digests))
    if (digestFromHex(weight.getDigest().str()) != digest)
      return report(weight, Status(Code::Incompatible)
                                << "weight '" << weight.getSymName().str()
                                << "': " << weight.getSource().getFile().str()
                                << " holds other values than when this was dumped; dump it again");
  return success();
}

FailureOr<ModelSummary> writeModel(ModuleOp module, const std::string &path, const Progress &progress,
                                   const KernelCache *kernelCache) {
  return ModelWriter(module, progress, kernelCache).write(path);
}

} // namespace lorac
