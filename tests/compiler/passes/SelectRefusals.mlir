// RUN: lorac-opt %s --lora-select --split-input-file --verify-diagnostics

module {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([])
  // expected-error@+1 {{'table' has no packed type; run quantize first}}
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

module {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([])
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    // expected-error@+1 {{site 'q' stands in the model twice}}
    %l = lora.linear %a [#lora.segment<@table, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

module {
  lora.model architecture("none") source("hf") vocab(41) max_positions(64) eos([])
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  // expected-error@+1 {{yields logits of 40 words, lora.model has 41}}
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

module {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([])
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.rope_table @rope dense<[1.0, 0.1, 0.01, 0.001]> : tensor<4xf64>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %qr = lora.rope %q, @rope heads(2) : tensor<?x16xf32>
    // expected-error@+1 {{needs q and k rotated by one table, or neither}}
    %a, %c1 = lora.attend %qr, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

module {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([])
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    // expected-error@+1 {{is layer 3, expected 0}}
    %a, %c1 = lora.attend %q, %k, %v, %c layer(3) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

module {
  lora.model architecture("none") source("hf") vocab(40) max_positions(64) eos([])
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %g = lora.gather_rows %a : tensor<?x16xf32>
    // expected-error@+1 {{gathers rows that were gathered before}}
    %g2 = lora.gather_rows %g : tensor<?x16xf32>
    %l = lora.linear %g2 [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}

// -----

// expected-error@+1 {{has 1 lora.step and 0 lora.model, expected one of each}}
module {
  lora.weight @table from(#lora.source<"/m", 0, 2560, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<40x16xf32, #lora.packed<f16>>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32, #lora.packed<f16>>
  lora.weight @k from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.weight @v from(#lora.source<"/m", 0, 512, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x16xf32, #lora.packed<f16>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %q = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %k = lora.linear %x [#lora.segment<@k, site = "k", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %v = lora.linear %x [#lora.segment<@v, site = "v", open>] : (tensor<?x16xf32>) -> tensor<?x8xf32>
    %a, %c1 = lora.attend %q, %k, %v, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x16xf32>, tensor<?x8xf32>
    %l = lora.linear %a [#lora.segment<@table, site = "head", open>] : (tensor<?x16xf32>) -> tensor<?x40xf32>
    lora.yield %l, %c1 : tensor<?x40xf32>, !lora.cache
  }
}
