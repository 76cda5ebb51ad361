// Mesa's driver forgets 128 bytes each time that it is unloaded, in a library that is gone by the time
// LeakSanitizer wants to name it, so no suppression would match. One instance that lives as long as the test
// process keeps the driver loaded; whatever Lorac itself forgets is still reported.
#include "runtime/device/vulkan/Instance.h"

#include <gtest/gtest.h>

namespace lorac::vulkan {
namespace {

std::shared_ptr<Instance> *kept = nullptr; // still reachable when leaks are looked for

class KeepDriver final : public testing::Environment {
public:
  void SetUp() override {
    auto instance = Instance::create(false);
    if (!instance) // no loader or no driver: nothing to keep
      return;
    kept = new std::shared_ptr<Instance>(*instance);
    EXPECT_TRUE((*kept)->devices().isOk()); // loads what is loaded late
  }
};

[[maybe_unused]] testing::Environment *const registered = testing::AddGlobalTestEnvironment(new KeepDriver);

} // namespace
} // namespace lorac::vulkan
