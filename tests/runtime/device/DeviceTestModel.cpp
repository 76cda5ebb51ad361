#include "tests/runtime/device/DeviceTestModel.h"

#include "schemas/Header.h"
#include "tests/support/StatusTest.h"

#include <cstring>

namespace lorac::test {
namespace {

using Words = std::vector<uint32_t>;

// Made from the .comp files beside this one, which say how.
const Words EmbedTexel =
#include "tests/runtime/device/spirv/embed_texel.inc"
    ;
const Words EmbedStorage =
#include "tests/runtime/device/spirv/embed_storage.inc"
    ;
const Words GatherTexel =
#include "tests/runtime/device/spirv/gather_texel.inc"
    ;
const Words GatherStorage =
#include "tests/runtime/device/spirv/gather_storage.inc"
    ;
const Words MapSubgroup =
#include "tests/runtime/device/spirv/map_subgroup.inc"
    ;
const Words MapTexel =
#include "tests/runtime/device/spirv/map_texel.inc"
    ;
const Words MapStorage =
#include "tests/runtime/device/spirv/map_storage.inc"
    ;
// compileChain of kernel "embed" and of "map" with the epilogue operand + 400.
const Words ChainTexel =
#include "tests/runtime/device/spirv/chain_texel.inc"
    ;

constexpr uint32_t MaxRows = 4, TableBytes = 1024, Pieces = RowWidth / 4;
constexpr uint64_t Texel = 1, Subgroup = 2, Storage = 4; // schemas/Features.def

template <typename Owner>
void addVariant(TinyModel &tiny, Owner &owner, const std::string &name, uint64_t features,
                const Words &code) {
  auto variant = std::make_unique<fbs::VariantT>();
  variant->name = name;
  variant->features = features;
  variant->texel = (features & Texel) != 0;
  variant->lanes = 8;
  variant->segment = 0;
  variant->offset = tiny.segments[0].size();
  const Words packed = packPlainly(code);
  variant->size = packed.size() * 4;
  Bytes bytes(packed.size() * 4);
  std::memcpy(bytes.data(), packed.data(), bytes.size());
  tiny.segments[0].insert(tiny.segments[0].end(), bytes.begin(), bytes.end());
  owner.variants.push_back(std::move(variant));
}

struct Role {
  const char *name;
  fbs::Access access;
  fbs::Element element;
};

fbs::KernelT &addKernel(TinyModel &tiny, const std::string &name, std::vector<Role> roles,
                        std::vector<std::string> push) {
  auto kernel = std::make_unique<fbs::KernelT>();
  kernel->name = kernel->catalog = name;
  for (const Role &role : roles) {
    auto binding = std::make_unique<fbs::BindingT>();
    binding->role = role.name;
    binding->access = role.access;
    binding->element = role.element;
    kernel->bindings.push_back(std::move(binding));
  }
  kernel->push = std::move(push);
  tiny.model.kernels.push_back(std::move(kernel));
  return *tiny.model.kernels.back();
}

void addConstant(fbs::KernelT &kernel, const std::string &name, int64_t value) {
  auto constant = std::make_unique<fbs::ConstantT>();
  constant->name = name;
  constant->value = value;
  kernel.constants.push_back(std::move(constant));
}

void addKernels(TinyModel &tiny) {
  using fbs::Access, fbs::Element;
  fbs::KernelT &embed = addKernel(tiny, "embed",
                                  {{"table", Access::Read, Element::U32x4},
                                   {"rows", Access::Read, Element::U32x4},
                                   {"y", Access::Write, Element::F32x4}},
                                  {"pieces", "y_stride", "first_row", "table_rows"});
  for (const char *name : {"WEIGHT", "GROUP", "HAS_SCALES", "HAS_PAIRS", "ZERO_POINT", "NESTED"})
    addConstant(embed, name, 0);
  addVariant(tiny, embed, "texel", Texel, EmbedTexel);
  addVariant(tiny, embed, "storage", Storage, EmbedStorage);
  fbs::KernelT &map =
      addKernel(tiny, "map", {{"operand0", Access::Read, Element::F32}, {"y", Access::Write, Element::F32}},
                {"width", "stride0", "stride1", "y_stride", "column0", "column1"});
  addConstant(map, "HAS_OPERAND1", 0);
  map.epilogue = {fbs::EpilogueTerm(0, 0, fbs::EpilogueOp::Operand)};
  addVariant(tiny, map, "subgroup", Texel | Subgroup, MapSubgroup);
  addVariant(tiny, map, "texel", Texel, MapTexel);
  addVariant(tiny, map, "storage", Storage, MapStorage);
  fbs::KernelT &gather = addKernel(tiny, "gather",
                                   {{"x", Access::Read, Element::F32x4},
                                    {"out", Access::Read, Element::U32x4},
                                    {"y", Access::Write, Element::F32x4}},
                                   {"width", "x_stride", "y_stride"});
  addVariant(tiny, gather, "texel", Texel, GatherTexel);
  addVariant(tiny, gather, "storage", Storage, GatherStorage);
}

class Builder {
public:
  Builder(fbs::ModelT &model, const std::string &name, bool adapters) : model(model) {
    program = std::make_unique<fbs::ProgramT>();
    program->name = name;
    program->rows_min = 1;
    program->rows_max = MaxRows;
    program->adapters = adapters;
  }
  fbs::BufferT &buffer(const std::string &name, fbs::Space space, uint64_t offset, const Terms &size) {
    auto made = std::make_unique<fbs::BufferT>();
    made->name = name;
    made->space = space;
    made->offset = expr(model, constant(offset));
    made->size = expr(model, size);
    program->buffers.push_back(std::move(made));
    return *program->buffers.back();
  }
  void logits(uint64_t bytes) {
    fbs::BufferT &made = buffer("logits", fbs::Space::Out, 0, constant(bytes));
    made.row_stride = made.width = RowWidth;
  }
  struct Range {
    uint32_t buffer;
    uint64_t offset;
    Terms size;
  };
  fbs::CommandT &command(fbs::CommandKind kind, const std::vector<Range> &ranges) {
    auto made = std::make_unique<fbs::CommandT>();
    made->kind = kind;
    for (const Range &range : ranges)
      made->views.emplace_back(range.buffer, expr(model, constant(range.offset)), expr(model, range.size));
    program->commands.push_back(std::move(made));
    return *program->commands.back();
  }
  void dispatch(uint32_t kernel, const std::vector<Range> &ranges, const std::vector<Terms> &grid,
                const std::vector<uint64_t> &push) {
    fbs::CommandT &made = command(fbs::CommandKind::Dispatch, ranges);
    made.kernel = kernel;
    for (const Terms &axis : grid)
      made.grid.push_back(expr(model, axis));
    for (uint64_t value : push)
      made.push.push_back(expr(model, constant(value)));
  }
  void barrier() { command(fbs::CommandKind::Barrier, {}); }
  std::unique_ptr<fbs::ProgramT> take() { return std::move(program); }

private:
  fbs::ModelT &model;
  std::unique_ptr<fbs::ProgramT> program;
};

void addPrograms(fbs::ModelT &model) {
  using fbs::CommandKind, fbs::Space;
  const Terms table = constant(TableBytes), rowBytes = constant(MaxRows * RowWidth * 4),
              records = constant(MaxRows * 16), one = constant(1), rows = symbol("rows"),
              outRows = symbol("out_rows");

  Builder step(model, "rows", false);
  step.buffer("table0", Space::Weight, 0, table);
  step.buffer("rows", Space::Step, 0, records).input = fbs::StepInput::Rows;
  step.buffer("outs", Space::Step, 256, records).input = fbs::StepInput::OutRows;
  step.buffer("x", Space::Arena, 0, rowBytes);
  step.buffer("z", Space::Arena, 256, rowBytes);
  step.logits(MaxRows * RowWidth * 4);
  step.dispatch(0, {{0, 0, table}, {1, 0, records}, {3, 0, rowBytes}}, {one, rows, one},
                {Pieces, Pieces, 0, TableBytes / 16 / Pieces});
  step.barrier();
  step.dispatch(1, {{3, 0, rowBytes}, {4, 0, rowBytes}}, {constant(2), rows, one},
                {RowWidth, RowWidth, 0, RowWidth, 0, 0});
  step.barrier();
  step.dispatch(2, {{4, 0, rowBytes}, {2, 0, records}, {5, 0, rowBytes}}, {one, outRows, one},
                {Pieces, Pieces, Pieces});
  model.programs.push_back(step.take());

  Builder moves(model, "moves", false);
  moves.buffer("table1", Space::Weight, TableBytes, table);
  moves.buffer("table2", Space::Weight, 2 * TableBytes, table);
  moves.logits(2 * TableBytes);
  moves.buffer("a", Space::Arena, 0, table);
  moves.command(CommandKind::Copy, {{0, 0, table}, {3, 0, table}});
  moves.barrier();
  moves.command(CommandKind::Fill, {{3, 256, constant(256)}});
  moves.barrier();
  moves.command(CommandKind::Copy, {{3, 0, table}, {2, 0, table}});
  moves.command(CommandKind::Copy, {{1, 0, table}, {2, TableBytes, table}});
  model.programs.push_back(moves.take());

  Builder remember(model, "remember", false);
  remember.buffer("table1", Space::Weight, TableBytes, table);
  remember.buffer("cache", Space::Cache, 0, symbol("pages") * constant(512));
  remember.logits(TableBytes);
  remember.command(CommandKind::Copy, {{1, 0, table}, {2, 0, table}});
  remember.barrier();
  remember.command(CommandKind::Copy, {{0, 0, table}, {1, 0, table}});
  model.programs.push_back(remember.take());

  Builder pool(model, "pool", true);
  pool.buffer("pool", Space::Pool, 0, symbol("pool_bytes"));
  pool.logits(TableBytes);
  pool.command(CommandKind::Copy, {{0, 0, symbol("pool_bytes")}, {1, 0, symbol("pool_bytes")}});
  model.programs.push_back(pool.take());
}

} // namespace

TinyModel deviceTestModel() {
  TinyModel tiny = minimalModel();
  fbs::ModelT &model = tiny.model;
  model.kernels.clear();
  model.programs.clear();
  tiny.segments.assign(1, {});
  addKernels(tiny);

  Bytes weights;
  model.weights.clear();
  for (uint32_t t = 0; t < 3; ++t) {
    auto weight = std::make_unique<fbs::WeightT>();
    weight->name = "table" + std::to_string(t);
    weight->type = fbs::WeightType::VectorF32;
    weight->rows = TableBytes / 4;
    weight->cols = 1;
    weight->offset = weights.size();
    weight->size = TableBytes;
    model.weights.push_back(std::move(weight));
    for (uint32_t i = 0; i < TableBytes / 4; ++i) {
      float value = float(1000 * t + i);
      const auto *bytes = reinterpret_cast<const uint8_t *>(&value);
      weights.insert(weights.end(), bytes, bytes + 4);
    }
  }
  // Two segments, so that a table lies in both.
  model.weight_bytes = weights.size();
  tiny.segments.emplace_back(weights.begin(), weights.begin() + 1280);
  tiny.segments.emplace_back(weights.begin() + 1280, weights.end());

  for (auto &symbol : model.symbols) {
    if (symbol->name.ends_with("rows"))
      symbol->maximum = MaxRows;
    if (symbol->name == "pool_bytes")
      symbol->maximum = TableBytes;
  }
  addPrograms(model);
  model.arena_bytes = expr(model, constant(TableBytes));
  model.cache_page_bytes = 512;
  model.max_rows = MaxRows;
  model.vocab_size = TableBytes / (RowWidth * 4);
  return tiny;
}

LoadSymbols deviceTestSymbols() {
  LoadSymbols symbols;
  symbols.pages = symbols.maxPages = 4;
  symbols.maxItems = 16;
  symbols.maxEntries = 4;
  symbols.poolBytes = 1024;
  return symbols;
}

TinyModel chainedDeviceTestModel() {
  TinyModel tiny = deviceTestModel();
  auto chain = std::make_unique<fbs::ChainT>();
  chain->name = "rows";
  chain->kernels = {0, 1};
  chain->waits = {false, true};
  addVariant(tiny, *chain, "texel", Texel | Subgroup, ChainTexel);
  tiny.model.chains.push_back(std::move(chain));
  auto run = std::make_unique<fbs::CommandT>();
  run->kind = fbs::CommandKind::Run;
  run->commands = 3; // with the barrier between
  auto &commands = tiny.model.programs[RowsProgram]->commands;
  commands.insert(commands.begin(), std::move(run));
  return tiny;
}

ParsedModel parsed(TinyModel model) {
  ParsedModel result;
  result.bytes = model.bytes();
  auto file = ModelFile::parse(result.bytes, "test.lorac");
  EXPECT_OK(file);
  if (file)
    result.file = *file;
  return result;
}

} // namespace lorac::test
