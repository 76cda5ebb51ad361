//===- TexelFormat.h - elements as texels -----------------------*- C++ -*-===//
#ifndef LORAC_RUNTIME_DEVICE_VULKAN_TEXELFORMAT_H
#define LORAC_RUNTIME_DEVICE_VULKAN_TEXELFORMAT_H

#include "schemas/model_generated.h"

#include <vulkan/vulkan_core.h>

namespace lorac::vulkan {

/// The format of a texel buffer of such elements; every device reads those of all of them.
inline VkFormat texelFormat(fbs::Element element) {
  switch (element) {
  case fbs::Element::U32:
    return VK_FORMAT_R32_UINT;
  case fbs::Element::U32x2:
    return VK_FORMAT_R32G32_UINT;
  case fbs::Element::U32x4:
    return VK_FORMAT_R32G32B32A32_UINT;
  case fbs::Element::F32:
    return VK_FORMAT_R32_SFLOAT;
  case fbs::Element::F32x4:
    break;
  }
  return VK_FORMAT_R32G32B32A32_SFLOAT;
}

} // namespace lorac::vulkan

#endif // LORAC_RUNTIME_DEVICE_VULKAN_TEXELFORMAT_H
