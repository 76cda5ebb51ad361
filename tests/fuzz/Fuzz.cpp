#include "tests/fuzz/Fuzz.h"

#include <cstdio>
#include <cstdlib>
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

} // namespace lorac::fuzz
