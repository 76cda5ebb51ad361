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

// A quantized checkpoint is f16 too.
// CHECK-LABEL: module @quantized_source
// CHECK: lora.weight @w from(<"/m", 0, 640, q4_1, 0>) {{.*}} : tensor<32x32xf32, #lora.packed<f16>>
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

// bf16 is a type that this version cannot pack.
module @not_available_bf16 {
  // expected-error@+1 {{quantize rule 'bf16': type 'bf16' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["bf16"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// int8 is a type that this version cannot pack.
module @not_available_int8 {
  // expected-error@+1 {{quantize rule 'int8': type 'int8' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["int8"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// int4 is a type that this version cannot pack.
module @not_available_int4 {
  // expected-error@+1 {{quantize rule 'int4': type 'int4' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["int4"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// nf4 is a type that this version cannot pack.
module @not_available_nf4 {
  // expected-error@+1 {{quantize rule 'nf4': type 'nf4' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["nf4"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// fp4 is a type that this version cannot pack.
module @not_available_fp4 {
  // expected-error@+1 {{quantize rule 'fp4': type 'fp4' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["fp4"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// as-stored is a type that this version cannot pack.
module @not_available_as_stored {
  // expected-error@+1 {{quantize rule 'as-stored': type 'as-stored' is not available in this version, f32 and f16 are}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["as-stored"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// No type has this name.
module @unknown_type {
  // expected-error@+1 {{quantize rule 'lm_head=f61': unknown type 'f61', expected f32 or f16}}
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
  // expected-error@+1 {{quantize rule 'table=': unknown type '', expected f32 or f16}}
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
  // expected-error@+1 {{quantize rule 'tabl=f16': the pattern matches no site and no matrix of the model}}
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["tabl=f16"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    lora.yield %x, %c : tensor<?x16xf32>, !lora.cache
  }
}
