#include "tests/runtime/files/TinyModel.h"

#include "schemas/Catalog.h"
#include "schemas/Header.h"
#include "support/Checked.h"
#include "support/Compression.h"
#include "support/Digest.h"
#include "support/Fingerprint.h"
#include "support/Half.h"
#include "support/PackedModule.h"
#include "support/Vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <map>
#include <utility>

namespace lorac::test {

namespace {

constexpr int FastCompression = 1; // sweeps write a file for each byte of one

fbs::Hash hashOf(const Digest &digest) {
  return fbs::Hash(flatbuffers::span<const uint8_t, 32>(digest.data(), 32));
}

/// The writer's layout, written a second time on purpose: support/Container.h has tests of its own.
Bytes layOut(const char (&magic)[4], const std::vector<Bytes> &segments, std::vector<fbs::Segment> &records,
             const EditSegments &edit, const std::function<Bytes()> &metadata, size_t codeSegments = 0) {
  records.assign(segments.size(), fbs::Segment());
  Bytes file(sizeof(format::Header), 0);
  for (size_t i = 0; i < segments.size(); ++i) {
    file.resize(roundUp(file.size(), i < codeSegments ? 64 : 4096), 0);
    records[i] = fbs::Segment(file.size(), segments[i].size(), hashOf(sha256(segments[i])));
    file.insert(file.end(), segments[i].begin(), segments[i].end());
  }
  if (edit)
    edit(records);
  format::Header header = {};
  std::memcpy(header.magic, magic, 4);
  header.version = 2;
  header.metadataOffset = file.size();
  std::memcpy(file.data(), &header, sizeof(header));
  replaceMetadata(file, metadata());
  return file;
}

template <typename Table, typename Root> Bytes pack(const Table &table, const char *identifier) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Root::Pack(builder, &table), identifier);
  return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

void appendWords(Bytes &bytes, std::span<const uint32_t> words) {
  for (uint32_t word : words)
    for (int i = 0; i < 4; ++i)
      bytes.push_back(uint8_t(word >> (8 * i)));
}

constexpr uint32_t Hidden = 8, Vocabulary = 32, QueryHeads = 2, HeadSize = 4, MaxRows = 16, PageBytes = 512;
constexpr uint32_t JoinedColumns = 96; // q, k and v, each padded to 4 tiles of 8
constexpr uint32_t NoSegment = 0xffffffff, NullSite = 4;

/// Builds one program; buffers get their places in the order they are made.
class ProgramBuilder {
public:
  ProgramBuilder(fbs::ModelT &model, const std::string &name, uint32_t rowsMin, uint32_t rowsMax,
                 bool adapters)
      : model(model) {
    program = std::make_unique<fbs::ProgramT>();
    program->name = name;
    program->rows_min = rowsMin;
    program->rows_max = rowsMax;
    program->adapters = adapters;
  }

  fbs::BufferT &buffer(const std::string &name, fbs::Space space, const Terms &offset, const Terms &size) {
    auto made = std::make_unique<fbs::BufferT>();
    made->name = name;
    made->space = space;
    made->offset = expr(model, offset);
    made->size = expr(model, size);
    indices[name] = uint32_t(program->buffers.size());
    program->buffers.push_back(std::move(made));
    return *program->buffers.back();
  }
  /// Behind what its space holds already.
  fbs::BufferT &next(const std::string &name, fbs::Space space, const Terms &size) {
    Terms &end = ends.try_emplace(space, constant(0)).first->second;
    fbs::BufferT &made = buffer(name, space, end, size);
    const bool fixed = size.size() == 1 && end.size() == 1;
    end = fixed ? constant(roundUp(end[0].value() + size[0].value(), 256))
                : end + ceilDiv(size, constant(256)) * constant(256);
    return made;
  }
  void input(const std::string &name, fbs::StepInput input, const Terms &size) {
    next(name, fbs::Space::Step, size).input = input;
  }

