//===- VulkanShim.cpp - a Vulkan loader whose calls can fail ----------------===//
#include "tests/faults/VulkanShim.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <type_traits>

namespace lorac::shim {
namespace {

// Every function that Lorac calls, so that none is forgotten when Api.h grows.
#define LORAC_SHIM_FUNCTIONS(X)                                                                              \
  LORAC_VULKAN_GLOBAL_FUNCTIONS(X)                                                                           \
  LORAC_VULKAN_INSTANCE_FUNCTIONS(X)                                                                         \
  LORAC_VULKAN_DEVICE_FUNCTIONS(X)                                                                           \
  X(vkCreateDebugUtilsMessengerEXT)                                                                          \
  X(vkDestroyDebugUtilsMessengerEXT)

enum Id : unsigned {
#define LORAC_SHIM_ID(NAME) Id_##NAME,
  LORAC_SHIM_FUNCTIONS(LORAC_SHIM_ID)
#undef LORAC_SHIM_ID
      IdCount
};
constexpr const char *Names[] = {
#define LORAC_SHIM_NAME(NAME) #NAME,
    LORAC_SHIM_FUNCTIONS(LORAC_SHIM_NAME)
#undef LORAC_SHIM_NAME
};

/// What lives is known by the function that made it and by its handle.
using Object = std::pair<const char *, uint64_t>;
template <typename T> constexpr const char *TypeName = "object";
#define LORAC_SHIM_TYPE(T) template <> constexpr const char *TypeName<T> = #T;
LORAC_SHIM_TYPE(VkInstance)
LORAC_SHIM_TYPE(VkDevice)
LORAC_SHIM_TYPE(VkBuffer)
LORAC_SHIM_TYPE(VkDeviceMemory)
LORAC_SHIM_TYPE(VkBufferView)
LORAC_SHIM_TYPE(VkShaderModule)
LORAC_SHIM_TYPE(VkDescriptorSetLayout)
LORAC_SHIM_TYPE(VkPipelineLayout)
LORAC_SHIM_TYPE(VkPipelineCache)
LORAC_SHIM_TYPE(VkPipeline)
LORAC_SHIM_TYPE(VkDescriptorPool)
LORAC_SHIM_TYPE(VkCommandPool)
LORAC_SHIM_TYPE(VkFence)
LORAC_SHIM_TYPE(VkDebugUtilsMessengerEXT)
#undef LORAC_SHIM_TYPE

template <typename T> Object objectOf(T handle) { return {TypeName<T>, (uint64_t)handle}; }

struct Fault {
  std::string function;
  uint64_t call = 0;
  VkResult code = VK_SUCCESS;
  uint64_t seen = 0;
  bool fired = false;
};

struct State {
  std::mutex mutex;
  Fault fault;
  std::set<VkDevice> lost;
  std::map<VkQueue, VkDevice> queues;
  std::map<Object, Object> live; // to the parent
  std::set<VkDeviceMemory> mapped;
  std::vector<std::string> misuse;
  bool incoherent = false;

