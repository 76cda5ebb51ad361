//===- Devices.cpp - lorac devices ------------------------------------------===//
#include "runtime/device/Device.h"
#include "tools/lorac/Commands.h"
#include "tools/lorac/Console.h"

namespace lorac::cli {
namespace {

struct DevicesOptions {
  bool json = false;
};

Status listAll(const DevicesOptions &options) {
  std::string why;
  std::vector<DeviceInfo> devices = listDevices(&why);
  if (options.json) {
    Json list = Json::array();
    for (const DeviceInfo &device : devices)
      list.push_back({{"device", device.kind + ":" + std::to_string(device.index)},
                      {"name", device.name},
                      {"driver", device.driver},
                      {"memory_bytes", device.memoryBytes},
                      {"subgroup_size", device.subgroupSize},
                      {"features", device.features}});
    LORAC_TRY(printJson({{"devices", std::move(list)}}));
  } else {
    std::string text;
    for (const DeviceInfo &device : devices) {
      text += device.kind + ":" + std::to_string(device.index) + "  " + device.name + "\n";
      text += "    driver    " + device.driver + "\n";
      text += "    memory    " + byteText(device.memoryBytes) + "\n";
      text += "    subgroup  " + std::to_string(device.subgroupSize) + " lanes\n";
      text += "    features ";
      for (const std::string &feature : device.features)
        text += " " + feature;
      text += "\n";
    }
    LORAC_TRY(print(text));
  }
  if (devices.empty())
    return Status(Code::DeviceUnavailable)
           << "devices: none that Lorac could open: " << (why.empty() ? "no driver offers one" : why)
           << "; install a Vulkan driver (Mesa's lavapipe needs no GPU)";
  return {};
}

} // namespace

void addDevices(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App *sub = app.add_subcommand("devices", "List the devices that models can run on");
  sub->add_flag("--json", options->json,
                "One JSON object: {\"devices\": [{\"device\", \"name\", \"driver\", \"memory_bytes\", "
                "\"subgroup_size\", \"features\"}]}");
  sub->footer("Examples:\n  lorac devices\n  lorac run model.lorac --device vulkan:1 --prompt Hello");
  sub->callback([options, &exitCode] {
    Status status = listAll(*options);
    exitCode = status ? ExitDone : fail(status);
  });
}

} // namespace lorac::cli