  void dispatch(const std::string &kernel, const std::vector<std::string> &views, const Terms &x,
                const Terms &y, const std::vector<Terms> &push) {
    auto command = std::make_unique<fbs::CommandT>();
    command->kind = fbs::CommandKind::Dispatch;
    command->kernel = uint32_t(std::find_if(model.kernels.begin(), model.kernels.end(),
                                            [&](const auto &k) { return k->name == kernel; }) -
                               model.kernels.begin());
    for (const std::string &name : views)
      command->views.push_back(view(name));
    for (const Terms &axis : {x, y, constant(1)})
      command->grid.push_back(expr(model, axis));
    for (const Terms &value : push)
      command->push.push_back(expr(model, value));
    program->commands.push_back(std::move(command));
    barrier();
  }
  void barrier() {
    auto command = std::make_unique<fbs::CommandT>();
    command->kind = fbs::CommandKind::Barrier;
    program->commands.push_back(std::move(command));
  }
  void fill(const std::string &name) {
    auto command = std::make_unique<fbs::CommandT>();
    command->kind = fbs::CommandKind::Fill;
    command->views.push_back(view(name));
    program->commands.push_back(std::move(command));
  }
  void copy(const std::string &from, const std::string &to) {
    auto command = std::make_unique<fbs::CommandT>();
    command->kind = fbs::CommandKind::Copy;
    command->views.push_back(view(from));
    command->views.push_back(view(to));
    program->commands.push_back(std::move(command));
  }

  Terms arenaEnd() const { return ends.at(fbs::Space::Arena); }
  std::unique_ptr<fbs::ProgramT> take() { return std::move(program); }

private:
  fbs::View view(const std::string &name) {
    const uint32_t buffer = indices.at(name);
    return {buffer, expr(model, constant(0)), program->buffers[buffer]->size};
  }

