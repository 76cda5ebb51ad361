// Every allocation of a session fails once: the call says OutOfMemory, made again it succeeds, and nothing of
// the results changes. What leaks, LeakSanitizer finds (preset asan-ubsan).
#include "runtime/CApi.h"
#include "tests/faults/Allocations.h"
#include "tests/faults/FaultSession.h"
#include "tests/faults/VulkanShim.h"
#include "tests/runtime/engine/FakeDevice.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include "runtime/device/Device.h"
#include "runtime/engine/Engine.h"
#include "runtime/engine/ModelText.h"

#include <cstdio>
#include <cstdlib>
#include <new>

namespace lorac::test {
namespace {

class AllocationFaults : public testing::Test {
protected:
  void SetUp() override { options.inside = setInsideLibrary; }
  void writeFiles(TinyModel model, TinyAdapter adapter) {
    auto write = [this](const char *name, const Bytes &bytes) {
      folder.write(name, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
      return folder.path(name);
    };
    options.model = write("model.lorac", model.bytes());
    options.bundle = write("adapter.lora", adapter.bytes());
  }
  /// Fails allocation 0, then 0 + step, ... until none fails.
  void sweep(uint64_t step);

  TempFolder folder;
  SessionOptions options;
};

void AllocationFaults::sweep(uint64_t step) {
  const SessionResult expected = runSession(options);
  ASSERT_EQ(expected.code, LORAC_OK) << expected.call << ": " << expected.message;
  ASSERT_FALSE(expected.logits.empty());
  ASSERT_FALSE(expected.tokens.empty());
  const size_t live = shim::liveObjects();
  uint64_t count = 0, told = 0;
  for (;; count += step) {
    SCOPED_TRACE("allocation " + std::to_string(count));
    failAllocation(count);
    SessionResult result = runSession(options);
    bool failed = allocationFailed();
    // Where a failure is not told, it made no difference: a step tried again, a sort that needs no buffer.
    if (result.code != LORAC_OK) {
      ++told;
      EXPECT_EQ(result.code, LORAC_OUT_OF_MEMORY) << result.call << ": " << result.message;
      EXPECT_NE(result.message.find("host memory"), std::string::npos)
          << result.call << ": " << result.message;
    }
    EXPECT_EQ(result.again, LORAC_OK) << result.call << ", again: " << result.againMessage;
    EXPECT_EQ(result.tokens, expected.tokens) << result.call;
    EXPECT_TRUE(result.logits == expected.logits) << result.call << ": other logits";
    EXPECT_EQ(shim::liveObjects(), live) << result.call;
    if (!failed || HasFailure())
      break;
  }
  std::printf("allocations 0 to %llu failed, every %llu; %llu failures were told\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(step),
              static_cast<unsigned long long>(told));
  EXPECT_GE(told, 100u);
}

TEST_F(AllocationFaults, EveryAllocationOfTextAndEngine) {
  TinyModel tiny = tinyModel();
  tiny.model.chat_template =
      "{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}\\n{% endfor %}";
  writeFiles(std::move(tiny), tinyAdapter("fault"));
  options.text = true;
  auto file = ModelFile::open(options.model);
  ASSERT_OK(file);
  // As lorac_engine_create does it, over a device of the tests.
  options.makeEngine = [&](lorac_model *, lorac_engine **engine, lorac_error *error) -> lorac_code {
    try {
      EngineOptions wanted;
      wanted.sequences = 4;
      wanted.poolBytes = 16384;
      Result<EnginePlan> plan = planEngine(**file, wanted);
      if (!plan)
        return LORAC_INTERNAL;
      auto made = Engine::create(*file, wanted, std::make_unique<FakeDevice>(**file, plan->symbols));
      auto text = ModelText::create(**file);
      if (!made || !text)
        return LORAC_INTERNAL;
      *engine = wrapEngine(*made, *text);
      return LORAC_OK;
    } catch (const std::bad_alloc &) {
      std::snprintf(error->message, sizeof error->message, "host memory ran out");
      return LORAC_OUT_OF_MEMORY;
    }
  };
  sweep(1);
}

/// Those of opening a device and running on it too. A session takes some milliseconds here, so only some
/// fail; LORAC_FAULT_STEP=1 fails all.
TEST_F(AllocationFaults, AllocationsOfAVulkanSession) {
  ASSERT_FALSE(listDevices().empty())
      << "no Vulkan device: install one, for instance Debian's mesa-vulkan-drivers";
  writeFiles(faultModel(), faultAdapter());
  const char *step = std::getenv("LORAC_FAULT_STEP");
  sweep(step ? std::max(1ull, std::strtoull(step, nullptr, 10)) : 7);
}

} // namespace
} // namespace lorac::test
