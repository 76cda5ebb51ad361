//===- Chain.h - the words that a chain's dispatch reads --------*- C++ -*-===//
// Several dispatches as one (docs/decisions/0019): what compiler and runtime agree on beside the links' own
// bindings.
#ifndef LORAC_SCHEMAS_CHAIN_H
#define LORAC_SCHEMAS_CHAIN_H

#include <cstdint>

namespace lorac::chain {

/// Words of 32 bits. Before it how the groups find and meet each other (shaders/prelude/chain.h), all 0 before
/// a dispatch; from it on, for each link in order, its grid's x and y, then its push constants in the
/// catalog's order.
constexpr uint32_t Parameters = 16;
/// The word that holds, after a dispatch, how many of its groups ran at the same time.
constexpr uint32_t Members = 1;

} // namespace lorac::chain

#endif // LORAC_SCHEMAS_CHAIN_H
