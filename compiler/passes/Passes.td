//===- Passes.td - the passes from a model as imported to its plan ---------===//
// One file a pass: NamePass here, Name.cpp beside this file, --lora-name in lorac-opt, tests/compiler/passes/Name.mlir.
#ifndef LORAC_COMPILER_PASSES_TD
#define LORAC_COMPILER_PASSES_TD

include "mlir/Pass/PassBase.td"

def MergePass : Pass<"lora-merge", "::mlir::ModuleOp"> {
  let summary = "Fold static adapters into their frozen weights";
  let description = [{
    The adapters that a `lora.linear` names for a segment (`adapters [[@a], []]`: a list for each) become `folds` of its weight, in their order: W = W0 + Σ scale·B·A,
    computed in f32 when the weight is written, before it is packed. An adapter of scale 0 is out of its stack and folds
    nothing. Each `lora.adapter` that was merged is erased; one that no site names is warned of.

    A weight with another use that does not have the same adapters (a tied embedding) is untied: the merged side gets a
    second `lora.weight`, named after its site, and a remark says what that costs.
  }];
  let statistics = [
    Statistic<"folded", "folded", "Adapters folded into a weight">,
    Statistic<"untied", "untied", "Weights that became two">
  ];
}

def GatherPass : Pass<"lora-gather", "::mlir::ModuleOp"> {
  let summary = "Gather rows as early as what computes them allows";
  let description = [{
    A `lora.gather_rows` moves before the `lora.rms_norm`, `lora.linear` or `lora.map` that makes its operand, where nothing else reads what that
    makes: each of its operands is then gathered, once. So of the last layer only q, k, v and attend work on all rows of a step, and a
    step that asks for no logits ends with them.
    ```mlir
    %y = lora.map %x, %d ...              // becomes:   %gx = lora.gather_rows %x
    %g = lora.gather_rows %y              //            %gd = lora.gather_rows %d
                                          //            %g = lora.map %gx, %gd ...
    ```
  }];
  let statistics = [Statistic<"moved", "moved", "Operations that work on gathered rows">];
}

def FusePass : Pass<"lora-fuse", "::mlir::ModuleOp"> {
  let summary = "Join linears that read one activation and move point-wise work into their epilogues";
  let description = [{
    Linears without epilogue that read the same x in the same block (q/k/v, gate/up) become one `lora.linear` with their
    segments in order, at most 4; adapters stay with their segments. x is read once and dispatches go away. Two linears
    that one `lora.map` combines are joined with each other first, so that the map can follow. Linears that
    share a weight are left apart.

    A `lora.map` over a linear's result moves into its epilogue where nobody else reads that result: with the
    result alone (an activation) or with another value that is known before the linear (a residual), or over both
    results of a linear with exactly two segments of one packed type (silu(gate)·up). An epilogue reads at most 2 further values.

    The first linear with open sites that reads the result of a `lora.rms_norm` gets `shrink_with_x`: what its adapters compute of x is then
    made in the norm's dispatch. So does the first one of a single segment that reads a `lora.attend`.
  }];
  let statistics = [
    Statistic<"joined", "joined", "Linears that became part of another">,
    Statistic<"inlined", "inlined", "Maps that became part of an epilogue">,
    Statistic<"riding", "riding", "Linears whose shrink rides on a norm or an attend">
  ];
}

