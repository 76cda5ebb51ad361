#include "runtime/device/Device.h"
#include "tests/support/StatusTest.h"

namespace lorac {
namespace {

TEST(DeviceSpec, ParsesKindIndexAndDenials) {
  auto plain = DeviceSpec::parse("auto");
  ASSERT_OK(plain);
  EXPECT_EQ(plain->kind, "auto");
  EXPECT_EQ(plain->index, -1);
  EXPECT_TRUE(plain->denied.empty());

  auto first = DeviceSpec::parse("vulkan");
  ASSERT_OK(first);
  EXPECT_EQ(first->kind, "vulkan");
  EXPECT_EQ(first->index, -1);

  auto full = DeviceSpec::parse("vulkan:12,deny=texel,deny=hostvisible,deny=texel");
  ASSERT_OK(full);
  EXPECT_EQ(full->index, 12);
  EXPECT_EQ(full->denied, (std::vector<std::string>{"texel", "hostvisible"}));

  auto denied = DeviceSpec::parse("auto,deny=subgroup,deny=storage");
  ASSERT_OK(denied);
  EXPECT_EQ(denied->denied, (std::vector<std::string>{"subgroup", "storage"}));

  auto cpu = DeviceSpec::parse("cpu:4");
  ASSERT_OK(cpu);
  EXPECT_EQ(cpu->kind, "cpu");
  EXPECT_EQ(cpu->index, 4);
}

TEST(DeviceSpec, RejectsUnknownKind) {
  EXPECT_STATUS(DeviceSpec::parse("metal"), Code::InvalidArgument,
                "there is no kind 'metal'; use auto or vulkan");
  EXPECT_STATUS(DeviceSpec::parse(""), Code::InvalidArgument, "there is no kind ''");
}

TEST(DeviceSpec, RejectsBadIndex) {
  for (const char *text : {"vulkan:", "vulkan:x", "vulkan:1x", "vulkan:-1", "vulkan:99999999999", "auto:0"})
    EXPECT_STATUS(DeviceSpec::parse(text), Code::InvalidArgument, "is no number that");
}

TEST(DeviceSpec, RejectsUnknownFeature) {
  EXPECT_STATUS(DeviceSpec::parse("vulkan,deny=rays"), Code::InvalidArgument,
                "there is no feature 'rays' to deny; use one of texel, subgroup, storage, hostvisible");
}

TEST(DeviceSpec, RejectsUnknownOption) {
  for (const char *text :
       {"vulkan,", "vulkan,texel", "vulkan,deny=texel,,deny=storage", "vulkan,allow=texel"})
    EXPECT_STATUS(DeviceSpec::parse(text), Code::InvalidArgument, "write deny=FEATURE");
}

} // namespace
} // namespace lorac
