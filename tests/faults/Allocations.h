//===- Allocations.h - operator new that can fail ---------------*- C++ -*-===//
// The whole program's operator new is replaced. It fails for one thread, inside the library and outside the
// driver alone.
#ifndef LORAC_TESTS_FAULTS_ALLOCATIONS_H
#define LORAC_TESTS_FAULTS_ALLOCATIONS_H

#include <cstdint>

namespace lorac::test {

/// From now on this thread's allocation number `count` (from 0) inside the library fails.
void failAllocation(uint64_t count);
/// No allocation fails any more. True where one did.
bool allocationFailed();
/// Whether the library runs on this thread.
void setInsideLibrary(bool inside);

} // namespace lorac::test

#endif // LORAC_TESTS_FAULTS_ALLOCATIONS_H
