// RUN: lorac-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{'w' has 1 weights and 2 starts}}
plan.weights @w holds([@a]) starts([0, 8]) size(16)

// -----

// expected-error@+1 {{'w' starts a weight at 16, after -1 of 16}}
plan.weights @w holds([@a]) starts([16]) size(16)

// -----

// expected-error@+1 {{'w' holds 3 : i64, expected the symbol of a weight}}
plan.weights @w holds([3]) starts([0]) size(16)

// -----

// expected-error@+1 {{'k': constant "ROWS" is no integer}}
plan.kernel @k catalog("linear") constants({ROWS = "one"})

// -----

// expected-error@+1 {{'k': epilogue term #plan.term<const> has the wrong value}}
plan.kernel @k catalog("linear") constants({}) epilogue [#plan.term<const>]

// -----

// expected-error@+1 {{'k': epilogue holds 1 : i64, expected #plan.term}}
plan.kernel @k catalog("linear") constants({}) epilogue [1]

// -----

plan.program @p rows(1, 1) adapters(true) {
  // expected-error@+1 {{'b' is in space "disk", which does not exist}}
  plan.buffer @b "disk" size(#plan.expr<16>)
}

// -----

plan.program @p rows(1, 1) adapters(true) {
  // expected-error@+1 {{'b' has input "wishes", which does not exist}}
  plan.buffer @b "step" size(#plan.expr<16>) input("wishes")
}

// -----

plan.program @p rows(1, 1) adapters(true) {
  // expected-error@+1 {{'b' has a size or offset that changes with each step}}
  plan.buffer @b "arena" size(#plan.expr<rows * 16>)
}

// -----

plan.program @p rows(1, 1) adapters(true) {
  // expected-error@+1 {{'b' must have an input exactly where it is in the step space}}
  plan.buffer @b "arena" size(#plan.expr<16>) input("rows")
}

// -----

plan.program @p rows(1, 1) adapters(true) {
  // expected-error@+1 {{'b' must name a rope table exactly where its input is angles}}
  plan.buffer @b "step" size(#plan.expr<16>) input("angles")
}

// -----

// Free when off, by construction.
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{'b' is an adapter's, but program 'p' has adapters off}}
  plan.buffer @b "pool" size(#plan.expr<16>)
}

// -----

plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{'b' is an adapter's, but program 'p' has adapters off}}
  plan.buffer @b "step" size(#plan.expr<16>) input("stacks")
}

// -----

// expected-error@+1 {{'p' serves 4 to 2 rows}}
plan.program @p rows(4, 2) adapters(false) {
  plan.barrier
}

// -----

plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{may not stand in a program}}
  plan.cache page_tokens(16) page_bytes(16)
}

// -----

plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of k, which the module does not have}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{binds @b, which is no buffer of program 'p'}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [#plan.view<@b, read, offset = #plan.expr<0>, size = #plan.expr<4>>] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of k has a grid of 2 sizes, expected 3}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of k has a grid size 1 : i64, expected #plan.expr}}
  plan.dispatch @k grid [1, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of k pushes "rows" as 1 : i64, expected #plan.expr}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {rows = 1}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of k binds 1 : i64, expected #plan.view}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [1] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.program @p rows(1, 1) adapters(false) {
  plan.buffer @b "arena" size(#plan.expr<16>)
  // expected-error@+1 {{of k binds @b at an offset or size that changes with each step}}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [#plan.view<@b, read, offset = #plan.expr<rows>, size = #plan.expr<4>>] push {}
}

// -----

plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{'columns' is no symbol of a plan}}
  plan.buffer @b "arena" size(#plan.expr<columns * 16>)
}

// -----

plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{expression nests deeper than 32}}
  plan.buffer @b "arena" size(#plan.expr<((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))>)
}

// -----

// expected-error@+1 {{'c' has 1 links and 1 waits, expected at least 2, as many, and none before the first}}
plan.chain @c links([@k]) waits([false])

// -----

// expected-error@+1 {{'c' has 2 links and 2 waits}}
plan.chain @c links([@k, @k]) waits([true, true])

// -----

// expected-error@+1 {{'c' has link 1 : i64, expected the symbol of a kernel}}
plan.chain @c links([1, 2]) waits([false, true])

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of d, which the module does not have}}
  plan.run @d link(0) commands(1)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c: command 1 after it is no link number 1 of it}}
  plan.run @c link(0) commands(2)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c: command 0 after it is no link number 0 of it}}
  plan.run @c link(0) commands(1)
  plan.dispatch @l grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c: command 1 after it is no link number 2 of it}}
  plan.run @c link(1) commands(2)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c: command 1 after it is no link number 1 of it}}
  plan.run @c link(0) commands(9)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c ends with a barrier, or runs no link}}
  plan.run @c link(0) commands(2)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
  plan.barrier
}

// -----

plan.kernel @k catalog("linear") constants({})
plan.kernel @l catalog("linear") constants({})
plan.chain @c links([@k, @k]) waits([false, true])
plan.program @p rows(1, 1) adapters(false) {
  // expected-error@+1 {{of c ends with a barrier, or runs no link}}
  plan.run @c link(0) commands(0)
  plan.dispatch @k grid [#plan.expr<1>, #plan.expr<1>, #plan.expr<1>] views [] push {}
}
