// RUN: lorac-opt %s --lora-barriers --split-input-file > %t
// RUN: FileCheck %s < %t
// A second run changes nothing.
// RUN: lorac-opt %t --lora-barriers --split-input-file | diff %t -

// Reading what was written waits; two dispatches that only read, or write elsewhere, do not; writing over what is read waits; so does a
// layer's cache between its writer and its reader, but not another layer's.
// CHECK-LABEL: module @hazards
// CHECK: plan.program
// CHECK: plan.dispatch @writes_a
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.dispatch @reads_a
// CHECK-NEXT: plan.dispatch @reads_a_too
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.dispatch @writes_over_a
// CHECK-NEXT: plan.dispatch @writes_cache
// CHECK-NEXT: plan.dispatch @reads_other_cache
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.dispatch @reads_cache
module @hazards {
  plan.weights @w holds([@one]) starts([0]) size(256) offset(0)
  plan.kernel @writes_a catalog("rms_norm") constants({})
  plan.kernel @reads_a catalog("rms_norm") constants({})
  plan.kernel @reads_a_too catalog("rms_norm") constants({})
  plan.kernel @writes_over_a catalog("rms_norm") constants({})
  plan.kernel @writes_cache catalog("rms_norm") constants({})
  plan.kernel @reads_other_cache catalog("rms_norm") constants({})
  plan.kernel @reads_cache catalog("rms_norm") constants({})
  plan.program @p rows(1, 1) adapters(false) {
    plan.buffer @a "arena" size(#plan.expr<512>) offset(#plan.expr<0>)
    plan.buffer @b "arena" size(#plan.expr<256>) offset(#plan.expr<512>)
    plan.buffer @c "arena" size(#plan.expr<256>) offset(#plan.expr<768>)
    plan.buffer @over "arena" size(#plan.expr<256>) offset(#plan.expr<256>)
    plan.buffer @cache.0 "cache" size(#plan.expr<pages * 1024>) offset(#plan.expr<0>)
    plan.buffer @cache.1 "cache" size(#plan.expr<pages * 1024>) offset(#plan.expr<pages * 1024>)
    plan.dispatch @writes_a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@w, read, offset = #plan.expr<0>, size = #plan.expr<256>>, #plan.view<@a, write, offset = #plan.expr<0>, size = #plan.expr<512>>] push {}
    plan.dispatch @reads_a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@a, read, offset = #plan.expr<0>, size = #plan.expr<512>>, #plan.view<@b, write, offset = #plan.expr<0>, size = #plan.expr<256>>] push {}
    plan.dispatch @reads_a_too grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@a, read, offset = #plan.expr<0>, size = #plan.expr<512>>, #plan.view<@c, write, offset = #plan.expr<0>, size = #plan.expr<256>>] push {}
    plan.dispatch @writes_over_a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@w, read, offset = #plan.expr<0>, size = #plan.expr<256>>, #plan.view<@over, write, offset = #plan.expr<0>, size = #plan.expr<256>>] push {}
    plan.dispatch @writes_cache grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@cache.0, write, offset = #plan.expr<0>, size = #plan.expr<1024>>] push {}
    plan.dispatch @reads_other_cache grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@cache.1, read, offset = #plan.expr<0>, size = #plan.expr<1024>>] push {}
    plan.dispatch @reads_cache grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [#plan.view<@cache.0, read, offset = #plan.expr<0>, size = #plan.expr<1024>>] push {}
  }
}