  fbs::ModelT &model;
  std::unique_ptr<fbs::ProgramT> program;
  std::map<std::string, uint32_t> indices;
  std::map<fbs::Space, Terms> ends;
};

/// A kernel as the catalog has it under these constants, with one variant, a SPIR-V header.
void addKernel(TinyModel &tiny, const std::string &name, const std::string &catalogName,
               const std::map<std::string, int64_t> &constants,
               std::vector<fbs::EpilogueTerm> epilogue = {}) {
  const catalog::Kernel &entry = *catalog::find(catalogName);
  const auto valueOf = [&](std::string_view constant) { // the smallest where nothing is said
    for (const catalog::Constant &row : entry.constants)
      if (auto given = constants.find(std::string(constant)); row.name == constant)
        return given != constants.end() ? given->second : row.minimum;
    return int64_t(0);
  };
  auto kernel = std::make_unique<fbs::KernelT>();
  kernel->name = name;
  kernel->catalog = catalogName;
  for (const catalog::Constant &row : entry.constants) {
    auto made = std::make_unique<fbs::ConstantT>();
    made->name = row.name;
    made->value = valueOf(row.name);
    kernel->constants.push_back(std::move(made));
  }
  for (const catalog::Binding &row : entry.bindings) {
    if (!catalog::isBound(row, valueOf))
      continue;
    auto made = std::make_unique<fbs::BindingT>();
    made->role = row.role;
    made->access = row.access;
    made->element = row.element;
    kernel->bindings.push_back(std::move(made));
  }
  for (const catalog::Push &row : entry.pushes)
    kernel->push.emplace_back(row.name);
  kernel->epilogue = std::move(epilogue);
  auto variant = std::make_unique<fbs::VariantT>();
  variant->name = "texel";
  variant->features = 3;
  variant->texel = true;
  variant->lanes = 8;
  variant->segment = 0;
  variant->offset = tiny.segments[0].size();
  const std::vector<uint32_t> code = packPlainly(std::array<uint32_t, 5>{0x07230203, 0x00010000, 0, 1, 0});
  variant->size = code.size() * sizeof(uint32_t);
  appendWords(tiny.segments[0], code);
  kernel->variants.push_back(std::move(variant));
  tiny.model.kernels.push_back(std::move(kernel));
}

void addWeight(fbs::ModelT &model, const std::string &name, fbs::WeightType type, uint64_t rows,
               uint64_t cols, uint64_t offset, uint64_t size) {
  auto weight = std::make_unique<fbs::WeightT>();
  weight->name = name;
  weight->type = type;
  weight->rows = rows;
  weight->cols = cols;
  weight->offset = offset;
  weight->size = size;
  model.weights.push_back(std::move(weight));
}

void addSite(fbs::ModelT &model, const std::string &name, uint64_t in, uint64_t out) {
  auto site = std::make_unique<fbs::SiteT>();
  site->name = name;
  site->in_features = in;
  site->out_features = out;
  model.sites.push_back(std::move(site));
}

void addBase(fbs::ModelT &model, const std::string &name, std::vector<uint64_t> shape) {
  auto tensor = std::make_unique<fbs::BaseTensorT>();
  tensor->name = name;
  tensor->shape = std::move(shape);
  tensor->hash = std::make_unique<fbs::Hash>(
      hashOf(sha256({reinterpret_cast<const uint8_t *>(name.data()), name.size()})));
  model.base.push_back(std::move(tensor));
}

void addSymbols(fbs::ModelT &model, const std::map<std::string, uint64_t> &maxima) {
#define SYMBOL(NAME, CLASS, MAXIMUM, MEANING)                                                                \
  {                                                                                                          \
    auto made = std::make_unique<fbs::SymbolT>();                                                            \
    made->name = #NAME;                                                                                      \
    made->kind = fbs::SymbolClass::CLASS;                                                                    \
    made->maximum = maxima.at(#NAME);                                                                        \
    model.symbols.push_back(std::move(made));                                                                \
  }
#include "schemas/Symbols.def"
#undef SYMBOL
}

void addProvenance(fbs::ModelT &model) {
  model.provenance = std::make_unique<fbs::ProvenanceT>();
  model.provenance->compiler = "lorac 0.1.0";
  model.provenance->architecture = "tiny";
  model.provenance->source_kind = "test";
  model.provenance->storage = "f16";
}

/// Halves between -1 and 1 that differ from each other; every 4-byte word is a finite f32 as well.
Bytes pattern(size_t size, uint32_t seed) {
  Bytes bytes;
  uint32_t state = seed * 2654435761u + 12345u;
  while (bytes.size() < size) {
    state = state * 1664525u + 1013904223u;
    const uint16_t half = floatToHalf(float(int(state >> 16) % 1001 - 500) / 500.0f);
    bytes.push_back(uint8_t(half));
    bytes.push_back(uint8_t(half >> 8));
  }
  bytes.resize(size);
  return bytes;
}

fbs::EpilogueTerm term(fbs::EpilogueOp op, uint16_t index = 0, float value = 0) {
  return fbs::EpilogueTerm(value, index, op);
}

std::unique_ptr<fbs::ProgramT> buildProgram(fbs::ModelT &model, const std::string &name, uint32_t rowsMin,
                                            uint32_t rowsMax, bool adapters, Terms &arenaEnd) {
  using fbs::Space, fbs::StepInput;
  ProgramBuilder b(model, name, rowsMin, rowsMax, adapters);
  const Terms one = constant(1), zero = constant(0), rows = symbol("rows"), outRows = symbol("out_rows");
  const auto perRow = [&](uint64_t bytes) { return constant(bytes * rowsMax); };

  b.buffer("embedding", Space::Weight, zero, constant(512));
  b.buffer("norm", Space::Weight, constant(512), constant(32));
  b.buffer("qkv.weight", Space::Weight, constant(768), constant(1536));
  b.buffer("o.weight", Space::Weight, constant(2304), constant(128));
  b.next("x", Space::Arena, perRow(Hidden * 4));
  b.next("normed", Space::Arena, perRow(Hidden * 4));
  b.next("qkv", Space::Arena, perRow(JoinedColumns * 4));
  b.next("rotated", Space::Arena, perRow(QueryHeads * 32 * 4));
  b.next("attended", Space::Arena, perRow(Hidden * 4));
  b.next("projected", Space::Arena, perRow(Hidden * 4));
  b.next("sum", Space::Arena, perRow(Hidden * 4));
  b.next("last", Space::Arena, perRow(Hidden * 4));
  b.buffer("cache", Space::Cache, zero, symbol("pages") * constant(PageBytes));
  b.input("rows", StepInput::Rows, perRow(16));
  b.input("out_rows", StepInput::OutRows, perRow(16));
  b.input("angles", StepInput::Angles, perRow(16));
  b.input("pages", StepInput::Pages, symbol("max_pages") * constant(4));
  if (adapters) {
    b.buffer("pool", Space::Pool, zero, symbol("pool_bytes"));
    b.input("stacks", StepInput::Stacks, perRow(16));
    b.input("entries", StepInput::Entries, symbol("max_entries") * constant(16));
    b.input("items", StepInput::Items, symbol("max_items") * constant(16));
    b.next("t", Space::Arena, symbol("max_items") * constant(3 * 32));
  }
  fbs::BufferT &logits = b.next("logits", Space::Out, perRow(Vocabulary * 4));
  logits.row_stride = Vocabulary;
  logits.width = Vocabulary;

  // The joined or single linear; with adapters the shrink that feeds it comes first, if it does not ride on
  // the norm.
  const auto linear = [&](const std::string &weight, const std::string &x, const std::string &y,
                          uint32_t xStride, uint32_t yStride, uint32_t tiles,
                          const std::vector<uint32_t> &sites) {
    std::vector<Terms> siteTerms, segmentTerms;
    for (size_t i = 0; i < 4; ++i)
      siteTerms.push_back(constant(i < sites.size() ? sites[i] : NullSite));
    for (size_t i = 1; i < 4; ++i)
      segmentTerms.push_back(constant(i < sites.size() ? 4 * i : NoSegment));
    if (adapters && x != "normed") {
      std::vector<Terms> push = {constant(Hidden), constant(xStride), symbol("items")};
      push.insert(push.end(), siteTerms.begin(), siteTerms.end());
      b.dispatch("shrink", {x, "pool", "items", "t"}, symbol("items"), one, push);
    }
    std::vector<Terms> push = {rows, constant(Hidden), constant(xStride), constant(yStride), constant(tiles)};
    push.insert(push.end(), segmentTerms.begin(), segmentTerms.end());
    push.insert(push.end(), siteTerms.begin(), siteTerms.end());
    push.push_back(adapters ? symbol("items") : zero);
    push.push_back(zero); // first_tile
    std::vector<std::string> views = {weight, x, y};
    if (adapters)
      views.insert(views.end(), {"stacks", "items", "pool", "t"});
    b.dispatch(adapters ? "linear+" : "linear", views, constant(lorac::ceilDiv(tiles, 4)),
               ceilDiv(rows, constant(4)), push);
  };

  if (rowsMax > 1)
    b.fill("qkv");
  b.dispatch("embed", {"embedding", "rows", "x"}, one, rows, {one, constant(2), zero, constant(Vocabulary)});
  if (adapters)
    b.dispatch("norm+", {"x", "norm", "normed", "pool", "items", "t"}, rows + symbol("items"), one,
               {constant(Hidden), constant(2), constant(Hidden), constant(0x3727c5ac), rows, symbol("items"),
                zero, one, constant(2), constant(NullSite)});
  else
    b.dispatch("norm", {"x", "norm", "normed"}, rows, one,
               {constant(Hidden), constant(2), constant(Hidden), constant(0x3727c5ac), zero, zero, zero, zero,
                zero, zero});
  linear("qkv.weight", "normed", "qkv", 2, JoinedColumns, 12, {0, 1, 2});
  b.dispatch("rope", {"qkv", "qkv", "qkv", "rows", "pages", "angles", "rotated", "cache"},
             constant(QueryHeads + 2), rows,
             {zero, constant(32), constant(64), constant(JoinedColumns), constant(JoinedColumns),
              constant(JoinedColumns), constant(QueryHeads * 32), constant(QueryHeads), one});
  b.dispatch("attend", {"rotated", "rows", "pages", "cache", "attended"}, one, rows,
             {constant(QueryHeads * 8), constant(QueryHeads * HeadSize), one, constant(QueryHeads),
              constant(0x3f000000), zero, constant(NullSite)});
  linear("o.weight", "attended", "projected", 2, Hidden, 1, {3});
  b.dispatch("add", {"x", "projected", "sum"}, one, rows,
             {constant(Hidden), constant(Hidden), constant(Hidden), constant(Hidden), zero, zero});
  if (rowsMax == 1)
    b.copy("sum", "last");
  else
    b.dispatch("gather", {"sum", "out_rows", "last"}, one, outRows, {constant(2), constant(2), constant(2)});
  b.dispatch("head", {"embedding", "last", "logits"}, one, ceilDiv(outRows, constant(4)),
             {outRows, constant(Hidden), constant(2), constant(Vocabulary), constant(4), constant(NoSegment),
              constant(NoSegment), constant(NoSegment), constant(NullSite), constant(NullSite),
              constant(NullSite), constant(NullSite), zero, zero});
  arenaEnd = b.arenaEnd();
  return b.take();
}

} // namespace

void sealHeader(Bytes &file) {
  format::Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  const size_t start = size_t(std::min<uint64_t>(header.metadataOffset, file.size()));
  Sha256 hash;
  hash.update(file.data(), offsetof(format::Header, digest));
  hash.update(file.data() + start, size_t(std::min<uint64_t>(header.metadataSize, file.size() - start)));
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), file.begin() + offsetof(format::Header, digest));
}

