// RUN: lorac-opt %s --lora-quantize="rules=f16,q=f32" | FileCheck %s
// RUN: lorac-opt %s --lora-quantize="rules=f16,up=bf16" | FileCheck %s --check-prefix=UP
// RUN: lorac-opt %s --lora-quantize="rules=f16,0.*.weight=bf16" | FileCheck %s --check-prefix=UP
// RUN: not lorac-opt %s --lora-quantize="rules=f16,p=bf16" 2>&1 | FileCheck %s --check-prefix=PART

// The option's rules follow those of the model, so they win.
// CHECK-LABEL: module @option
// CHECK: lora.weight @table {{.*}} : tensor<32x16xf32, #lora.packed<f16>>
// CHECK: lora.weight @q {{.*}} : tensor<16x16xf32, #lora.packed<f32>>

// A pattern may leave out what stands before a dot, and may say .weight or not.
// UP: lora.weight @q {{.*}} : tensor<16x16xf32, #lora.packed<f16>>
// UP: lora.weight @layers.0.up.weight {{.*}} : tensor<16x16xf32, #lora.packed<bf16>>

// A part of a name is no match, and the error says what names there are.
// PART: quantize rule 'p=bf16': the pattern matches no site and no matrix of the model, which are named like table, q, layers.0.up{{$}}
module @option {
  lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) {quantize = ["f32"]}
  lora.weight @table from(#lora.source<"/m", 0, 2048, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x16xf32>
  lora.weight @q from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.weight @layers.0.up.weight from(#lora.source<"/m", 0, 1024, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16x16xf32>
  lora.step {
  ^bb0(%t: tensor<?xi32>, %c: !lora.cache):
    %x = lora.embed %t, @table : tensor<?xi32> -> tensor<?x16xf32>
    %s = lora.linear %x [#lora.segment<@q, site = "q", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    %u = lora.linear %s [#lora.segment<@layers.0.up.weight, site = "layers.0.up", open>] : (tensor<?x16xf32>) -> tensor<?x16xf32>
    lora.yield %u, %c : tensor<?x16xf32>, !lora.cache
  }
}
