// RUN: lorac-opt %s --lora-merge --split-input-file --verify-diagnostics | FileCheck %s

// A site's adapter becomes a fold of its weight, and is gone. Its neighbour in the same linear has none and stays.
// CHECK-LABEL: module @folded
// CHECK: lora.weight @q {{.*}} folds [#lora.fold<a = <"/a", 0, 128, f32, 0>, b = <"/a", 128, 128, f32, 0>, rank = 2, scale = 2.000000e+00 : f64>] : tensor<16x16xf32>
// CHECK: lora.weight @k {{.*}} digest("{{0+}}") : tensor<8x16xf32>
// CHECK-NOT: lora.adapter
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>] :
module @folded {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r:2 = lora.linear %x [#lora.segment<@q, site = "q", open>, #lora.segment<@k, site = "k", open>] adapters [[@a], []] : (tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x8xf32>)
    lora.yield %r#0, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Two adapters of one site fold in the order that the site names them, after what the weight has already.
// CHECK-LABEL: module @in_order
// CHECK: lora.weight @q {{.*}} folds [#lora.fold<a = <"/a", 0, 64, f32, 0>, b = <"/a", 64, 64, f32, 0>, rank = 1, scale = 1.000000e+00 : f64>, #lora.fold<a = <"/a", 0, 256, f32, 0>, b = <"/a", 256, 256, f32, 0>, rank = 4, scale = 5.000000e-01 : f64>, #lora.fold<a = <"/a", 0, 128, f32, 0>, b = <"/a", 128, 128, f32, 0>, rank = 2, scale = 2.000000e+00 : f64>] : tensor<16x16xf32>
// CHECK-NOT: lora.adapter
module @in_order {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/a", 0, 64, f32, 0>, b = #lora.source<"/a", 64, 64, f32, 0>, rank = 1, scale = 1.0 : f64>] : tensor<16x16xf32>
  lora.adapter @first from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(2.0)
  lora.adapter @second from(#lora.source<"/a", 0, 256, f32, 0>, #lora.source<"/a", 256, 256, f32, 0>) rank(4) scale(0.5)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@q, site = "q", open>] adapters [[@second, @first]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %r, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Strength 0 takes an adapter out of its stack: nothing is folded, whatever its values are.
// CHECK-LABEL: module @scale_0
// CHECK-NOT: folds
// CHECK-NOT: lora.adapter
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "q", open>] :
module @scale_0 {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(0.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@q, site = "q", open>] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %r, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// An adapter on a tied head: the head gets a weight of its own, the embedding keeps the values it had.
// CHECK-LABEL: module @tied
// CHECK: lora.weight @table {{.*}} digest("{{0+}}") : tensor<32x16xf32>
// CHECK: lora.weight @lm_head.weight from(<"/m", 0, 2048, f32, 0>) {{.*}} folds [#lora.fold<a = <"/a", 0, 128, f32, 0>, b = <"/a", 128, 256, f32, 0>, rank = 2, scale = 2.000000e+00 : f64>] : tensor<32x16xf32>
// CHECK: lora.embed %{{.*}}, @table
// CHECK: lora.linear %{{.*}} [#lora.segment<@lm_head.weight, site = "lm_head">] :
module @tied {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 256, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    // expected-remark@+1 {{site 'lm_head': weight @table is untied as @lm_head.weight, which costs 1024 bytes as f16}}
    %r = lora.linear %x [#lora.segment<@table, site = "lm_head">] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    lora.yield %r, %c : tensor<?x32xf32>, !lora.cache
  }
}

// -----

// The name that the second weight would have is taken: it gets another.
// CHECK-LABEL: module @tied_name_taken
// CHECK: lora.weight @table {{.*}} digest("{{0+}}") : tensor<32x16xf32>
// CHECK: lora.weight @[[COPY:lm_head.weight_[0-9]+]] {{.*}} folds
// CHECK: lora.weight @lm_head.weight {{.*}} digest("{{0+}}") : tensor<8x16xf32>
// CHECK: lora.linear %{{.*}} [#lora.segment<@[[COPY]], site = "lm_head">] :
module @tied_name_taken {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @lm_head.weight from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 256, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    // expected-remark@+1 {{site 'lm_head': weight @table is untied}}
    %r = lora.linear %x [#lora.segment<@table, site = "lm_head">] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x32xf32>
    lora.yield %r, %c : tensor<?x32xf32>, !lora.cache
  }
}

// -----

// Two sites share a weight and have the same adapter: one weight stays, folded once.
// CHECK-LABEL: module @shared_alike
// CHECK: lora.weight @q {{.*}} folds [#lora.fold<a = <"/a", 0, 128, f32, 0>, b = <"/a", 128, 128, f32, 0>, rank = 2, scale = 2.000000e+00 : f64>] : tensor<16x16xf32>
// CHECK-NOT: lora.weight
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "one", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "two", open>] :
module @shared_alike {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@q, site = "one", open>] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %s = lora.linear %r [#lora.segment<@q, site = "two", open>] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %s, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// Two sites share a weight and have different adapters: the first keeps the symbol.
// CHECK-LABEL: module @shared_unlike
// CHECK: lora.weight @q {{.*}} folds [#lora.fold<a = <"/a", 0, 128, f32, 0>, b = <"/a", 128, 128, f32, 0>, rank = 2, scale = 2.000000e+00 : f64>] : tensor<16x16xf32>
// CHECK: lora.weight @two.weight {{.*}} folds [#lora.fold<a = <"/a", 0, 256, f32, 0>, b = <"/a", 256, 256, f32, 0>, rank = 4, scale = 2.000000e+00 : f64>] : tensor<16x16xf32>
// CHECK: lora.linear %{{.*}} [#lora.segment<@q, site = "one", open>] :
// CHECK: lora.linear %{{.*}} [#lora.segment<@two.weight, site = "two", open>] :
module @shared_unlike {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(2.0)
  lora.adapter @b from(#lora.source<"/a", 0, 256, f32, 0>, #lora.source<"/a", 256, 256, f32, 0>) rank(4) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@q, site = "one", open>] adapters [[@a]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    // expected-remark@+1 {{site 'two': weight @q is untied as @two.weight, which costs 512 bytes as f16}}
    %s = lora.linear %r [#lora.segment<@q, site = "two", open>] adapters [[@b]] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %s, %c : tensor<?x16xf32>, !lora.cache
  }
}

// -----

// No site names the adapter: it is warned of and stays, rather than being dropped in silence.
// CHECK-LABEL: module @named_by_none
// CHECK: lora.weight @q {{.*}} digest("{{0+}}") : tensor<16x16xf32>
// CHECK: lora.adapter @a
module @named_by_none {
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  // expected-warning@+1 {{adapter @a is named by no site and is not merged}}
  lora.adapter @a from(#lora.source<"/a", 0, 128, f32, 0>, #lora.source<"/a", 128, 128, f32, 0>) rank(2) scale(2.0)
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %r = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %r, %c : tensor<?x16xf32>, !lora.cache
  }
}