Bytes metadataOf(const Bytes &file) {
  format::Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  return *decompress({file.data() + header.metadataOffset, size_t(header.metadataSize)},
                     format::MaxMetadataBytes);
}

void replaceMetadata(Bytes &file, std::span<const uint8_t> metadata) {
  const Bytes frame = *compress(metadata, FastCompression);
  format::Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  header.metadataSize = frame.size();
  std::memcpy(file.data(), &header, sizeof(header));
  file.resize(size_t(header.metadataOffset));
  file.insert(file.end(), frame.begin(), frame.end());
  sealHeader(file);
}

Bytes bareModelFile(std::span<const uint8_t> metadata) {
  std::vector<fbs::Segment> none;
  return layOut(format::ModelMagic, {}, none, {}, [&] { return Bytes(metadata.begin(), metadata.end()); });
}

Bytes TinyModel::bytes(const EditSegments &edit) {
  std::vector<Bytes> stored = segments;
  const size_t codeSegments = compressesCode ? model.first_weight_segment : 0;
  for (size_t i = 0; i < std::min(codeSegments, stored.size()); ++i)
    stored[i] = *compress(stored[i], FastCompression);
  return layOut(
      format::ModelMagic, stored, model.segments, edit,
      [&] { return pack<fbs::ModelT, fbs::Model>(model, fbs::ModelIdentifier()); },
      model.first_weight_segment);
}

