// RUN: lorac-opt %s --lora-fuse --split-input-file > %t
// RUN: FileCheck %s < %t
// A second run finds nothing more.
// RUN: lorac-opt %t --lora-fuse --split-input-file | diff %t -

// q, k and v read one activation: one op, three segments, in this order. Each keeps its site, bias and openness.
// CHECK-LABEL: module @shared_x
// CHECK: %[[X:.*]] = lora.embed
// CHECK: %[[R:.*]]:3 = lora.linear %[[X]] [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k">, #lora.segment<@v, site = "v", bias = @b, open>] : (tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>)
// CHECK-NOT: lora.linear
// CHECK: lora.attend %[[R]]#0, %[[R]]#1, %[[R]]#2
module @shared_x {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @b from(#lora.source<"/m", 0, 32, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k">] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", bias = @b, open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %y, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(4) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    lora.yield %y, %c1 : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A norm between them makes two activations: both stay.
// CHECK-LABEL: module @two_activations
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@k, site = "k", open>] shrink_with_x :
// CHECK: lora.linear %{{.*}} [#lora.segment<@v, site = "v", open>] shrink_with_x :
module @two_activations {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %n0 = lora.rms_norm %x, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %k = lora.linear %n0 [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %n1 = lora.rms_norm %n0, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %v = lora.linear %n1 [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %y, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(4) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    lora.yield %y, %c1 : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Static adapters stay with their segments; a linear that names none gets an empty stack.
// CHECK-LABEL: module @adapters_stay
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>, #lora.segment<@v, site = "v", open>] adapters {{\[\[}}], [@a], []]
module @adapters_stay {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 64, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %y, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(4) kv_heads(2) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    lora.yield %y, %c1 : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Four segments fill a linear: the fifth starts its own.
// CHECK-LABEL: module @four_segments
// CHECK: lora.linear %{{.*}} [#lora.segment<@w0, site = "w0", open>, #lora.segment<@w1, site = "w1", open>, #lora.segment<@w2, site = "w2", open>, #lora.segment<@w3, site = "w3", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@w4, site = "w4", open>] :
module @four_segments {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @w0 from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @w1 from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @w2 from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @w3 from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @w4 from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r0 = lora.linear %x [#lora.segment<@w0, site = "w0", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %r1 = lora.linear %x [#lora.segment<@w1, site = "w1", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %r2 = lora.linear %x [#lora.segment<@w2, site = "w2", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %r3 = lora.linear %x [#lora.segment<@w3, site = "w3", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %r4 = lora.linear %x [#lora.segment<@w4, site = "w4", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %r4, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Two linears over one weight stay apart, and so does one that holds a weight twice; a third joins the first.
// CHECK-LABEL: module @same_weight_twice
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "again", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@v, site = "v", open>, #lora.segment<@v, site = "v.again", open>] :
module @same_weight_twice {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %p = lora.linear %x [#lora.segment<@q, site = "again", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v:2 = lora.linear %x [#lora.segment<@v, site = "v", open>, #lora.segment<@v, site = "v.again", open>] : (tensor<?x16xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
    lora.yield %p, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// silu(gate)·up: joined first, then the map over both results becomes the epilogue.
// CHECK-LABEL: module @gate_up
// CHECK: lora.linear %{{.*}} [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
// CHECK-NEXT: ^bb0(%[[G:.*]]: f32, %[[U:.*]]: f32):
// CHECK-NEXT: arith.negf %[[G]]
// CHECK: %[[S:.*]] = arith.mulf %{{.*}}, %[[U]]
// CHECK-NEXT: lora.yield %[[S]]
// CHECK-NEXT: } : (tensor<?x16xf32>) -> tensor<?x24xf32>
// CHECK-NOT: lora.map
module @gate_up {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %g = lora.linear %x [#lora.segment<@gate, site = "gate", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %u = lora.linear %x [#lora.segment<@up, site = "up", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %m = lora.map %g, %u {
    ^bb0(%a: f32, %b: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %one = arith.constant 1.0 : f32
      %den = arith.addf %one, %exp : f32
      %act = arith.divf %a, %den : f32
      %prod = arith.mulf %act, %b : f32
      lora.yield %prod : f32
    } : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// Four linears over one x: the two that a map combines are joined with each other, so that the map can follow.
// CHECK-LABEL: module @gate_up_first
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] {
// CHECK-NOT: lora.map
module @gate_up_first {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %g = lora.linear %x [#lora.segment<@gate, site = "gate", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %u = lora.linear %x [#lora.segment<@up, site = "up", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %m = lora.map %g, %u {
    ^bb0(%a: f32, %b: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %one = arith.constant 1.0 : f32
      %den = arith.addf %one, %exp : f32
      %act = arith.divf %a, %den : f32
      %prod = arith.mulf %act, %b : f32
      lora.yield %prod : f32
    } : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// gate has another reader, who needs it without the epilogue: joined, and the map stays.
// CHECK-LABEL: module @gate_read_twice
// CHECK: %[[R:.*]]:2 = lora.linear
// CHECK-SAME: -> (tensor<?x24xf32>, tensor<?x24xf32>)
// CHECK: lora.map %[[R]]#0, %[[R]]#1
// CHECK: lora.gather_rows %[[R]]#0
module @gate_read_twice {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %g = lora.linear %x [#lora.segment<@gate, site = "gate", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %u = lora.linear %x [#lora.segment<@up, site = "up", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %m = lora.map %g, %u {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
    %other = lora.gather_rows %g : tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// gate and up have different packed types, which no kernel combines: joined at most, and the map stays.
// CHECK-LABEL: module @gate_up_two_types
// CHECK: lora.linear %{{.*}} [#lora.segment<@gate, site = "gate", open>, #lora.segment<@up, site = "up", open>] :
// CHECK: lora.map
module @gate_up_two_types {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @gate from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32, #lora.packed<f32>>
  lora.weight @up from(#lora.source<"/m", 0, 1536, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<24x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %g = lora.linear %x [#lora.segment<@gate, site = "gate", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %u = lora.linear %x [#lora.segment<@up, site = "up", open>] : (tensor<?x16xf32>) -> tensor<?x24xf32>
    %m = lora.map %g, %u {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
    lora.yield %m, %c : tensor<?x24xf32>, !lora.cache
  }
}

// -----

// A residual that is known before the linear becomes its point-wise operand; the order of the sum stays. x is a norm's result: the
// shrink rides on the norm.
// CHECK-LABEL: module @residual
// CHECK: %[[X:.*]] = lora.embed
// CHECK: %[[N:.*]] = lora.rms_norm
// CHECK: %[[Y:.*]] = lora.linear %[[N]] [#lora.segment<@o, site = "o", open>] shrink_with_x with %[[X]] {
// CHECK-NEXT: ^bb0(%[[R:.*]]: f32, %[[E:.*]]: f32):
// CHECK-NEXT: arith.addf %[[E]], %[[R]]
// CHECK-NOT: lora.map
// CHECK: lora.yield %[[Y]], %{{.*}} : tensor<?x16xf32>, !lora.cache
module @residual {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %n = lora.rms_norm %x, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %o = lora.linear %n [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %y = lora.map %x, %o {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %y, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// The other value is computed after the linear, which cannot read it: the map stays.
// CHECK-LABEL: module @residual_later
// CHECK: %[[O:.*]] = lora.linear
// CHECK-SAME: [#lora.segment<@o, site = "o", open>] :
// CHECK: %[[N:.*]] = lora.rms_norm
// CHECK: lora.map %[[N]], %[[O]]
module @residual_later {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %o = lora.linear %x [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %n = lora.rms_norm %x, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %y = lora.map %n, %o {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %y, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Of two results the map reads one: an epilogue gives one value, so the map stays.
// CHECK-LABEL: module @one_of_two
// CHECK: %[[R:.*]]:2 = lora.linear
// CHECK: lora.map %[[R]]#1, %{{.*}} {
module @one_of_two {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @p from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %p = lora.linear %x [#lora.segment<@p, site = "p", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %y = lora.map %p, %x {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %z = lora.gather_rows %q : tensor<?x16xf32>
    lora.yield %y, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// A map over a map follows it into the same epilogue, up to two point-wise operands; the third map stays.
// CHECK-LABEL: module @map_after_map
// CHECK: %[[X:.*]] = lora.embed
// CHECK: %[[N0:.*]] = lora.rms_norm %[[X]]
// CHECK: %[[N1:.*]] = lora.rms_norm %[[N0]]
// CHECK: %[[O:.*]] = lora.linear %[[N1]] [#lora.segment<@o, site = "o", open>] shrink_with_x with %[[X]], %[[N0]] {
// CHECK-NEXT: ^bb0(%[[R:.*]]: f32, %[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[R]], %[[A]]
// CHECK-NEXT: %[[P:.*]] = arith.mulf %[[B]], %[[S]]
// CHECK-NEXT: lora.yield %[[P]]
// CHECK: lora.map %[[O]], %[[N1]]
module @map_after_map {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @n from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %n0 = lora.rms_norm %x, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %n1 = lora.rms_norm %n0, @n epsilon(1.0e-5) : tensor<?x16xf32>
    %o = lora.linear %n1 [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %y0 = lora.map %o, %x {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %y1 = lora.map %n0, %y0 {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    %y2 = lora.map %y1, %n1 {
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %y2, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Both operands are the same result: the epilogue reads it twice.
// CHECK-LABEL: module @square
// CHECK: lora.linear %{{.*}} [#lora.segment<@o, site = "o", open>] {
// CHECK-NEXT: ^bb0(%[[R:.*]]: f32):
// CHECK-NEXT: arith.mulf %[[R]], %[[R]]
// CHECK-NOT: lora.map
module @square {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %o = lora.linear %x [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %y = lora.map %o, %o {
    ^bb0(%a: f32, %b: f32):
      %s = arith.mulf %a, %b : f32
      lora.yield %s : f32
    } : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %y, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Over an attend the shrink of one segment rides, and not that of two.
// CHECK-LABEL: module @after_attend
// CHECK: lora.attend
// CHECK: lora.linear %{{.*}} [#lora.segment<@o, site = "o", open>] shrink_with_x :
// CHECK: lora.attend
// CHECK: lora.linear %{{.*}} [#lora.segment<@g, site = "g", open>, #lora.segment<@u, site = "u", open>] :
module @after_attend {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @o from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @g from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @u from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %a, %c1 = lora.attend %x, %x, %x, %c layer(0) heads(4) kv_heads(4) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %y = lora.linear %a [#lora.segment<@o, site = "o", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %b, %c2 = lora.attend %y, %y, %y, %c1 layer(1) heads(4) kv_heads(4) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    %g = lora.linear %b [#lora.segment<@g, site = "g", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %u = lora.linear %b [#lora.segment<@u, site = "u", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %z, %c3 = lora.attend %g, %u, %u, %c2 layer(2) heads(4) kv_heads(4) scale(0.5) : tensor<?x16xf32>, tensor<?x16xf32>
    lora.yield %z, %c3 : tensor<?x16xf32>, !lora.cache
  }
}
