//===- PipelineCache.h - compiled pipelines on disk -------------*- C++ -*-===//
// A driver believes what it is given as the data of a pipeline cache, so they are verified before it sees
// them: a header of Lorac's says which driver wrote them and what their digest is. Nothing here is an error
// to anyone: without a file of use, pipelines are made anew.
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_PIPELINECACHE_H
#define LORAC_RUNTIME_DEVICE_VULKAN_PIPELINECACHE_H

#include "runtime/device/vulkan/Capabilities.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lorac::vulkan::pipelinecache {

/// Of a driver's data. A cache that outgrows it begins anew.
constexpr uint64_t MaxDataBytes = 64ull << 20;

/// Before the data, little-endian as all that Lorac writes.
struct Header {
  char magic[4]; ///< "LRPC"
  uint32_t version;
  uint32_t vendor;
  uint32_t device;
  uint32_t driverVersion;
  uint32_t reserved; ///< 0
  uint8_t cacheUuid[16];
  uint64_t dataBytes; ///< to the end of the file
  uint8_t digest[32]; ///< SHA-256 of the header up to here, then the data
};
static_assert(sizeof(Header) == 80);
constexpr uint32_t Version = 1;

/// The file of a device in `folder`; its driver and version stand inside, so that a new one takes its place.
std::string filePath(const std::string &folder, const DriverIdentity &identity);

/// The driver's data in the bytes of a file; empty where they are not whole or another driver's.
std::span<const uint8_t> decode(std::span<const uint8_t> file, const DriverIdentity &identity);
std::vector<uint8_t> encode(std::span<const uint8_t> data, const DriverIdentity &identity);

/// The data in the file of a device; empty where there are none of use.
std::vector<uint8_t> read(const std::string &folder, const DriverIdentity &identity);
/// Replaces the file of a device, or removes it where the data are too large. Where that cannot be done, all
/// stays as it was.
void write(const std::string &folder, const DriverIdentity &identity, std::span<const uint8_t> data);

} // namespace lorac::vulkan::pipelinecache

#endif // LORAC_RUNTIME_DEVICE_VULKAN_PIPELINECACHE_H
