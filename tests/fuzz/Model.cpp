// A model file, as it is and with its digests made anew: open it, then do with it what does not take a
// device.
#include "runtime/device/vulkan/Plan.h"
#include "runtime/engine/Engine.h"
#include "runtime/engine/ModelText.h"
#include "runtime/files/ModelFile.h"
#include "tests/fuzz/Container.h"
#include "tests/fuzz/Fuzz.h"

#include <algorithm>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

void useText(const ModelFile &model) {
  Result<std::shared_ptr<const ModelText>> text = ModelText::create(model);
  requireTyped(text.status());
  if (!text)
    return;
  Result<std::vector<uint32_t>> ids = (*text)->encode("Hello, w\xc3\xb6rld! <s>123\n");
  requireTyped(ids.status());
  if (ids) {
    for (uint32_t id : *ids)
      require(id < model.metadata().vocab_size(), "a token of a text is one of the model's");
    TextStream stream(*text);
    std::string streamed;
    for (uint32_t id : *ids)
      streamed += stream.add(id);
    streamed += stream.finish();
    require(streamed == (*text)->decode(*ids), "a text streams to what it decodes to");
  }
}

void planOn(const ModelFile &model) {
  EngineOptions options;
  options.poolBytes = 1 << 20;
  Result<EnginePlan> plan = planEngine(model, options);
  requireTyped(plan.status());
  if (!plan)
    return;
  require(plan->maxRows > 0 && plan->context > 0, "an engine has rows and a context");
  Result<vulkan::ModelNeeds> needs = vulkan::modelNeeds(model, plan->symbols);
  requireTyped(needs.status());
  if (!needs)
    return;
  vulkan::DeviceCaps caps;
  caps.name = "fuzz";
  caps.groupsMeet = true;
  caps.texelFormats = true;
  caps.maxTexelBufferElements = 1u << 27;
  caps.maxStorageBuffersPerStage = 32;
  caps.maxTexelBuffersPerStage = 128;
  caps.maxWorkGroupSize = {1024, 1024, 1024};
  caps.maxWorkGroupInvocations = 1024;
  caps.maxSharedMemorySize = 32 << 10;
  caps.memoryTypes = {{0, true, true, true, true}};
  caps.heaps = {16ull << 30};
  Result<vulkan::DevicePlan> devicePlan = planDevice(caps, *needs);
  if (!devicePlan) { // a model may be too large for a device
    require(devicePlan.status().code() != Code::Internal, devicePlan.status().message());
    return;
  }
  require(devicePlan->totalBytes <= caps.heaps[0], "a plan fits the device's memory");
  require(devicePlan->variants.size() == needs->kernels.size(), "every kernel has a variant");
}

void open(std::span<const uint8_t> bytes) {
  Result<std::shared_ptr<const ModelFile>> model = ModelFile::parse(bytes, "fuzzed.lorac");
  requireTyped(model.status());
  if (!model)
    return;
  const fbs::Model &metadata = (*model)->metadata();
  for (const fbs::Weight *weight : *metadata.weights()) {
    uint64_t seen = 0;
    (*model)->weightBytes(weight->offset(), weight->size(),
                          [&](std::span<const uint8_t> piece) { seen += piece.size(); });
    require(seen == weight->size(), "a weight's bytes lie in the file");
  }
  useText(**model);
  planOn(**model);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> copy(data, data + size); // readers expect the alignment that a mapped file has
  open(copy);
  open(sealed(copy, ContainerKind::Model));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  return mutate(data, size, maxSize, seed);
}
