// RUN: lorac-opt %s --lora-quantize="rules=f16,q=f32" | FileCheck %s

// The option's rules follow those of the model, so they win.
// CHECK-LABEL: module @option
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @q {{.*}} : tensor<16x16xf32, #lora.packed<f32>>
module @option {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %s = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %s, %c : tensor<?x16xf32>, !lora.cache
  }
}
