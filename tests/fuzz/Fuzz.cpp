#include "tests/fuzz/Fuzz.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sys/mman.h>
#include <unistd.h>

namespace lorac::fuzz {

void require(bool holds, std::string_view claim) {
  if (holds)
    return;
  std::fprintf(stderr, "fuzz: does not hold: %.*s\n", int(claim.size()), claim.data());
  std::abort();
}

void requireTyped(const Status &status) {
  if (status.isOk())
    return;
  const Code code = status.code();
  require(code == Code::InvalidArgument || code == Code::CorruptFile || code == Code::Unsupported ||
              code == Code::Incompatible || code == Code::Exhausted,
          std::string("an input leads to an error of its own kind, not ") + std::string(codeName(code)) +
              ": " + std::string(status.message()));
  require(!status.message().empty(), "an error says what is wrong");
}

InputFile::InputFile(std::span<const uint8_t> bytes) : descriptor(memfd_create("input", MFD_CLOEXEC)) {
  require(descriptor >= 0, "memory files can be made");
  for (size_t done = 0; done < bytes.size();) {
    ssize_t count = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    require(count > 0, "memory files can be written");
    done += size_t(count);
  }
  name = "/proc/self/fd/" + std::to_string(descriptor);
}

InputFile::~InputFile() { ::close(descriptor); }

void InputFolder::writeSafetensors(std::string_view file, std::span<const Tensor> tensors) const {
  std::string header, data;
  for (const Tensor &tensor : tensors) {
    const size_t begin = data.size();
    for (size_t i = 0; i < tensor.values; ++i) {
      const float value = float(i) * 0.25f;
      data.append(reinterpret_cast<const char *>(&value), sizeof(value));
    }
    header += (header.empty() ? "{\"" : ",\"") + tensor.name +
              "\":{\"dtype\":\"F32\",\"shape\":" + tensor.shape + ",\"data_offsets\":[" +
              std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  const uint64_t headerSize = header.size();
  write(file, std::string(reinterpret_cast<const char *>(&headerSize), sizeof(headerSize)) + header + data);
}

void InputFolder::link(std::string_view file, const InputFile &input) const {
  std::error_code error;
  std::filesystem::remove(path(file), error);
  std::filesystem::create_symlink(input.path(), path(file), error);
  require(!error, "a link can be made");
}

} // namespace lorac::fuzz
