//===- KernelRunner.h - kernels on a Vulkan device, without a model -*- C++ -*-===//
// What the kernels' benchmark and their tests on a device need: buffers, one pipeline a kernel, dispatches, a
// time. Everything made lives as long as the runner. Not for several threads.
#ifndef LORAC_BENCH_KERNELRUNNER_H
#define LORAC_BENCH_KERNELRUNNER_H

#include "compiler/kernels/KernelCompiler.h"

#include <vulkan/vulkan.h>

#include <cstring>
#include <deque>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace lorac::bench {

/// A Vulkan call that failed; says which.
struct VulkanFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class KernelRunner {
public:
  struct Buffer {
    VkBuffer handle;
    VkDeviceMemory memory;
    std::byte *data; ///< mapped, coherent
    size_t bytes;
  };
  /// Bytes of a buffer; offsets are multiples of 256.
  struct View {
    const Buffer *buffer;
    size_t offset, bytes;
    View(const Buffer *buffer) : buffer(buffer), offset(0), bytes(buffer->bytes) {}
    View(const Buffer *buffer, size_t offset, size_t bytes) : buffer(buffer), offset(offset), bytes(bytes) {}
  };
  struct Kernel {
    std::vector<VkFormat> formats; ///< of each binding; VK_FORMAT_UNDEFINED: a storage buffer
    VkDescriptorSetLayout setLayout;
    VkPipelineLayout layout;
    VkPipeline pipeline;
  };
  struct Dispatch {
    const Kernel *kernel;
    std::vector<View> views;
    std::vector<uint32_t> push;
    uint32_t x, y;
  };

  /// The first device. Throws VulkanFailure.
  KernelRunner();
  ~KernelRunner();
  KernelRunner(const KernelRunner &) = delete;
  KernelRunner &operator=(const KernelRunner &) = delete;

  /// Name and driver, as the driver gives them.
  const std::string &device() const { return deviceText; }
  /// Of a buffer view.
  size_t maxTexels() const { return texelLimit; }

  const Buffer *buffer(size_t bytes);
  template <typename T> const Buffer *upload(const std::vector<T> &values) {
    const Buffer *made = buffer(values.size() * sizeof(T));
    std::memcpy(made->data, values.data(), made->bytes);
    return made;
  }
  const Kernel *kernel(std::span<const uint32_t> spirv, std::vector<VkFormat> formats, size_t pushWords);
  /// A catalog kernel in one of its variants ("texel", "storage", "plain").
  const Kernel *kernel(const KernelRequest &request, std::string_view variant);
  /// Records the dispatches, with no barrier between them.
  VkCommandBuffer record(std::span<const Dispatch> dispatches);
  /// Seconds from before the submission to after the fence.
  double run(VkCommandBuffer commands);

private:
  VkBufferView texels(const View &view, VkFormat format);

  VkInstance instance = nullptr;
  VkPhysicalDevice physical = nullptr;
  VkDevice handle = nullptr;
  VkQueue queue = nullptr;
  VkCommandPool pool = nullptr;
  VkFence fence = nullptr;
  uint32_t memoryType = 0;
  size_t texelLimit = 0;
  std::string deviceText;
  std::deque<Buffer> buffers;
  std::deque<Kernel> kernels;
  std::vector<VkBufferView> views;
  std::vector<VkDescriptorPool> descriptorPools;
};

} // namespace lorac::bench

#endif // LORAC_BENCH_KERNELRUNNER_H
