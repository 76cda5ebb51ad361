//===- VulkanShim.h - a Vulkan loader whose calls can fail ------*- C++ -*-===//
// The shim stands in for libvulkan.so.1: it hands every call to the real loader, unless the call is the one
// that shall fail, and keeps a table of what lives. A test program that links it makes the runtime's
// dlopen("libvulkan.so.1") find it, by its soname; for `lorac` its folder goes into LD_LIBRARY_PATH, and
//   LORAC_SHIM_FAULT=vkQueueSubmit:3:-4   the fourth vkQueueSubmit of the process fails with VkResult -4
//   LORAC_SHIM_REPORT=FILE                what report() gives, written when the process ends
// A device whose call failed with VK_ERROR_DEVICE_LOST stays lost: all of its calls that can say so do.
#ifndef LORAC_TESTS_FAULTS_VULKANSHIM_H
#define LORAC_TESTS_FAULTS_VULKANSHIM_H

#include "runtime/device/vulkan/Api.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::shim {

/// A function that returns VkResult, and what Vulkan's registry (vk.xml, 1.3.239) says that it may return but
/// VK_SUCCESS.
struct Function {
  std::string name;
  std::vector<VkResult> codes;
};
const std::vector<Function> &functions();

/// From now on the call number `call` (from 0) of `function` gives `code`. VK_INCOMPLETE counts only calls
/// that ask for elements, as only those can give it.
void arm(const std::string &function, uint64_t call, VkResult code);
/// True where the armed call came.
bool fired();
/// Nothing fails any more. True where the armed call came.
bool disarm();

/// Devices say that none of their memory is coherent, so that it has to be flushed.
void hideCoherence(bool hide);

/// Objects that were created and not destroyed.
size_t liveObjects();
/// Misuse since the process began: objects that outlived their device or instance, objects destroyed twice or
/// never created, memory mapped twice. One line each.
std::vector<std::string> misuse();
/// "fired 1\nlive 0\n", then the lines of misuse.
std::string report();

/// True on a thread that is inside a Vulkan call: what the driver allocates is not Lorac's.
bool insideDriver();

} // namespace lorac::shim

#endif // LORAC_TESTS_FAULTS_VULKANSHIM_H
