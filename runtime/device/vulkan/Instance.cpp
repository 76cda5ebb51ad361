//===- Instance.cpp - the loader, an instance, its devices ------------------===//
#include "runtime/device/vulkan/Instance.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace lorac::vulkan {
namespace {

constexpr const char *ValidationLayer = "VK_LAYER_KHRONOS_validation";
constexpr const char *PortabilityExtension = "VK_KHR_portability_subset";

/// Bytes of the machine's memory; 0 where the system does not say.
uint64_t hostMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? uint64_t(pages) * uint64_t(bytes) : 0;
}

/// The loader's entry. Its handle is the one global that Lorac keeps: drivers do not bear being unloaded and
/// loaded again.
PFN_vkGetInstanceProcAddr loaderEntry() {
  static const PFN_vkGetInstanceProcAddr entry = [] {
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : nullptr;
    return reinterpret_cast<PFN_vkGetInstanceProcAddr>(symbol);
  }();
  return entry;
}

/// The two-call form of Vulkan's enumerations; a list that grows in between is asked for again.
template <typename T, typename Call> Result<std::vector<T>> enumerate(const char *name, Call call) {
  std::vector<T> items;
  VkResult result = VK_INCOMPLETE;
  while (result == VK_INCOMPLETE) {
    uint32_t count = 0;
    LORAC_TRY(resultStatus(call(&count, static_cast<T *>(nullptr)), name));
    items.resize(count);
    result = call(&count, items.data());
    LORAC_TRY(resultStatus(result, name));
    items.resize(count);
  }
  return items;
}

Status unavailable(const std::string &why) { return Status(Code::DeviceUnavailable) << "vulkan: " << why; }

} // namespace

Status resultStatus(VkResult result, const char *call) {
  if (result >= 0)
    return Status::ok();
  auto text = [&](Code code, const char *why, const char *remedy) {
    return Status(code) << "vulkan: " << call << " failed: " << why << " (VkResult " << int(result) << "); "
                        << remedy;
  };
  switch (result) {
  case VK_ERROR_OUT_OF_HOST_MEMORY:
    return text(Code::OutOfMemory, "out of host memory", "free memory or open a smaller session");
  case VK_ERROR_OUT_OF_DEVICE_MEMORY:
  case VK_ERROR_OUT_OF_POOL_MEMORY:
  case VK_ERROR_FRAGMENTED_POOL:
  case VK_ERROR_FRAGMENTATION:
  case VK_ERROR_MEMORY_MAP_FAILED:
  case VK_ERROR_TOO_MANY_OBJECTS:
    return text(Code::OutOfMemory, "out of device memory",
                "use a smaller context, fewer adapters or another device");
  case VK_ERROR_DEVICE_LOST:
    return text(Code::DeviceLost, "the device stopped answering", "open a new session");
  case VK_ERROR_INITIALIZATION_FAILED:
  case VK_ERROR_INCOMPATIBLE_DRIVER:
  case VK_ERROR_LAYER_NOT_PRESENT:
  case VK_ERROR_EXTENSION_NOT_PRESENT:
  case VK_ERROR_FEATURE_NOT_PRESENT:
    return text(Code::DeviceUnavailable, "the driver does not start",
                "install a Vulkan driver, for instance mesa-vulkan-drivers");
  default:
    return text(Code::Internal, "an unexpected result", "report it with this message");
  }
}

VkBool32 VKAPI_PTR Instance::onMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                       VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                       const VkDebugUtilsMessengerCallbackDataEXT *data, void *self) {
  Instance &instance = *static_cast<Instance *>(self);
  // One line: the layer writes several sentences, some with line breaks.
  std::string text = data->pMessage ? data->pMessage : "no text";
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::lock_guard lock(instance.mutex);
  instance.messages.push_back(std::move(text));
  // A call in error is not handed to the driver, which might not survive it.
  return severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT ? VK_TRUE : VK_FALSE;
}

Status Instance::validationStatus() {
  std::lock_guard lock(mutex);
  if (messages.empty())
    return Status::ok();
  Status status = Status(Code::Internal) << "vulkan: the validation layer says: " << messages.front()
                                         << "; report it with this message";
  for (size_t i = 1; i < std::min<size_t>(messages.size(), 8); ++i)
    status.addNote(messages[i]);
  messages.clear();
  return status;
}