void TinyModel::updateFingerprint() {
  std::vector<BaseTensorView> views;
  for (const auto &tensor : model.base) {
    BaseTensorView view{tensor->name, tensor->shape, {}};
    std::copy(tensor->hash->bytes()->begin(), tensor->hash->bytes()->end(), view.hash.begin());
    views.push_back(view);
  }
  model.fingerprint = std::make_unique<fbs::Hash>(hashOf(baseFingerprint(views)));
}

std::vector<uint32_t> packPlainly(std::span<const uint32_t> words) {
  std::vector<uint32_t> packed = {uint32_t(words.size()), 0};
  for (uint32_t word : words) {
    if (word > module::ValueMask)
      packed.push_back(module::Made << module::KindShift | 1);
    packed.push_back(word);
  }
  return packed;
}

TinyModel tinyModel() {
  TinyModel tiny;
  fbs::ModelT &model = tiny.model;
  model.version = 3;
  addBase(model, "block.k.weight", {4, 8});
  addBase(model, "block.norm.weight", {8});
  addBase(model, "block.o.weight", {8, 8});
  addBase(model, "block.q.weight", {8, 8});
  addBase(model, "block.v.weight", {4, 8});
  addBase(model, "embedding.weight", {Vocabulary, Hidden});
  tiny.updateFingerprint();

  tiny.segments.resize(3);
  tiny.segments[1] = pattern(1536, 1); // two weight segments, so that a weight lies in both
  tiny.segments[2] = pattern(1024, 2);
  model.first_weight_segment = 1;
  model.weight_bytes = 2560;
  addWeight(model, "embedding.weight", fbs::WeightType::F16, Vocabulary, Hidden, 0, 512);
  addWeight(model, "block.norm.weight", fbs::WeightType::VectorF32, Hidden, 1, 512, 32);
  addWeight(model, "block.q.weight", fbs::WeightType::F16, 8, Hidden, 768, 128);
  addWeight(model, "block.k.weight", fbs::WeightType::F16, 4, Hidden, 1280, 128);
  addWeight(model, "block.v.weight", fbs::WeightType::F16, 4, Hidden, 1792, 128);
  addWeight(model, "block.o.weight", fbs::WeightType::F16, 8, Hidden, 2304, 128);
  addSite(model, "block.q", Hidden, 8);
  addSite(model, "block.k", Hidden, 4);
  addSite(model, "block.v", Hidden, 4);
  addSite(model, "block.o", Hidden, 8);
  addSymbols(model, {{"rows", MaxRows},
                     {"out_rows", MaxRows},
                     {"items", 4096},
                     {"pages", 1024},
                     {"max_pages", 2048},
                     {"max_items", 4096},
                     {"max_entries", 256},
                     {"pool_bytes", 1 << 30},
                     {"plain_rows", MaxRows},
                     {"adapted_rows", MaxRows}});
  auto table = std::make_unique<fbs::AngleTableT>();
  table->frequencies = {1.0, 0.01};
  model.angles.push_back(std::move(table));

  std::map<std::string, int64_t> linear = {{"ROWS", 4},         {"TILES", 4},        {"WEIGHT", 1},
                                           {"TAIL", 1},         {"COMBINE", 1},      {"HAS_BIAS", 0},
                                           {"HAS_OPERAND0", 0}, {"HAS_OPERAND1", 0}, {"ADAPTERS", 0}};
  const std::vector<fbs::EpilogueTerm> plain = {term(fbs::EpilogueOp::Segment)};
  addKernel(tiny, "embed", "embed", {{"WEIGHT", 1}});
  addKernel(tiny, "norm", "rms_norm", {{"SEGMENTS", 0}, {"TAIL", 0}, {"GATHERED", 0}});
  addKernel(tiny, "norm+", "rms_norm", {{"SEGMENTS", 3}, {"TAIL", 1}, {"GATHERED", 0}});
  addKernel(tiny, "linear", "linear", linear, plain);
  addKernel(tiny, "head", "linear", linear, plain);
  linear["ADAPTERS"] = 1;
  addKernel(tiny, "linear+", "linear", linear, plain);
  addKernel(tiny, "shrink", "shrink", {{"SEGMENTS", 1}, {"TAIL", 1}, {"GATHERED", 0}});
  addKernel(tiny, "rope", "rope", {{"HEAD", HeadSize}, {"ROTATE", 1}, {"CACHE_F32", 0}});
  addKernel(tiny, "attend", "attend", {{"HEAD", HeadSize}, {"HEADS", 2}, {"CACHE_F32", 0}});
  addKernel(tiny, "gather", "gather", {});
  addKernel(
      tiny, "add", "map", {{"HAS_OPERAND1", 1}},
      {term(fbs::EpilogueOp::Operand, 0), term(fbs::EpilogueOp::Operand, 1), term(fbs::EpilogueOp::Add)});

  Terms largestArena, end;
  struct {
    const char *name;
    uint32_t rowsMin, rowsMax;
  } shapes[] = {{"one", 1, 1}, {"few", 2, 8}, {"many", 9, MaxRows}};
  for (bool adapters : {false, true})
    for (const auto &shape : shapes) {
      model.programs.push_back(buildProgram(model, std::string(shape.name) + (adapters ? "+" : ""),
                                            shape.rowsMin, shape.rowsMax, adapters, end));
      largestArena = largestArena.empty() ? end : binary(fbs::ExprOp::Max, largestArena, end);
    }
  model.arena_bytes = expr(model, largestArena);

  model.vocab_size = Vocabulary;
  model.max_context = 64;
  model.max_rows = MaxRows;
  model.page_tokens = 16;
  model.cache_page_bytes = PageBytes;
  model.eos_ids = {1};
  model.bos_token = "<s>";
  model.eos_token = "</s>";
  model.chat_template = "{{ messages }}";
  addProvenance(model);

  // <s>, </s>, the letters a to y and \u0120 (a space) alone, then three merges.
  auto tokenizer = std::make_unique<fbs::TokenizerT>();
  std::vector<std::string> tokens = {"<s>", "</s>"};
  for (char c = 'a'; c <= 'y'; ++c)
    tokens.push_back(std::string(1, c));
  tokens.insert(tokens.end(), {"\xc4\xa0", "ab",
                               "\xc4\xa0"
                               "a",
                               "abc", "cd"});
  tokenizer->kinds.assign(tokens.size(), fbs::TokenKind::Normal);
  tokenizer->kinds[0] = tokenizer->kinds[1] = fbs::TokenKind::Control;
  const uint32_t merges[] = {2, 3, 27, 2, 28, 4, 4, 5}; // a+b, Ġ+a, ab+c, c+d
  PackedVocabulary packed = *packVocabulary(tokens, merges);
  tokenizer->token_lengths = std::move(packed.lengths);
  tokenizer->token_texts = std::move(packed.texts);
  tokenizer->merge_planes = std::move(packed.merges);
  for (uint32_t id : {0u, 1u}) {
    auto added = std::make_unique<fbs::AddedTokenT>();
    added->id = id;
    added->content = tokens[id];
    added->special = true;
    tokenizer->added.push_back(std::move(added));
  }
  tokenizer->pre_tokenizer = fbs::PreTokenizer::Classic;
  tokenizer->prefix_ids = {0};
  tokenizer->bos_id = 0;
  tokenizer->eos_id = 1;
  model.tokenizer = std::move(tokenizer);
  return tiny;
}

