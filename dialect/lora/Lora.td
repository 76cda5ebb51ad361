//===- Lora.td - decoder models with frozen plus low-rank linears ----------===//
// The `lora` dialect: tensors, value semantics, one dynamic dimension (rows: one token of
// one sequence each). Weights stay outside the IR; an op of the module says where their bytes are.
#ifndef LORAC_DIALECT_LORA_TD
#define LORAC_DIALECT_LORA_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/TensorEncoding.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def LoraDialect : Dialect {
  let name = "lora";
  let cppNamespace = "::lorac::lora";
  let summary = "Frozen plus low-rank decoder models";
  let description = [{
    y = W0·x + Σ c_i·B_i·(A_i·x): linear layers whose sites are open to adapters, and the few ops around
    them. No op stands for a model family or a block; a family is an importer that writes these ops.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

// ---- types and attributes ---------------------------------------------------

class LoraType<string name, string mnemonicText> : TypeDef<LoraDialect, name> {
  let mnemonic = mnemonicText;
}

def CacheType : LoraType<"Cache", "cache"> {
  let summary = "Keys and values of all tokens seen, threaded as a value";
  let description = [{ Each `lora.attend` appends to one layer of it and yields the cache after that. }];
}

class LoraAttr<string name, string mnemonicText, list<Trait> traits = []> : AttrDef<LoraDialect, name, traits> {
  let mnemonic = mnemonicText;
}

def PackedAttr : LoraAttr<"Packed", "packed", [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "How a frozen weight is stored: a tensor's encoding";
  let description = [{
    `tensor<960x576xf32, #lora.packed<f16>>` is a weight whose values are kept as f16, `#lora.packed<int4_g32_offset>` one of 4 bits with
    a scale and an offset for each 32. The names are those of `--quantize` (docs/formats/packed.md) with `_` for `-`. A weight
    without an encoding is undecided: the quantize pass gives it one.
  }];
  let parameters = (ins "::lorac::packed::Type":$type);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def SegmentAttr : LoraAttr<"Segment", "segment"> {
  let summary = "One weight of a linear with its site, bias and whether runtime adapters may join";
  let description = [{
    `#lora.segment<@w, site = "model.layers.0.self_attn.q_proj", bias = @b, open>`. Without `open` the site costs a
    plain linear and no adapter may bind to it.
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$weight, "::mlir::StringAttr":$site,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$bias, "bool":$open);
  let hasCustomAssemblyFormat = 1;
}

def SourceType : I32EnumAttr<"SourceType", "how the values of a tensor are encoded in its file", [
    I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"BF16", 2, "bf16">,
    I32EnumAttrCase<"Q4_0", 3, "q4_0">, I32EnumAttrCase<"Q4_1", 4, "q4_1">, I32EnumAttrCase<"Q8_0", 5, "q8_0">,
    I32EnumAttrCase<"Q5_0", 6, "q5_0">, I32EnumAttrCase<"Q5_1", 7, "q5_1">, I32EnumAttrCase<"Q4_K", 8, "q4_k">,
    I32EnumAttrCase<"Q5_K", 9, "q5_k">, I32EnumAttrCase<"Q6_K", 10, "q6_k">]> {
  let cppNamespace = "::lorac::lora";
  let genSpecializedAttr = 0;
}

def SourceAttr : LoraAttr<"Source", "source"> {
  let summary = "Where the bytes of a tensor are and how they are encoded there";
  let description = [{
    `#lora.source<"/abs/model.gguf", 1024, 331776, q4_1, 9>`: file (absolute in a dump), offset and size in bytes,
    encoding, and the number of heads whose rows are rotary-interleaved (0: none; else stored row head·h + 2·i + j is
    row head·h + j·h/2 + i, h = rows / heads).
  }];
  let parameters = (ins "::mlir::StringAttr":$file, "uint64_t":$offset, "uint64_t":$size, EnumParameter<SourceType>:$encoding,
                        "uint64_t":$interleavedHeads);
  let assemblyFormat = "`<` $file `,` $offset `,` $size `,` $encoding `,` $interleavedHeads `>`";
}

def FoldAttr : LoraAttr<"Fold", "fold"> {
  let summary = "A static adapter folded into a weight: W0 + scale·B·A, computed in f32 when the weight is written";
  let description = [{
    `#lora.fold<a = #lora.source<...>, b = #lora.source<...>, rank = 8, scale = 2.0>`: A is [rank, in], B is [out, rank].
  }];
  let parameters = (ins "SourceAttr":$a, "SourceAttr":$b, "uint64_t":$rank, "::mlir::FloatAttr":$scale);
  let assemblyFormat = "`<` struct(params) `>`";
}

// ---- module-level ops -------------------------------------------------------

class LoraOp<string mnemonic, list<Trait> traits = []> : Op<LoraDialect, mnemonic, traits>;

def ModelOp : LoraOp<"model"> {
  let summary = "What is known of the whole model, and what its compilation was asked for";
  let description = [{
    One a module. `quantize` holds the rules in the order given (`TYPE` or `SITE=TYPE`), `cache` is how keys and values are
    kept ("f32", where absent, or "f16"); they stand in the IR so that a dump compiles to the same file.
    ```mlir
    lora.model architecture("llama") source("hf") vocab(320) max_positions(512) eos([2]) {quantize = ["f16"]}
    ```
  }];
  let arguments = (ins StrAttr:$architecture, StrAttr:$source, I64Attr:$vocab, I64Attr:$max_positions, DenseI64ArrayAttr:$eos,
                       OptionalAttr<I64Attr>:$max_context, OptionalAttr<I64Attr>:$max_rows, OptionalAttr<StrArrayAttr>:$quantize,
                       OptionalAttr<StrAttr>:$cache);
  let assemblyFormat = [{
    `architecture` `(` $architecture `)` `source` `(` $source `)` `vocab` `(` $vocab `)` `max_positions` `(` $max_positions `)`
    `eos` `(` $eos `)` (`max_context` `(` $max_context^ `)`)? (`max_rows` `(` $max_rows^ `)`)? attr-dict
  }];
  let hasVerifier = 1;
}

def TokenizerOp : LoraOp<"tokenizer"> {
  let summary = "Where the tokenizer and the chat template are";
  let description = [{
    `kind` is "hf" (tokenizer.json, `config` names tokenizer_config.json, `chat_template` a chat_template.jinja) or "gguf".
    ```mlir
    lora.tokenizer "hf" from("/abs/tokenizer.json") {config = "/abs/tokenizer_config.json"}
    ```
  }];
  let arguments = (ins StrAttr:$kind, StrAttr:$file, OptionalAttr<StrAttr>:$config, OptionalAttr<StrAttr>:$chat_template);
  let assemblyFormat = "$kind `from` `(` $file `)` attr-dict";
  let hasVerifier = 1;
}

def WeightOp : LoraOp<"weight", [Symbol]> {
  let summary = "A frozen tensor: which bytes of which file it is, and how it shall be stored";
  let description = [{
    The symbol is the tensor's Hugging Face name, the type its shape; the encoding of the type (`#lora.packed`) says how it
    shall be stored. `digest` is the SHA-256 of the values as little-endian f32 in Hugging Face row order. Vectors (norm
    weights, biases) are rank 1 and stored as f32. `folds` are static adapters added when it is written.
    ```mlir
    lora.weight @model.norm.weight from(#lora.source<"/abs/m.safetensors", 0, 256, f32, 0>) digest("00…") : tensor<64xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, SourceAttr:$source, StrAttr:$digest, TypeAttr:$type, OptionalAttr<ArrayAttr>:$folds);
  let assemblyFormat = "$sym_name `from` `(` $source `)` `digest` `(` $digest `)` (`folds` $folds^)? attr-dict `:` $type";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() { return ::mlir::cast<::mlir::RankedTensorType>(getType()); }
    /// The encoding, or null while undecided and for vectors.
    PackedAttr getPacked() { return ::mlir::dyn_cast_or_null<PackedAttr>(getTensorType().getEncoding()); }
  }];
}

def AdapterOp : LoraOp<"adapter", [Symbol]> {
  let summary = "A static adapter of one site, to be merged";
  let description = [{
    A is [rank, in], B is [out, rank]; `scale` = strength · scaling.
    ```mlir
    lora.adapter @style.q from(#lora.source<"/abs/a.safetensors", 0, 2048, f32, 0>, #lora.source<"/abs/a.safetensors", 2048, 2048, f32, 0>) rank(8) scale(2.0)
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, SourceAttr:$a, SourceAttr:$b, I64Attr:$rank, F64Attr:$scale);
  let assemblyFormat = "$sym_name `from` `(` $a `,` $b `)` `rank` `(` $rank `)` `scale` `(` $scale `)` attr-dict";
  let hasVerifier = 1;
}

def RopeTableOp : LoraOp<"rope_table", [Symbol]> {
  let summary = "Inverse frequencies of a rotary embedding";
  let description = [{
    Angle i of position p is p · frequency[i]; every scaling scheme is data here. Cosines and sines are made on the
    host in double.
    ```mlir
    lora.rope_table @rope dense<[1.0, 0.1]> : tensor<2xf64>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, ElementsAttr:$frequencies);
  let assemblyFormat = "$sym_name $frequencies attr-dict";
  let hasVerifier = 1;
}

def StepOp : LoraOp<"step", [IsolatedFromAbove, SingleBlock, NoTerminator]> {
  let summary = "What one step computes: tokens of any mix of sequences to the logits asked for";
  let description = [{
    The block takes the token ids, one a row, and the cache; `lora.yield` gives the logits and the cache. Which rows belong to
    which sequence, their positions, pages and adapter stacks are the runtime's and the same for every op.
    ```mlir
    lora.step {
    ^bb0(%tokens: tensor<?xi32>, %cache: !lora.cache):
      ...
      lora.yield %logits, %cache_n : tensor<?x320xf32>, !lora.cache
    }
    ```
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def YieldOp : LoraOp<"yield", [Pure, Terminator]> {
  let summary = "Results of a step or of an epilogue";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

// ---- ops of a step ----------------------------------------------------------

def EmbedOp : LoraOp<"embed", [Pure]> {
  let summary = "Rows of an embedding table";
  let description = [{
    y[s,:] = table[token[s],:]. Reads one table row a step row.
    ```mlir
    %h = lora.embed %tokens, @model.embed_tokens.weight : tensor<?xi32> -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$tokens, FlatSymbolRefAttr:$table);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` type($tokens) `->` type($result)";
  let hasVerifier = 1;
}

def RmsNormOp : LoraOp<"rms_norm", [Pure, AllTypesMatch<["x", "result"]>]> {
  let summary = "Root mean square norm";
  let description = [{
    y[s,k] = x[s,k] / sqrt(mean_k x[s,k]² + epsilon) · w[k] (Zhang and Sennrich 2019, equation 4).
    ```mlir
    %n = lora.rms_norm %h, @model.norm.weight epsilon(1.0e-5) : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$x, FlatSymbolRefAttr:$weight, F64Attr:$epsilon);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$x `,` $weight `epsilon` `(` $epsilon `)` attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def LinearOp : LoraOp<"linear", [Pure]> {
  let summary = "Frozen linear layers over one x whose sites may carry adapters";
  let description = [{
    r_i[s,o] = Σ_k x[s,k]·W_i[o,k] + bias_i[o] + Σ_e c_e·B_e·(A_e·x) for each segment i. Without an epilogue there is one
    result a segment. The epilogue is scalar arith and math over the segments' results and then the point-wise operands; it yields
    one value, so the segments have one width and there is one result.
    Costs the bytes of its weights, plus one shrink dispatch for all its open segments where a row has a stack; none with
    `shrink_with_x`: then A_e·x is computed by the dispatch that makes x, a `lora.rms_norm` or a `lora.attend` (where the segments have one packed
    type, so that one dispatch reads them, and after an attend where heads are multiples of 32).
    ```mlir
    %q, %k = lora.linear %n [#lora.segment<@wq, site = "q", open>, #lora.segment<@wk, site = "k", open>] : (tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>)
    %y = lora.linear %n [#lora.segment<@wo, site = "o", open>] with %h {
    ^bb0(%r: f32, %e: f32):
      %sum = arith.addf %r, %e : f32
      lora.yield %sum : f32
    } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$x, Variadic<AnyRankedTensor>:$extras, TypedArrayAttrBase<SegmentAttr, "segments">:$segments,
                       OptionalAttr<ArrayAttr>:$adapters, UnitAttr:$shrink_with_x);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region AnyRegion:$epilogue);
  let assemblyFormat = [{
    $x $segments (`shrink_with_x` $shrink_with_x^)? (`adapters` $adapters^)? (`with` $extras^)? ($epilogue^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::llvm::SmallVector<SegmentAttr> getSegmentList();
    /// Whether adapters may attach to any segment.
    bool isOpen() { return ::llvm::any_of(getSegmentList(), [](SegmentAttr segment) { return segment.getOpen(); }); }
    bool hasEpilogue() { return !getEpilogue().empty(); }
  }];
}

def MapOp : LoraOp<"map", [Pure]> {
  let summary = "Point-wise function of one or two tensors";
  let description = [{
    y[s,k] = f(a[s,k], b[s,k]), f being scalar arith and math. fuse moves it into a linear's epilogue where it can.
    ```mlir
    %y = lora.map %a, %b {
    ^bb0(%x: f32, %z: f32):
      %sum = arith.addf %x, %z : f32
      lora.yield %sum : f32
    } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs);
  let results = (outs AnyRankedTensor:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$inputs $body attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def RopeOp : LoraOp<"rope", [Pure, AllTypesMatch<["x", "result"]>]> {
  let summary = "Rotary position embedding of each head";
  let description = [{
    With h = head size / 2 and a = position · frequency[i]: y[i] = x[i]·cos a − x[i+h]·sin a, y[i+h] = x[i+h]·cos a + x[i]·sin a
    (Su et al. 2021, in the half-split order of Hugging Face).
    ```mlir
    %r = lora.rope %q, @rope heads(4) : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$x, FlatSymbolRefAttr:$table, I64Attr:$heads);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$x `,` $table `heads` `(` $heads `)` attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def AttendOp : LoraOp<"attend", [Pure]> {
  let summary = "Appends k and v to the cache and attends over it, causally";
  let description = [{
    y[s,h] = Σ_j softmax_j(scale · q[s,h]·k[j,g]) v[j,g] over the keys j of the row's sequence up to its own position, g = h / (heads / kv_heads)
    (Vaswani et al. 2017, equation 1; Ainslie et al. 2023 for shared key heads).
    ```mlir
    %y, %c1 = lora.attend %q, %k, %v, %c0 layer(0) heads(4) kv_heads(2) scale(0.25) : tensor<?x64xf32>, tensor<?x32xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$q, AnyRankedTensor:$k, AnyRankedTensor:$v, CacheType:$cache,
                       I64Attr:$layer, I64Attr:$heads, I64Attr:$kv_heads, F64Attr:$scale);
  let results = (outs AnyRankedTensor:$result, CacheType:$new_cache);
  let assemblyFormat = [{
    $q `,` $k `,` $v `,` $cache `layer` `(` $layer `)` `heads` `(` $heads `)` `kv_heads` `(` $kv_heads `)` `scale` `(` $scale `)` attr-dict
    `:` type($q) `,` type($k) custom<AttendTypes>(ref(type($q)), ref(type($k)), type($v), type($cache), type($result), type($new_cache))
  }];
  let hasVerifier = 1;
}

def GatherRowsOp : LoraOp<"gather_rows", [Pure, AllTypesMatch<["x", "result"]>]> {
  let summary = "The rows whose logits are asked for";
  let description = [{
    y[i,:] = x[row[i],:]; the runtime says which rows. What follows works on as many rows.
    ```mlir
    %g = lora.gather_rows %h : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$x);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

#endif // LORAC_DIALECT_LORA_TD
