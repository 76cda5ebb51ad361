//===- Plan.td - what the runtime replays -----------------------------------===//
// The `plan` dialect: buffers, kernels and programs of dispatches. Emit only serialises it, the
// runtime only replays it. Sizes, offsets, grids and push constants are expressions over the
// symbols of schemas/Symbols.def.
#ifndef LORAC_DIALECT_PLAN_TD
#define LORAC_DIALECT_PLAN_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"

def PlanDialect : Dialect {
  let name = "plan";
  let cppNamespace = "::lorac::plan";
  let summary = "Programs of dispatches over buffers";
  let description = [{
    What `select` makes of a `lora.step`: a program for each class of rows, with adapters off and on. It is serialised into the model
    file as it stands, and `lorac inspect --plan` prints it back.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class PlanEnum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::lorac::plan";
  let genSpecializedAttr = 0;
}

// Order and names follow schemas/model.fbs.
def Space : PlanEnum<"Space", "a space of device memory", [
    I32EnumAttrCase<"Weight", 0, "weight">, I32EnumAttrCase<"Arena", 1, "arena">, I32EnumAttrCase<"Cache", 2, "cache">,
    I32EnumAttrCase<"Pool", 3, "pool">, I32EnumAttrCase<"Step", 4, "step">, I32EnumAttrCase<"Out", 5, "out">]>;
def StepInput : PlanEnum<"StepInput", "what the runtime writes before a step", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Rows", 1, "rows">, I32EnumAttrCase<"OutRows", 2, "out_rows">,
    I32EnumAttrCase<"Pages", 3, "pages">, I32EnumAttrCase<"Angles", 4, "angles">, I32EnumAttrCase<"Stacks", 5, "stacks">,
    I32EnumAttrCase<"Entries", 6, "entries">, I32EnumAttrCase<"Items", 7, "items">]>;
def Access : PlanEnum<"Access", "how a dispatch uses a view", [
    I32EnumAttrCase<"Read", 0, "read">, I32EnumAttrCase<"Write", 1, "write">]>;
def TermOp : PlanEnum<"TermOp", "a step of a postfix epilogue", [
    I32EnumAttrCase<"Segment", 0, "segment">, I32EnumAttrCase<"Operand", 1, "operand">, I32EnumAttrCase<"Const", 2, "const">,
    I32EnumAttrCase<"Add", 3, "add">, I32EnumAttrCase<"Sub", 4, "sub">, I32EnumAttrCase<"Mul", 5, "mul">,
    I32EnumAttrCase<"Div", 6, "div">, I32EnumAttrCase<"Neg", 7, "neg">, I32EnumAttrCase<"Exp", 8, "exp">,
    I32EnumAttrCase<"Max", 9, "max">, I32EnumAttrCase<"Min", 10, "min">, I32EnumAttrCase<"Sqrt", 11, "sqrt">,
    I32EnumAttrCase<"Tanh", 12, "tanh">, I32EnumAttrCase<"Erf", 13, "erf">]>;

class PlanAttr<string name, string mnemonicText> : AttrDef<PlanDialect, name> {
  let mnemonic = mnemonicText;
}

def ExprAttr : PlanAttr<"Expr", "expr"> {
  let summary = "An unsigned expression over symbols";
  let description = [{
    `#plan.expr<rows * 2304 + 256>`, with `+`, `*`, `ceildiv(a, b)`, `min(a, b)`, `max(a, b)`, constants and symbols. Kept in postfix:
    pairs of an operator and a value.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$code);
  let hasCustomAssemblyFormat = 1;
}

def TermAttr : PlanAttr<"Term", "term"> {
  let summary = "One step of a postfix epilogue";
  let description = [{ `#plan.term<segment, 0 : i64>`, `#plan.term<const, 1.0 : f32>`, `#plan.term<add>`. }];
  let parameters = (ins EnumParameter<TermOp>:$op, OptionalParameter<"::mlir::Attribute">:$value);
  let assemblyFormat = "`<` $op (`,` $value^)? `>`";
}

def ViewAttr : PlanAttr<"View", "view"> {
  let summary = "Bytes of a buffer that a dispatch binds";
  let description = [{ `#plan.view<@x, read, offset = #plan.expr<0>, size = #plan.expr<rows * 2304>>`; offset and size use load symbols only. }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$buffer, EnumParameter<Access>:$access, "ExprAttr":$offset, "ExprAttr":$size);
  let assemblyFormat = "`<` $buffer `,` $access `,` `offset` `=` $offset `,` `size` `=` $size `>`";
}

class PlanOp<string mnemonic, list<Trait> traits = []> : Op<PlanDialect, mnemonic, traits>;

def WeightsOp : PlanOp<"weights", [Symbol]> {
  let summary = "Frozen tensors that lie side by side in the weight space";
  let description = [{
    `holds` names `lora.weight` symbols, `starts` the first bytes of their values or codes in the buffer, `scales` and `nested` those of their further
    planes (docs/formats/packed.md); a nested plane's header lies before its first tensor's part. A buffer with `values` holds
    constants that the compiler knows, and no tensor. `offset` is set by plan-memory.
    ```mlir
    plan.weights @w0 holds([@wq, @wk]) starts([0, 8192]) scales([12288, 13312]) size(13824) offset(0)
    plan.weights @map holds([]) starts([]) values(dense<[0.0, 1.0]> : tensor<2xf32>) size(8)
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, ArrayAttr:$holds, DenseI64ArrayAttr:$starts,
                       OptionalAttr<DenseI64ArrayAttr>:$scales, OptionalAttr<DenseI64ArrayAttr>:$nested_scales,
                       OptionalAttr<ElementsAttr>:$values, I64Attr:$size, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = [{
    $sym_name `holds` `(` $holds `)` `starts` `(` $starts `)` (`scales` `(` $scales^ `)`)? (`nested` `(` $nested_scales^ `)`)?
    (`values` `(` $values^ `)`)? `size` `(` $size `)` (`offset` `(` $offset^ `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def SiteOp : PlanOp<"site"> {
  let summary = "A linear layer that adapters may target; its place among the sites is its number";
  let description = [{
    ```mlir
    plan.site "model.layers.0.self_attn.q_proj" in(64) out(64)
    plan.site "lm_head" in(64) out(320) logits
    ```
    `logits` marks the one whose output the logits are: programs compute it without adapters in steps of which no adapter has it.
  }];
  let arguments = (ins StrAttr:$site, I64Attr:$in_features, I64Attr:$out_features, UnitAttr:$logits);
  let assemblyFormat = "$site `in` `(` $in_features `)` `out` `(` $out_features `)` (`logits` $logits^)? attr-dict";
}

def CacheOp : PlanOp<"cache"> {
  let summary = "Shape of the paged cache";
  let description = [{
    ```mlir
    plan.cache page_tokens(16) page_bytes(98304)
    ```
  }];
  let arguments = (ins I64Attr:$page_tokens, I64Attr:$page_bytes);
  let assemblyFormat = "`page_tokens` `(` $page_tokens `)` `page_bytes` `(` $page_bytes `)` attr-dict";
}

def KernelOp : PlanOp<"kernel", [Symbol]> {
  let summary = "A kernel of the catalog with its constants and epilogue";
  let description = [{
    The catalog (schemas/Catalog.def) gives bindings and push constants; emit compiles every variant.
    ```mlir
    plan.kernel @embed0 catalog("embed") constants({WEIGHT = 1})
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$catalog, DictionaryAttr:$constants, OptionalAttr<ArrayAttr>:$epilogue);
  let assemblyFormat = "$sym_name `catalog` `(` $catalog `)` `constants` `(` $constants `)` (`epilogue` $epilogue^)? attr-dict";
  let hasVerifier = 1;
}

def ProgramOp : PlanOp<"program", [Symbol, SymbolTable, SingleBlock, NoTerminator]> {
  let summary = "Buffers and commands that serve steps of some rows";
  let description = [{
    ```mlir
    plan.program @one_off rows(1, 1) adapters(false) { ... }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$rows_min, I64Attr:$rows_max, BoolAttr:$adapters, OptionalAttr<I64Attr>:$arena_peak);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `rows` `(` $rows_min `,` $rows_max `)` `adapters` `(` $adapters `)` (`arena_peak` `(` $arena_peak^ `)`)? attr-dict-with-keyword $body
  }];
  let hasRegionVerifier = 1;
}

def BufferOp : PlanOp<"buffer", [Symbol]> {
  let summary = "A named range of a space";
  let description = [{
    Offsets in the arena are set by plan-memory. `angles` names the rope table of an angles input; `row_stride` and `width` are
    an out buffer's, in f32.
    ```mlir
    plan.buffer @x arena size(#plan.expr<16384>) offset(#plan.expr<0>)
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$space, ExprAttr:$size, OptionalAttr<ExprAttr>:$offset,
                       OptionalAttr<StrAttr>:$input, OptionalAttr<FlatSymbolRefAttr>:$angles,
                       OptionalAttr<I64Attr>:$row_stride, OptionalAttr<I64Attr>:$width);
  let assemblyFormat = [{
    $sym_name $space `size` `(` $size `)` (`offset` `(` $offset^ `)`)? (`input` `(` $input^ `)`)? (`angles` `(` $angles^ `)`)?
    (`row_stride` `(` $row_stride^ `)`)? (`width` `(` $width^ `)`)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    Space spaceKind() { return *symbolizeSpace(getSpace()); }
    StepInput inputKind() { return getInput() ? *symbolizeStepInput(*getInput()) : StepInput::None; }
  }];
}

def DispatchOp : PlanOp<"dispatch"> {
  let summary = "One kernel over a grid of workgroups";
  let description = [{
    Views in the catalog's binding order, push constants by the catalog's names. A grid with a zero does nothing.
    ```mlir
    plan.dispatch @embed0 grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [...] push {pieces = #plan.expr<8>, y_stride = #plan.expr<16>}
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, ArrayAttr:$grid, ArrayAttr:$views, DictionaryAttr:$push);
  let assemblyFormat = "$kernel `grid` $grid `views` $views `push` $push attr-dict";
  let hasVerifier = 1;
}

def FillOp : PlanOp<"fill"> {
  let summary = "Zeros over a view";
  let arguments = (ins ViewAttr:$view);
  let assemblyFormat = "$view attr-dict";
}

def CopyOp : PlanOp<"copy"> {
  let summary = "The bytes of one view to another of the same size";
  let arguments = (ins ViewAttr:$source, ViewAttr:$target);
  let assemblyFormat = "$source `to` $target attr-dict";
}

def BarrierOp : PlanOp<"barrier"> {
  let summary = "What was written before is seen after";
  let description = [{ Inserted by the barriers pass from the views' access. }];
  let arguments = (ins);
  let assemblyFormat = "attr-dict";
}

def ChainOp : PlanOp<"chain", [Symbol]> {
  let summary = "Kernels that one dispatch may run, one after the other";
  let description = [{
    `waits`: whether a barrier stands before a link; not before the first. Emit compiles the links as one module.
    ```mlir
    plan.chain @chain0 links([@norm0, @linear0, @linear1]) waits([false, true, true])
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, ArrayAttr:$links, DenseBoolArrayAttr:$waits);
  let assemblyFormat = "$sym_name `links` `(` $links `)` `waits` `(` $waits `)` attr-dict";
  let hasVerifier = 1;
}

def RunOp : PlanOp<"run"> {
  let summary = "The commands that follow may run as one dispatch of a chain";
  let description = [{
    `commands` dispatches and barriers follow: links of the chain from number `link` on, with a barrier where it waits; the chain's other links then
    have nothing to do. A device that does not run chains runs the commands as they stand.
    ```mlir
    plan.run @chain0 link(0) commands(5)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$chain, I64Attr:$link, I64Attr:$commands);
  let assemblyFormat = "$chain `link` `(` $link `)` `commands` `(` $commands `)` attr-dict";
}

#endif // LORAC_DIALECT_PLAN_TD
