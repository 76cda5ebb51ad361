// RUN: lorac-opt %s --verify-diagnostics --split-input-file
// One case for each thing that a verifier refuses: the smallest module with that one fault.
lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2])
// expected-error@+1 {{is the second of its module, expected one}}
lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2])

// -----

// expected-error@+1 {{needs a positive vocab and max_positions}}
lora.model architecture("llama") source("hf") vocab(0) max_positions(64) eos([])

// -----

// expected-error@+1 {{max_context 65 is outside 1 to 64, the model's own limit}}
lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) max_context(65)

// -----

// expected-error@+1 {{max_rows 4097 is outside 1 to 4096}}
lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([2]) max_rows(4097)

// -----

// expected-error@+1 {{end token 32 is outside the vocabulary of 32}}
lora.model architecture("llama") source("hf") vocab(32) max_positions(64) eos([32])

// -----

// expected-error@+1 {{kind "sentencepiece" is unknown, expected "hf" or "gguf"}}
lora.tokenizer "sentencepiece" from("/t")

// -----

// expected-error@+1 {{a packed weight has 2 dimensions, this one has 1}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<16xf32, #lora.packed<f16>>

// -----

// expected-error@+1 {{a packed weight stands for f32 values, not 'f16'}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf16, #lora.packed<f16>>

// -----

// The encoding's verifier is asked even though the element type did not parse.
// expected-error@+1 {{expected non-function type}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4x, #lora.packed<f16>>

// -----

// expected-error@+1 {{has type 'tensor<?x4xf32>', expected a static f32 tensor of rank 1 or 2}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<?x4xf32>

// -----

// expected-error@+1 {{has encoding "dense", expected #lora.packed}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32, "dense">

// -----

