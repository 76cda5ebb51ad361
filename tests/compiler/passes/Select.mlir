// RUN: lorac-opt %s --lora-select --split-input-file | FileCheck %s

// A step becomes a program for each class of rows, with adapters off and on. q, k and v lie side by side, each from a multiple
// of 32 rows; the table has two uses and one buffer. The cache is f16 as asked. Four sites are open, in the order of the step.
// CHECK-LABEL: module @whole
// CHECK-DAG: plan.site "q" in(16) out(16)
// CHECK-DAG: plan.site "k" in(16) out(8)
// CHECK-DAG: plan.site "o" in(16) out(16)
// CHECK-DAG: plan.site "head" in(16) out(40) logits
// CHECK-NOT: plan.site "v"
// CHECK: plan.cache page_tokens(16) page_bytes(512)
// CHECK: plan.weights @[[TABLE:.*]] holds([@table]) starts([0]) size(1280)
// CHECK: plan.weights @[[QKV:.*]] holds([@q, @k, @v]) starts([0, 1024, 2048]) size(2304)
// CHECK: plan.weights @[[BIAS:.*]] holds([@bias]) starts([256]) size(288)

// Alone, one row: 4 tiles a lane, nothing of adapters, a bias beside the joined rows (32 · 2 · 4 bytes in).
// CHECK: plan.program @one rows(1, 1) adapters(false)
// CHECK-NOT: pool
// CHECK-NOT: stacks
// CHECK: plan.dispatch @embed_0 grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@[[TABLE]], read
// CHECK: plan.dispatch @[[ALONE:linear_0]] grid [#plan.expr<3>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@[[QKV]], read, {{.*}} #plan.view<@[[BIAS]], read
// CHECK-SAME: in_features = #plan.expr<16>
// CHECK-SAME: segment_1 = #plan.expr<4>, segment_2 = #plan.expr<8>, segment_3 = #plan.expr<4294967295>
// CHECK-SAME: tiles = #plan.expr<9>
// CHECK: plan.dispatch @rope_0 grid [#plan.expr<4>, #plan.expr<rows>, #plan.expr<1>]
// CHECK-SAME: k_column = #plan.expr<32>
// CHECK-SAME: v_column = #plan.expr<64>
// CHECK: plan.dispatch @attend_0 grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>]
// CHECK: plan.dispatch @gather_0 grid [#plan.expr<1>, #plan.expr<out_rows>, #plan.expr<1>]
// CHECK: plan.buffer @logits "out" {{.*}} row_stride(64) width(40)

