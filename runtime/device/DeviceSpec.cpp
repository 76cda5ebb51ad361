//===- DeviceSpec.cpp - the text after --device -----------------------------===//
#include "runtime/device/Device.h"

#include <algorithm>
#include <charconv>

namespace lorac {
namespace {

constexpr const char *Kinds[] = {"auto", "vulkan", "cuda", "cpu"};
constexpr const char *Deniable[] = {
#define FEATURE(NAME, BIT, MEANING) #NAME,
#include "schemas/Features.def"
#undef FEATURE
    "hostvisible", "chains"};

template <size_t N> std::string listed(const char *const (&names)[N]) {
  std::string text;
  for (const char *name : names)
    text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

template <size_t N> bool contains(const char *const (&names)[N], const std::string &name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

} // namespace

Result<DeviceSpec> DeviceSpec::parse(const std::string &text) {
  auto wrong = [&] { return Status(Code::InvalidArgument) << "device '" << text << "': "; };
  size_t comma = text.find(',');
  std::string device = text.substr(0, comma);
  size_t colon = device.find(':');
  DeviceSpec spec;
  spec.kind = device.substr(0, colon);
  if (!contains(Kinds, spec.kind))
    return wrong() << "there is no kind '" << spec.kind << "'; use auto or vulkan";
  if (colon != std::string::npos) {
    std::string number = device.substr(colon + 1);
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), spec.index);
    if (spec.kind == "auto" || error != std::errc() || end != number.data() + number.size() || spec.index < 0)
      return wrong() << "'" << number << "' is no number that " << spec.kind
                     << " takes; write for instance vulkan:0";
  }
  while (comma != std::string::npos) {
    size_t next = text.find(',', comma + 1);
    std::string option = text.substr(comma + 1, next == std::string::npos ? next : next - comma - 1);
    constexpr const char *prefix = "deny=";
    if (option.rfind(prefix, 0) != 0)
      return wrong() << "there is no option '" << option << "'; write deny=FEATURE";
    std::string feature = option.substr(5);
    if (!contains(Deniable, feature))
      return wrong() << "there is no feature '" << feature << "' to deny; use one of " << listed(Deniable);
    if (std::find(spec.denied.begin(), spec.denied.end(), feature) == spec.denied.end())
      spec.denied.push_back(feature);
    comma = next;
  }
  return spec;
}

} // namespace lorac
