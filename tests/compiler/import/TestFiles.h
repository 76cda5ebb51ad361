//===- TestFiles.h - small checkpoints made by tests -------------*- C++ -*-===//
// Writers of their own: what a test expects must not come from the readers that it checks.
#ifndef LORAC_TESTS_COMPILER_IMPORT_TESTFILES_H
#define LORAC_TESTS_COMPILER_IMPORT_TESTFILES_H

#include "support/Half.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace lorac::test {

using Bytes = std::vector<uint8_t>;

inline std::string goldens(const std::string &path) { return std::string(LORAC_GOLDENS_DIR) + "/" + path; }

inline void writeFile(const std::string &path, const Bytes &bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  ASSERT_TRUE(out.good()) << path;
}
inline void writeFile(const std::string &path, const std::string &text) {
  writeFile(path, Bytes(text.begin(), text.end()));
}
inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void copyFolder(const std::string &from, const std::string &to) {
  std::filesystem::create_directories(to);
  std::filesystem::copy(
      from, to, std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
}
/// One edit: `from` must stand in the file.
inline void replaceInFile(const std::string &path, const std::string &from, const std::string &to) {
  std::string text = readFile(path);
  size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from << " is not in " << path;
  writeFile(path, text.replace(at, from.size(), to));
}

// Not vector::insert: GCC 12 warns of overflows in it that cannot be.
inline void appendRaw(Bytes &out, const void *data, size_t size) {
  out.resize(out.size() + size);
  if (size > 0)
    std::memcpy(out.data() + out.size() - size, data, size);
}
template <typename T> void append(Bytes &out, T value) { appendRaw(out, &value, sizeof(T)); }

inline Bytes bytesOf(const std::vector<float> &values) {
  Bytes out;
  for (float value : values)
    append(out, value);
  return out;
}

/// The file for a header given as text.
inline Bytes safetensorsBytes(const std::string &header, const Bytes &data) {
  Bytes out;
  append(out, uint64_t(header.size()));
  appendRaw(out, header.data(), header.size());
  appendRaw(out, data.data(), data.size());
  return out;
}

/// Tensors in the order given, which is the order of their data.
struct SafetensorsFile {
  struct Tensor {
    std::string name, dtype;
    std::vector<uint64_t> shape;
    Bytes data;
  };
  std::vector<Tensor> tensors;

  void add(std::string name, std::vector<uint64_t> shape, const std::vector<float> &values) {
    tensors.push_back({std::move(name), "F32", std::move(shape), bytesOf(values)});
  }
  Tensor &at(const std::string &name) {
    for (Tensor &tensor : tensors)
      if (tensor.name == name)
        return tensor;
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }
  void remove(const std::string &name) {
    std::erase_if(tensors, [&](const Tensor &tensor) { return tensor.name == name; });
  }
  Bytes bytes() const {
    std::string header = "{\"__metadata__\": {\"format\": \"pt\"}";
    Bytes data;
    for (const Tensor &tensor : tensors) {
      header += ", \"" + tensor.name + "\": {\"dtype\": \"" + tensor.dtype + "\", \"shape\": [";
      for (size_t i = 0; i < tensor.shape.size(); ++i)
        header += (i ? ", " : "") + std::to_string(tensor.shape[i]);
      header += "], \"data_offsets\": [" + std::to_string(data.size()) + ", ";
      appendRaw(data, tensor.data.data(), tensor.data.size());
      header += std::to_string(data.size()) + "]}";
    }
    return safetensorsBytes(header + "}", data);
  }
};

/// A GGUF file: keys and tensors in the order given.
struct GgufBuilder {
  struct Key {
    std::string name;
    uint32_t type;
    Bytes value;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims; // innermost first, as the file has them
    uint32_t type;
    Bytes data;
  };
  uint32_t version = 3;
  std::vector<Key> keys;
  std::vector<Tensor> tensors;

  static void appendText(Bytes &out, const std::string &text) {
    append(out, uint64_t(text.size()));
    appendRaw(out, text.data(), text.size());
  }
  template <typename T> static Bytes raw(T value) {
    Bytes out;
    append(out, value);
    return out;
  }
  static Bytes rawText(const std::string &text) {
    Bytes out;
    appendText(out, text);
    return out;
  }
  void u32(const std::string &name, uint32_t value) { set({name, 4, raw(value)}); }
  void f32(const std::string &name, float value) { set({name, 6, raw(value)}); }
  void boolean(const std::string &name, bool value) { set({name, 7, raw(uint8_t(value))}); }
  void text(const std::string &name, const std::string &value) { set({name, 8, rawText(value)}); }
  void texts(const std::string &name, const std::vector<std::string> &values) {
    Bytes out = raw(uint32_t(8));
    append(out, uint64_t(values.size()));
    for (const std::string &value : values)
      appendText(out, value);
    set({name, 9, out});
  }
  void integers(const std::string &name, const std::vector<int32_t> &values) {
    Bytes out = raw(uint32_t(5));
    append(out, uint64_t(values.size()));
    for (int32_t value : values)
      append(out, value);
    set({name, 9, out});
  }
  void reals(const std::string &name, const std::vector<float> &values) {
    Bytes out = raw(uint32_t(6));
    append(out, uint64_t(values.size()));
    for (float value : values)
      append(out, value);
    set({name, 9, out});
  }
  void set(Key key) {
    remove(key.name);
    keys.push_back(std::move(key));
  }
  void remove(const std::string &name) {
    std::erase_if(keys, [&](const Key &key) { return key.name == name; });
    std::erase_if(tensors, [&](const Tensor &tensor) { return tensor.name == name; });
  }
  Tensor &at(const std::string &name) {
    for (Tensor &tensor : tensors)
      if (tensor.name == name)
        return tensor;
    ADD_FAILURE() << "no tensor " << name;
    return tensors.front();
  }

  Bytes bytes() const {
    Bytes out = {'G', 'G', 'U', 'F'};
    append(out, version);
    append(out, uint64_t(tensors.size()));
    append(out, uint64_t(keys.size()));
    for (const Key &key : keys) {
      appendText(out, key.name);
      append(out, key.type);
      appendRaw(out, key.value.data(), key.value.size());
    }
    uint64_t offset = 0;
    for (const Tensor &tensor : tensors) {
      appendText(out, tensor.name);
      append(out, uint32_t(tensor.dims.size()));
      for (uint64_t dim : tensor.dims)
        append(out, dim);
      append(out, tensor.type);
      append(out, offset);
      offset += (tensor.data.size() + 31) / 32 * 32;
    }
    for (const Tensor &tensor : tensors) {
      out.resize((out.size() + 31) / 32 * 32);
      appendRaw(out, tensor.data.data(), tensor.data.size());
    }
    return out;
  }
};

} // namespace lorac::test

#endif // LORAC_TESTS_COMPILER_IMPORT_TESTFILES_H
