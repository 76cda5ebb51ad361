//===- PlanText.cpp - a model file's programs as plan text -----------------===//
#include "compiler/Compile.h"

#include "dialect/plan/Plan.h"
#include "schemas/model_generated.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace lorac {

namespace {

/// Builds the ops again that ModelWriter serialised.
class PlanReader {
public:
  PlanReader(const fbs::Model &model, MLIRContext &context)
      : model(model), builder(&context), module(ModuleOp::create(UnknownLoc::get(&context))),
        loc(UnknownLoc::get(&context)) {
    builder.setInsertionPointToEnd(module->getBody());
  }

  std::string read() {
    plan::CacheOp::create(builder, loc, model.page_tokens(), model.cache_page_bytes());
    for (uint32_t i = 0; i < model.sites()->size(); ++i) {
      const fbs::Site &site = *model.sites()->Get(i);
      plan::SiteOp::create(builder, loc, site.name()->str(), int64_t(site.in_features()),
                           int64_t(site.out_features()), i == model.head_site());
    }
    readWeights();
    for (const fbs::Kernel *kernel : *model.kernels())
      readKernel(*kernel);
    if (model.chains())
      for (const fbs::Chain *chain : *model.chains())
        readChain(*chain);
    for (const fbs::Program *program : *model.programs())
      readProgram(*program);
    std::string text;
    llvm::raw_string_ostream stream(text);
    module->print(stream);
    stream << '\n';
    return text;
  }

private:
  plan::ExprAttr expr(uint32_t index) {
    SmallVector<int64_t> code;
    for (const fbs::ExprTerm *term : *model.expressions()->Get(index)->terms())
      code.append({int64_t(term->op()),
                   term->op() == fbs::ExprOp::Symbol ? symbolNumber(term->value()) : int64_t(term->value())});
    return plan::ExprAttr::get(builder.getContext(), code);
  }

  /// The file numbers its own symbols; the dialect has the order of schemas/Symbols.def.
  int64_t symbolNumber(uint64_t inFile) {
    StringRef name = model.symbols()->Get(uint32_t(inFile))->name()->c_str();
    for (auto [index, symbol] : llvm::enumerate(plan::symbolTable()))
      if (symbol.name == name)
        return int64_t(index);
    llvm_unreachable("the loader knows every symbol");
  }

  /// Weight buffers are listed by each program that reads them; here they stand once, with the tensors they
  /// hold.
  void readWeights() {
    for (const fbs::Program *program : *model.programs())
      for (const fbs::Buffer *buffer : *program->buffers()) {
        if (buffer->space() != fbs::Space::Weight || !weightBuffers.insert(buffer->name()->str()).second)
          continue;
        uint64_t offset = *plan::Expr(expr(buffer->offset())).asConstant();
        uint64_t size = *plan::Expr(expr(buffer->size())).asConstant();
        SmallVector<Attribute> holds;
        SmallVector<int64_t> starts, scales, nested;
        for (const fbs::Weight *weight : *model.weights())
          if (weight->offset() >= offset && weight->offset() < offset + size) {
            holds.push_back(FlatSymbolRefAttr::get(builder.getContext(), weight->name()->str()));
            starts.push_back(int64_t(weight->offset() - offset));
            if (weight->scales_size() > 0)
              scales.push_back(int64_t(weight->scales_offset() - offset));
            if (weight->nested_size() > 0)
              nested.push_back(int64_t(weight->nested_offset() - offset));
          }
        auto plane = [&](ArrayRef<int64_t> starts) {
          return starts.empty() ? DenseI64ArrayAttr() : builder.getDenseI64ArrayAttr(starts);
        };
        plan::WeightsOp::create(
            builder, loc, builder.getStringAttr(buffer->name()->str()), builder.getArrayAttr(holds),
            builder.getDenseI64ArrayAttr(starts), plane(scales), plane(nested), ElementsAttr(),
            builder.getI64IntegerAttr(int64_t(size)), builder.getI64IntegerAttr(int64_t(offset)));
      }
  }

  void readKernel(const fbs::Kernel &kernel) {
    SmallVector<NamedAttribute> constants;
    if (kernel.constants())
      for (const fbs::Constant *constant : *kernel.constants())
        constants.push_back(
            builder.getNamedAttr(constant->name()->str(), builder.getI64IntegerAttr(constant->value())));
    SmallVector<Attribute> terms;
    if (kernel.epilogue())
      for (const fbs::EpilogueTerm *term : *kernel.epilogue()) {
        auto op = plan::TermOp(term->op());
        Attribute value;
        if (op == plan::TermOp::Const)
          value = builder.getF32FloatAttr(term->value());
        else if (op == plan::TermOp::Segment || op == plan::TermOp::Operand)
          value = builder.getI64IntegerAttr(term->index());
        terms.push_back(plan::TermAttr::get(builder.getContext(), op, value));
      }
    plan::KernelOp::create(builder, loc, kernel.name()->str(), kernel.catalog()->str(),
                           builder.getDictionaryAttr(constants),
                           terms.empty() ? ArrayAttr() : builder.getArrayAttr(terms));
  }