TinyModel chainedModel(const std::function<void(fbs::ChainT &, fbs::CommandT &)> &edit) {
  TinyModel tiny = tinyModel();
  auto chain = std::make_unique<fbs::ChainT>();
  chain->name = "chain";
  auto run = std::make_unique<fbs::CommandT>();
  run->kind = fbs::CommandKind::Run;
  fbs::ProgramT &few = **std::find_if(tiny.model.programs.begin(), tiny.model.programs.end(),
                                      [](const auto &program) { return program->name == "few"; });
  const auto first = std::find_if(few.commands.begin(), few.commands.end(), [](const auto &command) {
    return command->kind == fbs::CommandKind::Dispatch;
  });
  bool waits = false;
  for (auto next = first; chain->kernels.size() < 3; ++next) {
    ++run->commands;
    if ((*next)->kind == fbs::CommandKind::Dispatch) {
      chain->kernels.push_back((*next)->kernel);
      chain->waits.push_back(waits);
    }
    waits = (*next)->kind == fbs::CommandKind::Barrier;
  }
  chain->variants.push_back(std::make_unique<fbs::VariantT>(*tiny.model.kernels[0]->variants[0]));
  if (edit)
    edit(*chain, *run);
  few.commands.insert(first, std::move(run));
  tiny.model.chains.push_back(std::move(chain));
  return tiny;
}

