//===- AdapterPool.h - adapters loaded on the device ------------*- C++ -*-===//
// A slot is a directory (step::SiteRecord, one a site of the model file, then the null record) and the
// bundle's image as it is. Sequences hold the version that they started with; a slot is free when its last
// holder lets go.
#ifndef LORAC_RUNTIME_ENGINE_ADAPTERPOOL_H
#define LORAC_RUNTIME_ENGINE_ADAPTERPOOL_H

#include "runtime/engine/SlotAllocator.h"
#include "support/Status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace lorac {

class AdapterFile;
class ModelFile;

struct LoadAdapterOptions {
  std::string name; ///< under which it is found; empty: the bundle's own
  bool acceptBase =
      false; ///< load though it was made for another base; recorded in LoadedAdapter::acceptedBase
};

class AdapterPool;

/// One version of an adapter in the pool. Immutable; the last reference frees the slot, from any thread.
class LoadedAdapter {
public:
  ~LoadedAdapter();
  LoadedAdapter(const LoadedAdapter &) = delete;
  LoadedAdapter &operator=(const LoadedAdapter &) = delete;

  const std::string &name() const { return adapterName; }
  /// What the bundle calls its version.
  const std::string &bundleVersion() const { return versionText; }
  /// Counts the loads of one engine, from 1: two loads of one name differ here.
  uint64_t load() const { return loadNumber; }
  const std::string &path() const { return filePath; }
  uint64_t offset() const { return slotOffset; } ///< bytes from the pool's start, a multiple of 256
  uint64_t bytes() const { return slotBytes; }
  uint32_t slotBase() const { return uint32_t(slotOffset / 16); }
  /// Rank tiles of the slot's largest site: the items that one row of a step costs.
  uint32_t tiles() const { return largestTiles; }
  /// It has the site whose output is the logits.
  bool adaptsHead() const { return head; }
  /// A and B are kept in f32, not f16.
  bool isFloat32() const { return float32; }
  /// True where the fingerprint did not fit and acceptBase let it in.
  bool acceptedBase() const { return otherBase; }
  const AdapterPool *owner() const { return pool.get(); }

private:
  friend class AdapterPool;
  LoadedAdapter() = default;

  std::shared_ptr<AdapterPool> pool;
  std::string adapterName, versionText, filePath;
  uint64_t loadNumber = 0;
  uint64_t slotOffset = 0;
  uint64_t slotBytes = 0;
  uint32_t largestTiles = 0;
  bool head = false;
  bool float32 = false;
  bool otherBase = false;
};

/// One adapter of a stack. Strength 0 takes it out.
struct StackEntry {
  std::shared_ptr<const LoadedAdapter> adapter;
  float strength = 1.0f;
};
using Stack = std::vector<StackEntry>;

/// A stack as the step tables hold it: the strengths of an adapter that stands in it twice are added at its
/// first place, and what comes to 0 or has no ranks is gone. InvalidArgument for a strength that is no finite
/// number or a null adapter.
Result<Stack> normaliseStack(const Stack &stack);

/// The bytes of a slot and what the step tables need to know of it.
struct SlotImage {
  std::vector<uint8_t> bytes; ///< a multiple of 16
  uint32_t tiles = 0;
  bool adaptsHead = false;
  bool float32 = false;
  bool otherBase = false;
};
/// Checks that `adapter` fits `model` (Incompatible names fingerprints or site) and lays out its slot.
Result<SlotImage> buildSlot(const ModelFile &model, const AdapterFile &adapter, bool acceptBase);

/// The bytes that the adapter will take in the pool.
uint64_t slotBytes(const ModelFile &model, const AdapterFile &adapter);

/// Owns the pool's ranges. Thread-safe.
class AdapterPool : public std::enable_shared_from_this<AdapterPool> {
public:
  using Writer = std::function<Status(uint64_t offset, std::span<const uint8_t> bytes)>;

  static std::shared_ptr<AdapterPool> create(uint64_t bytes);

  /// `write` copies the slot to the device, once. Exhausted where no free range is long enough; after any
  /// failure the pool is as before.
  Result<std::shared_ptr<const LoadedAdapter>> load(const ModelFile &model, const AdapterFile &adapter,
                                                    const LoadAdapterOptions &options, const Writer &write);

  uint64_t totalBytes() const { return bytes; }
  uint64_t freeBytes() const;
  uint64_t slots() const;

private:
  friend class LoadedAdapter;
  explicit AdapterPool(uint64_t bytes) : bytes(bytes), allocator(bytes) {}

  const uint64_t bytes;
  mutable std::mutex mutex;
  SlotAllocator allocator;
  uint64_t liveSlots = 0;
  uint64_t loads = 0;
};

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_ADAPTERPOOL_H