def QuantizePass : Pass<"lora-quantize", "::mlir::ModuleOp"> {
  let summary = "Give every matrix a packed type";
  let description = [{
    Rules come from `lora.model`'s `quantize` and then from the option `rules`: `TYPE` for every matrix, or `PATTERN=TYPE`, where
    `*` in the pattern stands for any text and the pattern matches the name of a site or of a weight, with or without `.weight`: all of it or
    all that follows a dot in it, so `layers.*.mlp.*` and `up_proj` need not say where layers are. The last rule that matches decides. Matrices that have a packed type keep it. Vectors are always f32.

    Types are those of docs/formats/packed.md, and `as-stored`: the type that holds the file's values exactly (f32, f16, bf16; Q4_0 is
    `int4-g32`, Q4_1 `int4-g32-offset`, Q8_0 and Q5_0 `int8-g32`), or f16 where none does. Without a rule a checkpoint whose matrices
    come in blocks is as stored, and another f16. A group that does not divide a row is an error that names those
    that do, a pattern that matches no matrix is one too. A tied weight whose uses get different types is untied:
    the second type gets a `lora.weight` of its own, and a remark says what that costs.
    An epilogue over two segments that get different types becomes a `lora.map` again, since a kernel reads one type; where it has further operands, select says what to do.
  }];
  let options = [ListOption<"rules", "rules", "std::string", "Rules that follow those of lora.model, separated by commas">];
  let statistics = [
    Statistic<"packed", "packed", "Matrices that were given a packed type">,
    Statistic<"untied", "untied", "Weights that became two">
  ];
}

def SelectPass : Pass<"lora-select", "::mlir::ModuleOp"> {
  let summary = "Choose kernels: a step over tensors becomes programs over buffers";
  let description = [{
    Writes a `plan.program` for one row, for few rows (2 to 8) and for many (to `max_rows`), each with adapters off and on, and the
    kernels, weight buffers and sites that they share. Joined weights lie side by side, each segment from a multiple of 32
    rows. With adapters off a program has no adapter buffer and no adapter dispatch; with them each group of linears with an open
    site costs one shrink dispatch more. Every difference is a kernel constant: nothing branches at run time.

    A weight beyond `window-bytes` is read through windows, a dispatch each, so that every device can bind it. Two segments that
    an epilogue combines are then computed side by side, and a map combines them.
  }];
  let options = [Option<"windowBytes", "window-bytes", "uint64_t", "128u << 20",
                        "Bytes of a weight that one view holds at most; default: the storage buffer range that every Vulkan device has">];
  let dependentDialects = ["::lorac::plan::PlanDialect"];
  let statistics = [Statistic<"programs", "programs", "Programs written">];
}

def PlanMemoryPass : Pass<"lora-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give every buffer its offset";
  let description = [{
    Weights and step tables lie side by side in their spaces. In the arena buffers that are never alive together share
    bytes; each program's peak is kept as `arena_peak`. Buffers whose size is a symbol's lie behind the rest.
  }];
  let dependentDialects = ["::lorac::plan::PlanDialect"];
  let statistics = [Statistic<"planned", "planned-bytes", "Bytes of arena buffers before sharing">];
}

def BarriersPass : Pass<"lora-barriers", "::mlir::ModuleOp"> {
  let summary = "Insert barriers from the views' access modes";
  let description = [{
    A dispatch waits where it reads bytes that were written since the last barrier, or writes bytes that were read or written.
  }];
  let dependentDialects = ["::lorac::plan::PlanDialect"];
  let statistics = [Statistic<"inserted", "inserted", "Barriers inserted">];
}

def ChainPass : Pass<"lora-chain", "::mlir::ModuleOp"> {
  let summary = "Mark what repeats in a program as chains that one dispatch may run";
  let description = [{
    The layers of a model are one sequence of dispatches, again and again. Of each program of at most 8 rows the stretch that a period of at most 16 dispatches
    covers best becomes a `plan.run` a period, all of one `plan.chain`: on a device where handing over a dispatch costs more than a
    meeting of its groups (docs/decisions/0019), the runtime dispatches the chain in place of its links. What else of the program is a part of the chain
    becomes a run of that part, so that no kernel is needed both in a chain and by itself. The commands stay as they are.
    ```mlir
    plan.run @chain0 link(0) commands(5)   // before the first link of each period
    ```
  }];
  let dependentDialects = ["::lorac::plan::PlanDialect"];
  let statistics = [Statistic<"chained", "chained", "Dispatches that a chain may run">];
}

#endif // LORAC_COMPILER_PASSES_TD
