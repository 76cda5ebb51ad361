// A bundle, as it is and with its digests made anew: open it, then load it into an engine.
#include "runtime/engine/AdapterPool.h"
#include "runtime/files/AdapterFile.h"
#include "runtime/files/Container.h"
#include "runtime/files/ModelFile.h"
#include "schemas/Header.h"
#include "tests/fuzz/Container.h"
#include "tests/fuzz/Fuzz.h"
#include "tests/runtime/files/TinyModel.h"

using namespace lorac;
using namespace lorac::fuzz;

namespace {

const ModelFile &base() {
  static const std::vector<uint8_t> bytes = test::tinyModel().bytes();
  static const std::shared_ptr<const ModelFile> model = *ModelFile::parse(bytes, "tiny.lorac");
  return *model;
}

void open(std::span<const uint8_t> bytes) {
  Result<std::shared_ptr<const AdapterFile>> bundle = AdapterFile::parse(bytes, "fuzzed.lora");
  requireTyped(bundle.status());
  if (!bundle)
    return;
  const fbs::Adapter &metadata = (*bundle)->metadata();
  std::span<const uint8_t> image = (*bundle)->image();
  for (const fbs::AdapterSite *site : *metadata.sites()) {
    require(site->rank() >= 1 && site->rank() <= format::MaxRank, "ranks are in their range");
    require(site->a_offset() < image.size() && site->b_offset() < image.size(), "A and B lie in the image");
  }
  require((*bundle)->fits(container::digestOf(*metadata.fingerprints()->Get(0))),
          "a bundle fits what it names");
  Result<SlotImage> slot = buildSlot(base(), **bundle, true);
  requireTyped(slot.status());
  if (slot)
    require(slot->bytes.size() % 16 == 0 && slot->bytes.size() <= slotBytes(base(), **bundle),
            "a slot takes what was said");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> copy(data, data + size);
  open(copy);
  open(sealed(copy, ContainerKind::Bundle));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  return mutate(data, size, maxSize, seed);
}
