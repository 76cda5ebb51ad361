//===- Capabilities.cpp - what follows from a device's values ---------------===//
#include "runtime/device/vulkan/Capabilities.h"

#include <algorithm>
#include <charconv>

namespace lorac::vulkan {

bool DeviceCaps::denies(const std::string &feature) const {
  return std::find(denied.begin(), denied.end(), feature) != denied.end();
}

bool DeviceCaps::hasSubgroups() const {
  return subgroupSize >= 8 && subgroupInCompute && subgroupBasic && subgroupBallot && subgroupShuffle &&
         subgroupArithmetic;
}

std::vector<std::string> DeviceCaps::features() const {
  std::vector<std::string> names;
  if (texelFormats)
    names.push_back("texel");
  if (hasSubgroups())
    names.push_back("subgroup");
  names.push_back("storage");
  std::erase_if(names, [&](const std::string &name) { return denies(name); });
  return names;
}

uint64_t DeviceCaps::deviceMemory() const {
  uint64_t largest = 0;
  for (const MemoryType &type : memoryTypes)
    if (type.deviceLocal)
      largest = std::max(largest, heaps[type.heap]);
  return largest;
}

bool groupsMeetIn(std::string_view driverInfo) {
  constexpr std::string_view Name = "Mesa ";
  constexpr unsigned FirstMajor = 25;
  unsigned major = 0;
  if (driverInfo.starts_with(Name))
    std::from_chars(driverInfo.data() + Name.size(), driverInfo.data() + driverInfo.size(), major);
  return major >= FirstMajor;
}

uint64_t heapBytes(DeviceClass deviceClass, uint64_t stated, uint64_t host) {
  return deviceClass == DeviceClass::Cpu ? std::max(stated, host) : stated;
}

} // namespace lorac::vulkan
