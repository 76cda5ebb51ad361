// RUN: lorac-opt %s --lora-gather --split-input-file > %t
// RUN: FileCheck %s < %t
// A second run finds nothing more.
// RUN: lorac-opt %t --lora-gather --split-input-file | diff %t -

// The last layer's o, norm, gate/up and down, and the final norm, work on gathered rows. Its input and what attend gives are gathered, once each and
// right behind what makes them: q, k, v and attend need all rows.
// CHECK-LABEL: module @last_layer
// CHECK: %[[X:.*]] = lora.embed
// CHECK-NEXT: %[[GX:.*]] = lora.gather_rows %[[X]]
// CHECK: lora.linear %[[X]]
// CHECK: %[[A:.*]], %{{.*}} = lora.attend
// CHECK-NEXT: %[[GA:.*]] = lora.gather_rows %[[A]]
// CHECK: %[[O:.*]] = lora.linear %[[GA]]
// CHECK: %[[H:.*]] = lora.map %[[GX]], %[[O]]
// CHECK: %[[N:.*]] = lora.rms_norm %[[H]]
// CHECK: %[[G:.*]] = lora.linear %[[N]]
// CHECK: %[[U:.*]] = lora.linear %[[N]]
// CHECK: %[[M:.*]] = lora.map %[[G]], %[[U]]
// CHECK: %[[D:.*]] = lora.linear %[[M]]
// CHECK: %[[Y:.*]] = lora.map %[[H]], %[[D]]
// CHECK-NOT: lora.gather_rows
// CHECK: lora.linear %[[Y]] [#lora.segment<@table
module @last_layer {
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @down from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x32xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %a, %c1 = lora.attend %q, %q, %q, %c layer(0) heads(2) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %p = lora.linear %a [#lora.segment<@o, site = "p", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %h = lora.map %x, %p {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %m = lora.rms_norm %h, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %g = lora.linear %m [#lora.segment<@gate, site = "g", open>] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    %u = lora.linear %m [#lora.segment<@up, site = "u", open>] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    %v = lora.map %g, %u {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
    %d = lora.linear %v [#lora.segment<@down, site = "d", open>] : (tensor<?x32xf32>) -> tensor<?x16xf32>
    %y = lora.map %h, %d {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %z = lora.gather_rows %y : tensor<?x16xf32>
    %l = lora.linear %z [#lora.segment<@table, site = "l", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// What is read as it stands too is computed for all rows, and gathered behind.
// CHECK-LABEL: module @two_uses
// CHECK: %[[A:.*]], %{{.*}} = lora.attend
// CHECK: %[[P:.*]] = lora.linear %[[A]]
// CHECK-NEXT: %[[GP:.*]] = lora.gather_rows %[[P]]
// CHECK: %[[B:.*]], %{{.*}} = lora.attend %[[P]]
// CHECK-NEXT: %[[GB:.*]] = lora.gather_rows %[[B]]
// CHECK: lora.map %[[GP]], %[[GB]]
// CHECK-NOT: lora.gather_rows
module @two_uses {
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %a, %c1 = lora.attend %q, %q, %q, %c layer(0) heads(2) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %p = lora.linear %a [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %b, %c2 = lora.attend %p, %p, %p, %c1 layer(1) heads(2) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %h = lora.map %p, %b {
    ^bb0(%r: f32, %e: f32):
      %s = arith.addf %r, %e : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %z = lora.gather_rows %h : tensor<?x16xf32>
    %l = lora.linear %z [#lora.segment<@table, site = "l", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c2 : tensor<?x40xf32>, !lora.cache
  }
}
