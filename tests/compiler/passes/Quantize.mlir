// RUN: lorac-opt %s --lora-quantize --split-input-file --verify-diagnostics | FileCheck %s

// Without a rule a matrix is f16, used or not. A vector has no packed type, and a matrix that has one keeps it.
// CHECK-LABEL: module @default
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @q {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @unused {{.*}} : tensor<8x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @n {{.*}} : tensor<16xf32>{{$}}
module @default {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f32>>
  lora.weight @unused from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %s = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %m = lora.rms_norm %s, @n epsilon(1.0e-5) : tensor<?x16xf32>
    lora.yield %m, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A checkpoint of which a matrix comes in blocks is kept as it is, its other matrices too.
// CHECK-LABEL: module @quantized_source
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @w from(<"/m", 0, 640, q4_1, 0>) {{.*}} : tensor<32x32xf32, #lora.packed<int4_g32_offset>>
module @quantized_source {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @w from(#lora.source<"/m", 0, 640, q4_1, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x32xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A type alone is for every matrix, * stands for any text, and the last rule that matches decides.
// CHECK-LABEL: module @last_rule_wins
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @model.layers.0.q_proj.weight {{.*}} : tensor<16x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @model.layers.0.k_proj.weight {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @model.layers.1.q_proj.weight {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @model.layers.1.k_proj.weight {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
module @last_rule_wins {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["f16", "f32", "model.*.q_proj=f16", "model.layers.1.*=f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @model.layers.0.q_proj.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @model.layers.0.k_proj.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @model.layers.1.q_proj.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @model.layers.1.k_proj.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q0 = lora.linear %x [#lora.segment<@model.layers.0.q_proj.weight, site = "model.layers.0.q_proj", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k0 = lora.linear %q0 [#lora.segment<@model.layers.0.k_proj.weight, site = "model.layers.0.k_proj", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %q1 = lora.linear %k0 [#lora.segment<@model.layers.1.q_proj.weight, site = "model.layers.1.q_proj", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k1 = lora.linear %q1 [#lora.segment<@model.layers.1.k_proj.weight, site = "model.layers.1.k_proj", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %k1, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A rule may name the weight instead of the site, and a weight that no site uses.
// CHECK-LABEL: module @by_weight_name
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @fc.weight {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
// CHECK: lora.weight @unused.weight {{.*}} : tensor<8x16xf32, #lora.packed<f32>>
module @by_weight_name {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["fc=f32", "unused=f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @fc.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @unused.weight from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %s = lora.linear %x [#lora.segment<@fc.weight, site = "head.dense", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %s, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A tied weight whose uses have one type stays one weight.
// CHECK-LABEL: module @tied_one_type
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f32>>
// CHECK-NOT: lora.weight
// CHECK: lora.linear %{{.*}} [#lora.segment<@table, site = "lm_head">] :
module @tied_one_type {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@table, site = "lm_head">] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    lora.yield %r, %c : tensor<?x32xf32>, !lora.cache
  }
}

// -----

// Another type for the head alone: it gets a weight of its own, and the user hears what that costs.
// CHECK-LABEL: module @tied_two_types
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @lm_head.weight {{.*}} : tensor<32x16xf32, #lora.packed<f32>>
// CHECK: lora.embed %{{.*}}, @table
// CHECK: lora.linear %{{.*}} [#lora.segment<@lm_head.weight, site = "lm_head">] :
module @tied_two_types {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["lm_head=f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    // expected-remark@+1 {{site 'lm_head': weight @table is untied as @lm_head.weight, which costs 2048 bytes as f32}}
    %r = lora.linear %x [#lora.segment<@table, site = "lm_head">] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    lora.yield %r, %c : tensor<?x32xf32>, !lora.cache
  }
}

// -----

// A rule whose matrices have a packed type already changes nothing and is no error: a dump compiles again.
// CHECK-LABEL: module @packed_before
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @lm_head.weight {{.*}} : tensor<32x16xf32, #lora.packed<f32>>
module @packed_before {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["lm_head=f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @lm_head.weight from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32, #lora.packed<f32>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@lm_head.weight, site = "lm_head">] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    lora.yield %r, %c : tensor<?x32xf32>, !lora.cache
  }
}

// -----

// An epilogue over two segments that get different types becomes a map again: a kernel reads one type.
// CHECK-LABEL: module @epilogue_two_types
// CHECK: %[[R:.*]]:2 = lora.linear %{{.*}} [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] : (tensor<?x16xf32>) -> (tensor<?x24xf32>, tensor<?x24xf32>)
// CHECK-NEXT: %[[M:.*]] = lora.map %[[R]]#0, %[[R]]#1 {
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK-NEXT: arith.mulf %[[A]], %[[B]]
// CHECK: lora.yield %[[M]], %{{.*}} : tensor<?x24xf32>, !lora.cache
module @epilogue_two_types {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["gate=f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %m = lora.linear %x [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>) -> tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// With one type the epilogue stays.
// CHECK-LABEL: module @epilogue_one_type
// CHECK: lora.linear %{{.*}} [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
// CHECK-NOT: lora.map
module @epilogue_one_type {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %m = lora.linear %x [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>) -> tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// No type has this name.
module @unknown_type {
  // expected-error@+1 {{quantize rule 'lm_head=f61': unknown type 'f61', expected f32, f16, bf16, int8, int4, nf4, fp4 (with -g64 and the like for groups, int8-row, int4-offset, int4-zero, nf4-double), or as-stored}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["lm_head=f61"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A pattern without a type.
module @no_type {
  // expected-error@+1 {{quantize rule 'table=': unknown type '', expected f32, f16, bf16, int8, int4, nf4, fp4 (with -g64 and the like for groups, int8-row, int4-offset, int4-zero, nf4-double), or as-stored}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["table="]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A type without a pattern before its sign.
module @no_pattern {
  // expected-error@+1 {{quantize rule '=f16': there is no pattern before '='}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["=f16"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A site that the model does not have; a part of a name is no match.
module @matches_nothing {
  // expected-error@+1 {{quantize rule 'tabl=f16': the pattern matches no site and no matrix of the model, which are named like table}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["tabl=f16"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// The type that holds the file's values exactly, or f16 where none does.
// CHECK-LABEL: module @as_stored
// CHECK: lora.weight @a {{.*}} : tensor<8x256xf32, #lora.packed<f32>>
// CHECK: lora.weight @b {{.*}} : tensor<8x256xf32, #lora.packed<f16>>
// CHECK: lora.weight @c {{.*}} : tensor<8x256xf32, #lora.packed<bf16>>
// CHECK: lora.weight @d {{.*}} : tensor<8x256xf32, #lora.packed<int4_g32>>
// CHECK: lora.weight @e {{.*}} : tensor<8x256xf32, #lora.packed<int4_g32_offset>>
// CHECK: lora.weight @f {{.*}} : tensor<8x256xf32, #lora.packed<int8_g32>>
// CHECK: lora.weight @g {{.*}} : tensor<8x256xf32, #lora.packed<int8_g32>>
// CHECK: lora.weight @h {{.*}} : tensor<8x256xf32, #lora.packed<f16>>
// CHECK: lora.weight @i {{.*}} : tensor<8x256xf32, #lora.packed<f16>>
// CHECK: lora.weight @j {{.*}} : tensor<8x256xf32, #lora.packed<f16>>
module @as_stored {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["as-stored"]}
  lora.weight @a from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @b from(#lora.source<"/m", 0, 4096, f16, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @c from(#lora.source<"/m", 0, 4096, bf16, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @d from(#lora.source<"/m", 0, 1152, q4_0, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @e from(#lora.source<"/m", 0, 1280, q4_1, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @f from(#lora.source<"/m", 0, 2176, q8_0, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @g from(#lora.source<"/m", 0, 1408, q5_0, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @h from(#lora.source<"/m", 0, 1536, q5_1, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @i from(#lora.source<"/m", 0, 1152, q4_k, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @j from(#lora.source<"/m", 0, 1680, q6_k, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
}

// -----

// Each type by its name on the command line, with its usual group or another.
// CHECK-LABEL: module @every_type
// CHECK: lora.weight @w0 {{.*}} : tensor<8x256xf32, #lora.packed<int8_g32>>
// CHECK: lora.weight @w1 {{.*}} : tensor<8x256xf32, #lora.packed<int8_row>>
// CHECK: lora.weight @w2 {{.*}} : tensor<8x256xf32, #lora.packed<int4_g128>>
// CHECK: lora.weight @w3 {{.*}} : tensor<8x256xf32, #lora.packed<int4_g32_offset>>
// CHECK: lora.weight @w4 {{.*}} : tensor<8x256xf32, #lora.packed<int4_g64_zero>>
// CHECK: lora.weight @w5 {{.*}} : tensor<8x256xf32, #lora.packed<nf4_g64>>
// CHECK: lora.weight @w6 {{.*}} : tensor<8x256xf32, #lora.packed<nf4_g256_double>>
// CHECK: lora.weight @w7 {{.*}} : tensor<8x256xf32, #lora.packed<fp4_g32>>
// CHECK: lora.weight @w8 {{.*}} : tensor<8x256xf32, #lora.packed<bf16>>
module @every_type {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["w0=int8", "w1=int8-row", "w2=int4-g128", "w3=int4-offset", "w4=int4-g64-zero", "w5=nf4", "w6=nf4-g256-double", "w7=fp4-g32", "w8=bf16"]}
  lora.weight @w0 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w1 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w2 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w3 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w4 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w5 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w6 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w7 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
  lora.weight @w8 from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x256xf32>
}

// -----

// A group must divide a row; the message names those that do.
module @group_does_not_divide {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["int4-g128"]}
  // expected-error@+1 {{site 'w': cannot be int4-g128: groups of 128 do not divide rows of 576 values; groups that do: 32, 64; give it another type: --quantize 'w=TYPE'}}
  lora.weight @w from(#lora.source<"/m", 0, 18432, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x576xf32>
}

// -----

// bitsandbytes' blocks run over the flattened tensor; a width that lets one straddle rows is refused.
module @blocks_would_straddle_rows {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["nf4"]}
  // expected-error@+1 {{site 'w': cannot be nf4-g64: groups of 64 do not divide rows of 70 values; no group does: f16, f32, bf16 and int8-row fit; give it another type: --quantize 'w=TYPE'}}
  lora.weight @w from(#lora.source<"/m", 0, 17920, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64x70xf32>
}

// -----

// A name that says what no type has.
module @impossible_combination {
  // expected-error@+1 {{quantize rule 'int8-double': type 'int8-double': double quantization belongs to nf4 and fp4}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["int8-double"]}
  lora.weight @w from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x64xf32>
}

// -----

// A matrix that has a packed type keeps it, so that a rule which its rows could not hold is no error.
// CHECK-LABEL: module @rule_for_a_packed_matrix
// CHECK: lora.weight @w {{.*}} : tensor<8x72xf32, #lora.packed<f16>>
module @rule_for_a_packed_matrix {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["nf4"]}
  lora.weight @w from(#lora.source<"/m", 0, 2304, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x72xf32, #lora.packed<f16>>
}