// expected-error@+1 {{has a dimension of 0, expected 1 to 2^31}}
lora.weight @w from(#lora.source<"/m", 0, 0, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<0x4xf32>

// -----

// expected-error@+1 {{needs a digest of 64 lower-case hex digits}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("ABCD") : tensor<4x4xf32>

// -----

// expected-error@+1 {{has rows of 4 values, which blocks of 32 do not divide}}
lora.weight @w from(#lora.source<"/m", 0, 64, q4_0, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>

// -----

// expected-error@+1 {{has 60 bytes in its file, 4 x 4 as f32 needs 64}}
lora.weight @w from(#lora.source<"/m", 0, 60, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>

// -----

// expected-error@+1 {{has 0 bytes in its file, 2147483648 x 2147483648 as f32 needs 18446744073709551615}}
lora.weight @w from(#lora.source<"/m", 0, 0, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<2147483648x2147483648xf32>

// -----

// expected-error@+1 {{has 4 rows, which 4 rotary heads of even size do not divide}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 4>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>

// -----

// expected-error@+1 {{folds are #lora.fold and belong to matrices}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [1] : tensor<4x4xf32>

// -----

// expected-error@+1 {{folds are #lora.fold and belong to matrices}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/a", 0, 32, f32, 0>, b = #lora.source<"/a", 0, 32, f32, 0>, rank = 2, scale = 1.0 : f64>] : tensor<16xf32>

// -----

// expected-error@+1 {{fold's rank is 0, expected 1 to 1024}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/a", 0, 0, f32, 0>, b = #lora.source<"/a", 0, 0, f32, 0>, rank = 0, scale = 1.0 : f64>] : tensor<4x4xf32>

// -----

// expected-error@+1 {{fold's A has 16 bytes in its file, 2 x 4 as f32 needs 32}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/a", 0, 16, f32, 0>, b = #lora.source<"/a", 0, 32, f32, 0>, rank = 2, scale = 1.0 : f64>] : tensor<4x4xf32>

// -----

// expected-error@+1 {{fold's B has 16 bytes in its file, 4 x 2 as f32 needs 32}}
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") folds [#lora.fold<a = #lora.source<"/a", 0, 32, f32, 0>, b = #lora.source<"/a", 0, 16, f32, 0>, rank = 2, scale = 1.0 : f64>] : tensor<4x4xf32>

// -----

// expected-error@+1 {{adapter rank is 0, expected 1 to 1024}}
lora.adapter @a from(#lora.source<"/a", 0, 0, f32, 0>, #lora.source<"/a", 0, 0, f32, 0>) rank(0) scale(1.0)

// -----

// expected-error@+1 {{scale is not finite}}
lora.adapter @a from(#lora.source<"/a", 0, 32, f32, 0>, #lora.source<"/a", 0, 32, f32, 0>) rank(2) scale(0x7FF0000000000000)

// -----

// expected-error@+1 {{needs a vector of f64}}
lora.rope_table @rope dense<[1.0, 0.5]> : tensor<2xf32>

// -----

lora.rope_table @most dense<1.0> : tensor<4096xf64>
// expected-error@+1 {{has 4097 frequencies, at most 4096 are possible}}
lora.rope_table @rope dense<1.0> : tensor<4097xf64>

// -----

// expected-error@+1 {{holds a frequency that is negative or not finite}}
lora.rope_table @rope dense<[1.0, -0.5]> : tensor<2xf64>

// -----

// expected-error@+1 {{takes tokens (tensor<?xi32>) and a !lora.cache}}
lora.step {
^bb0(%t: tensor<?xi32>):
  lora.yield %t : tensor<?xi32>
}

// -----

// expected-error@+1 {{takes tokens as 'tensor<?xi64>', expected tensor<?xi32>}}
lora.step {
^bb0(%t: tensor<?xi64>, %c: !lora.cache):
  lora.yield %t, %c : tensor<?xi64>, !lora.cache
}

// -----

// expected-error@+1 {{must yield logits (tensor<?xNxf32>) and the cache}}
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  lora.yield %t, %c : tensor<?xi32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{the result is 'tensor<?x4xf16>', expected tensor<?xNxf32>}}
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf16>
  lora.yield
}

// -----

lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{refers to weight @e, which the module does not have}}
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  lora.yield %x, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{weight @e is 'tensor<8x4xf32>', expected ? x 5}}
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x5xf32>
  lora.yield %x, %c : tensor<?x5xf32>, !lora.cache
}

// -----

lora.weight @n from(#lora.source<"/m", 0, 16, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{x is 'tensor<?xi32>', expected tensor<?xNxf32>}}
  %y = lora.rms_norm %t, @n epsilon(1.0e-5) : tensor<?xi32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @n from(#lora.source<"/m", 0, 16, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{epsilon must be finite and not negative}}
  %y = lora.rms_norm %x, @n epsilon(-1.0) : tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{weight @e is 'tensor<8x4xf32>', expected a vector of 4}}
  %y = lora.rms_norm %x, @e epsilon(1.0e-5) : tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{x is 'tensor<?xi32>', expected tensor<?xNxf32>}}
  %y = lora.linear %t [#lora.segment<@w, site = "layers.3.q">] : (tensor<?xi32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has 0 segments, expected 1 to 4}}
  lora.linear %x [] : (tensor<?x4xf32>) -> ()
  lora.yield %x, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has 5 segments, expected 1 to 4}}
  %y:5 = lora.linear %x [#lora.segment<@w, site = "layers.3.q">, #lora.segment<@w, site = "layers.3.q">, #lora.segment<@w, site = "layers.3.q">, #lora.segment<@w, site = "layers.3.q">, #lora.segment<@w, site = "layers.3.q">] : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
  lora.yield %y#0, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{refers to weight @w, which the module does not have}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 80, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x5xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q': weight @w is 'tensor<4x5xf32>', x has 4 values a row}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.weight @n from(#lora.source<"/m", 0, 20, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<5xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{weight @n is 'tensor<5xf32>', expected a vector of 4}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q", bias = @n>] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{names adapters for 2 of 1 segments}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] adapters [[], []] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q': adapters are 1 : i64, expected an array of symbols}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] adapters [1] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q' refers to adapter @a, which the module does not have}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] adapters [[@a]] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.adapter @a from(#lora.source<"/a", 0, 48, f32, 0>, #lora.source<"/a", 0, 32, f32, 0>) rank(2) scale(1.0)
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q': adapter @a's A has 48 bytes in its file, 2 x 4 as f32 needs 32}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] adapters [[@a]] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.adapter @a from(#lora.source<"/a", 0, 32, f32, 0>, #lora.source<"/a", 0, 48, f32, 0>) rank(2) scale(1.0)
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q': adapter @a's B has 48 bytes in its file, 4 x 2 as f32 needs 32}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] adapters [[@a]] : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.weight @u from(#lora.source<"/m", 0, 80, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<5x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q' has 5 rows under an epilogue whose first segment has 4}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">, #lora.segment<@u, site = "layers.3.q">] {
  ^bb0(%r: f32, %s: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has an epilogue, expected one result of 4 values a row}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] {
  ^bb0(%r: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x5xf32>
  lora.yield %y, %c : tensor<?x5xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.weight @u from(#lora.source<"/m", 0, 80, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<5x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  %z = lora.linear %x [#lora.segment<@u, site = "layers.3.q">] : (tensor<?x4xf32>) -> tensor<?x5xf32>
  // expected-error@+1 {{point-wise operand is 'tensor<?x5xf32>', expected 'tensor<?x4xf32>'}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] with %z {
  ^bb0(%r: f32, %e: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>, tensor<?x5xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the epilogue takes 1 values, expected 2}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] with %x {
  ^bb0(%r: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the epilogue takes 'f64', expected f32}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] {
  ^bb0(%r: f64):
    %v = arith.constant 0.0 : f32
    lora.yield %v : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the epilogue must yield one f32}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] {
  ^bb0(%r: f32):
    lora.yield
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the epilogue holds math.cos, expected one of arith.addf, subf, mulf, divf, negf, maximumf, minimumf, constant, math.exp, sqrt, tanh, erf}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] {
  ^bb0(%r: f32):
    %v = math.cos %r : f32
    lora.yield %v : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the epilogue computes 'i32', expected f32}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] {
  ^bb0(%r: f32):
    %v = arith.constant 1 : i32
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has point-wise operands but no epilogue}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] with %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has 2 results for 1 segments}}
  %y:2 = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
  lora.yield %y#0, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'layers.3.q' gives 4 values a row, result is 'tensor<?x5xf32>'}}
  %y = lora.linear %x [#lora.segment<@w, site = "layers.3.q">] : (tensor<?x4xf32>) -> tensor<?x5xf32>
  lora.yield %y, %c : tensor<?x5xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the result is 'tensor<?x4xf16>', expected tensor<?xNxf32>}}
  %y = lora.map %x {
  ^bb0(%r: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf16>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has 3 operands, expected 1 or 2}}
  %y = lora.map %x, %x, %x {
  ^bb0(%r: f32, %s: f32, %u: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{operand is 'tensor<?x4xf32>', expected 'tensor<?x5xf32>'}}
  %y = lora.map %x {
  ^bb0(%r: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x5xf32>
  lora.yield %y, %c : tensor<?x5xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{the body takes 2 values, expected 1}}
  %y = lora.map %x {
  ^bb0(%r: f32, %s: f32):
    lora.yield %r : f32
  } : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.rope_table @rope dense<[1.0]> : tensor<1xf64>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{x is 'tensor<?xi32>', expected tensor<?xNxf32>}}
  %y = lora.rope %t, @rope heads(1) : tensor<?xi32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.rope_table @rope dense<[1.0]> : tensor<1xf64>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{x has 4 values a row, which 4 heads of even size do not divide}}
  %y = lora.rope %x, @rope heads(4) : tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{refers to rope table @rope, which the module does not have}}
  %y = lora.rope %x, @rope heads(2) : tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.rope_table @rope dense<[1.0]> : tensor<1xf64>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{table @rope has 1 frequencies, heads of 4 need 2}}
  %y = lora.rope %x, @rope heads(1) : tensor<?x4xf32>
  lora.yield %y, %c : tensor<?x4xf32>, !lora.cache
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{q is 'tensor<?xi32>', expected tensor<?xNxf32>}}
  %y, %d = lora.attend %t, %x, %x, %c layer(0) heads(2) kv_heads(2) scale(0.5) : tensor<?xi32>, tensor<?x4xf32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{has 2 heads, which 0 kv heads do not divide}}
  %y, %d = lora.attend %x, %x, %x, %c layer(0) heads(2) kv_heads(0) scale(0.5) : tensor<?x4xf32>, tensor<?x4xf32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{q has 4 values a row and k 4, which 2 and 1 heads do not share out evenly}}
  %y, %d = lora.attend %x, %x, %x, %c layer(0) heads(2) kv_heads(1) scale(0.5) : tensor<?x4xf32>, tensor<?x4xf32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{layer is negative}}
  %y, %d = lora.attend %x, %x, %x, %c layer(-1) heads(2) kv_heads(2) scale(0.5) : tensor<?x4xf32>, tensor<?x4xf32>
  lora.yield
}

// -----

lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{scale is not finite}}
  %y, %d = lora.attend %x, %x, %x, %c layer(0) heads(2) kv_heads(2) scale(0x7FF0000000000000) : tensor<?x4xf32>, tensor<?x4xf32>
  lora.yield
}

// -----

lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  // expected-error@+1 {{x is 'tensor<?xi32>', expected tensor<?xNxf32>}}
  %y = lora.gather_rows %t : tensor<?xi32>
  lora.yield
}

// -----

lora.weight @w from(#lora.source<"/m", 0, 64, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<4x4xf32>
lora.weight @e from(#lora.source<"/m", 0, 128, f32, 0>) digest("0000000000000000000000000000000000000000000000000000000000000000") : tensor<8x4xf32>
lora.step {
^bb0(%t: tensor<?xi32>, %c: !lora.cache):
  %x = lora.embed %t, @e : tensor<?xi32> -> tensor<?x4xf32>
  // expected-error@+1 {{site 'q' has shrink_with_x, but its x is no result of lora.rms_norm or lora.attend}}
  %y = lora.linear %x [#lora.segment<@w, site = "q", open>] shrink_with_x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  lora.yield
}
