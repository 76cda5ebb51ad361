// RUN: lorac-opt %s --lora-select | FileCheck %s

// A linear whose width leaves a rest has a TAIL: of blocks of 32 values of x and, where two groups share a word of scales, of pairs of groups.
// Of 192 values int4 and int8 in groups of 64 leave a third group, whatever they hold beside scales; six groups of 32 leave none, nor does nf4,
// whose scales are words of their own; 96 values are three groups of 32.
// CHECK: plan.kernel @linear_0 {{.*}}GROUP = 64 : i64, {{.*}}TAIL = 1 : i64, {{.*}}WEIGHT = 4
// CHECK: plan.kernel @linear_1 {{.*}}GROUP = 32 : i64, {{.*}}TAIL = 0 : i64, {{.*}}WEIGHT = 4
// CHECK: plan.kernel @linear_2 {{.*}}GROUP = 64 : i64, {{.*}}HAS_PAIRS = 1 : i64, {{.*}}TAIL = 1 : i64, {{.*}}WEIGHT = 4
// CHECK: plan.kernel @linear_3 {{.*}}GROUP = 64 : i64, {{.*}}TAIL = 0 : i64, {{.*}}WEIGHT = 5
// CHECK: plan.kernel @linear_4 {{.*}}GROUP = 64 : i64, {{.*}}TAIL = 1 : i64, {{.*}}WEIGHT = 3
// CHECK: plan.kernel @linear_5 {{.*}}GROUP = 32 : i64, {{.*}}TAIL = 1 : i64, {{.*}}WEIGHT = 4
module {
  lora.model architecture("none") source("hf") vocab(8) max_positions(64) eos([]) max_rows(1)
  lora.weight @table from(#lora.source<"/m", 0, 6144, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x192xf32, #lora.packed<f16>>
  lora.weight @halves from(#lora.source<"/m", 0, 147456, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<192x192xf32, #lora.packed<int4_g64>>
  lora.weight @even from(#lora.source<"/m", 0, 147456, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<192x192xf32, #lora.packed<int4_g32>>
  lora.weight @pairs from(#lora.source<"/m", 0, 147456, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<192x192xf32, #lora.packed<int4_g64_offset>>
  lora.weight @words from(#lora.source<"/m", 0, 147456, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<192x192xf32, #lora.packed<nf4_g64>>
  lora.weight @bytes from(#lora.source<"/m", 0, 73728, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<96x192xf32, #lora.packed<int8_g64>>
  lora.weight @odd from(#lora.source<"/m", 0, 73728, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<192x96xf32, #lora.packed<int4_g32>>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x192xf32>
    %halves = lora.linear %x [#lora.segment<@halves, site = "halves">] : (tensor<?x192xf32>) -> tensor<?x192xf32>
    %even = lora.linear %halves [#lora.segment<@even, site = "even">] : (tensor<?x192xf32>) -> tensor<?x192xf32>
    %pairs = lora.linear %even [#lora.segment<@pairs, site = "pairs">] : (tensor<?x192xf32>) -> tensor<?x192xf32>
    %words = lora.linear %pairs [#lora.segment<@words, site = "words">] : (tensor<?x192xf32>) -> tensor<?x192xf32>
    %bytes = lora.linear %words [#lora.segment<@bytes, site = "bytes">] : (tensor<?x192xf32>) -> tensor<?x96xf32>
    %odd = lora.linear %bytes [#lora.segment<@odd, site = "odd">] : (tensor<?x96xf32>) -> tensor<?x192xf32>
    %a, %c1 = lora.attend %odd, %odd, %odd, %c layer(0) heads(6) kv_heads(6) scale(0.5) : tensor<?x192xf32>, tensor<?x192xf32>
    %g = lora.gather_rows %a : tensor<?x192xf32>
    %l = lora.linear %g [#lora.segment<@table, site = "head">] : (tensor<?x192xf32>) -> tensor<?x8xf32>
    lora.yield %l, %c1 : tensor<?x8xf32>, !lora.cache
  }
}
