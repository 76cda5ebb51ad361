// ModelVerifier.cpp - what makes a model file fit to be replayed without another look.
// First the form of everything (enums, indices, names, expressions), then the sizes: views in buffers in
// spaces. Expressions grow with every symbol (see verifyExpression), so what holds at the maxima bounds every
// step; what compares two expressions is checked again for the load symbols that a model is opened with
// (verifySizes).
#include "runtime/files/ModelVerifier.h"

#include "runtime/files/Chain.h"
#include "runtime/files/Container.h"
#include "runtime/files/DispatchVerifier.h"
#include "runtime/files/Expression.h"
#include "schemas/Catalog.h"
#include "schemas/Header.h"
#include "schemas/StepTable.h"
#include "schemas/StoredWeight.h"
#include "support/Checked.h"
#include "support/Digest.h"
#include "support/Fingerprint.h"
#include "support/PackedModule.h"
#include "support/Vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <tuple>
#include <vector>

namespace lorac {

namespace {

using container::quoted;
using container::sizeOf;
using container::view;

constexpr uint64_t MaxFeatures = uint64_t(1) << 31;
constexpr uint64_t MaxMatrixSide = uint64_t(1) << 31; ///< rows or columns of a matrix
constexpr uint64_t MaxGridAxis = 65535;
constexpr uint32_t MaxLanes = 1024;
constexpr uint32_t MaxLinks = 64; ///< of a chain
constexpr uint32_t PageTokens = 16;
constexpr uint32_t NoSite = 0xffffffff; ///< head_site where no site gives the logits
constexpr uint64_t LeastCodeBytes = (module::HeaderWords + module::SpirvHeaderWords) * sizeof(uint32_t);

struct SymbolRow {
  std::string_view name;
  fbs::SymbolClass kind;
  uint64_t maximum;
};
constexpr SymbolRow SymbolRows[] = {
#define SYMBOL(NAME, CLASS, MAXIMUM, MEANING) {#NAME, fbs::SymbolClass::CLASS, MAXIMUM},
#include "schemas/Symbols.def"
#undef SYMBOL
};
constexpr size_t SymbolCount = std::size(SymbolRows);

constexpr uint64_t KnownFeatures = 0
#define FEATURE(NAME, BIT, MEANING) | uint64_t(1) << BIT
#include "schemas/Features.def"
#undef FEATURE
    ;
constexpr uint64_t featureBit(std::string_view name) {
#define FEATURE(NAME, BIT, MEANING)                                                                          \
  if (name == #NAME)                                                                                         \
    return uint64_t(1) << BIT;
#include "schemas/Features.def"
#undef FEATURE
  return 0;
}

template <typename Enum> bool inEnum(Enum value, Enum last) { return value <= last; }

/// The file's symbols in the order of its list.
struct Symbols {
  std::array<uint64_t, SymbolCount> maxima = {};
  std::array<bool, SymbolCount> isStep = {};
  std::array<size_t, SymbolCount> indexOfRow = {}; // SymbolRows[i] is the file's symbol indexOfRow[i]

  size_t index(std::string_view name) const {
    for (size_t i = 0; i < SymbolCount; ++i)
      if (SymbolRows[i].name == name)
        return indexOfRow[i];
    return SymbolCount;
  }
  uint64_t maximum(std::string_view name) const { return maxima[index(name)]; }
};

/// What a size check needs of a program: symbol values with rows and out_rows as large as the program allows.
struct ProgramSymbols {
  std::array<uint64_t, SymbolCount> values;
  uint64_t rows;
  uint64_t outRows;
};

class Verifier {
public:
  Verifier(const fbs::Model &model, std::span<const std::vector<uint8_t>> codeSegments,
           const std::string &name)
      : model(model), codeSegments(codeSegments), name(name) {}

  Status run() {
    if (model.version() == 0)
      return corrupt() << "format version is 0, the first is 1";
    if (model.version() < format::ModelVersion)
      return Status(Code::Unsupported)
             << name << ": format version is " << model.version() << ", this Lorac reads version "
             << format::ModelVersion << "; compile the model again";
    if (model.version() > format::ModelVersion)
      return Status(Code::Unsupported)
             << name << ": format version is " << model.version() << ", this Lorac knows versions up to "
             << format::ModelVersion << "; use a newer Lorac, or compile the model with this one";
    if (model.signature())
      return Status(Code::Unsupported)
             << name << ": is signed, which this Lorac cannot check; use a newer Lorac";
    LORAC_TRY(checkWeightSegments());
    LORAC_TRY(checkBase());
    LORAC_TRY(checkWeights());
    LORAC_TRY(checkSites());
    LORAC_TRY(checkSymbols());
    LORAC_TRY(checkLimits());
    LORAC_TRY(checkAngles());
    LORAC_TRY(checkKernels());
    LORAC_TRY(checkExpression(model.arena_bytes(), "arena_bytes", symbols.maxima, true).status());
    LORAC_TRY(checkPrograms());
    return checkTokenizer();
  }

  Status runSizes(std::span<const uint64_t> values) {
    LORAC_TRY(checkSymbols());
    if (values.size() != SymbolCount)
      return Status(Code::InvalidArgument)
             << name << ": " << values.size() << " symbol values given, it has " << SymbolCount;
    for (size_t i = 0; i < SymbolCount; ++i)
      if (!symbols.isStep[i] && values[i] > symbols.maxima[i])
        return Status(Code::InvalidArgument)
               << name << ": " << view(*model.symbols()->Get(uint32_t(i))->name()) << " is " << values[i]
               << ", this model allows at most " << symbols.maxima[i];
    for (const fbs::Program *program : *model.programs())
      LORAC_TRY(checkSizes(*program, values));
    return Status::ok();
  }

private:
  Status corrupt() const { return Status(Code::CorruptFile) << name << ": "; }

  /// `nameOf(table)` must differ between all tables of a list.
  template <typename Table>
  Status checkUnique(const flatbuffers::Vector<flatbuffers::Offset<Table>> &list,
                     std::string_view what) const {
    for (uint32_t i = 0; i < list.size(); ++i)
      LORAC_TRY(checkName(view(*list.Get(i)->name()), what));
    auto duplicate = container::firstDuplicate(
        list.size(), [&](size_t i) { return view(*list.Get(uint32_t(i))->name()); });
    if (duplicate)
      return corrupt() << "two " << what << " have the name " << quoted(*duplicate);
    return Status::ok();
  }
  Status checkName(std::string_view entryName, std::string_view what) const {
    Status status = container::checkName(entryName, what);
    return status.isOk() ? status : corrupt() << status.message();
  }

  /// The value of expression `index` at `maxima`, and that it has one.
  Result<uint64_t> checkExpression(uint32_t index, std::string_view what, std::span<const uint64_t> maxima,
                                   bool loadOnly) const {
    if (index >= model.expressions()->size())
      return corrupt() << what << " is expression " << index << " of " << model.expressions()->size();
    Result<uint64_t> value =
        verifyExpression(*model.expressions()->Get(index), maxima, symbols.isStep, loadOnly);
    if (value)
      return value;
    return corrupt() << what << " " << value.status().message();
  }
  ExpressionFacts factsOf(uint32_t index) const { return expressionFacts(*model.expressions()->Get(index)); }

  // ---- weights, base, sites
  // ----------------------------------------------------------------------------------

  Status checkWeightSegments() const {
    const auto &segments = *model.segments();
    const uint32_t first = model.first_weight_segment();
    if (first > segments.size())
      return corrupt() << "first_weight_segment is " << first << " of " << segments.size() << " segments";
    uint64_t sum = 0;
    for (uint32_t i = first; i < segments.size(); ++i) {
      if (segments[i]->size() > format::MaxWeightSegmentBytes)
        return corrupt() << "weight segment " << i << " has " << segments[i]->size() << " bytes, at most "
                         << format::MaxWeightSegmentBytes << " are allowed";
      sum += segments[i]->size(); // they do not overlap, so the file's size bounds the sum
    }
    if (sum != model.weight_bytes())
      return corrupt() << "weight segments have " << sum << " bytes, weight_bytes is "
                       << model.weight_bytes();
    return Status::ok();
  }

  Status checkBase() const {
    const auto &base = *model.base();
    FingerprintHash hash;
    std::string_view previous;
    for (uint32_t i = 0; i < base.size(); ++i) {
      const fbs::BaseTensor &tensor = *base[i];
      std::string_view tensorName = view(*tensor.name());
      LORAC_TRY(checkName(tensorName, "base tensors"));
      if (i > 0 && tensorName <= previous)
        return corrupt() << "base tensor " << quoted(tensorName) << " stands after " << quoted(previous)
                         << ", names must ascend";
      previous = tensorName;
      if (!container::isAligned(*tensor.shape()))
        return corrupt() << "shape of base tensor " << quoted(tensorName)
                         << " does not start at a multiple of 8";
      if (tensor.shape()->size() > MaxDimensions)
        return corrupt() << "base tensor " << quoted(tensorName) << " has " << tensor.shape()->size()
                         << " dimensions, at most " << MaxDimensions << " are allowed";
      uint64_t values = 1;
      for (uint64_t dimension : *tensor.shape()) {
        std::optional<uint64_t> product = checkedMul(values, dimension);
        if (!product || *product > uint64_t(INT64_MAX) / sizeof(float))
          return corrupt() << "base tensor " << quoted(tensorName) << " has more values than memory can hold";
        values = *product;
      }
      hash.add({tensorName,
                {tensor.shape()->data(), tensor.shape()->size()},
                container::digestOf(*tensor.hash())});
    }
    Digest fingerprint = hash.finish();
    if (fingerprint != container::digestOf(*model.fingerprint()))
      return corrupt() << "base tensors have fingerprint " << shortHex(fingerprint) << ", the metadata says "
                       << shortHex(container::digestOf(*model.fingerprint()));
    return Status::ok();
  }

  /// `bytes` of weight `what`, with `expected` where they must be, inside the weight space.
  Status checkPlane(const fbs::Weight &weight, std::string_view what, uint64_t offset, uint64_t bytes,
                    std::optional<uint64_t> expected) const {
    if (!expected || bytes != *expected)
      return corrupt() << "weight " << quoted(*weight.name()) << " has " << bytes << " bytes" << what << ", "
                       << weight.rows() << " x " << weight.cols() << " of "
                       << fbs::EnumNameWeightType(weight.type()) << " take "
                       << (expected ? std::to_string(*expected) : "more than memory can hold");
    if (bytes == 0 && offset == 0)
      return Status::ok();
    if (!rangeInside(offset, bytes, model.weight_bytes()))
      return corrupt() << "weight " << quoted(*weight.name()) << " (offset " << offset << ", " << bytes
                       << " bytes" << what << ") ends after the weight space's " << model.weight_bytes()
                       << " bytes";
    return Status::ok();
  }

  /// Programs see the buffers around weights, and those start at multiples of 256; joined vectors inside need
  /// not.
  Status checkPlace(const fbs::Weight &weight) const {
    if (weight.offset() % packed::PieceBytes != 0)
      return corrupt() << "weight " << quoted(*weight.name()) << " starts at " << weight.offset()
                       << ", no multiple of " << packed::PieceBytes;
    return Status::ok();
  }

  Status checkVector(const fbs::Weight &weight) const {
    if (weight.cols() != 1)
      return corrupt() << "vector " << quoted(*weight.name()) << " has " << weight.cols()
                       << " columns, expected 1";
    LORAC_TRY(checkPlace(weight));
    LORAC_TRY(
        checkPlane(weight, "", weight.offset(), weight.size(), checkedMul(weight.rows(), sizeof(float))));
    LORAC_TRY(checkPlane(weight, " of scales", weight.scales_offset(), weight.scales_size(), 0));
    return checkPlane(weight, " of nested scales", weight.nested_offset(), weight.nested_size(), 0);
  }

  Status checkMatrix(const fbs::Weight &weight) const {
    const uint64_t rows = weight.rows(), cols = weight.cols();
    const std::optional<packed::Type> type = packed::typeOf(weight);
    if (!type)
      return corrupt() << "weight " << quoted(*weight.name()) << " is "
                       << fbs::EnumNameWeightType(weight.type()) << " with scales of kind "
                       << unsigned(weight.scales()) << " and groups of " << weight.group()
                       << ", which is no packed type";
    if (std::string problem = packed::problemOf(*type, cols); !problem.empty())
      return corrupt() << "weight " << quoted(*weight.name()) << ": " << problem;
    LORAC_TRY(checkPlace(weight));
    std::optional<uint64_t> codes, scales, nested;
    if (rows <= MaxMatrixSide && cols <= MaxMatrixSide) { // then no size below overflows
      const uint64_t tileRows = roundUp(rows, packed::TileRows);
      codes = tileRows * packed::codeRowBytes(*type, cols);
      scales = tileRows * packed::scaleRowBytes(*type, cols);
      nested = packed::nestedBytes(*type, rows, cols);
    }
    LORAC_TRY(checkPlane(weight, "", weight.offset(), weight.size(), codes));
    LORAC_TRY(checkPlane(weight, " of scales", weight.scales_offset(), weight.scales_size(), scales));
    return checkPlane(weight, " of nested scales", weight.nested_offset(), weight.nested_size(), nested);
  }

  Status checkWeights() const {
    LORAC_TRY(checkUnique(*model.weights(), "weights"));
    for (const fbs::Weight *weight : *model.weights()) {
      if (!inEnum(weight->type(), fbs::WeightType::MAX))
        return corrupt() << "weight " << quoted(*weight->name()) << " has unknown type "
                         << unsigned(weight->type());
      if (weight->rows() == 0 || weight->cols() == 0)
        return corrupt() << "weight " << quoted(*weight->name()) << " has shape " << weight->rows() << " x "
                         << weight->cols();
      LORAC_TRY(weight->type() == fbs::WeightType::VectorF32 ? checkVector(*weight) : checkMatrix(*weight));
    }
    return Status::ok();
  }

  Status checkSites() const {
    LORAC_TRY(checkUnique(*model.sites(), "sites"));
    for (const fbs::Site *site : *model.sites())
      if (site->in_features() == 0 || site->in_features() > MaxFeatures || site->out_features() == 0 ||
          site->out_features() > MaxFeatures)
        return corrupt() << "site " << quoted(*site->name()) << " maps " << site->in_features()
                         << " features to " << site->out_features() << ", expected 1 to " << MaxFeatures;
    if (model.head_site() != NoSite && model.head_site() >= model.sites()->size())
      return corrupt() << "head_site is " << model.head_site() << " of " << model.sites()->size();
    return Status::ok();
  }

  // ---- symbols, limits, angles
  // -------------------------------------------------------------------------------

  Status checkSymbols() {
    const auto &list = *model.symbols();
    LORAC_TRY(checkUnique(list, "symbols"));
    for (uint32_t i = 0; i < list.size(); ++i) {
      const fbs::Symbol &symbol = *list[i];
      const SymbolRow *row = std::find_if(std::begin(SymbolRows), std::end(SymbolRows),
                                          [&](const SymbolRow &r) { return r.name == view(*symbol.name()); });
      if (row == std::end(SymbolRows))
        return corrupt() << "symbol " << quoted(*symbol.name()) << " is unknown";
      if (symbol.kind() != row->kind)
        return corrupt() << "symbol " << quoted(*symbol.name()) << " has class " << unsigned(symbol.kind())
                         << ", expected " << fbs::EnumNameSymbolClass(row->kind);
      if (symbol.maximum() > row->maximum)
        return corrupt() << "symbol " << quoted(*symbol.name()) << " has maximum " << symbol.maximum()
                         << ", at most " << row->maximum << " is allowed";
      symbols.maxima[i] = symbol.maximum(); // i < SymbolCount: known names, each once
      symbols.isStep[i] = symbol.kind() == fbs::SymbolClass::Step;
      symbols.indexOfRow[size_t(row - SymbolRows)] = i;
    }
    if (list.size() == SymbolCount)
      return Status::ok();
    for (const SymbolRow &row : SymbolRows)
      if (std::none_of(list.begin(), list.end(),
                       [&](const fbs::Symbol *s) { return view(*s->name()) == row.name; }))
        return corrupt() << "symbol " << quoted(row.name) << " is missing";
    return Status::ok();
  }

  Status checkLimits() const {
    if (model.vocab_size() == 0 || model.vocab_size() > MaxFeatures)
      return corrupt() << "vocab_size is " << model.vocab_size() << ", expected 1 to " << MaxFeatures;
    if (model.page_tokens() != PageTokens)
      return corrupt() << "page_tokens is " << model.page_tokens() << ", expected " << PageTokens;
    if (model.max_context() == 0 || model.max_context() > MaxFeatures)
      return corrupt() << "max_context is " << model.max_context() << ", expected 1 to " << MaxFeatures;
    if (model.max_rows() == 0 || model.max_rows() > symbols.maximum("rows"))
      return corrupt() << "max_rows is " << model.max_rows() << ", expected 1 to the maximum of symbol rows ("
                       << symbols.maximum("rows") << ")";
    for (uint32_t id : ids(model.eos_ids()))
      if (id >= model.vocab_size())
        return corrupt() << "eos id " << id << " is outside the vocabulary of " << model.vocab_size();
    return Status::ok();
  }

  Status checkAngles() const {
    for (uint32_t i = 0; i < sizeOf(model.angles()); ++i) {
      const auto &frequencies = *model.angles()->Get(i)->frequencies();
      if (frequencies.size() == 0)
        return corrupt() << "angle table " << i << " is empty";
      if (frequencies.size() > MaxFrequencies)
        return corrupt() << "angle table " << i << " has " << frequencies.size() << " frequencies, at most "
                         << MaxFrequencies << " are allowed";
      if (!container::isAligned(frequencies))
        return corrupt() << "angle table " << i << " does not start at a multiple of 8";
      for (double frequency : frequencies)
        if (!std::isfinite(frequency))
          return corrupt() << "angle table " << i << " holds a frequency that is not finite";
    }
    return Status::ok();
  }

  // ---- kernels
  // -----------------------------------------------------------------------------------------------

  Status checkKernels() const {
    LORAC_TRY(checkUnique(*model.kernels(), "kernels"));
    for (const fbs::Kernel *kernel : *model.kernels()) {
      const catalog::Kernel *entry = catalog::find(view(*kernel->catalog()));
      if (!entry)
        return Status(Code::Unsupported)
               << name << ": kernel " << quoted(*kernel->name()) << " is a " << quoted(*kernel->catalog())
               << ", which this Lorac does not have; use a newer Lorac, or compile the model with this one";
      LORAC_TRY(checkConstants(*kernel, *entry));
      LORAC_TRY(checkBindings(*kernel, *entry));
      LORAC_TRY(checkEpilogue(*kernel, *entry));
      for (const fbs::Variant *variant : *kernel->variants())
        LORAC_TRY(checkVariant("kernel", *kernel->name(), *variant));
    }
    LORAC_TRY(checkChains());
    return checkCodeRanges();
  }

  /// Each piece of code stands alone, or is wholly shared: a range that takes part of another is no module.
  Status checkCodeRanges() const {
    std::vector<const fbs::Variant *> variants;
    const auto add = [&](const auto &owners) -> Status {
      for (const auto *owner : owners) {
        if (owner->variants()->size() > MaxVariants - variants.size())
          return corrupt() << "kernels have more than " << MaxVariants << " variants in all";
        variants.insert(variants.end(), owner->variants()->begin(), owner->variants()->end());
      }
      return Status::ok();
    };
    LORAC_TRY(add(*model.kernels()));
    if (model.chains())
      LORAC_TRY(add(*model.chains()));
    const auto place = [](const fbs::Variant *v) {
      return std::make_tuple(v->segment(), v->offset(), v->size());
    };
    std::sort(variants.begin(), variants.end(),
              [&](const fbs::Variant *a, const fbs::Variant *b) { return place(a) < place(b); });
    for (size_t i = 1; i < variants.size(); ++i) {
      const fbs::Variant &before = *variants[i - 1], &variant = *variants[i];
      if (place(&before) != place(&variant) && before.segment() == variant.segment() &&
          variant.offset() < before.offset() + before.size())
        return corrupt() << "variant " << quoted(*variant.name()) << " has code (offset " << variant.offset()
                         << ", " << variant.size() << " bytes) that overlaps another's at "
                         << before.offset();
    }
    return Status::ok();
  }

  /// The value of a kernel's constant, 0 where it has none of that name.
  static int64_t constantOf(const fbs::Kernel &kernel, std::string_view constant) {
    for (uint32_t i = 0; i < sizeOf(kernel.constants()); ++i)
      if (view(*kernel.constants()->Get(i)->name()) == constant)
        return kernel.constants()->Get(i)->value();
    return 0;
  }

  Status checkConstants(const fbs::Kernel &kernel, const catalog::Kernel &entry) const {
    const size_t count = sizeOf(kernel.constants());
    if (count != entry.constants.size())
      return corrupt() << "kernel " << quoted(*kernel.name()) << " has " << count << " constants, "
                       << entry.name << " has " << entry.constants.size();
    if (count > 0)
      LORAC_TRY(checkUnique(*kernel.constants(), "constants of a kernel"));
    for (uint32_t i = 0; i < count; ++i) {
      const fbs::Constant &constant = *kernel.constants()->Get(i);
      auto row = std::find_if(entry.constants.begin(), entry.constants.end(),
                              [&](const catalog::Constant &c) { return c.name == view(*constant.name()); });
      if (row == entry.constants.end())
        return corrupt() << "kernel " << quoted(*kernel.name()) << " has constant "
                         << quoted(*constant.name()) << ", which " << entry.name << " does not have";
      if (constant.value() < row->minimum || constant.value() > row->maximum)
        return corrupt() << "kernel " << quoted(*kernel.name()) << " has constant " << row->name << " = "
                         << constant.value() << ", expected " << row->minimum << " to " << row->maximum;
    }
    return Status::ok();
  }

  Status checkBindings(const fbs::Kernel &kernel, const catalog::Kernel &entry) const {
    const auto &bindings = *kernel.bindings();
    uint32_t count = 0;
    for (const catalog::Binding &row : entry.bindings) {
      if (!catalog::isBound(row, [&](std::string_view constant) { return constantOf(kernel, constant); }))
        continue;
      const fbs::Binding *binding = count < bindings.size() ? bindings[count] : nullptr;
      if (!binding || view(*binding->role()) != row.role || binding->access() != row.access ||
          binding->element() != row.element)
        return corrupt() << "kernel " << quoted(*kernel.name()) << ": binding " << count << " must be "
                         << row.role << " (" << fbs::EnumNameAccess(row.access) << ", "
                         << fbs::EnumNameElement(row.element) << "), as " << entry.name << " has it";
      ++count;
    }
    if (count != bindings.size())
      return corrupt() << "kernel " << quoted(*kernel.name()) << " has " << bindings.size() << " bindings, "
                       << entry.name << " has " << count << " with these constants";
    const size_t pushes = sizeOf(kernel.push());
    for (uint32_t i = 0; i < std::min(pushes, entry.pushes.size()); ++i)
      if (view(*kernel.push()->Get(i)) != entry.pushes[i].name)
        return corrupt() << "kernel " << quoted(*kernel.name()) << ": push constant " << i << " is "
                         << quoted(*kernel.push()->Get(i)) << ", expected " << entry.pushes[i].name;
    if (pushes != entry.pushes.size())
      return corrupt() << "kernel " << quoted(*kernel.name()) << " has " << pushes << " push constants, "
                       << entry.name << " has " << entry.pushes.size();
    return Status::ok();
  }

  Status checkEpilogue(const fbs::Kernel &kernel, const catalog::Kernel &entry) const {
    const bool linear = entry.name == "linear", map = entry.name == "map";
    const auto at = [&] { return corrupt() << "kernel " << quoted(*kernel.name()) << ": epilogue "; };
    const size_t count = sizeOf(kernel.epilogue());
    if (!linear && !map) {
      if (count > 0)
        return at() << "on " << entry.name << ", which has none";
      return Status::ok();
    }
    if (count > MaxEpilogueTerms)
      return at() << "has " << count << " terms, at most " << MaxEpilogueTerms << " are allowed";
    const int64_t segments = linear ? constantOf(kernel, "COMBINE") : 0;
    const bool operands[] = {map || constantOf(kernel, "HAS_OPERAND0") != 0,
                             constantOf(kernel, "HAS_OPERAND1") != 0};
    if (count == 0) { // a linear of one segment without an epilogue gives the segment
      if (segments == 1)
        return Status::ok();
      return at() << "is missing";
    }
    size_t depth = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const fbs::EpilogueTerm &term = *kernel.epilogue()->Get(i);
      size_t pops = 0;
      switch (term.op()) {
      case fbs::EpilogueOp::Segment:
        if (term.index() >= segments)
          return at() << "term " << i << " is segment " << term.index() << " of " << segments;
        break;
      case fbs::EpilogueOp::Operand:
        if (term.index() >= std::size(operands) || !operands[term.index()])
          return at() << "term " << i << " is operand " << term.index() << ", which the kernel does not bind";
        break;
      case fbs::EpilogueOp::Const:
        if (!std::isfinite(term.value()))
          return at() << "term " << i << " is a constant that is not finite";
        break;
      case fbs::EpilogueOp::Neg:
      case fbs::EpilogueOp::Exp:
      case fbs::EpilogueOp::Sqrt:
      case fbs::EpilogueOp::Tanh:
      case fbs::EpilogueOp::Erf:
        pops = 1;
        break;
      case fbs::EpilogueOp::Add:
      case fbs::EpilogueOp::Sub:
      case fbs::EpilogueOp::Mul:
      case fbs::EpilogueOp::Div:
      case fbs::EpilogueOp::Max:
      case fbs::EpilogueOp::Min:
        pops = 2;
        break;
      default:
        return at() << "term " << i << " has unknown op " << unsigned(term.op());
      }
      if (depth < pops)
        return at() << "term " << i << " takes " << pops << " values of " << depth;
      depth = depth - pops + 1;
      if (depth > MaxEpilogueDepth)
        return at() << "term " << i << " stacks more than " << MaxEpilogueDepth << " values";
    }
    if (depth != 1)
      return at() << "leaves " << depth << " values, not one";
    return Status::ok();
  }

  Status checkChains() const {
    if (!model.chains())
      return Status::ok();
    LORAC_TRY(checkUnique(*model.chains(), "chains"));
    for (const fbs::Chain *chain : *model.chains()) {
      const auto at = [&] { return corrupt() << "chain " << quoted(*chain->name()) << ": "; };
      const uint32_t links = chain->kernels()->size();
      if (links < 2 || links > MaxLinks || chain->waits()->size() != links || chain->waits()->Get(0) != 0)
        return at() << "has " << links << " links and " << chain->waits()->size() << " waits, expected 2 to "
                    << MaxLinks << ", as many, and none before the first";
      for (uint32_t link : *chain->kernels())
        if (link >= model.kernels()->size())
          return at() << "has kernel " << link << " of " << model.kernels()->size();
      for (const fbs::Variant *variant : *chain->variants())
        LORAC_TRY(checkVariant("chain", *chain->name(), *variant));
    }
    return Status::ok();
  }

  /// `what` and `owner`: the kernel or chain that has it.
  Status checkVariant(std::string_view what, const flatbuffers::String &owner,
                      const fbs::Variant &variant) const {
    const auto at = [&] {
      return corrupt() << what << " " << quoted(owner) << ": variant " << quoted(*variant.name()) << " ";
    };
    if (!inEnum(variant.kind(), fbs::CodeKind::MAX))
      return at() << "has unknown code kind " << unsigned(variant.kind());
    if ((variant.features() & ~KnownFeatures) != 0)
      return Status(Code::Unsupported)
             << name << ": " << what << " " << quoted(owner) << ": variant " << quoted(*variant.name())
             << " requires unknown device features (bits " << (variant.features() & ~KnownFeatures)
             << "); use a newer Lorac";
    if (variant.texel() && (variant.features() & featureBit("texel")) == 0)
      return at() << "reads texel buffers but does not require the feature";
    if (variant.lanes() == 0 || variant.lanes() > MaxLanes || !std::has_single_bit(variant.lanes()))
      return at() << "has " << variant.lanes() << " lanes, expected a power of two up to " << MaxLanes;
    if (variant.segment() >= model.first_weight_segment())
      return at() << "has its code in segment " << variant.segment() << ", which is no code segment";
    const std::vector<uint8_t> &code = codeSegments[variant.segment()];
    if (variant.offset() % 4 != 0 || variant.size() % 4 != 0 || variant.size() < LeastCodeBytes)
      return at() << "has code of " << variant.size() << " bytes at " << variant.offset()
                  << ", expected multiples of 4 and at least " << LeastCodeBytes << " bytes";
    if (!rangeInside(variant.offset(), variant.size(), code.size()))
      return at() << "has code (offset " << variant.offset() << ", " << variant.size()
                  << " bytes) that ends after its segment's " << code.size() << " bytes";
    uint32_t first; // of the module
    std::memcpy(&first, code.data() + variant.offset() + module::HeaderWords * sizeof(uint32_t),
                sizeof(first));
    if (first != module::SpirvMagic)
      return at() << "has code that is no SPIR-V module";
    return Status::ok();
  }

  // ---- programs: form
  // ----------------------------------------------------------------------------------------

  Status checkPrograms() const {
    LORAC_TRY(checkUnique(*model.programs(), "programs"));
    for (const fbs::Program *program : *model.programs()) {
      const std::string at = "program " + quoted(*program->name()) + ": ";
      if (program->rows_min() == 0 || program->rows_min() > program->rows_max() ||
          program->rows_max() > model.max_rows())
        return corrupt() << at << "serves " << program->rows_min() << " to " << program->rows_max()
                         << " rows, the model 1 to " << model.max_rows();
      if (program->buffers()->size() > MaxBuffers || program->commands()->size() > MaxCommands)
        return corrupt() << at << "has " << program->buffers()->size() << " buffers and "
                         << program->commands()->size() << " commands, at most " << MaxBuffers << " and "
                         << MaxCommands << " are allowed";
      LORAC_TRY(checkUnique(*program->buffers(), "buffers of a program"));
      const ProgramSymbols values = symbolsOf(*program, symbols.maxima);
      for (const fbs::Buffer *buffer : *program->buffers())
        LORAC_TRY(checkBuffer(*program, *buffer, at + "buffer " + quoted(*buffer->name()) + ": "));
      for (uint32_t i = 0; i < program->commands()->size(); ++i) {
        const std::string command = at + "command " + std::to_string(i) + ": ";
        LORAC_TRY(checkCommand(*program, *program->commands()->Get(i), values, command));
        LORAC_TRY(checkRun(*program, i, command));
      }
      const std::map<uint32_t, uint32_t> whole = wholeRuns(model, *program);
      for (uint32_t i = 0; i < program->commands()->size(); ++i)
        if (const fbs::Command &run = *program->commands()->Get(i);
            run.kind() == fbs::CommandKind::Run && !whole.contains(run.kernel()))
          return corrupt() << at << "command " << i << ": runs a part of chain "
                           << quoted(*model.chains()->Get(run.kernel())->name())
                           << ", and no command of the program all of it";
      LORAC_TRY(checkSizes(*program, symbols.maxima));
    }
    return Status::ok();
  }

  Status checkBuffer(const fbs::Program &program, const fbs::Buffer &buffer, const std::string &at) const {
    if (!inEnum(buffer.space(), fbs::Space::MAX))
      return corrupt() << at << "unknown space " << unsigned(buffer.space());
    if (!inEnum(buffer.input(), fbs::StepInput::MAX))
      return corrupt() << at << "unknown step input " << unsigned(buffer.input());
    LORAC_TRY(checkExpression(buffer.offset(), at + "offset", symbols.maxima, true).status());
    LORAC_TRY(checkExpression(buffer.size(), at + "size", symbols.maxima, true).status());
    const ExpressionFacts offset = factsOf(buffer.offset());
    if (offset.multipleOf % format::ViewAlignment != 0)
      return corrupt() << at << "offset is not always a multiple of " << format::ViewAlignment;
    if (buffer.space() == fbs::Space::Weight && !(offset.constant && factsOf(buffer.size()).constant))
      return corrupt() << at << "a weight buffer's offset and size must hold no symbol";
    if ((buffer.space() == fbs::Space::Step) != (buffer.input() != fbs::StepInput::None))
      return corrupt() << at << "has space " << fbs::EnumNameSpace(buffer.space()) << " and step input "
                       << fbs::EnumNameStepInput(buffer.input());
    if (buffer.input() == fbs::StepInput::Angles && buffer.angles() >= sizeOf(model.angles()))
      return corrupt() << at << "takes angle table " << buffer.angles() << " of " << sizeOf(model.angles());
    if (buffer.space() == fbs::Space::Out && (buffer.width() == 0 || buffer.width() > buffer.row_stride()))
      return corrupt() << at << "has width " << buffer.width() << " and row stride " << buffer.row_stride();
    if (!program.adapters() &&
        (buffer.space() == fbs::Space::Pool || buffer.input() == fbs::StepInput::Stacks ||
         buffer.input() == fbs::StepInput::Entries || buffer.input() == fbs::StepInput::Items))
      return corrupt() << at << "serves adapters in a program with adapters off";
    return Status::ok();
  }

  static bool writable(fbs::Space space) {
    return space == fbs::Space::Arena || space == fbs::Space::Cache || space == fbs::Space::Out;
  }

  Status checkCommand(const fbs::Program &program, const fbs::Command &command, const ProgramSymbols &values,
                      const std::string &at) const {
    const size_t views = sizeOf(command.views()), grid = sizeOf(command.grid()),
                 push = sizeOf(command.push());
    size_t wantViews = 0, wantGrid = 0, wantPush = 0;
    const fbs::Kernel *kernel = nullptr;
    switch (command.kind()) {
    case fbs::CommandKind::Dispatch:
      if (command.kernel() >= model.kernels()->size())
        return corrupt() << at << "dispatches kernel " << command.kernel() << " of "
                         << model.kernels()->size();
      kernel = model.kernels()->Get(command.kernel());
      if (!program.adapters() && catalog::find(view(*kernel->catalog()))->adapter)
        return corrupt() << at << "dispatches " << view(*kernel->catalog())
                         << " in a program with adapters off";
      wantViews = kernel->bindings()->size();
      wantGrid = 3;
      wantPush = sizeOf(kernel->push());
      break;
    case fbs::CommandKind::Barrier:
    case fbs::CommandKind::Run:
      break;
    case fbs::CommandKind::Fill:
      wantViews = 1;
      break;
    case fbs::CommandKind::Copy:
      wantViews = 2;
      break;
    default:
      return corrupt() << at << "unknown kind " << unsigned(command.kind());
    }
    if (views != wantViews || grid != wantGrid || push != wantPush)
      return corrupt() << at << fbs::EnumNameCommandKind(command.kind()) << " has " << views << " views, "
                       << grid << " grid expressions and " << push << " push constants, expected "
                       << wantViews << ", " << wantGrid << " and " << wantPush;
    for (uint32_t i = 0; i < views; ++i) {
      const bool writes = kernel ? kernel->bindings()->Get(i)->access() == fbs::Access::Write
                                 : i + 1 == views; // Fill's only one, Copy's second
      LORAC_TRY(
          checkView(program, *command.views()->Get(i), writes, at + "view " + std::to_string(i) + ": "));
    }
    for (uint32_t i = 0; i < grid; ++i) {
      LORAC_ASSIGN(uint64_t groups,
                   checkExpression(command.grid()->Get(i), at + "grid axis " + std::to_string(i),
                                   values.values, false));
      if (groups > MaxGridAxis)
        return corrupt() << at << "grid axis " << i << " has up to " << groups << " groups, at most "
                         << MaxGridAxis << " are allowed";
    }
    for (uint32_t i = 0; i < push; ++i) {
      LORAC_ASSIGN(uint64_t value,
                   checkExpression(command.push()->Get(i), at + "push constant " + std::to_string(i),
                                   values.values, false));
      if (value > UINT32_MAX)
        return corrupt() << at << "push constant " << i << " can be " << value
                         << ", which 32 bits do not hold";
      if (std::string_view pushName = view(*kernel->push()->Get(i));
          !pushMayVary(pushName) && !factsOf(command.push()->Get(i)).constant)
        return corrupt() << at << "push constant " << pushName << " must hold no symbol";
    }
    return Status::ok();
  }

  /// The commands after a Run are links of its chain, and barriers where it waits; no other has a number of
  /// commands.
  Status checkRun(const fbs::Program &program, uint32_t at, const std::string &where) const {
    const auto &commands = *program.commands();
    const fbs::Command &run = *commands.Get(at);
    if (run.kind() != fbs::CommandKind::Run) {
      if (run.commands() != 0 || run.link() != 0)
        return corrupt() << where << fbs::EnumNameCommandKind(run.kind()) << " has " << run.commands()
                         << " commands and link " << run.link() << ", expected none";
      return Status::ok();
    }
    if (run.kernel() >= sizeOf(model.chains()))
      return corrupt() << where << "runs chain " << run.kernel() << " of " << sizeOf(model.chains());
    const fbs::Chain &chain = *model.chains()->Get(run.kernel());
    const uint32_t links = chain.kernels()->size();
    uint32_t link = run.link();
    bool waits = false;
    for (uint32_t i = 0; i < run.commands(); ++i) {
      const fbs::Command *command = i < commands.size() - at - 1 ? commands.Get(at + 1 + i) : nullptr;
      if (command && command->kind() == fbs::CommandKind::Barrier && !waits) {
        waits = true;
        continue;
      }
      if (!command || command->kind() != fbs::CommandKind::Dispatch || link >= links ||
          command->kernel() != chain.kernels()->Get(link) ||
          (i > 0 && chain.waits()->Get(link) != 0) != waits)
        return corrupt() << where << "command " << i << " after it is not link " << link << " of chain "
                         << quoted(*chain.name());
      waits = false;
      ++link;
    }
    if (link == run.link() || waits)
      return corrupt() << where << "ends with a barrier, or runs no link of chain " << quoted(*chain.name());
    return Status::ok();
  }

  Status checkView(const fbs::Program &program, const fbs::View &range, bool writes,
                   const std::string &at) const {
    if (range.buffer() >= program.buffers()->size())
      return corrupt() << at << "is of buffer " << range.buffer() << " of " << program.buffers()->size();
    const fbs::Buffer &buffer = *program.buffers()->Get(range.buffer());
    if (writes && !writable(buffer.space()))
      return corrupt() << at << "writes buffer " << quoted(*buffer.name()) << " of space "
                       << fbs::EnumNameSpace(buffer.space()) << ", which programs only read";
    LORAC_TRY(checkExpression(range.offset(), at + "offset", symbols.maxima, true).status());
    LORAC_ASSIGN(uint64_t size, checkExpression(range.size(), at + "size", symbols.maxima, true));
    if (size == 0)
      return corrupt() << at << "is empty";
    if (factsOf(range.offset()).multipleOf % format::ViewAlignment != 0)
      return corrupt() << at << "offset is not always a multiple of " << format::ViewAlignment;
    return Status::ok();
  }

  // ---- programs: sizes
  // ---------------------------------------------------------------------------------------

  ProgramSymbols symbolsOf(const fbs::Program &program, std::span<const uint64_t> values) const {
    ProgramSymbols result;
    std::copy(values.begin(), values.end(), result.values.begin());
    result.rows = program.rows_max();
    result.outRows = std::min<uint64_t>(program.rows_max(), symbols.maximum("out_rows"));
    result.values[symbols.index("rows")] = result.rows;
    for (std::string_view symbol : {"out_rows", "plain_rows", "adapted_rows"})
      result.values[symbols.index(symbol)] = result.outRows;
    // A session never has more items in a step than it was opened for.
    result.values[symbols.index("items")] =
        std::min(symbols.maximum("items"), result.values[symbols.index("max_items")]);
    return result;
  }

  /// Bytes that the runtime writes into a Step buffer, or reads from an Out buffer; 0 for other buffers. All
  /// factors are at most 2^32, 2^24 and 2^5 or so: no overflow.
  uint64_t recordBytes(const fbs::Buffer &buffer, const ProgramSymbols &at) const {
    const auto symbol = [&](std::string_view symbolName) { return at.values[symbols.index(symbolName)]; };
    if (buffer.space() == fbs::Space::Out)
      return at.outRows * buffer.row_stride() * sizeof(float);
    switch (buffer.input()) {
    case fbs::StepInput::None:
      return 0;
    case fbs::StepInput::Rows:
      return at.rows * sizeof(step::RowRecord);
    case fbs::StepInput::OutRows:
      return at.outRows * sizeof(step::OutRecord);
    case fbs::StepInput::Pages:
      return symbol("max_pages") * sizeof(uint32_t);
    case fbs::StepInput::Angles:
      return at.rows * roundUp(2 * uint64_t(model.angles()->Get(buffer.angles())->frequencies()->size()), 4) *
             sizeof(float);
    case fbs::StepInput::Stacks:
      return at.rows * sizeof(step::StackRecord);
    case fbs::StepInput::Entries:
      return symbol("max_entries") * sizeof(step::EntryRecord);
    case fbs::StepInput::Items:
      return symbol("max_items") * sizeof(step::ItemRecord);
    }
    return 0;
  }

  /// Bytes of a space; nothing for Step and Out, which are as large as their buffers ask.
  Result<std::optional<uint64_t>> spaceBytes(fbs::Space space, const ProgramSymbols &at) const {
    switch (space) {
    case fbs::Space::Weight:
      return std::optional<uint64_t>(model.weight_bytes());
    case fbs::Space::Arena: {
      std::optional<uint64_t> bytes = evaluate(model, model.arena_bytes(), at.values);
      if (!bytes)
        return corrupt() << "arena_bytes has no value";
      return bytes;
    }
    case fbs::Space::Cache: {
      std::optional<uint64_t> bytes = checkedMul(at.values[symbols.index("pages")], model.cache_page_bytes());
      if (!bytes)
        return corrupt() << "cache_page_bytes is " << model.cache_page_bytes() << ", too much for "
                         << at.values[symbols.index("pages")] << " pages";
      return bytes;
    }
    case fbs::Space::Pool:
      return std::optional<uint64_t>(at.values[symbols.index("pool_bytes")]);
    case fbs::Space::Step:
    case fbs::Space::Out:
      break;
    }
    return std::optional<uint64_t>();
  }

  Status checkSizes(const fbs::Program &program, std::span<const uint64_t> loadValues) const {
    const ProgramSymbols values = symbolsOf(program, loadValues);
    const std::string at = "program " + quoted(*program.name()) + ": ";
    struct Range {
      uint64_t offset, end;
      uint32_t buffer;
    };
    std::vector<Range> stepRanges; // at most 24 bytes a buffer, which takes more in the file
    for (uint32_t i = 0; i < program.buffers()->size(); ++i) {
      const fbs::Buffer &buffer = *program.buffers()->Get(i);
      const auto here = [&] { return corrupt() << at << "buffer " << quoted(*buffer.name()) << " "; };
      std::optional<uint64_t> offset = evaluate(model, buffer.offset(), values.values);
      std::optional<uint64_t> size = evaluate(model, buffer.size(), values.values);
      std::optional<uint64_t> end = offset && size ? checkedAdd(*offset, *size) : std::nullopt;
      if (!end)
        return here() << "ends after 2^64 bytes";
      LORAC_ASSIGN(std::optional<uint64_t> limit, spaceBytes(buffer.space(), values));
      if (limit && *end > *limit)
        return here() << "(offset " << *offset << ", " << *size << " bytes) ends after the "
                      << fbs::EnumNameSpace(buffer.space()) << " space's " << *limit << " bytes";
      if (uint64_t need = recordBytes(buffer, values); *size < need)
        return here() << "has " << *size << " bytes, its records take " << need;
      if (buffer.space() == fbs::Space::Step)
        stepRanges.push_back({*offset, *end, i});
    }
    std::sort(stepRanges.begin(), stepRanges.end(), [](const Range &a, const Range &b) {
      return a.offset != b.offset ? a.offset < b.offset : a.end < b.end;
    });
    for (size_t i = 1; i < stepRanges.size(); ++i)
      if (stepRanges[i].offset < stepRanges[i - 1].end)
        return corrupt() << at << "step buffers "
                         << quoted(*program.buffers()->Get(stepRanges[i - 1].buffer)->name()) << " and "
                         << quoted(*program.buffers()->Get(stepRanges[i].buffer)->name()) << " overlap";

    for (uint32_t i = 0; i < program.commands()->size(); ++i) {
      const fbs::Command &command = *program.commands()->Get(i);
      const fbs::Kernel *kernel =
          command.kind() == fbs::CommandKind::Dispatch ? model.kernels()->Get(command.kernel()) : nullptr;
      uint64_t sizes[2] = {};
      std::vector<DispatchView> views;
      for (uint32_t j = 0; j < sizeOf(command.views()); ++j) {
        const fbs::View &range = *command.views()->Get(j);
        const fbs::Buffer &buffer = *program.buffers()->Get(range.buffer());
        const auto here = [&] { return corrupt() << at << "command " << i << ": view " << j << " "; };
        std::optional<uint64_t> offset = evaluate(model, range.offset(), values.values);
        std::optional<uint64_t> size = evaluate(model, range.size(), values.values);
        const uint64_t limit = *evaluate(model, buffer.size(), values.values);
        if (!offset || !size || !rangeInside(*offset, *size, limit))
          return here() << "(offset " << offset.value_or(0) << ", " << size.value_or(0)
                        << " bytes) ends after buffer " << quoted(*buffer.name()) << " of " << limit
                        << " bytes";
        const uint64_t element =
            kernel ? catalog::elementBytes(kernel->bindings()->Get(j)->element()) : sizeof(uint32_t);
        if (*size % element != 0)
          return here() << "has " << *size << " bytes, no multiple of its element's " << element;
        if (j < std::size(sizes))
          sizes[j] = *size;
        views.push_back({*size, *evaluate(model, buffer.offset(), values.values) + *offset, &buffer});
      }
      if (command.kind() == fbs::CommandKind::Copy && sizes[0] != sizes[1])
        return corrupt() << at << "command " << i << ": copies " << sizes[0] << " bytes to " << sizes[1];
      if (kernel)
        LORAC_TRY(checkDispatch(command, *kernel, views, values, at + "command " + std::to_string(i) + ": "));
    }
    return Status::ok();
  }

  Status checkDispatch(const fbs::Command &command, const fbs::Kernel &kernel,
                       std::span<const DispatchView> views, const ProgramSymbols &at,
                       const std::string &where) const {
    const auto symbol = [&](std::string_view symbolName) { return at.values[symbols.index(symbolName)]; };
    std::vector<uint64_t> push;
    for (uint32_t i = 0; i < sizeOf(command.push()); ++i)
      push.push_back(evaluate(model, command.push()->Get(i), at.values).value_or(UINT64_MAX));
    Dispatch dispatch = {model, kernel};
    for (uint32_t i = 0; i < dispatch.grid.size(); ++i)
      dispatch.grid[i] = evaluate(model, command.grid()->Get(i), at.values).value_or(UINT64_MAX);
    dispatch.push = push;
    dispatch.views = views;
    dispatch.rows = at.rows;
    dispatch.outRows = at.outRows;
    dispatch.pages = symbol("pages");
    dispatch.poolBytes = symbol("pool_bytes");
    Status status = verifyDispatch(dispatch);
    if (status.isOk())
      return status;
    return Status(status.code()) << name << ": " << where << status.message();
  }

  // ---- text
  // --------------------------------------------------------------------------------------------------

  static std::span<const uint32_t> ids(const flatbuffers::Vector<uint32_t> *vector) {
    return vector ? std::span<const uint32_t>(vector->data(), vector->size()) : std::span<const uint32_t>();
  }

  Status checkTokenizer() const {
    const fbs::Tokenizer *tokenizer = model.tokenizer();
    if (!tokenizer)
      return Status::ok();
    const auto at = [&] { return corrupt() << "tokenizer "; };
    const uint32_t vocabulary = model.vocab_size();
    const uint32_t tokens = tokenizer->token_lengths()->size();
    if (tokens > vocabulary)
      return at() << "has " << tokens << " tokens, the vocabulary " << vocabulary;
    if (tokenizer->kinds()->size() != tokens)
      return at() << "has " << tokenizer->kinds()->size() << " token kinds for " << tokens << " tokens";
    for (uint32_t i = 0; i < tokens; ++i)
      if (!inEnum(fbs::TokenKind(tokenizer->kinds()->Get(i)), fbs::TokenKind::MAX))
        return at() << "has unknown kind " << unsigned(tokenizer->kinds()->Get(i)) << " for token " << i;
    if (Status made = Vocabulary::unpack(*tokenizer).status(); !made.isOk())
      return at() << "is broken: " << made.message();
    for (uint32_t i = 0; i < sizeOf(tokenizer->added()); ++i) {
      const fbs::AddedToken &added = *tokenizer->added()->Get(i);
      if (added.id() >= vocabulary)
        return at() << "has added token " << added.id() << " outside the vocabulary of " << vocabulary;
      if (added.content()->size() == 0)
        return at() << "has added token " << added.id() << " without text";
    }
    if (!inEnum(tokenizer->pre_tokenizer(), fbs::PreTokenizer::MAX))
      return Status(Code::Unsupported)
             << name << ": tokenizer needs pre-tokenizer " << unsigned(tokenizer->pre_tokenizer())
             << ", which this Lorac does not have; use a newer Lorac";
    if (!inEnum(tokenizer->normalizer(), fbs::Normalizer::MAX))
      return Status(Code::Unsupported)
             << name << ": tokenizer needs normalizer " << unsigned(tokenizer->normalizer())
             << ", which this Lorac does not have; use a newer Lorac";
    if (!inEnum(tokenizer->alphabet(), fbs::Alphabet::MAX))
      return Status(Code::Unsupported)
             << name << ": tokenizer has alphabet " << unsigned(tokenizer->alphabet())
             << ", which this Lorac does not have; use a newer Lorac";
    for (const auto *list : {tokenizer->prefix_ids(), tokenizer->suffix_ids()})
      for (uint32_t id : ids(list))
        if (id >= vocabulary)
          return at() << "puts token " << id << " around texts, the vocabulary has " << vocabulary;
    for (int64_t id : {tokenizer->bos_id(), tokenizer->eos_id(), tokenizer->unk_id()})
      if (id < -1 || id >= int64_t(vocabulary))
        return at() << "has special token " << id << ", expected -1 (none) to " << vocabulary - 1;
    return Status::ok();
  }

  const fbs::Model &model;
  std::span<const std::vector<uint8_t>> codeSegments;
  const std::string &name;
  Symbols symbols;
};

} // namespace

bool hasBoundedNames(std::span<const uint8_t> metadata) {
  flatbuffers::Verifier verifier = container::metadataVerifier(metadata);
  const auto tableAt = [](const void *place) { return static_cast<const flatbuffers::Table *>(place); };
  const auto has = [&](const flatbuffers::Table &table, flatbuffers::voffset_t field) {
    return table.GetOptionalFieldOffset(field) != 0 && table.VerifyOffset(verifier, field);
  };
  // What is malformed is left to the verifier of the whole.
  const flatbuffers::uoffset_t offset = verifier.VerifyOffset(size_t(0));
  if (offset == 0)
    return true;
  const flatbuffers::Table &root = *tableAt(metadata.data() + offset);
  if (!root.VerifyTableStart(verifier) || !has(root, fbs::Model::VT_KERNELS))
    return true;
  using Kernels = flatbuffers::Vector<flatbuffers::Offset<fbs::Kernel>>;
  const auto *kernels = root.GetPointer<const Kernels *>(fbs::Model::VT_KERNELS);
  if (!verifier.VerifyVector(kernels))
    return true;
  for (uint32_t i = 0; i < kernels->size(); ++i) {
    const flatbuffers::Table &kernel = *tableAt(kernels->Get(i));
    if (!kernel.VerifyTableStart(verifier))
      return true;
    if (has(kernel, fbs::Kernel::VT_PUSH)) {
      using Names = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;
      const auto *names = kernel.GetPointer<const Names *>(fbs::Kernel::VT_PUSH);
      if (!verifier.VerifyVector(names))
        return true;
      if (names->size() > MaxPushConstants)
        return false;
    }
    verifier.EndTable();
  }
  return true;
}

Status verifyModel(const fbs::Model &model, std::span<const std::vector<uint8_t>> codeSegments,
                   const std::string &name) {
  return Verifier(model, codeSegments, name).run();
}

Status verifySizes(const fbs::Model &model, std::span<const uint64_t> symbols, const std::string &name) {
  return Verifier(model, {}, name).runSizes(symbols);
}

} // namespace lorac