  void readChain(const fbs::Chain &chain) {
    SmallVector<Attribute> links;
    for (uint32_t kernel : *chain.kernels())
      links.push_back(
          FlatSymbolRefAttr::get(builder.getContext(), model.kernels()->Get(kernel)->name()->str()));
    plan::ChainOp::create(
        builder, loc, chain.name()->str(), builder.getArrayAttr(links),
        builder.getDenseBoolArrayAttr(SmallVector<bool>(chain.waits()->begin(), chain.waits()->end())));
  }

  plan::ViewAttr view(const fbs::Program &program, const fbs::View &range, plan::Access access) {
    auto name =
        FlatSymbolRefAttr::get(builder.getContext(), program.buffers()->Get(range.buffer())->name()->str());
    return plan::ViewAttr::get(builder.getContext(), name, access, expr(range.offset()), expr(range.size()));
  }

  void readProgram(const fbs::Program &program) {
    OpBuilder::InsertionGuard guard(builder);
    auto op = plan::ProgramOp::create(builder, loc, program.name()->str(), int64_t(program.rows_min()),
                                      int64_t(program.rows_max()), program.adapters(), IntegerAttr());
    builder.setInsertionPointToEnd(&op.getBody().emplaceBlock());
    for (const fbs::Buffer *buffer : *program.buffers()) {
      if (buffer->space() == fbs::Space::Weight)
        continue;
      auto input = plan::StepInput(buffer->input());
      bool out = buffer->space() == fbs::Space::Out;
      plan::BufferOp::create(
          builder, loc, buffer->name()->str(), plan::stringifySpace(plan::Space(buffer->space())),
          expr(buffer->size()), expr(buffer->offset()),
          input == plan::StepInput::None ? StringAttr()
                                         : builder.getStringAttr(plan::stringifyStepInput(input)),
          input == plan::StepInput::Angles
              ? FlatSymbolRefAttr::get(builder.getContext(), ("table_" + llvm::Twine(buffer->angles())).str())
              : FlatSymbolRefAttr(),
          out ? builder.getI64IntegerAttr(buffer->row_stride()) : IntegerAttr(),
          out ? builder.getI64IntegerAttr(buffer->width()) : IntegerAttr());
    }
    if (program.commands())
      for (const fbs::Command *command : *program.commands())
        readCommand(program, *command);
  }

  void readCommand(const fbs::Program &program, const fbs::Command &command) {
    switch (command.kind()) {
    case fbs::CommandKind::Barrier:
      plan::BarrierOp::create(builder, loc);
      return;
    case fbs::CommandKind::Fill:
      plan::FillOp::create(builder, loc, view(program, *command.views()->Get(0), plan::Access::Write));
      return;
    case fbs::CommandKind::Copy:
      plan::CopyOp::create(builder, loc, view(program, *command.views()->Get(0), plan::Access::Read),
                           view(program, *command.views()->Get(1), plan::Access::Write));
      return;
    case fbs::CommandKind::Run:
      plan::RunOp::create(builder, loc, model.chains()->Get(command.kernel())->name()->str(), command.link(),
                          command.commands());
      return;
    case fbs::CommandKind::Dispatch:
      break;
    }
    const fbs::Kernel &kernel = *model.kernels()->Get(command.kernel());
    SmallVector<Attribute> grid, views;
    for (uint32_t size : *command.grid())
      grid.push_back(expr(size));
    for (uint32_t i = 0; i < command.views()->size(); ++i)
      views.push_back(
          view(program, *command.views()->Get(i), plan::Access(kernel.bindings()->Get(i)->access())));
    SmallVector<NamedAttribute> push;
    if (command.push())
      for (uint32_t i = 0; i < command.push()->size(); ++i)
        push.push_back(builder.getNamedAttr(kernel.push()->Get(i)->str(), expr(command.push()->Get(i))));
    plan::DispatchOp::create(builder, loc, FlatSymbolRefAttr::get(builder.getContext(), kernel.name()->str()),
                             builder.getArrayAttr(grid), builder.getArrayAttr(views),
                             builder.getDictionaryAttr(push));
  }

  const fbs::Model &model;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  Location loc;
  llvm::StringSet<> weightBuffers;
};

} // namespace

std::string planText(const fbs::Model &model) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<plan::PlanDialect>();
  return PlanReader(model, context).read();
}

} // namespace lorac
