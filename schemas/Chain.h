//===- Chain.h - the words that a chain's dispatch reads --------*- C++ -*-===//
// Several dispatches as one (docs/decisions/0019): what compiler and runtime agree on beside the links' own
// bindings. Words of 32 bits: for each link how many of its groups are taken and how many done, both 0 before
// a dispatch; then, for each link in order, its grid's x and y and its push constants in the catalog's order.
#ifndef LORAC_SCHEMAS_CHAIN_H
#define LORAC_SCHEMAS_CHAIN_H

#include <cstdint>

namespace lorac::chain {

/// Where the parameters of a chain of so many links begin.
constexpr uint32_t parameters(uint32_t links) { return 2 * links; }

} // namespace lorac::chain

#endif // LORAC_SCHEMAS_CHAIN_H
