// RUN: lorac-opt %s --lora-plan-memory --split-input-file | FileCheck %s

// Weight buffers lie side by side at multiples of 256. In the arena @a and @c are never alive together and share bytes; @b lives
// with both. The two buffers of symbolic size live apart and share the place behind the peak.
// CHECK-LABEL: module @share
// CHECK: plan.weights @w0 {{.*}} size(100) offset(0)
// CHECK: plan.weights @w1 {{.*}} size(512) offset(256)
// CHECK: plan.program @p rows(1, 1) adapters(true) arena_peak(1024)
// CHECK: plan.buffer @rows "step" size(<16>) offset(<0>) input("rows")
// CHECK: plan.buffer @pages "step" size(<max_pages * 4>) offset(<256>) input("pages")
// CHECK: plan.buffer @items "step" size(<max_items * 16>) offset(<256 + ceildiv(max_pages * 4, 256) * 256>)
// CHECK: plan.buffer @a "arena" size(<500>) offset(<512>)
// CHECK: plan.buffer @b "arena" size(<512>) offset(<0>)
// CHECK: plan.buffer @c "arena" size(<300>) offset(<512>)
// CHECK: plan.buffer @t0 "arena" size(<max_items * 32>) offset(<1024>)
// CHECK: plan.buffer @t1 "arena" size(<max_items * 64>) offset(<1024>)
module @share {
  plan.weights @w0 holds([@one]) starts([0]) size(100)
  plan.weights @w1 holds([@two]) starts([0]) size(512)
  plan.kernel @k catalog("rms_norm") constants({})
  plan.program @p rows(1, 1) adapters(true) {
    plan.buffer @rows "step" size(#plan.expr<16>) input("rows")
    plan.buffer @pages "step" size(#plan.expr<max_pages * 4>) input("pages")
    plan.buffer @items "step" size(#plan.expr<max_items * 16>) input("items")
    plan.buffer @a "arena" size(#plan.expr<500>)
    plan.buffer @b "arena" size(#plan.expr<512>)
    plan.buffer @c "arena" size(#plan.expr<300>)
    plan.buffer @t0 "arena" size(#plan.expr<max_items * 32>)
    plan.buffer @t1 "arena" size(#plan.expr<max_items * 64>)
    plan.dispatch @k grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@w0, read, offset = #plan.expr<0>, size = #plan.expr<100>>, #plan.view<@a, write, offset = #plan.expr<0>, size = #plan.expr<500>>] push {}
    plan.dispatch @k grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@a, read, offset = #plan.expr<0>, size = #plan.expr<500>>, #plan.view<@b, write, offset = #plan.expr<0>, size = #plan.expr<512>>, #plan.view<@t0, write, offset = #plan.expr<0>, size = #plan.expr<32>>] push {}
    plan.dispatch @k grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@b, read, offset = #plan.expr<0>, size = #plan.expr<512>>, #plan.view<@c, write, offset = #plan.expr<0>, size = #plan.expr<300>>, #plan.view<@t1, write, offset = #plan.expr<0>, size = #plan.expr<64>>] push {}
  }
}

// -----

// Three that live together share nothing, and the larger comes first.
// CHECK-LABEL: module @apart
// CHECK: arena_peak(1792)
// CHECK: plan.buffer @a "arena" size(<256>) offset(<1536>)
// CHECK: plan.buffer @b "arena" size(<1024>) offset(<0>)
// CHECK: plan.buffer @c "arena" size(<512>) offset(<1024>)
module @apart {
  plan.kernel @k catalog("rms_norm") constants({})
  plan.program @p rows(1, 1) adapters(false) {
    plan.buffer @a "arena" size(#plan.expr<256>)
    plan.buffer @b "arena" size(#plan.expr<1024>)
    plan.buffer @c "arena" size(#plan.expr<512>)
    plan.dispatch @k grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@a, write, offset = #plan.expr<0>, size = #plan.expr<256>>, #plan.view<@b, write, offset = #plan.expr<0>, size = #plan.expr<1024>>, #plan.view<@c, write, offset = #plan.expr<0>, size = #plan.expr<512>>] push {}
  }
}
