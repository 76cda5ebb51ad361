//===- Device.cpp - the devices of this build -------------------------------===//
#include "runtime/device/Device.h"

#include "runtime/device/vulkan/VulkanModel.h"
#include "runtime/files/ModelFile.h"

#include <chrono>
#include <cstdlib>
#include <string_view>

namespace lorac {

std::vector<uint64_t> symbolValues(const ModelFile &model, const LoadSymbols &load, const StepSymbols &step) {
  std::vector<uint64_t> values(model.metadata().symbols()->size(), 0);
  values[model.symbolIndex("pages")] = load.pages;
  values[model.symbolIndex("max_pages")] = load.maxPages;
  values[model.symbolIndex("max_items")] = load.maxItems;
  values[model.symbolIndex("max_entries")] = load.maxEntries;
  values[model.symbolIndex("pool_bytes")] = load.poolBytes;
  values[model.symbolIndex("rows")] = step.rows;
  values[model.symbolIndex("out_rows")] = step.outRows;
  values[model.symbolIndex("items")] = step.items;
  values[model.symbolIndex("plain_rows")] = step.adaptsHead ? 0 : step.outRows;
  values[model.symbolIndex("adapted_rows")] = step.adaptsHead ? step.outRows : 0;
  return values;
}

std::vector<DeviceInfo> listDevices(std::string *why) {
  std::vector<DeviceInfo> result;
  auto refuse = [&](const Status &status) {
    if (why)
      *why = status.message();
    return result;
  };
  auto instance = vulkan::Instance::create(false);
  if (!instance)
    return refuse(instance.status());
  auto devices = (*instance)->devices();
  if (!devices)
    return refuse(devices.status());
  for (const vulkan::PhysicalDevice &device : *devices)
    result.push_back({"vulkan", int(result.size()), device.caps.name, device.caps.driver,
                      device.caps.features(), device.caps.deviceMemory(), device.caps.subgroupSize});
  if (result.empty())
    return refuse(vulkan::candidates({}, {}).status());
  if (why)
    why->clear();
  return result;
}

Result<std::unique_ptr<DeviceModel>> openDevice(const DeviceSpec &spec, const ModelFile &model,
                                                const LoadSymbols &symbols,
                                                const DeviceOptions &deviceOptions) {
  if (spec.kind != "auto" && spec.kind != "vulkan")
    return Status(Code::DeviceUnavailable)
           << "device " << spec.kind << ": this build has no such device; use auto or vulkan";
  vulkan::Options options;
  const char *variable = std::getenv("LORAC_VULKAN_VALIDATION");
  std::string_view validation = variable ? variable : "";
  if (validation != "" && validation != "0" && validation != "1")
    return Status(Code::InvalidArgument)
           << "environment variable LORAC_VULKAN_VALIDATION is '" << validation << "'; set it to 0 or 1";
  options.validation = validation == "1";
  options.pipelineCache = deviceOptions.pipelineCache;
  options.programs = deviceOptions.programs;
  options.began = std::chrono::steady_clock::now();
  LORAC_ASSIGN(auto instance, vulkan::Instance::create(options.validation));
  return vulkan::openModel(std::move(instance), spec, model, symbols, options);
}

} // namespace lorac
