// RUN: lorac-opt %s --lora-select=window-bytes=2048 | FileCheck %s

// A weight of at most window-bytes has one view, a larger one windows of 64 rows and multiples: a dispatch each, whose views of weight, bias,
// operands and result begin at its rows. A group of linears that needs windows still shrinks once.
// CHECK: plan.weights @[[TABLE:.*]] holds([@table]) starts([0]) size(6400)
// CHECK: plan.program @one rows(1, 1) adapters(false)
// The table has 200 rows of 32 bytes: tokens of other rows are left alone.
// CHECK: plan.dispatch @embed_0 {{.*}}views [#plan.view<@[[TABLE]], read, offset = <0>, size = <2048>>{{.*}}first_row = #plan.expr<0>{{.*}}table_rows = #plan.expr<64>
// CHECK: plan.dispatch @embed_0 {{.*}}views [#plan.view<@[[TABLE]], read, offset = <2048>, size = <2048>>{{.*}}first_row = #plan.expr<64>{{.*}}table_rows = #plan.expr<64>
// CHECK: plan.dispatch @embed_0 {{.*}}first_row = #plan.expr<128>
// CHECK: plan.dispatch @embed_0 {{.*}}views [#plan.view<@[[TABLE]], read, offset = <6144>, size = <256>>{{.*}}first_row = #plan.expr<192>{{.*}}table_rows = #plan.expr<8>
// q has 64 rows, 2048 bytes.
// CHECK: plan.dispatch @linear_0 {{.*}}first_tile = #plan.expr<0>{{.*}}tiles = #plan.expr<8>
// CHECK-NOT: plan.dispatch @linear
// CHECK: plan.dispatch @attend_0
// CHECK-COUNT-2: plan.dispatch @linear_0
// o has 96 rows: a bias, an operand and the result of 96 and 16 rows.
// CHECK: plan.dispatch @[[O:linear_.*]] grid [#plan.expr<2>, {{.*}}views [#plan.view<@{{.*}}, read, offset = <0>, size = <8192>>, {{.*}}first_tile = #plan.expr<0>
// CHECK: plan.dispatch @[[O]] grid [#plan.expr<1>, {{.*}}views [#plan.view<@{{.*}}, read, offset = <8192>, size = <4096>>, {{.*}}, #plan.view<@[[Y:.*]], write, offset = <256>, size = <128>>, #plan.view<@{{.*}}, read, offset = <256>, size = <128>>, #plan.view<@{{.*}}, read, offset = <256>, size = <128>>]{{.*}}first_tile = #plan.expr<8>{{.*}}tiles = #plan.expr<4>
// gate and up, 96 rows each, are combined in an epilogue: apart they are windows of one result, which a map combines.
// CHECK-COUNT-3: plan.dispatch @[[PAIR:linear_[0-9]+]]
// CHECK: plan.dispatch @map_0 {{.*}}column0 = #plan.expr<0>{{.*}}column1 = #plan.expr<96>
// CHECK-COUNT-4: plan.dispatch @{{linear_.*}}#plan.view<@[[TABLE]], read
// CHECK: plan.program @one_adapters
// CHECK-COUNT-4: plan.dispatch @shrink
// CHECK-NOT: plan.dispatch @shrink
// CHECK: plan.program @few
module {
  lora.model architecture("none") source("hf") vocab(200) max_positions(64) eos([]) max_rows(8)
  lora.weight @table from(#lora.source<"/m", 0, 12800, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<200x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 4096, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64x16xf32, #lora.packed<f16>>
  lora.weight @o from(#lora.source<"/m", 0, 24576, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96x64xf32, #lora.packed<f16>>
  lora.weight @bias from(#lora.source<"/m", 0, 384, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96xf32>
  lora.weight @wide from(#lora.source<"/m", 0, 6144, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96x16xf32, #lora.packed<f16>>
  lora.weight @gate from(#lora.source<"/m", 0, 6144, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96x16xf32, #lora.packed<f16>>
  lora.weight @up from(#lora.source<"/m", 0, 6144, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x64xf32>
    %a, %c1 = lora.attend %q, %q, %q, %c layer(0) heads(4) kv_heads(4) scale(0.5) : tensor<?x64xf32>, tensor<?x64xf32>
    %w = lora.linear %x [#lora.segment<@wide, site = "wide">] : (tensor<?x16xf32>) -> tensor<?x96xf32>
    %y = lora.linear %a [#lora.segment<@o, site = "o", open, bias = @bias>] with %w {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x64xf32>, tensor<?x96xf32>) -> tensor<?x96xf32>
    %m = lora.linear %x [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
    ^bb0(%g0: f32, %u0: f32):
      %p = arith.mulf %g0, %u0 : f32
      lora.yield %p : f32
    } : (tensor<?x16xf32>) -> tensor<?x96xf32>
    %z = lora.map %y, %m {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x96xf32>, tensor<?x96xf32>) -> tensor<?x96xf32>
    %g = lora.gather_rows %x : tensor<?x16xf32>
    %l = lora.linear %g [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x200xf32>
    lora.yield %l, %c1 : tensor<?x200xf32>, !lora.cache
  }
}