TinyModel minimalModel() {
  TinyModel tiny;
  fbs::ModelT &model = tiny.model;
  model.version = 3;
  addBase(model, "embedding.weight", {Vocabulary, Hidden});
  tiny.updateFingerprint();
  tiny.segments.resize(2);
  tiny.segments[1] = pattern(512, 3);
  model.first_weight_segment = 1;
  model.weight_bytes = 512;
  addWeight(model, "embedding.weight", fbs::WeightType::F16, Vocabulary, Hidden, 0, 512);
  addSite(model, "block.q", Hidden, 8);
  addSymbols(model, {{"rows", 1},
                     {"out_rows", 1},
                     {"items", 16},
                     {"pages", 4},
                     {"max_pages", 4},
                     {"max_items", 16},
                     {"max_entries", 4},
                     {"pool_bytes", 1 << 20},
                     {"plain_rows", 1},
                     {"adapted_rows", 1}});
  addKernel(tiny, "embed", "embed", {{"WEIGHT", 1}});
  ProgramBuilder b(model, "one", 1, 1, false);
  b.buffer("embedding", fbs::Space::Weight, constant(0), constant(512));
  b.input("rows", fbs::StepInput::Rows, constant(16));
  fbs::BufferT &out = b.next("logits", fbs::Space::Out, constant(Hidden * 4));
  out.row_stride = Hidden;
  out.width = Hidden;
  b.dispatch("embed", {"embedding", "rows", "logits"}, constant(1), symbol("rows"),
             {constant(1), constant(2), constant(0), constant(Vocabulary)});
  model.programs.push_back(b.take());
  model.arena_bytes = expr(model, constant(0));
  model.vocab_size = Vocabulary;
  model.max_context = 64;
  model.max_rows = 1;
  model.page_tokens = 16;
  addProvenance(model);
  return tiny;
}

