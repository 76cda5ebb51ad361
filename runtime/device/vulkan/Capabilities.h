//===- Capabilities.h - a device as plain values ----------------*- C++ -*-===//
// What planDevice decides from. Read once from a driver (Instance.h), or written as a literal by a test.
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_CAPABILITIES_H
#define LORAC_RUNTIME_DEVICE_VULKAN_CAPABILITIES_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::vulkan {

/// In the order in which `auto` prefers them.
enum class DeviceClass { Discrete, Integrated, Virtual, Cpu, Other };

struct MemoryType {
  uint32_t heap = 0;
  bool deviceLocal = false;
  bool hostVisible = false;
  bool hostCoherent = false;
  bool hostCached = false;
};

/// What compiled kernels belong to: none of another driver or device is of any use.
struct DriverIdentity {
  uint32_t vendor = 0;
  uint32_t device = 0;
  uint32_t driverVersion = 0;
  std::array<uint8_t, 16> cacheUuid = {};
  bool operator==(const DriverIdentity &) const = default;
};

struct DeviceCaps {
  std::string name;
  std::string driver; ///< as the driver calls itself and its version
  DriverIdentity identity;
  DeviceClass deviceClass = DeviceClass::Other;
  uint32_t spirvVersion = 0x00010300; ///< newest that the device's API version takes, as in a module's header

  uint32_t maxTexelBufferElements = 65536;
  uint64_t maxStorageBufferRange = 128ull << 20;
  uint64_t maxMemoryAllocationSize = 1ull << 30;
  uint64_t maxBufferSize = UINT64_MAX;
  uint32_t maxPushConstantsSize = 128;
  uint32_t maxStorageBuffersPerStage = 4;
  uint32_t maxTexelBuffersPerStage = 16;
  std::array<uint32_t, 3> maxWorkGroupCount = {65535, 65535, 65535};
  std::array<uint32_t, 3> maxWorkGroupSize = {128, 128, 64};
  uint32_t maxWorkGroupInvocations = 128;
  uint32_t maxSharedMemorySize = 16384;
  uint64_t nonCoherentAtomSize = 256;
  /// What pages of the host that become device memory are aligned to (VK_EXT_external_memory_host); 0: none
  /// do.
  uint64_t hostPageAlignment = 0;
  uint32_t timestampBits = 0; ///< that count of a timestamp of the compute queue; 0: it has none
  float timestampPeriod = 1;  ///< nanoseconds of one tick

  bool isLavapipe = false; ///< Mesa's CPU device: what is known of no other one
  /// Groups of one dispatch that run at the same time may wait for each other, and see what the others write
  /// by any kind of load (docs/decisions/0019).
  bool groupsMeet = false;
  bool texelFormats = false; ///< uniform texel buffers of all four element formats
  bool robustBufferAccess = false;
  uint32_t subgroupSize = 1;
  bool subgroupInCompute = false;
  bool subgroupBasic = false;
  bool subgroupVote = false;
  bool subgroupArithmetic = false;
  bool subgroupBallot = false;
  bool subgroupShuffle = false;
  bool subgroupShuffleRelative = false;
  bool subgroupClustered = false;
  bool subgroupQuad = false;

  std::vector<MemoryType> memoryTypes;
  std::vector<uint64_t> heaps;             ///< bytes
  uint32_t bufferMemoryTypes = UINT32_MAX; ///< bit i: memory type i takes the buffers that Lorac makes

  /// From `--device …,deny=`: names of schemas/Features.def, hostvisible or chains.
  std::vector<std::string> denied;
  bool denies(const std::string &feature) const;
  /// Subgroups of at least 8 lanes with the operations that Features.def names, in compute shaders.
  bool hasSubgroups() const;
  /// Names of schemas/Features.def that the device offers at all (a variant's sizes may still not fit).
  std::vector<std::string> features() const;
  /// Bytes of the largest heap that device-local memory lies in.
  uint64_t deviceMemory() const;
};

/// DeviceCaps::groupsMeet of lavapipe, by what it says of itself ("Mesa 25.0.7-2 (LLVM 15.0.6)"; its version
/// number is always 1). It runs groups on threads of their own, and its loads are loads; but 22.3.6 ends all
/// loops of a shader once they have turned 65,535 times together. 25.0.7 does not.
bool groupsMeetIn(std::string_view driverInfo);

/// What a heap of a device holds that says `stated` bytes, on a machine of `host` bytes. A CPU device's heap
/// is the machine's memory, whatever it says: lavapipe of Mesa 22 says 2 GiB on every machine, and gives
/// more.
uint64_t heapBytes(DeviceClass deviceClass, uint64_t stated, uint64_t host);

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_CAPABILITIES_H
