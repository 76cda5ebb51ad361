//===- PipelineCache.cpp - compiled pipelines on disk -----------------------===//
#include "runtime/device/vulkan/PipelineCache.h"

#include "support/Digest.h"
#include "support/Files.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace lorac::vulkan::pipelinecache {

static_assert(std::endian::native == std::endian::little, "headers are read and written as they lie");

namespace {

constexpr std::array<char, 4> Magic = {'L', 'R', 'P', 'C'};

Digest digestOf(const Header &header, std::span<const uint8_t> data) {
  Sha256 hash;
  hash.update(&header, offsetof(Header, digest));
  hash.update(data.data(), data.size());
  return hash.finish();
}

/// Vulkan's own header of the data: whoever wrote them, they must say that they are this driver's.
bool namesDriver(std::span<const uint8_t> data, const DriverIdentity &identity) {
  VkPipelineCacheHeaderVersionOne inner;
  if (data.size() < sizeof inner)
    return false;
  uint32_t version; // an enum, and the file may hold a number that is none
  std::memcpy(&version, data.data() + offsetof(VkPipelineCacheHeaderVersionOne, headerVersion),
              sizeof version);
  if (version != VK_PIPELINE_CACHE_HEADER_VERSION_ONE)
    return false;
  std::memcpy(&inner, data.data(), sizeof inner);
  return inner.headerSize >= sizeof inner && inner.headerSize <= data.size() &&
         inner.vendorID == identity.vendor && inner.deviceID == identity.device &&
         std::equal(identity.cacheUuid.begin(), identity.cacheUuid.end(), inner.pipelineCacheUUID);
}

} // namespace

std::string filePath(const std::string &folder, const DriverIdentity &identity) {
  std::array<char, 64> name;
  (void)std::snprintf(name.data(), name.size(), "/vulkan-%08x-%08x.pipelines", identity.vendor,
                      identity.device);
  return folder + name.data();
}

std::span<const uint8_t> decode(std::span<const uint8_t> file, const DriverIdentity &identity) {
  Header header;
  if (file.size() < sizeof header)
    return {};
  std::memcpy(&header, file.data(), sizeof header);
  std::span<const uint8_t> data = file.subspan(sizeof header);
  bool known = std::equal(Magic.begin(), Magic.end(), header.magic) && header.version == Version &&
               header.reserved == 0;
  bool mine = header.vendor == identity.vendor && header.device == identity.device &&
              header.driverVersion == identity.driverVersion &&
              std::equal(identity.cacheUuid.begin(), identity.cacheUuid.end(), header.cacheUuid);
  if (!known || !mine || header.dataBytes != data.size() || data.size() > MaxDataBytes ||
      !namesDriver(data, identity))
    return {};
  Digest digest = digestOf(header, data);
  return std::equal(digest.begin(), digest.end(), header.digest) ? data : std::span<const uint8_t>();
}

std::vector<uint8_t> encode(std::span<const uint8_t> data, const DriverIdentity &identity) {
  Header header = {};
  std::copy(Magic.begin(), Magic.end(), header.magic);
  header.version = Version;
  header.vendor = identity.vendor;
  header.device = identity.device;
  header.driverVersion = identity.driverVersion;
  std::copy(identity.cacheUuid.begin(), identity.cacheUuid.end(), header.cacheUuid);
  header.dataBytes = data.size();
  Digest digest = digestOf(header, data);
  std::copy(digest.begin(), digest.end(), header.digest);
  std::vector<uint8_t> file(sizeof header + data.size());
  std::memcpy(file.data(), &header, sizeof header);
  std::copy(data.begin(), data.end(), file.begin() + sizeof header);
  return file;
}

std::vector<uint8_t> read(const std::string &folder, const DriverIdentity &identity) {
  Result<std::vector<uint8_t>> file = readFile(filePath(folder, identity), sizeof(Header) + MaxDataBytes);
  if (!file)
    return {};
  std::span<const uint8_t> data = decode(*file, identity);
  return {data.begin(), data.end()};
}

void write(const std::string &folder, const DriverIdentity &identity, std::span<const uint8_t> data) {
  const std::string path = filePath(folder, identity);
  std::error_code ignored;
  if (data.size() > MaxDataBytes) {
    std::filesystem::remove(path, ignored);
    return;
  }
  std::filesystem::create_directories(folder, ignored);
  std::vector<uint8_t> bytes = encode(data, identity);
  Result<AtomicFile> file = AtomicFile::create(path);
  if (file && file->write(bytes).isOk())
    (void)file->commit();
}

} // namespace lorac::vulkan::pipelinecache
