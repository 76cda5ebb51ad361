//===- Fuzz.h - what all fuzz targets share ---------------------*- C++ -*-===//
#ifndef LORAC_TESTS_FUZZ_FUZZ_H
#define LORAC_TESTS_FUZZ_FUZZ_H

#include "support/Status.h"
#include "tests/support/TempFolder.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lorac::fuzz {

/// Ends the process, which is how a target tells libFuzzer of a finding.
void require(bool holds, std::string_view claim);

/// What an input may lead to: nothing, or one of the errors that tell of the input. Internal would be our own
/// mistake; the operating system has no part in reading from memory.
void requireTyped(const Status &status);

/// The input as a file that readers which take a path can open; never on a disk.
class InputFile {
public:
  explicit InputFile(std::span<const uint8_t> bytes);
  ~InputFile();
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;
  const std::string &path() const { return name; }

private:
  int descriptor;
  std::string name;
};

/// A folder of files that do not change beside one that is the input of the moment. Gone with the process.
class InputFolder : public test::TempFolder {
public:
  /// A .safetensors file of f32 tensors that are named (name, shape as JSON, values): 0, 0.25, 0.5 and so on.
  struct Tensor {
    std::string name, shape;
    size_t values;
  };
  void writeSafetensors(std::string_view file, std::span<const Tensor> tensors) const;
  /// `file` is the input from here on.
  void link(std::string_view file, const InputFile &input) const;
};

inline std::string_view textOf(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

} // namespace lorac::fuzz

#endif // LORAC_TESTS_FUZZ_FUZZ_H
