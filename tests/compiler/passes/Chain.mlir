// RUN: lorac-opt %s --lora-chain --split-input-file > %t
// RUN: FileCheck %s < %t
// A second run changes nothing.
// RUN: lorac-opt %t --lora-chain --split-input-file | diff %t -

// Two layers of three dispatches. What is left of the program are parts of one: its last two kernels, and, after one that no layer has, the first.
// CHECK-LABEL: module @layers
// CHECK: plan.chain @chain_0 links([@a, @b, @c]) waits([false, true, false])
// CHECK: plan.program @p
// CHECK: plan.dispatch @embed
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.run @chain_0 link(0) commands(4)
// CHECK-NEXT: plan.dispatch @a
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.dispatch @b
// CHECK-NEXT: plan.dispatch @c
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.run @chain_0 link(0) commands(4)
// CHECK-NEXT: plan.dispatch @a
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.dispatch @b
// CHECK-NEXT: plan.dispatch @c
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.run @chain_0 link(1) commands(2)
// CHECK-NEXT: plan.dispatch @b
// CHECK-NEXT: plan.dispatch @c
// CHECK-NEXT: plan.dispatch @embed
// CHECK-NEXT: plan.barrier
// CHECK-NEXT: plan.run @chain_0 link(0) commands(1)
// CHECK-NEXT: plan.dispatch @a
module @layers {
  plan.kernel @embed catalog("embed") constants({})
  plan.kernel @a catalog("rms_norm") constants({})
  plan.kernel @b catalog("rms_norm") constants({})
  plan.kernel @c catalog("rms_norm") constants({})
  plan.program @p rows(1, 1) adapters(false) {
    plan.dispatch @embed grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @c grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @c grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @c grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @embed grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
  }
}

// -----

// The same kernels with other waits are no repeat, nor is one dispatch again and again: a chain has two links.
// CHECK-LABEL: module @nothing
// CHECK-NOT: plan.chain
// CHECK-NOT: plan.run
module @nothing {
  plan.kernel @a catalog("rms_norm") constants({})
  plan.kernel @b catalog("rms_norm") constants({})
  plan.program @p rows(1, 1) adapters(false) {
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.barrier
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
  }
}

// -----

// Many rows: handing over a dispatch is nothing beside its work.
// CHECK-LABEL: module @many
// CHECK-NOT: plan.chain
// CHECK-NOT: plan.run
module @many {
  plan.kernel @a catalog("rms_norm") constants({})
  plan.kernel @b catalog("rms_norm") constants({})
  plan.program @p rows(9, 64) adapters(false) {
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @a grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
    plan.dispatch @b grid [#plan.expr<1>, #plan.expr<rows>, #plan.expr<1>] views [] push {}
  }
}