  State() {
    if (const char *text = std::getenv("LORAC_SHIM_FAULT")) {
      char name[64];
      unsigned long long call;
      int code;
      if (std::sscanf(text, "%63[^:]:%llu:%d", name, &call, &code) == 3)
        fault = {name, call, VkResult(code)};
    }
  }
};

/// Never destroyed: drivers call until the process is gone.
State &state() {
  static State *const only = new State;
  return *only;
}

thread_local int driverDepth = 0;
struct InDriver {
  InDriver() { ++driverDepth; }
  ~InDriver() { --driverDepth; }
};

void *realLibrary() {
  static void *const library = [] {
    const char *path = std::getenv("LORAC_SHIM_LOADER");
    return dlopen(path ? path : LORAC_SHIM_REAL_LOADER, RTLD_NOW | RTLD_LOCAL);
  }();
  return library;
}

PFN_vkGetInstanceProcAddr realEntry() {
  static const auto entry = reinterpret_cast<PFN_vkGetInstanceProcAddr>(
      realLibrary() ? dlsym(realLibrary(), "vkGetInstanceProcAddr") : nullptr);
  return entry;
}

/// The loader exports one trampoline a core function, right for every instance and device. Extensions have
/// none.
PFN_vkVoidFunction realFunctions[IdCount];

// ---- which device a call is about ----

VkDevice deviceOf(...) { return VK_NULL_HANDLE; }
template <typename... Rest> VkDevice deviceOf(VkDevice device, Rest...) { return device; }
template <typename... Rest> VkDevice deviceOf(VkQueue queue, Rest...) {
  auto found = state().queues.find(queue);
  return found == state().queues.end() ? VK_NULL_HANDLE : found->second;
}

// ---- what a successful call made ----

void created(...) {}
template <typename Parent, typename Info, typename T>
void created(Parent parent, const Info *, const VkAllocationCallbacks *, T *out) {
  state().live[objectOf(*out)] = objectOf(parent);
}
void created(const VkInstanceCreateInfo *, const VkAllocationCallbacks *, VkInstance *out) {
  state().live[objectOf(*out)] = {};
}
void created(VkPhysicalDevice, const VkDeviceCreateInfo *, const VkAllocationCallbacks *, VkDevice *out) {
  state().live[objectOf(*out)] = {};
}
void created(VkDevice device, VkPipelineCache, uint32_t count, const VkComputePipelineCreateInfo *,
             const VkAllocationCallbacks *, VkPipeline *out) {
  for (uint32_t i = 0; i < count; ++i)
    state().live[objectOf(out[i])] = objectOf(device);
}
void created(VkDevice, VkDeviceMemory memory, VkDeviceSize, VkDeviceSize, VkMemoryMapFlags, void **) {
  if (!state().mapped.insert(memory).second)
    state().misuse.push_back("memory is mapped twice");
}

// ---- what a call is about to destroy ----

void noteDestroyed(const Object &object) {
  if (object.second != 0 && state().live.erase(object) == 0)
    state().misuse.push_back(std::string(object.first) + " is destroyed, but does not live");
}
void noteOrphans(const Object &parent) {
  for (const auto &[object, owner] : state().live)
    if (owner == parent)
      state().misuse.push_back(std::string(object.first) + " outlives its " + parent.first);
}
void destroying(...) {}
template <typename Parent, typename T> void destroying(Parent, T object, const VkAllocationCallbacks *) {
  noteDestroyed(objectOf(object));
  if constexpr (std::is_same_v<T, VkDeviceMemory>)
    state().mapped.erase(object);
}
void destroying(VkDevice device, const VkAllocationCallbacks *) {
  noteOrphans(objectOf(device));
  noteDestroyed(objectOf(device));
  state().lost.erase(device);
}
void destroying(VkInstance instance, const VkAllocationCallbacks *) {
  noteOrphans(objectOf(instance));
  noteDestroyed(objectOf(instance));
}
void gotten(...) {}
void gotten(VkPhysicalDevice, VkPhysicalDeviceMemoryProperties *properties) {
  for (uint32_t i = 0; state().incoherent && i < properties->memoryTypeCount; ++i)
    properties->memoryTypes[i].propertyFlags &= ~VkMemoryPropertyFlags(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
}
void gotten(VkDevice device, uint32_t, uint32_t, VkQueue *queue) { state().queues[*queue] = device; }

// ---- what a failed call leaves in its out parameter: nothing that may be used ----

void spoil(...) {}
template <typename Parent, typename Info, typename T>
void spoil(Parent, const Info *, const VkAllocationCallbacks *, T *out) {
  *out = T(uintptr_t(0xdeadbeef0));
}
void spoil(const VkInstanceCreateInfo *, const VkAllocationCallbacks *, VkInstance *out) {
  *out = VkInstance(uintptr_t(0xdeadbeef0));
}
void spoil(VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize, VkMemoryMapFlags, void **out) {
  *out = reinterpret_cast<void *>(uintptr_t(0xdeadbeef0));
}

template <typename... Arguments> bool asksForElements(Arguments... arguments) {
  bool last = false;
  auto look = [&last](auto argument) {
    if constexpr (std::is_pointer_v<decltype(argument)>)
      last = argument != nullptr;
  };
  (look(arguments), ...);
  return last;
}

/// Calls whose failure still lets the work take place, or the command buffer change its state.
bool happensAnyway(Id id, VkResult code) {
  return id == Id_vkEndCommandBuffer || id == Id_vkDeviceWaitIdle || (id == Id_vkWaitForFences && code < 0) ||
         code == VK_INCOMPLETE;
}

bool canBeLost(Id id) {
  return id == Id_vkQueueSubmit || id == Id_vkWaitForFences || id == Id_vkDeviceWaitIdle;
}

template <unsigned Function, typename Pointer> struct Wrapper;
template <unsigned Function, typename R, typename... Arguments>
struct Wrapper<Function, R(VKAPI_PTR *)(Arguments...)> {
  static R VKAPI_CALL call(Arguments... arguments) {
    InDriver inside;
    const auto real = reinterpret_cast<R(VKAPI_PTR *)(Arguments...)>(realFunctions[Function]);
    if constexpr (std::is_same_v<R, VkResult>) {
      std::optional<VkResult> fault;
      {
        std::lock_guard lock(state().mutex);
        VkDevice device = deviceOf(arguments...);
        Fault &armed = state().fault;
        if (armed.code != VK_SUCCESS && !armed.fired && armed.function == Names[Function] &&
            (armed.code != VK_INCOMPLETE || asksForElements(arguments...)) && armed.seen++ == armed.call) {
          armed.fired = true;
          fault = armed.code;
          if (*fault == VK_ERROR_DEVICE_LOST && device != VK_NULL_HANDLE)
            state().lost.insert(device);
        }
        if (canBeLost(Id(Function)) && state().lost.count(device) > 0)
          fault = VK_ERROR_DEVICE_LOST;
      }
      if (fault && !happensAnyway(Id(Function), *fault)) {
        if (*fault < 0)
          spoil(arguments...);
        return *fault;
      }
      VkResult result = real(arguments...);
      std::lock_guard lock(state().mutex);
      if (result >= 0)
        created(arguments...);
      return fault ? *fault : result;
    } else {
      {
        std::lock_guard lock(state().mutex);
        destroying(arguments...);
      }
      if constexpr (std::is_void_v<R>) {
        real(arguments...);
        std::lock_guard lock(state().mutex);
        gotten(arguments...);
      } else {
        return real(arguments...);
      }
    }
  }
};

PFN_vkVoidFunction lookUp(const char *name, PFN_vkVoidFunction real);
PFN_vkVoidFunction VKAPI_CALL getDeviceProcAddr(VkDevice device, const char *name) {
  InDriver inside;
  auto real = reinterpret_cast<PFN_vkGetDeviceProcAddr>(realFunctions[Id_vkGetDeviceProcAddr]);
  return lookUp(name, real(device, name));
}

/// The wrapper of a function that the real loader knows.
PFN_vkVoidFunction lookUp(const char *name, PFN_vkVoidFunction real) {
  if (!real)
    return nullptr;
#define LORAC_SHIM_LOOK(NAME)                                                                                \
  if (std::strcmp(name, #NAME) == 0) {                                                                       \
    void *exported = dlsym(realLibrary(), #NAME);                                                            \
    realFunctions[Id_##NAME] = exported ? reinterpret_cast<PFN_vkVoidFunction>(exported) : real;             \
    if (Id_##NAME == Id_vkGetDeviceProcAddr)                                                                 \
      return reinterpret_cast<PFN_vkVoidFunction>(&getDeviceProcAddr);                                       \
    return reinterpret_cast<PFN_vkVoidFunction>(&Wrapper<Id_##NAME, PFN_##NAME>::call);                      \
  }
  LORAC_SHIM_FUNCTIONS(LORAC_SHIM_LOOK)
#undef LORAC_SHIM_LOOK
  return real;
}

std::vector<VkResult> documented(const std::string &name) {
  std::vector<VkResult> codes;
  if (name != "vkResetFences")
    codes.push_back(VK_ERROR_OUT_OF_HOST_MEMORY);
  if (name != "vkEnumerateInstanceVersion" && name != "vkCreateDebugUtilsMessengerEXT")
    codes.push_back(VK_ERROR_OUT_OF_DEVICE_MEMORY);
  // The registry's codes about captured addresses and pipelines that must not be compiled belong to flags
  // that Lorac never sets.
  const std::map<std::string, std::vector<VkResult>> others = {
      {"vkCreateInstance",
       {VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_LAYER_NOT_PRESENT, VK_ERROR_EXTENSION_NOT_PRESENT,
        VK_ERROR_INCOMPATIBLE_DRIVER}},
      {"vkGetPipelineCacheData", {VK_INCOMPLETE}},
      {"vkEnumeratePhysicalDevices", {VK_ERROR_INITIALIZATION_FAILED, VK_INCOMPLETE}},
      {"vkEnumerateInstanceLayerProperties", {VK_INCOMPLETE}},
      {"vkEnumerateInstanceExtensionProperties", {VK_ERROR_LAYER_NOT_PRESENT, VK_INCOMPLETE}},
      {"vkEnumerateDeviceExtensionProperties", {VK_ERROR_LAYER_NOT_PRESENT, VK_INCOMPLETE}},
      {"vkCreateDevice",
       {VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_EXTENSION_NOT_PRESENT, VK_ERROR_FEATURE_NOT_PRESENT,
        VK_ERROR_TOO_MANY_OBJECTS, VK_ERROR_DEVICE_LOST}},
      {"vkQueueSubmit", {VK_ERROR_DEVICE_LOST}},
      {"vkDeviceWaitIdle", {VK_ERROR_DEVICE_LOST}},
      {"vkWaitForFences", {VK_ERROR_DEVICE_LOST, VK_TIMEOUT}},
      // The first before Vulkan 1.1, and some drivers still.
      {"vkAllocateMemory", {VK_ERROR_TOO_MANY_OBJECTS, VK_ERROR_INVALID_EXTERNAL_HANDLE}},
      {"vkGetMemoryHostPointerPropertiesEXT", {VK_ERROR_INVALID_EXTERNAL_HANDLE}},
      {"vkMapMemory", {VK_ERROR_MEMORY_MAP_FAILED}},
      {"vkCreateShaderModule", {VK_ERROR_INVALID_SHADER_NV}},
      {"vkCreateComputePipelines", {VK_ERROR_INVALID_SHADER_NV}},
      {"vkCreateDescriptorPool", {VK_ERROR_FRAGMENTATION}},
      {"vkAllocateDescriptorSets", {VK_ERROR_FRAGMENTED_POOL, VK_ERROR_OUT_OF_POOL_MEMORY}}};
  if (auto found = others.find(name); found != others.end())
    codes.insert(codes.end(), found->second.begin(), found->second.end());
  codes.push_back(VK_ERROR_UNKNOWN); // any command may
  return codes;
}

template <typename Pointer> constexpr bool MayFail = false;
template <typename... Arguments> constexpr bool MayFail<VkResult(VKAPI_PTR *)(Arguments...)> = true;

/// Writes the report of a process that was asked for one.
struct AtExit {
  ~AtExit() {
    const char *path = std::getenv("LORAC_SHIM_REPORT");
    std::FILE *file = path ? std::fopen(path, "w") : nullptr;
    if (!file)
      return;
    std::fputs(report().c_str(), file);
    std::fclose(file);
  }
} atExit;

} // namespace

const std::vector<Function> &functions() {
  static const std::vector<Function> all = [] {
    std::vector<Function> list;
#define LORAC_SHIM_LIST(NAME)                                                                                \
  if (MayFail<PFN_##NAME>)                                                                                   \
    list.push_back({#NAME, documented(#NAME)});
    LORAC_SHIM_FUNCTIONS(LORAC_SHIM_LIST)
#undef LORAC_SHIM_LIST
    return list;
  }();
  return all;
}

void arm(const std::string &function, uint64_t call, VkResult code) {
  std::lock_guard lock(state().mutex);
  state().fault = {function, call, code};
}

bool fired() {
  std::lock_guard lock(state().mutex);
  return state().fault.fired;
}

bool disarm() {
  std::lock_guard lock(state().mutex);
  bool fired = state().fault.fired;
  state().fault = {};
  return fired;
}

void hideCoherence(bool hide) {
  std::lock_guard lock(state().mutex);
  state().incoherent = hide;
}

size_t liveObjects() {
  std::lock_guard lock(state().mutex);
  return state().live.size();
}

std::vector<std::string> misuse() {
  std::lock_guard lock(state().mutex);
  return state().misuse;
}

std::string report() {
  std::lock_guard lock(state().mutex);
  std::string text =
      "fired " + std::to_string(state().fault.fired) + "\nlive " + std::to_string(state().live.size()) + "\n";
  for (const std::string &line : state().misuse)
    text += line + "\n";
  return text;
}

bool insideDriver() { return driverDepth > 0; }

} // namespace lorac::shim

extern "C" __attribute__((visibility("default"))) PFN_vkVoidFunction VKAPI_CALL
vkGetInstanceProcAddr(VkInstance instance, const char *name) {
  using namespace lorac::shim;
  InDriver inside;
  PFN_vkGetInstanceProcAddr entry = realEntry();
  return entry ? lookUp(name, entry(instance, name)) : nullptr;
}
