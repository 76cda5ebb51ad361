//===- AdapterPool.cpp - slots: directory, then image -----------*- C++ -*-===//
#include "runtime/engine/AdapterPool.h"

#include "runtime/files/AdapterFile.h"
#include "runtime/files/ModelFile.h"
#include "schemas/StepTable.h"
#include "support/Checked.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>

namespace lorac {

static_assert(std::endian::native == std::endian::little,
              "slots and step tables are written as they lie in memory");

namespace {

uint64_t directoryBytes(const ModelFile &model) {
  return (uint64_t(model.metadata().sites()->size()) + 1) * sizeof(step::SiteRecord);
}

Status fingerprintStatus(const ModelFile &model, const AdapterFile &adapter) {
  const auto &accepted = *adapter.metadata().fingerprints();
  std::span<const uint8_t> wanted(accepted[0]->bytes()->data(), 32);
  return Status(Code::Incompatible) << adapter.path() << ": made for base " << shortHex(wanted)
                                    << ", this model is " << shortHex(model.fingerprint())
                                    << "; rebuild it with: lorac adapter --base " << model.path();
}

} // namespace

uint64_t slotBytes(const ModelFile &model, const AdapterFile &adapter) {
  return roundUp(directoryBytes(model) + adapter.image().size(), SlotAllocator::Alignment);
}

Result<SlotImage> buildSlot(const ModelFile &model, const AdapterFile &adapter, bool acceptBase) {
  SlotImage slot;
  const fbs::Adapter &metadata = adapter.metadata();
  if (!adapter.fits(model.fingerprint())) {
    if (!acceptBase)
      return fingerprintStatus(model, adapter);
    slot.otherBase = true;
  }

  const auto &sites = *model.metadata().sites();
  std::map<std::string_view, uint32_t> siteIndex;
  for (uint32_t i = 0; i < sites.size(); ++i)
    siteIndex.emplace(sites[i]->name()->string_view(), i);

  uint64_t imageStart =
      directoryBytes(model); // records are 16 bytes, so the image is 16-byte aligned after them
  std::span<const uint8_t> image = adapter.image();
  slot.bytes.assign(roundUp(imageStart + image.size(), 16), 0); // a zero record: no tiles, as the null record
  slot.float32 = metadata.type() == fbs::AdapterType::F32;
  for (const fbs::AdapterSite *site : *metadata.sites()) {
    auto found = siteIndex.find(site->name()->string_view());
    if (found == siteIndex.end())
      return Status(Code::Incompatible)
             << adapter.path() << ": site '" << site->name()->string_view() << "' does not exist in "
             << model.path() << "; rebuild the adapter with: lorac adapter --base " << model.path();
    const fbs::Site &target = *sites[found->second];
    if (site->in_features() != target.in_features() || site->out_features() != target.out_features())
      return Status(Code::Incompatible)
             << adapter.path() << ": site '" << site->name()->string_view() << "' is " << site->out_features()
             << " x " << site->in_features() << " here and " << target.out_features() << " x "
             << target.in_features() << " in " << model.path() << "; use an adapter of this model's base";
    step::SiteRecord record{};
    record.aOffset = uint32_t((imageStart + site->a_offset()) / 16);
    record.bOffset = uint32_t((imageStart + site->b_offset()) / 16);
    record.tiles = site->rank_tiles() & step::TileCountMask;
    if (site->has_bias())
      record.tiles |= ((site->rank() + 1) & step::BiasRankMask) << step::BiasRankShift;
    if (slot.float32)
      record.tiles |= step::Float32Bit;
    record.scalingBits = std::bit_cast<uint32_t>(float(site->scaling()));
    std::memcpy(slot.bytes.data() + uint64_t(found->second) * sizeof record, &record, sizeof record);
    slot.tiles = std::max(slot.tiles, site->rank_tiles());
    slot.adaptsHead |= found->second == model.metadata().head_site();
  }
  if (!image.empty())
    std::memcpy(slot.bytes.data() + imageStart, image.data(), image.size());
  return slot;
}

Result<Stack> normaliseStack(const Stack &stack) {
  Stack result;
  for (const StackEntry &entry : stack) {
    if (!entry.adapter)
      return Status(Code::InvalidArgument) << "a stack entry names no adapter; load one first";
    if (!std::isfinite(entry.strength))
      return Status(Code::InvalidArgument) << "adapter '" << entry.adapter->name() << "': strength "
                                           << entry.strength << " is no finite number";
    auto same = std::find_if(result.begin(), result.end(),
                             [&](const StackEntry &other) { return other.adapter == entry.adapter; });
    if (same == result.end())
      result.push_back(entry);
    else
      same->strength += entry.strength;
  }
  for (const StackEntry &entry : result)
    if (!std::isfinite(entry.strength))
      return Status(Code::InvalidArgument)
             << "adapter '" << entry.adapter->name() << "': its strengths add up to no finite number";
  std::erase_if(result,
                [](const StackEntry &entry) { return entry.strength == 0 || entry.adapter->tiles() == 0; });
  return result;
}

LoadedAdapter::~LoadedAdapter() {
  if (!pool || slotBytes == 0)
    return;
  std::lock_guard lock(pool->mutex);
  pool->allocator.release(slotOffset, slotBytes);
  --pool->liveSlots;
}

std::shared_ptr<AdapterPool> AdapterPool::create(uint64_t bytes) {
  return std::shared_ptr<AdapterPool>(new AdapterPool(bytes));
}

uint64_t AdapterPool::freeBytes() const {
  std::lock_guard lock(mutex);
  return allocator.freeBytes();
}

uint64_t AdapterPool::slots() const {
  std::lock_guard lock(mutex);
  return liveSlots;
}

Result<std::shared_ptr<const LoadedAdapter>> AdapterPool::load(const ModelFile &model,
                                                               const AdapterFile &adapter,
                                                               const LoadAdapterOptions &options,
                                                               const Writer &write) {
  LORAC_ASSIGN(SlotImage slot, buildSlot(model, adapter, options.acceptBase));
  std::shared_ptr<LoadedAdapter> loaded(new LoadedAdapter);
  loaded->adapterName = options.name.empty() ? adapter.metadata().name()->str() : options.name;
  loaded->versionText = adapter.metadata().adapter_version()->str();
  loaded->filePath = adapter.path();
  loaded->largestTiles = slot.tiles;
  loaded->head = slot.adaptsHead;
  loaded->float32 = slot.float32;
  loaded->otherBase = slot.otherBase;
  {
    std::lock_guard lock(mutex);
    std::optional<uint64_t> offset = allocator.allocate(slot.bytes.size());
    if (!offset)
      return Status(Code::Exhausted) << adapter.path() << ": needs " << slot.bytes.size()
                                     << " bytes of the adapter pool, the longest free range is "
                                     << allocator.largestFree() << " of " << bytes
                                     << "; unload adapters or open a session with a larger pool";
    loaded->slotOffset = *offset;
    loaded->slotBytes = slot.bytes.size(); // from here on the destructor gives the range back
    loaded->loadNumber = ++loads;
    ++liveSlots;
    loaded->pool = shared_from_this();
  }
  LORAC_TRY(write(loaded->slotOffset, slot.bytes));
  return std::shared_ptr<const LoadedAdapter>(std::move(loaded));
}

} // namespace lorac