Result<std::shared_ptr<Instance>> Instance::create(bool validation) {
  GlobalApi global;
  global.vkGetInstanceProcAddr = loaderEntry();
  if (!global.vkGetInstanceProcAddr)
    return unavailable(
        "no Vulkan loader (libvulkan.so.1) on this system; install one and a driver, for instance Debian's "
        "libvulkan1 and mesa-vulkan-drivers");
#define LORAC_LOAD(NAME)                                                                                     \
  global.NAME = reinterpret_cast<PFN_##NAME>(global.vkGetInstanceProcAddr(nullptr, #NAME));
  LORAC_VULKAN_GLOBAL_FUNCTIONS(LORAC_LOAD)
#undef LORAC_LOAD
  uint32_t version = VK_API_VERSION_1_0;
  if (global.vkEnumerateInstanceVersion)
    LORAC_TRY(resultStatus(global.vkEnumerateInstanceVersion(&version), "vkEnumerateInstanceVersion"));
  if (version < VK_API_VERSION_1_1)
    return unavailable(
        "the loader speaks Vulkan 1.0, 1.1 is needed; install a newer one, for instance Debian's libvulkan1");

  std::vector<const char *> layers, extensions;
  if (validation) {
    LORAC_ASSIGN(auto available, enumerate<VkLayerProperties>(
                                     "vkEnumerateInstanceLayerProperties", [&](uint32_t *count, auto *items) {
                                       return global.vkEnumerateInstanceLayerProperties(count, items);
                                     }));
    bool found = std::any_of(available.begin(), available.end(), [](const VkLayerProperties &layer) {
      return std::strcmp(layer.layerName, ValidationLayer) == 0;
    });
    if (!found)
      return unavailable(
          std::string("LORAC_VULKAN_VALIDATION=1 asks for ") + ValidationLayer +
          ", which is not installed; install Debian's vulkan-validationlayers, or unset the variable");
    layers.push_back(ValidationLayer);
    extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
  }
  LORAC_ASSIGN(auto offered, enumerate<VkExtensionProperties>(
                                 "vkEnumerateInstanceExtensionProperties", [&](uint32_t *count, auto *items) {
                                   return global.vkEnumerateInstanceExtensionProperties(nullptr, count,
                                                                                        items);
                                 }));
  bool portability = std::any_of(offered.begin(), offered.end(), [](const VkExtensionProperties &extension) {
    return std::strcmp(extension.extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0;
  });
  if (portability)
    extensions.push_back(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);

  std::shared_ptr<Instance> instance(new Instance());
  VkDebugUtilsMessengerCreateInfoEXT messengerInfo = {
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  messengerInfo.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  messengerInfo.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  messengerInfo.pfnUserCallback = &Instance::onMessage;
  messengerInfo.pUserData = instance.get();

  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = "lorac";
  application.pEngineName = "lorac";
  application.apiVersion = std::min<uint32_t>(version, VK_API_VERSION_1_3);
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pNext = validation ? &messengerInfo : nullptr;
  info.flags = portability ? VkInstanceCreateFlags(VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR) : 0;
  info.pApplicationInfo = &application;
  info.enabledLayerCount = uint32_t(layers.size());
  info.ppEnabledLayerNames = layers.data();
  info.enabledExtensionCount = uint32_t(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  VkInstance handle = VK_NULL_HANDLE;
  VkResult created = global.vkCreateInstance(&info, nullptr, &handle);
  if (created == VK_ERROR_INCOMPATIBLE_DRIVER)
    return unavailable("no driver on this system; install one, for instance Debian's mesa-vulkan-drivers");
  LORAC_TRY(resultStatus(created, "vkCreateInstance"));
  instance->handle = handle; // only now: a failed call may leave anything in it
  auto load = [&](const char *name) { return global.vkGetInstanceProcAddr(instance->handle, name); };
#define LORAC_LOAD(NAME) instance->api.NAME = reinterpret_cast<PFN_##NAME>(load(#NAME));
  LORAC_VULKAN_INSTANCE_FUNCTIONS(LORAC_LOAD)
#undef LORAC_LOAD
  if (validation) {
    auto createMessenger =
        reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(load("vkCreateDebugUtilsMessengerEXT"));
    instance->destroyMessenger =
        reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(load("vkDestroyDebugUtilsMessengerEXT"));
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE; // a failed call may leave anything in it
    LORAC_TRY(resultStatus(createMessenger(instance->handle, &messengerInfo, nullptr, &messenger),
                           "vkCreateDebugUtilsMessengerEXT"));
    instance->messenger = messenger;
    LORAC_TRY(instance->validationStatus());
  }
  return instance;
}

Instance::~Instance() {
  if (messenger != VK_NULL_HANDLE)
    destroyMessenger(handle, messenger, nullptr);
  if (handle != VK_NULL_HANDLE && api.vkDestroyInstance)
    api.vkDestroyInstance(handle, nullptr);
}

Result<std::vector<PhysicalDevice>> Instance::devices() const {
  LORAC_ASSIGN(auto handles,
               enumerate<VkPhysicalDevice>("vkEnumeratePhysicalDevices", [&](uint32_t *count, auto *items) {
                 return api.vkEnumeratePhysicalDevices(handle, count, items);
               }));
  std::vector<PhysicalDevice> result;
  for (VkPhysicalDevice device : handles) {
    VkPhysicalDeviceProperties properties;
    api.vkGetPhysicalDeviceProperties(device, &properties);
    if (properties.apiVersion < VK_API_VERSION_1_1)
      continue;
    uint32_t count = 0;
    api.vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    api.vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    auto family = std::find_if(families.begin(), families.end(), [](const VkQueueFamilyProperties &one) {
      return one.queueFlags & VK_QUEUE_COMPUTE_BIT;
    });
    if (family == families.end())
      continue;
    LORAC_ASSIGN(auto extensions, enumerate<VkExtensionProperties>(
                                      "vkEnumerateDeviceExtensionProperties", [&](uint32_t *n, auto *items) {
                                        return api.vkEnumerateDeviceExtensionProperties(device, nullptr, n,
                                                                                        items);
                                      }));
    PhysicalDevice entry = describe(device, extensions);
    entry.queueFamily = uint32_t(family - families.begin());
    entry.caps.timestampBits = family->timestampValidBits;
    result.push_back(std::move(entry));
  }
  return result;
}

PhysicalDevice Instance::describe(VkPhysicalDevice device,
                                  const std::vector<VkExtensionProperties> &extensions) const {
  PhysicalDevice entry;
  entry.handle = device;
  auto offersExtension = [&](const char *name) {
    return std::any_of(extensions.begin(), extensions.end(), [&](const VkExtensionProperties &extension) {
      return std::strcmp(extension.extensionName, name) == 0;
    });
  };
  if (offersExtension(PortabilityExtension)) // must be enabled where it is offered
    entry.extensions.push_back(PortabilityExtension);
  DeviceCaps &caps = entry.caps;

  VkPhysicalDeviceProperties basic;
  api.vkGetPhysicalDeviceProperties(device, &basic);
  VkPhysicalDeviceMaintenance4Properties maintenance4 = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES};
  VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceSubgroupProperties subgroup = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
  VkPhysicalDeviceMaintenance3Properties maintenance3 = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, &subgroup};
  VkPhysicalDeviceProperties2 all = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &maintenance3};
  if (basic.apiVersion >= VK_API_VERSION_1_2)
    subgroup.pNext = &driver;
  if (basic.apiVersion >= VK_API_VERSION_1_3)
    driver.pNext = &maintenance4;
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT hostPages = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT, &maintenance3};
  // A card would read such memory over its bus; a CPU device's is of the same kind anyway.
  const bool takesHostPages = basic.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU &&
                              offersExtension(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  if (takesHostPages) {
    all.pNext = &hostPages;
    entry.extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  }
  api.vkGetPhysicalDeviceProperties2(device, &all);
  if (takesHostPages)
    entry.caps.hostPageAlignment = hostPages.minImportedHostPointerAlignment;

  const VkPhysicalDeviceLimits &limits = all.properties.limits;
  caps.name = basic.deviceName;
  caps.identity = {basic.vendorID, basic.deviceID, basic.driverVersion, {}};
  std::copy(std::begin(basic.pipelineCacheUUID), std::end(basic.pipelineCacheUUID),
            caps.identity.cacheUuid.begin());
  caps.isLavapipe = driver.driverID == VK_DRIVER_ID_MESA_LLVMPIPE;
  caps.groupsMeet = caps.isLavapipe && groupsMeetIn(driver.driverInfo);
  if (driver.driverInfo[0] != 0)
    caps.driver = driver.driverInfo;
  else if (driver.driverName[0] != 0)
    caps.driver = std::string(driver.driverName) + " " + std::to_string(basic.driverVersion);
  else
    caps.driver = "driver version " + std::to_string(basic.driverVersion);
  switch (basic.deviceType) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    caps.deviceClass = DeviceClass::Discrete;
    break;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    caps.deviceClass = DeviceClass::Integrated;
    break;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    caps.deviceClass = DeviceClass::Virtual;
    break;
  case VK_PHYSICAL_DEVICE_TYPE_CPU:
    caps.deviceClass = DeviceClass::Cpu;
    break;
  default:
    caps.deviceClass = DeviceClass::Other;
  }
  // Vulkan 1.1, 1.2 and 1.3 take SPIR-V up to 1.3, 1.5 and 1.6.
  caps.spirvVersion = basic.apiVersion >= VK_API_VERSION_1_3   ? 0x00010600
                      : basic.apiVersion >= VK_API_VERSION_1_2 ? 0x00010500
                                                               : 0x00010300;
  caps.maxTexelBufferElements = limits.maxTexelBufferElements;
  caps.maxStorageBufferRange = limits.maxStorageBufferRange;
  caps.maxMemoryAllocationSize = maintenance3.maxMemoryAllocationSize;
  if (basic.apiVersion >= VK_API_VERSION_1_3)
    caps.maxBufferSize = maintenance4.maxBufferSize;
  caps.maxPushConstantsSize = limits.maxPushConstantsSize;
  caps.maxStorageBuffersPerStage =
      std::min(limits.maxPerStageDescriptorStorageBuffers, limits.maxDescriptorSetStorageBuffers);
  caps.maxTexelBuffersPerStage =
      std::min(limits.maxPerStageDescriptorSampledImages, limits.maxDescriptorSetSampledImages);
  for (int axis = 0; axis < 3; ++axis) {
    caps.maxWorkGroupCount[axis] = limits.maxComputeWorkGroupCount[axis];
    caps.maxWorkGroupSize[axis] = limits.maxComputeWorkGroupSize[axis];
  }
  caps.maxWorkGroupInvocations = limits.maxComputeWorkGroupInvocations;
  caps.maxSharedMemorySize = limits.maxComputeSharedMemorySize;
  caps.nonCoherentAtomSize = limits.nonCoherentAtomSize;
  caps.timestampPeriod = limits.timestampPeriod;

  caps.texelFormats = true;
  for (VkFormat format : {VK_FORMAT_R32_UINT, VK_FORMAT_R32_SFLOAT, VK_FORMAT_R32G32B32A32_UINT,
                          VK_FORMAT_R32G32B32A32_SFLOAT}) {
    VkFormatProperties properties;
    api.vkGetPhysicalDeviceFormatProperties(device, format, &properties);
    caps.texelFormats &= (properties.bufferFeatures & VK_FORMAT_FEATURE_UNIFORM_TEXEL_BUFFER_BIT) != 0;
  }
  VkPhysicalDeviceFeatures features;
  api.vkGetPhysicalDeviceFeatures(device, &features);
  caps.robustBufferAccess = features.robustBufferAccess;

  caps.subgroupSize = subgroup.subgroupSize;
  caps.subgroupInCompute = subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
  auto offers = [&](VkSubgroupFeatureFlagBits bit) { return (subgroup.supportedOperations & bit) != 0; };
  caps.subgroupBasic = offers(VK_SUBGROUP_FEATURE_BASIC_BIT);
  caps.subgroupVote = offers(VK_SUBGROUP_FEATURE_VOTE_BIT);
  caps.subgroupArithmetic = offers(VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
  caps.subgroupBallot = offers(VK_SUBGROUP_FEATURE_BALLOT_BIT);
  caps.subgroupShuffle = offers(VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
  caps.subgroupShuffleRelative = offers(VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT);
  caps.subgroupClustered = offers(VK_SUBGROUP_FEATURE_CLUSTERED_BIT);
  caps.subgroupQuad = offers(VK_SUBGROUP_FEATURE_QUAD_BIT);

  VkPhysicalDeviceMemoryProperties memory;
  api.vkGetPhysicalDeviceMemoryProperties(device, &memory);
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    caps.heaps.push_back(heapBytes(caps.deviceClass, memory.memoryHeaps[i].size, hostMemory()));
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    // Protected, lazily allocated and device-coherent memory is not for plain buffers.
    constexpr VkMemoryPropertyFlags plain =
        VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    bool usable = (flags & ~plain) == 0;
    caps.memoryTypes.push_back({memory.memoryTypes[i].heapIndex,
                                usable && (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0,
                                usable && (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0,
                                (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0,
                                (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0});
  }
  return entry;
}

} // namespace lorac::vulkan