// With adapters: one shrink for the joined three and one for each other linear; v is closed and has the null record, number 4.
// CHECK: plan.program @one_adapters rows(1, 1) adapters(true)
// CHECK: plan.dispatch @[[OFTHREE:shrink_.*]] grid [#plan.expr<items>, #plan.expr<1>, #plan.expr<1>]
// CHECK-SAME: site_0 = #plan.expr<0>, site_1 = #plan.expr<1>, site_2 = #plan.expr<4>, site_3 = #plan.expr<0>
// CHECK: plan.dispatch @[[OFONE:shrink_.*]] grid [#plan.expr<items>, #plan.expr<1>, #plan.expr<1>]
// The head's rows were gathered: shrink and expand go through the row tables. Without an adapter on it the step computes it as the base does.
// CHECK: plan.dispatch @shrink_{{.*}} #plan.view<@rows, read
// CHECK: plan.dispatch @linear_{{.*}} grid [#plan.expr<2>, #plan.expr<plain_rows>, #plan.expr<1>] views
// CHECK-SAME: items = #plan.expr<0>
// CHECK-SAME: rows = #plan.expr<plain_rows>
// CHECK: plan.dispatch @linear_{{.*}} grid [#plan.expr<2>, #plan.expr<adapted_rows>, #plan.expr<1>] views
// CHECK-SAME: #plan.view<@out_rows, read
// CHECK-SAME: items = #plan.expr<items>
// CHECK-SAME: rows = #plan.expr<adapted_rows>
// CHECK-NOT: plan.dispatch @shrink
// More rows: 8 of them a workgroup.
// CHECK: plan.program @few rows(2, 8) adapters(false)
// CHECK: plan.dispatch @linear_{{.*}} grid [#plan.expr<3>, #plan.expr<ceildiv(rows, 8)>, #plan.expr<1>]
// CHECK: plan.program @few_adapters rows(2, 8) adapters(true)
// CHECK: plan.program @many rows(9, 64) adapters(false)
// CHECK: plan.program @many_adapters rows(9, 64) adapters(true)
// CHECK-NOT: lora.step
module @whole {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([]) {cache = "f16"}
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @bias from(#lora.source<"/m", 0, 32, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8xf32>
  lora.rope_table @rope dense<[1.0, 0.1, 0.01, 0.001]> : tensor<4xf64>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q, %k, %v = lora.linear %x [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>, #lora.segment<@v, site = "v", bias = @bias>] : (tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>)
    %qr = lora.rope %q, @rope heads(2) : tensor<?x16xf32>
    %kr = lora.rope %k, @rope heads(1) : tensor<?x8xf32>
    %a, %c1 = lora.attend %qr, %kr, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %y = lora.linear %a [#lora.segment<@o, site = "o", open>] with %x {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %g = lora.gather_rows %y : tensor<?x16xf32>
    %l = lora.linear %g [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// With adapters the shrink of two sites rides on the norm: a group for each row, then one for each item.
// CHECK-LABEL: module @riding
// CHECK: plan.program @one rows(1, 1) adapters(false)
// CHECK: plan.dispatch @rms_norm_0 grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>]
// CHECK-SAME: items = #plan.expr<0>
// CHECK: plan.program @one_adapters rows(1, 1) adapters(true)
// CHECK: plan.dispatch @rms_norm_1 grid [#plan.expr<rows + items>, #plan.expr<1>, #plan.expr<1>]
// CHECK-SAME: #plan.view<@pool, read, {{.*}}#plan.view<@items, read, {{.*}}#plan.view<@[[T:t.*]], write
// CHECK-SAME: site_0 = #plan.expr<0>, site_1 = #plan.expr<1>
// CHECK: plan.dispatch @linear_{{.*}}#plan.view<@[[T]], read
// CHECK: plan.dispatch @shrink
// CHECK-NOT: plan.dispatch @shrink
module @riding {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([]) max_rows(1)
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %m = lora.rms_norm %x, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %q, %k = lora.linear %m [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>] shrink_with_x : (tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>)
    %a, %c1 = lora.attend %q, %k, %q, %c layer(0) heads(2) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// Nothing was fused and nothing rotated: a dispatch a linear, rope only fills the cache, a map stays a kernel of its own with
// its function in postfix. The cache is f32 where nothing is asked. One row at most means one class of rows.
// CHECK-LABEL: module @unfused
// CHECK: plan.cache page_tokens(16) page_bytes(1024)
// CHECK: plan.kernel @linear_0 catalog("linear") constants({ADAPTERS = 0 : i64, COMBINE = 1 : i64, GATHERED = 0 : i64, GROUP = 0 : i64, HAS_BIAS = 0 : i64, HAS_OPERAND0 = 0 : i64, HAS_OPERAND1 = 0 : i64, HAS_PAIRS = 0 : i64, HAS_SCALES = 0 : i64, HEAD = 0 : i64, NESTED = 0 : i64, ROWS = 1 : i64, TAIL = 1 : i64, TILES = 4 : i64, T_PARTS = 1 : i64, WEIGHT = 0 : i64, ZERO_POINT = 0 : i64})
// CHECK: plan.kernel @rope_0 catalog("rope") constants({CACHE_F32 = 1 : i64, HEAD = 8 : i64, ROTATE = 0 : i64})
// CHECK: plan.kernel @map_0 catalog("map") constants({HAS_OPERAND1 = 1 : i64}) epilogue [#plan.term<operand, 0 : i64>, #plan.term<exp>, #plan.term<operand, 1 : i64>, #plan.term<mul>, #plan.term<const, 2.000000e+00 : f32>, #plan.term<add>]
// CHECK: plan.program @one rows(1, 1) adapters(false)
// CHECK-COUNT-3: plan.dispatch @linear_0
// CHECK: plan.dispatch @rope_0
// CHECK: plan.dispatch @map_0 {{.*}}column0 = #plan.expr<0>
// CHECK-NOT: plan.program @few
module @unfused {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([]) max_rows(1)
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f32>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f32>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f32>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f32>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %m = lora.map %a, %x {
    ^bb0(%r: f32, %e: f32):
      %two = arith.constant 2.0 : f32
      %p = math.exp %r : f32
      %s = arith.mulf %p, %e : f32
      %f = arith.addf %s, %two : f32
      lora.yield %f : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %l = lora.linear %m [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// Heads of 32 and an f32 cache: the linear of q, k and v rotates them and writes the cache itself, y holds q alone, and no rope is left. Not
// so in the second layer, where q has another use.
// CHECK-LABEL: module @heads
// CHECK: plan.kernel @linear_0 catalog("linear") constants({{.*}}HEAD = 32 : i64
// CHECK: plan.kernel @linear_1 catalog("linear") constants({{.*}}HEAD = 0 : i64
// CHECK: plan.program @one rows(1, 1) adapters(false)
// CHECK: plan.dispatch @linear_0 grid [#plan.expr<4>, #plan.expr<rows>, #plan.expr<1>]
// CHECK-SAME: #plan.view<@[[Q:rows\.[0-9]+]], write, offset = <0>, size = <256>>, #plan.view<@rows, read, {{.*}}#plan.view<@pages, read, {{.*}}#plan.view<@angles.rope, read, offset = <0>, size = <128>>, #plan.view<@cache.0, write
// CHECK-SAME: y_stride = #plan.expr<64>
// CHECK-NOT: plan.dispatch @rope
// CHECK: plan.dispatch @attend_0 {{.*}}#plan.view<@[[Q]], read
// CHECK: plan.dispatch @linear_1
// CHECK: plan.dispatch @rope_0
module @heads {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([]) max_rows(1)
  lora.weight @table from(#lora.source<"/m", 0, 10240, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x64xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 16384, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64x64xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x64xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 8192, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x64xf32, #lora.packed<f16>>
  lora.rope_table @rope dense<0.5> : tensor<16xf64>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x64xf32>
    %q, %k, %v = lora.linear %x [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>, #lora.segment<@v, site = "v", open>] : (tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
    %qr = lora.rope %q, @rope heads(2) : tensor<?x64xf32>
    %kr = lora.rope %k, @rope heads(1) : tensor<?x32xf32>
    %a, %c1 = lora.attend %qr, %kr, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x64xf32>, tensor<?x32xf32>
    %q2, %k2, %v2 = lora.linear %a [#lora.segment<@q, site = "q2", open>, #lora.segment<@k, site = "k2", open>, #lora.segment<@v, site = "v2", open>] : (tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
    %qr2 = lora.rope %q2, @rope heads(2) : tensor<?x64xf32>
    %kr2 = lora.rope %k2, @rope heads(1) : tensor<?x32xf32>
    %a2, %c2 = lora.attend %qr2, %kr2, %v2, %c1 layer(1) heads(2) kv_heads(1) scale(0.5) : tensor<?x64xf32>, tensor<?x32xf32>
    %m = lora.map %a2, %q2 {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %l = lora.linear %m [#lora.segment<@table, site = "head", open>] : (tensor<?x64xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c2 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// With adapters the shrink of o rides on attend, whose two groups a row make a part of t each, and o adds them. Not in the second layer, where heads
// are no multiple of 32.
// CHECK-LABEL: module @riding_on_attend
// CHECK: plan.kernel @attend_{{.*}} constants({CACHE_F32 = 1 : i64, HEAD = 32 : i64, HEADS = 1 : i64, SEGMENTS = 1 : i64})
// CHECK: plan.kernel @linear_{{.*}}T_PARTS = 2 : i64
// CHECK: plan.program @one rows(1, 1) adapters(false)
// CHECK: plan.dispatch @attend_{{.*}}items = #plan.expr<0>
// CHECK: plan.program @one_adapters rows(1, 1) adapters(true)
// CHECK: plan.buffer @[[T:t.*]] "arena" size(<max_items * 64>)
// CHECK: plan.dispatch @attend_{{.*}}#plan.view<@stacks, read, {{.*}}#plan.view<@pool, read, {{.*}}#plan.view<@items, read, {{.*}}#plan.view<@[[T]], write
// CHECK-SAME: items = #plan.expr<items>
// CHECK-NOT: plan.dispatch @shrink
// CHECK: plan.dispatch @linear_{{.*}}#plan.view<@[[T]], read
// CHECK: plan.dispatch @attend_{{.*}}items = #plan.expr<0>
// CHECK: plan.dispatch @shrink
module @riding_on_attend {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([]) max_rows(1)
  lora.weight @table from(#lora.source<"/m", 0, 10240, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x64xf32, #lora.packed<f16>>
  lora.weight @o from(#lora.source<"/m", 0, 16384, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64x64xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x64xf32>
    %a, %c1 = lora.attend %x, %x, %x, %c layer(0) heads(2) kv_heads(2) scale(0.5) : tensor<?x64xf32>, tensor<?x64xf32>
    %y = lora.linear %a [#lora.segment<@o, site = "o", open>] shrink_with_x : (tensor<?x64xf32>) -> tensor<?x64xf32>
    %b, %c2 = lora.attend %y, %y, %y, %c1 layer(1) heads(4) kv_heads(4) scale(0.5) : tensor<?x64xf32>, tensor<?x64xf32>
    %l = lora.linear %b [#lora.segment<@table, site = "head", open>] shrink_with_x : (tensor<?x64xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c2 : tensor<?x40xf32>, !lora.cache
  }
}
