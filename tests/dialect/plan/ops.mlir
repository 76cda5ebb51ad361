// RUN: lorac-opt %s > %t
// RUN: FileCheck %s < %t
// What is printed parses back to the same.
// RUN: lorac-opt %t | diff %t -
// RUN: lorac-opt %s --emit-bytecode | lorac-opt | diff %t -

// Every op and attribute of the dialect, and expressions whose parentheses matter.
// CHECK: plan.weights @w0 holds([@wq, @wk]) starts([0, 8192]) size(12288) offset(0)
plan.weights @w0 holds([@wq, @wk]) starts([0, 8192]) size(12288) offset(0)
// CHECK: plan.site "model.layers.0.self_attn.q_proj" in(64) out(64)
plan.site "model.layers.0.self_attn.q_proj" in(64) out(64)
// CHECK: plan.site "lm_head" in(64) out(320) logits
plan.site "lm_head" in(64) out(320) logits
// CHECK: plan.cache page_tokens(16) page_bytes(98304)
plan.cache page_tokens(16) page_bytes(98304)
// CHECK: plan.kernel @k catalog("linear") constants({ROWS = 1 : i64}) epilogue [#plan.term<segment, 0 : i64>, #plan.term<const, 1.000000e+00 : f32>, #plan.term<add>]
plan.kernel @k catalog("linear") constants({ROWS = 1 : i64}) epilogue [#plan.term<segment, 0 : i64>, #plan.term<const, 1.0 : f32>, #plan.term<add>]
// CHECK: plan.chain @layer links([@k, @k]) waits([false, true])
plan.chain @layer links([@k, @k]) waits([false, true])
// CHECK: plan.program @p rows(1, 8) adapters(true) arena_peak(256) {
plan.program @p rows(1, 8) adapters(true) arena_peak(256) {
  // CHECK: plan.buffer @x "arena" size(<(pages + 1) * 2 + pages * (pages * 3)>) offset(<0>)
  plan.buffer @x "arena" size(#plan.expr<(pages + 1) * 2 + pages * (pages * 3)>) offset(#plan.expr<0>)
  // CHECK: plan.buffer @pages "step" size(<ceildiv(max_pages * 4, 256) * 256>) input("pages")
  plan.buffer @pages "step" size(#plan.expr<ceildiv(max_pages * 4, 256) * 256>) input("pages")
  // CHECK: plan.buffer @angles "step" size(<min(64, max(pages, 2) + (pages + 1))>) input("angles") angles(@rope)
  plan.buffer @angles "step" size(#plan.expr<min(64, max(pages, 2) + (pages + 1))>) input("angles") angles(@rope)
  // CHECK: plan.buffer @logits "out" size(<256>) row_stride(64) width(40)
  plan.buffer @logits "out" size(#plan.expr<256>) row_stride(64) width(40)
  // CHECK: plan.fill <@x, write, offset = <0>, size = <256>>
  plan.fill #plan.view<@x, write, offset = #plan.expr<0>, size = #plan.expr<256>>
  // CHECK: plan.copy <@x, read, offset = <0>, size = <256>> to <@logits, write, offset = <0>, size = <256>>
  plan.copy #plan.view<@x, read, offset = #plan.expr<0>, size = #plan.expr<256>> to #plan.view<@logits, write, offset = #plan.expr<0>, size = #plan.expr<256>>
  // CHECK: plan.barrier
  plan.barrier
  // CHECK: plan.run @layer link(0) commands(3)
  plan.run @layer link(0) commands(3)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
  plan.barrier
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
  // CHECK: plan.dispatch @k grid [#plan.expr<4>, #plan.expr<ceildiv(rows, 8)>, #plan.expr<1>] views [#plan.view<@w0, read, offset = <0>, size = <12288>>] push {rows = #plan.expr<rows>}
  plan.dispatch @k grid [#plan.expr<4>, #plan.expr<ceildiv(rows, 8)>, #plan.expr<1>] views [#plan.view<@w0, read, offset = #plan.expr<0>, size = #plan.expr<12288>>] push {rows = #plan.expr<rows>}
}