Bytes TinyAdapter::bytes(const EditSegments &edit) {
  return layOut(format::AdapterMagic, {image}, adapter.segments, edit,
                [&] { return pack<fbs::AdapterT, fbs::Adapter>(adapter, fbs::AdapterIdentifier()); });
}

TinyAdapter tinyAdapter(const std::string &name, uint32_t seed) {
  TinyAdapter tiny;
  fbs::AdapterT &adapter = tiny.adapter;
  adapter.version = 1;
  adapter.name = name;
  adapter.adapter_version = "1";
  adapter.fingerprints.push_back(*tinyModel().model.fingerprint);
  adapter.type = fbs::AdapterType::F16;
  adapter.bound_by_user = true;
  const auto add = [&](const std::string &site, uint32_t rank, bool bias, double scaling) {
    auto made = std::make_unique<fbs::AdapterSiteT>();
    made->name = site;
    made->in_features = Hidden;
    made->out_features = 8;
    made->rank = rank;
    made->has_bias = bias;
    made->rank_tiles = uint32_t(lorac::ceilDiv(rank + (bias ? 1 : 0), 8));
    made->scaling = scaling;
    made->a_offset = tiny.image.size();
    // [tile][K/8][8 ranks][8]: K = 8, so 16 bytes a rank; ranks that the site does not have stay zero.
    Bytes a = pattern(size_t(made->rank_tiles) * 128, seed + rank);
    std::fill(a.begin() + ptrdiff_t(rank) * 16, a.end(), 0);
    tiny.image.insert(tiny.image.end(), a.begin(), a.end());
    made->b_offset = tiny.image.size();
    // [out/8][rank tiles][8 outputs][8 ranks]: out = 8.
    Bytes b = pattern(size_t(made->rank_tiles) * 128, seed + rank + 100);
    const uint32_t used = rank + (bias ? 1 : 0);
    for (uint32_t r = used; r < made->rank_tiles * 8; ++r)
      for (uint32_t o = 0; o < 8; ++o) {
        const size_t at = (size_t(r / 8) * 64 + o * 8 + r % 8) * 2;
        b[at] = b[at + 1] = 0;
      }
    tiny.image.insert(tiny.image.end(), b.begin(), b.end());
    adapter.sites.push_back(std::move(made));
  };
  add("block.q", 3, false, 2.0);
  add("block.o", 8, true, 0.5);
  auto treatment = std::make_unique<fbs::TreatmentT>();
  treatment->item = "lora_dropout";
  treatment->verdict = "dropped";
  treatment->reason = "off at inference";
  adapter.treatments.push_back(std::move(treatment));
  return tiny;
}

Terms constant(uint64_t value) { return {fbs::ExprTerm(value, fbs::ExprOp::Const)}; }

Terms symbol(const std::string &name) {
  static const char *const Names[] = {
#define SYMBOL(NAME, CLASS, MAXIMUM, MEANING) #NAME,
#include "schemas/Symbols.def"
#undef SYMBOL
  };
  const auto *found = std::find(std::begin(Names), std::end(Names), name);
  return {fbs::ExprTerm(uint64_t(found - std::begin(Names)), fbs::ExprOp::Symbol)};
}

Terms binary(fbs::ExprOp op, const Terms &a, const Terms &b) {
  Terms terms = a;
  terms.insert(terms.end(), b.begin(), b.end());
  terms.emplace_back(0, op);
  return terms;
}

Terms ceilDiv(const Terms &a, const Terms &b) { return binary(fbs::ExprOp::CeilDiv, a, b); }

uint32_t expr(fbs::ModelT &model, const Terms &terms) {
  const auto isIt = [&](const std::unique_ptr<fbs::ExprT> &known) {
    return std::equal(known->terms.begin(), known->terms.end(), terms.begin(), terms.end(),
                      [](const fbs::ExprTerm &a, const fbs::ExprTerm &b) {
                        return a.op() == b.op() && a.value() == b.value();
                      });
  };
  const auto found = std::find_if(model.expressions.begin(), model.expressions.end(), isIt);
  const auto index = uint32_t(found - model.expressions.begin());
  if (found == model.expressions.end()) {
    model.expressions.push_back(std::make_unique<fbs::ExprT>());
    model.expressions.back()->terms = terms;
  }
  return index;
}

} // namespace lorac::test
