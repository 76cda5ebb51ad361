// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s > %t.text
// RUN: lorac-opt %s --emit-bytecode | lorac-opt | diff - %t.text
// Each op, type and attribute as the dialect's manual shows it; text and bytecode give the same module back.

// CHECK: lora.model architecture("llama") source("hf") vocab(320) max_positions(512) eos([2]) {quantize = ["f16"]}
lora.model architecture("llama") source("hf") vocab(320) max_positions(512) eos([2]) {quantize = ["f16"]}
// CHECK: lora.tokenizer "hf" from("/abs/tokenizer.json") {config = "/abs/tokenizer_config.json"}
lora.tokenizer "hf" from("/abs/tokenizer.json") {config = "/abs/tokenizer_config.json"}

// CHECK: lora.weight @model.norm.weight from(<"/abs/m.safetensors", 0, 256, f32, 0>) digest("{{0+}}") : tensor<64xf32>
lora.weight @model.norm.weight from(#lora.source<"/abs/m.safetensors", 0, 256, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64xf32>
// CHECK: lora.weight @model.embed_tokens.weight from(<"/abs/m.safetensors", 256, 40960, bf16, 0>) digest("{{.*}}") : tensor<320x64xf32, #lora.packed<f16>>
lora.weight @model.embed_tokens.weight from(#lora.source<"/abs/m.safetensors", 256, 40960, bf16, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<320x64xf32, #lora.packed<f16>>
// A rotary-interleaved block encoding, as a GGUF file has it.
// CHECK: lora.weight @wq from(<"/abs/model.gguf", 1024, 2560, q4_1, 4>) digest("{{.*}}") : tensor<64x64xf32>
lora.weight @wq from(#lora.source<"/abs/model.gguf", 1024, 2560, q4_1, 4>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<64x64xf32>
// CHECK: lora.weight @wk from(<"/abs/model.gguf", 4096, 1152, q4_0, 2>)
lora.weight @wk from(#lora.source<"/abs/model.gguf", 4096, 1152, q4_0, 2>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x64xf32>
// CHECK: lora.weight @wv from(<"/abs/model.gguf", 8192, 2176, q8_0, 0>)
lora.weight @wv from(#lora.source<"/abs/model.gguf", 8192, 2176, q8_0, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32x64xf32>
// CHECK: lora.weight @bv
lora.weight @bv from(#lora.source<"/abs/m.safetensors", 0, 64, f16, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<32xf32>
// CHECK: lora.weight @wo {{.*}} folds [#lora.fold<a = <"/abs/a.safetensors", 0, 2048, f32, 0>, b = <"/abs/a.safetensors", 2048, 2048, f32, 0>, rank = 8, scale = 2.000000e+00 : f64>] : tensor<64x64xf32, #lora.packed<f32>>
lora.weight @wo from(#lora.source<"/abs/m.safetensors", 0, 8192, f16, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/abs/a.safetensors", 0, 2048, f32, 0>, b = #lora.source<"/abs/a.safetensors", 2048, 2048, f32, 0>, rank = 8, scale = 2.0 : f64>] : tensor<64x64xf32, #lora.packed<f32>>
// CHECK: lora.adapter @style.q from(<"/abs/a.safetensors", 0, 2048, f32, 0>, <"/abs/a.safetensors", 2048, 2048, f32, 0>) rank(8) scale(2.000000e+00)
lora.adapter @style.q from(#lora.source<"/abs/a.safetensors", 0, 2048, f32, 0>, #lora.source<"/abs/a.safetensors", 2048, 2048, f32, 0>) rank(8) scale(2.0)
// CHECK: lora.rope_table @rope dense<{{.*}}> : tensor<8xf64>
lora.rope_table @rope dense<[1.0, 0.1, 0.01, 1.0e-3, 1.0e-4, 1.0e-5, 1.0e-6, 1.0e-7]> : tensor<8xf64>

// CHECK: lora.step {
// CHECK-NEXT: ^bb0(%[[TOKENS:.*]]: tensor<?xi32>, %[[CACHE:.*]]: !lora.cache):
lora.step {
^bb0(%tokens: tensor<?xi32>, %cache: !lora.cache):
  // CHECK: %[[H:.*]] = lora.embed %[[TOKENS]], @model.embed_tokens.weight : tensor<?xi32> -> tensor<?x64xf32>
  %h = lora.embed %tokens, @model.embed_tokens.weight : tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: %[[N:.*]] = lora.rms_norm %[[H]], @model.norm.weight epsilon(1.000000e-05) : tensor<?x64xf32>
  %n = lora.rms_norm %h, @model.norm.weight epsilon(1.0e-5) : tensor<?x64xf32>
  // Three segments: q with a static adapter and open, k closed, v with a bias.
  // CHECK: %[[QKV:.*]]:3 = lora.linear %[[N]] [#lora.segment<@wq, site = "q", open>, #lora.segment<@wk, site = "k">, #lora.segment<@wv, site = "v", bias = @bv, open>] adapters {{\[\[}}@style.q], [], []] : (tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  %q, %k, %v = lora.linear %n [#lora.segment<@wq, site = "q", open>, #lora.segment<@wk, site = "k">, #lora.segment<@wv, site = "v", bias = @bv, open>] adapters [[@style.q], [], []] : (tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  // CHECK: %[[QR:.*]] = lora.rope %[[QKV]]#0, @rope heads(4) : tensor<?x64xf32>
  %qr = lora.rope %q, @rope heads(4) : tensor<?x64xf32>
  %kr = lora.rope %k, @rope heads(2) : tensor<?x32xf32>
  // CHECK: %[[A:.*]], %[[C1:.*]] = lora.attend %[[QR]], %{{.*}}, %[[QKV]]#2, %[[CACHE]] layer(0) heads(4) kv_heads(2) scale(2.500000e-01) : tensor<?x64xf32>, tensor<?x32xf32>
  %a, %c1 = lora.attend %qr, %kr, %v, %cache layer(0) heads(4) kv_heads(2) scale(0.25) : tensor<?x64xf32>, tensor<?x32xf32>
  // An epilogue over one segment and one point-wise operand.
  // CHECK: %[[Y:.*]] = lora.linear %[[A]] [#lora.segment<@wo, site = "o", open>] with %[[H]] {
  // CHECK-NEXT: ^bb0(%[[R:.*]]: f32, %[[E:.*]]: f32):
  // CHECK-NEXT: %[[S:.*]] = arith.addf %[[R]], %[[E]] : f32
  // CHECK-NEXT: lora.yield %[[S]] : f32
  // CHECK-NEXT: } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = lora.linear %a [#lora.segment<@wo, site = "o", open>] with %h {
  ^bb0(%r: f32, %e: f32):
    %sum = arith.addf %r, %e : f32
    lora.yield %sum : f32
  } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // Every scalar op that a region may hold.
  // CHECK: %[[M:.*]] = lora.map %[[Y]], %[[H]] {
  // CHECK: } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %m = lora.map %y, %h {
  ^bb0(%x: f32, %z: f32):
    %one = arith.constant 1.0 : f32
    %1 = arith.negf %x : f32
    %2 = math.exp %1 : f32
    %3 = arith.addf %one, %2 : f32
    %4 = arith.divf %x, %3 : f32
    %5 = arith.mulf %4, %z : f32
    %6 = arith.subf %5, %one : f32
    %7 = arith.maximumf %6, %x : f32
    %8 = arith.minimumf %7, %z : f32
    %9 = math.sqrt %8 : f32
    %10 = math.tanh %9 : f32
    %11 = math.erf %10 : f32
    lora.yield %11 : f32
  } : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[G:.*]] = lora.gather_rows %[[M]] : tensor<?x64xf32>
  %g = lora.gather_rows %m : tensor<?x64xf32>
  // CHECK: %[[L:.*]] = lora.linear %[[G]] [#lora.segment<@model.embed_tokens.weight, site = "lm_head">] : (tensor<?x64xf32>) -> tensor<?x320xf32>
  %logits = lora.linear %g [#lora.segment<@model.embed_tokens.weight, site = "lm_head">] : (tensor<?x64xf32>) -> tensor<?x320xf32>
  // CHECK: lora.yield %[[L]], %[[C1]] : tensor<?x320xf32>, !lora.cache
  lora.yield %logits, %c1 : tensor<?x320xf32>, !lora.cache
}
