// Every Vulkan call of a session fails once, with each code that Vulkan documents for it.
#include "tests/faults/FaultSession.h"
#include "tests/faults/FileCalls.h"
#include "tests/faults/VulkanShim.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include "runtime/device/vulkan/Instance.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

namespace lorac::test {
namespace {

class VulkanFaults : public testing::Test {
protected:
  void SetUp() override {
    auto instance = vulkan::Instance::create(false);
    ASSERT_OK(instance);
    auto devices = (*instance)->devices();
    ASSERT_OK(devices);
    ASSERT_FALSE(devices->empty())
        << "no Vulkan device: install one, for instance Debian's mesa-vulkan-drivers";
    Bytes model = faultModel().bytes(), bundle = faultAdapter().bytes();
    folder.write("fault.lorac", {reinterpret_cast<const char *>(model.data()), model.size()});
    folder.write("fault.lora", {reinterpret_cast<const char *>(bundle.data()), bundle.size()});
    options.model = folder.path("fault.lorac");
    options.bundle = folder.path("fault.lora");
    options.hasFailed = shim::fired;
    instance->reset();
    before = shim::liveObjects();
    expected = runSession(options);
    ASSERT_EQ(expected.code, LORAC_OK) << expected.call << ": " << expected.message;
    expectSoundResults();
    expectNothingLeft("the first session");
  }

  /// The reference itself: rows of the table plus the kernel's number, the bundle's values where it is on.
  void expectSoundResults() {
    ASSERT_EQ(expected.logits.size(), 6u * 16);
    ASSERT_EQ(expected.tokens.size(), 4u);
    auto row = [&](size_t index) { return expected.logits.data() + 16 * index; };
    float tag = row(0)[0] - 3 * 16;
    EXPECT_TRUE(tag == 100 || tag == 200 || tag == 300) << tag;
    for (size_t k = 0; k < 16; ++k) {
      const uint32_t tokens[] = {3, 4, 5, 6, 7, 8};
      for (size_t i = 0; i < 6; ++i) {
        // The image begins 32 bytes into the slot; the program reads from byte 256 on.
        float value = i == 2 && k < 8 ? float(224 / 4 + k) * 0.25f - 7 : float(tokens[i] * 16 + k);
        EXPECT_EQ(row(i)[k], value + tag) << "row " << i << ", column " << k;
      }
    }
  }

  void expectNothingLeft(const std::string &what) {
    EXPECT_EQ(shim::liveObjects(), before) << what;
    std::vector<std::string> misuse = shim::misuse();
    EXPECT_EQ(misuse.size(), misuseSeen) << what << ": " << misuse.back();
    misuseSeen = misuse.size();
  }

  void expectSame(const SessionResult &result, const std::string &what) {
    EXPECT_EQ(result.tokens, expected.tokens) << what;
    EXPECT_EQ(result.logits.size(), expected.logits.size()) << what;
    if (result.logits.size() != expected.logits.size())
      return;
    EXPECT_EQ(std::memcmp(result.logits.data(), expected.logits.data(), result.logits.size() * sizeof(float)),
              0)
        << what << ": other logits";
  }

  /// One fault; false where the session makes no such call.
  bool tryFault(const std::string &function, uint64_t call, VkResult code);
  void sweep(const shim::Function &function);
  void printCounts() const;

