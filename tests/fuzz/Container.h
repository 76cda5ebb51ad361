//===- Container.h - model files and bundles past their digests -*- C++ -*-===//
// A changed byte breaks a digest, and the reader goes no further. So each input is read twice: as it is, and
// with its digests made anew; and the mutator prefers changes that keep the file's layout.
#ifndef LORAC_TESTS_FUZZ_CONTAINER_H
#define LORAC_TESTS_FUZZ_CONTAINER_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lorac::fuzz {

enum class ContainerKind { Model, Bundle };

/// `file` with the digests of its segments, the base's fingerprint and the header's digest as its bytes ask
/// for them, as far as the metadata can be read at all.
std::vector<uint8_t> sealed(std::span<const uint8_t> file, ContainerKind kind);

/// In place; the new size.
size_t mutate(uint8_t *data, size_t size, size_t maxSize, unsigned seed);

} // namespace lorac::fuzz

#endif // LORAC_TESTS_FUZZ_CONTAINER_H
