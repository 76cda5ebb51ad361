// What stands on disk is a stranger's until it is proven to be this driver's, whole: each byte of it is
// changed once. The same with a driver: Vulkan.cpp, PipelineCache*.
#include "runtime/device/vulkan/PipelineCache.h"

#include "tests/support/TempFolder.h"

#include <gtest/gtest.h>

#include <cstring>

namespace lorac::vulkan::pipelinecache {
namespace {

const DriverIdentity Mine = {0x10005, 7, 42, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/// What a driver gives: Vulkan's header (32 bytes: size, version, vendor, device, UUID), then `count` bytes.
std::vector<uint8_t> driverData(size_t count, const DriverIdentity &identity = Mine) {
  std::vector<uint8_t> data(32 + count);
  const uint32_t words[] = {32, 1, identity.vendor, identity.device};
  std::memcpy(data.data(), words, sizeof words);
  std::memcpy(data.data() + 16, identity.cacheUuid.data(), 16);
  for (size_t i = 0; i < count; ++i)
    data[32 + i] = uint8_t(i * 31 + 5);
  return data;
}

std::vector<uint8_t> taken(const std::vector<uint8_t> &file, const DriverIdentity &identity = Mine) {
  std::span<const uint8_t> data = decode(file, identity);
  return {data.begin(), data.end()};
}

TEST(PipelineCache, GivesBackWhatItWasGiven) {
  for (size_t count : {0, 1, 100, 4096})
    EXPECT_EQ(taken(encode(driverData(count), Mine)), driverData(count)) << count;
}

TEST(PipelineCache, HasThisHeader) {
  const std::vector<uint8_t> file = encode(driverData(3), Mine);
  ASSERT_EQ(file.size(), 80u + 35);
  const std::vector<uint8_t> head = {'L', 'R', 'P', 'C', 1,  0,  0,  0,  5,  0, 1, 0, 7, 0, 0, 0,
                                     42,  0,   0,   0,   0,  0,  0,  0,  1,  2, 3, 4, 5, 6, 7, 8,
                                     9,   10,  11,  12,  13, 14, 15, 16, 35, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::vector<uint8_t>(file.begin(), file.begin() + 48), head);
}

TEST(PipelineCache, IgnoresAnyChangedByte) {
  const std::vector<uint8_t> file = encode(driverData(40), Mine);
  for (size_t at = 0; at < file.size(); ++at)
    for (uint8_t bit : {0x01, 0x80}) {
      std::vector<uint8_t> changed = file;
      changed[at] ^= bit;
      EXPECT_TRUE(taken(changed).empty()) << "byte " << at;
    }
}

TEST(PipelineCache, IgnoresOtherLengths) {
  std::vector<uint8_t> file = encode(driverData(40), Mine);
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_TRUE(taken({file.begin(), file.begin() + ptrdiff_t(size)}).empty()) << size;
  file.push_back(0);
  EXPECT_TRUE(taken(file).empty());
}

TEST(PipelineCache, IgnoresAnotherDriversFile) {
  const std::vector<uint8_t> file = encode(driverData(40), Mine);
  DriverIdentity vendor = Mine, device = Mine, version = Mine, uuid = Mine;
  ++vendor.vendor;
  ++device.device;
  ++version.driverVersion;
  ++uuid.cacheUuid[15];
  for (const DriverIdentity &other : {vendor, device, version, uuid})
    EXPECT_TRUE(taken(file, other).empty());
}

/// The file is whole and says that it is this driver's; what it holds does not.
TEST(PipelineCache, IgnoresAnotherDriversData) {
  DriverIdentity vendor = Mine, device = Mine, uuid = Mine;
  ++vendor.vendor;
  ++device.device;
  ++uuid.cacheUuid[0];
  for (const DriverIdentity &other : {vendor, device, uuid})
    EXPECT_TRUE(taken(encode(driverData(40, other), Mine)).empty());
  for (uint32_t size : {0u, 31u, 73u, UINT32_MAX}) { // of a header, in 72 bytes
    std::vector<uint8_t> data = driverData(40);
    std::memcpy(data.data(), &size, 4);
    EXPECT_TRUE(taken(encode(data, Mine)).empty()) << size;
  }
  std::vector<uint8_t> data = driverData(40);
  data[4] = 2; // version of the header
  EXPECT_TRUE(taken(encode(data, Mine)).empty());
  EXPECT_TRUE(taken(encode(std::vector<uint8_t>(31), Mine)).empty());
}

TEST(PipelineCache, TakesDataUpToItsLimit) {
  test::TempFolder folder;
  const std::string place = folder.path("");
  std::vector<uint8_t> data = driverData(MaxDataBytes - 32);
  write(place, Mine, data);
  EXPECT_TRUE(read(place, Mine) == data);
  data.push_back(0);
  EXPECT_TRUE(decode(encode(data, Mine), Mine).empty());
  // One that has outgrown the limit makes room for a new one.
  write(place, Mine, data);
  EXPECT_TRUE(folder.files().empty());
  EXPECT_TRUE(read(place, Mine).empty());
}

TEST(PipelineCache, MakesItsFolder) {
  test::TempFolder folder;
  const std::string place = folder.path("a/b");
  EXPECT_TRUE(read(place, Mine).empty());
  write(place, Mine, driverData(5));
  EXPECT_EQ(read(place, Mine), driverData(5));
  EXPECT_EQ(filePath(place, Mine), place + "/vulkan-00010005-00000007.pipelines");
  write(place, Mine, driverData(6));
  EXPECT_EQ(read(place, Mine), driverData(6));
}

TEST(PipelineCache, DoesWithoutAPlace) {
  test::TempFolder folder;
  folder.write("file", "text");
  for (const std::string &place : {folder.path("file"), std::string("/proc/lorac"), std::string("\0", 1)}) {
    write(place, Mine, driverData(5));
    EXPECT_TRUE(read(place, Mine).empty()) << place;
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"file"});
  EXPECT_EQ(folder.read("file"), "text");
}

TEST(PipelineCache, LeavesWhatIsNoFileAlone) {
  test::TempFolder folder;
  const std::string place = folder.path("");
  std::filesystem::create_directories(filePath(place, Mine) + "/inside");
  write(place, Mine, driverData(5));
  EXPECT_TRUE(read(place, Mine).empty());
  EXPECT_TRUE(std::filesystem::is_directory(filePath(place, Mine) + "/inside"));
}

} // namespace
} // namespace lorac::vulkan::pipelinecache