  TempFolder folder;
  SessionOptions options;
  SessionResult expected;
  std::map<std::string, uint64_t> calls; ///< that failed, by function
  size_t before = 0, misuseSeen = 0, faults = 0;
};

/// What a program is told for a result.
lorac_code codeFor(VkResult result) {
  switch (result) {
  case VK_ERROR_OUT_OF_HOST_MEMORY:
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
  case VK_ERROR_TOO_MANY_OBJECTS:
  case VK_ERROR_MEMORY_MAP_FAILED:
  case VK_ERROR_FRAGMENTATION:
  case VK_ERROR_FRAGMENTED_POOL:
  case VK_ERROR_OUT_OF_POOL_MEMORY:
    return LORAC_OUT_OF_MEMORY;
  case VK_ERROR_DEVICE_LOST:
    return LORAC_DEVICE_LOST;
  case VK_ERROR_INITIALIZATION_FAILED:
  case VK_ERROR_LAYER_NOT_PRESENT:
  case VK_ERROR_EXTENSION_NOT_PRESENT:
  case VK_ERROR_FEATURE_NOT_PRESENT:
  case VK_ERROR_INCOMPATIBLE_DRIVER:
    return LORAC_DEVICE_UNAVAILABLE;
  default:
    return LORAC_INTERNAL;
  }
}

bool VulkanFaults::tryFault(const std::string &function, uint64_t call, VkResult code) {
  const std::string what = function + " call " + std::to_string(call) + " gives " + std::to_string(code);
  SCOPED_TRACE(what);
  shim::arm(function, call, code);
  SessionResult result = runSession(options);
  if (!shim::disarm())
    return false;
  ++faults;
  expectNothingLeft(what);
  const bool ofCacheOnDisk = options.pipelineCache && function.find("PipelineCache") != std::string::npos;
  if (code >= 0 || function == "vkDeviceWaitIdle" || ofCacheOnDisk) {
    // Success of another kind, a call that only closes, or that only saves time: nothing of it is seen.
    EXPECT_EQ(result.code, LORAC_OK) << result.call << ": " << result.message;
    expectSame(result, what);
  } else if (result.failedInGenerate && result.code == LORAC_OK) {
    EXPECT_NE(codeFor(code), LORAC_DEVICE_LOST);
    expectSame(result, what);
  } else if (function == "vkWaitForFences") {
    // Nobody knows any more what the device does: whatever the reason, the session is over.
    EXPECT_EQ(result.code, LORAC_DEVICE_LOST) << result.call << ": " << result.message;
  } else {
    EXPECT_EQ(result.code, codeFor(code)) << result.call << ": " << result.message;
  }
  if (result.code != LORAC_OK) {
    bool driver = function == "vkCreateInstance" && code == VK_ERROR_INCOMPATIBLE_DRIVER;
    EXPECT_NE(result.message.find(driver ? "no driver" : function + " failed: "), std::string::npos)
        << result.message;
    EXPECT_NE(result.message.find("; "), std::string::npos)
        << "says nothing of what to do: " << result.message;
  }
  if (result.code == LORAC_DEVICE_LOST) {
    if (result.call != "engine_create" && result.call != "adapter_load") {
      EXPECT_EQ(result.again, LORAC_DEVICE_LOST) << "a later call: " << result.againMessage;
    }
  } else {
    // A failure has left everything as it was: the same call succeeded, and so did the rest.
    EXPECT_EQ(result.again, LORAC_OK) << result.call << ", again: " << result.againMessage;
    expectSame(result, what);
  }
  SessionResult fresh = runSession(options);
  EXPECT_EQ(fresh.code, LORAC_OK) << "a fresh session: " << fresh.call << ": " << fresh.message;
  expectSame(fresh, what + ", then a fresh session");
  expectNothingLeft(what + ", then a fresh session");
  return true;
}

TEST_F(VulkanFaults, TheValidationLayersOwnCalls) {
  setenv("LORAC_VULKAN_VALIDATION", "1", 1);
  SessionResult result = runSession(options);
  if (result.code == LORAC_OK) {
    expectSame(result, "with the layer");
    for (const shim::Function &function : shim::functions())
      if (function.name == "vkEnumerateInstanceLayerProperties" ||
          function.name == "vkCreateDebugUtilsMessengerEXT")
        for (VkResult code : function.codes) {
          EXPECT_TRUE(tryFault(function.name, 0, code)) << function.name;
        }
  }
  unsetenv("LORAC_VULKAN_VALIDATION");
  EXPECT_EQ(result.code, LORAC_OK) << result.message;
}

/// AddressSanitizer makes a session five times as long: there, later calls fail with one code each, and only
/// the first with all.
uint64_t limitFor(const shim::Function &function, VkResult code) {
#ifdef __SANITIZE_ADDRESS__
  return code == function.codes.front() ? UINT64_MAX : 1;
#else
  (void)function, (void)code;
  return UINT64_MAX;
#endif
}

/// All of a function's calls with all of its codes.
void VulkanFaults::sweep(const shim::Function &function) {
  for (VkResult code : function.codes)
    for (uint64_t call = 0; call < limitFor(function, code) && tryFault(function.name, call, code); ++call) {
      ASSERT_LT(call, 200u) << function.name;
      calls[function.name] = std::max(calls[function.name], call + 1);
    }
}

void VulkanFaults::printCounts() const {
  size_t sum = 0;
  for (const auto &[name, count] : calls)
    sum += count;
  std::printf("%zu faults in %zu calls of %zu functions, each followed by a fresh session\n", faults, sum,
              calls.size());
}

TEST_F(VulkanFaults, EveryCallWithEveryCode) {
  const std::set<std::string> elsewhere = {"vkEnumerateInstanceLayerProperties",
                                           "vkCreateDebugUtilsMessengerEXT", // the layer's
                                           "vkGetPipelineCacheData",         // a cache's on disk
                                           "vkCreateQueryPool",
                                           "vkDestroyQueryPool",
                                           "vkGetQueryPoolResults", // a profile's, which no session makes
                                           "vkFlushMappedMemoryRanges",
                                           "vkInvalidateMappedMemoryRanges"}; // memory that is not coherent
  for (const shim::Function &function : shim::functions()) {
    if (elsewhere.count(function.name) > 0)
      continue;
    sweep(function);
    EXPECT_GT(calls[function.name], 0u) << function.name << " is never called";
  }
  printCounts();
}

TEST_F(VulkanFaults, StagedAndFlushedMemory) {
  options.device = "vulkan,deny=hostvisible";
  shim::hideCoherence(true);
  const std::set<std::string> chosen = {"vkFlushMappedMemoryRanges",
                                        "vkInvalidateMappedMemoryRanges",
                                        "vkMapMemory",
                                        "vkBeginCommandBuffer",
                                        "vkEndCommandBuffer",
                                        "vkQueueSubmit"};
  for (const shim::Function &function : shim::functions())
    if (chosen.count(function.name) > 0) {
      sweep(function);
      EXPECT_GT(calls[function.name], 0u) << function.name << " is never called";
    }
  shim::hideCoherence(false);
  printCounts();
}

TEST_F(VulkanFaults, ThePipelineCacheOnDisk) {
  const std::string place = folder.path("cache");
  options.pipelineCache = place.c_str();
  expectSame(runSession(options), "with a cache"); // the file is there from now on
  for (const shim::Function &function : shim::functions())
    if (function.name == "vkGetPipelineCacheData" || function.name == "vkCreatePipelineCache") {
      sweep(function);
      EXPECT_GT(calls[function.name], 0u) << function.name << " is never called";
    }
  printCounts();
}

/// Whatever fails of the files, the session is as without a cache, and there is the old file, a whole new one
/// or none.
TEST_F(VulkanFaults, FilesOfThePipelineCache) {
  const std::string place = folder.path("cache");
  options.pipelineCache = place.c_str();
  ASSERT_EQ(runSession(options).code, LORAC_OK);
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(place))
    names.push_back("cache/" + entry.path().filename().string());
  ASSERT_EQ(names.size(), 1u);
  const std::string whole = folder.read(names[0]), old = "an old file";
  const std::vector<std::pair<std::string, int>> kinds = {
      {"open", EACCES},   {"open", ENFILE},      {"fstat", EIO},     {"pwrite", ENOSPC},
      {"pwrite", EDQUOT}, {"pwrite", ZeroWrite}, {"fsync", EIO},     {"linkat", EROFS},
      {"close", EIO},     {"rename", EACCES},    {"mkostemp", EROFS}};
  size_t tried = 0;
  for (bool hidden : {false, true})
    for (const auto &[function, error] : kinds)
      for (uint64_t call = 0;; ++call) {
        SCOPED_TRACE(function + " " + std::to_string(call) + ": " + std::to_string(error));
        folder.write(names[0], old);
        hideTemporaryFiles(hidden);
        // The model's file comes first and the bundle's third: what fails of them is told of
        // (FileFaults.cpp).
        const bool reads = function == "open" || function == "fstat" || function == "close";
        if (reads && (call == 0 || call == 2))
          continue;
        failFile(function, call, error);
        SessionResult result = runSession(options);
        const bool failed = fileFailed();
        hideTemporaryFiles(false);
        EXPECT_EQ(result.code, LORAC_OK) << result.call << ": " << result.message;
        expectSame(result, function);
        const std::string now = folder.read(names[0]);
        EXPECT_TRUE(now == whole || (failed && now == old)) << now.size() << " bytes";
        if (!failed)
          break;
        ++tried;
      }
  EXPECT_GE(tried, 15u);
}

} // namespace
} // namespace lorac::test
