//===- TempFolder.h - a folder that goes away with its test -----*- C++ -*-===//
#ifndef LORAC_TESTS_SUPPORT_TEMPFOLDER_H
#define LORAC_TESTS_SUPPORT_TEMPFOLDER_H

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::test {

class TempFolder {
public:
  TempFolder() {
    std::string name = std::filesystem::temp_directory_path() / "lorac-test-XXXXXX";
    if (!mkdtemp(name.data())) {
      std::perror("cannot create a temporary folder");
      std::abort();
    }
    folder = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  TempFolder(const TempFolder &) = delete;
  TempFolder &operator=(const TempFolder &) = delete;

  std::string path() const { return folder; }
  std::string path(std::string_view name) const { return folder / name; }
  void write(std::string_view name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary).write(text.data(), std::streamsize(text.size()));
  }
  std::string read(std::string_view name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  /// Names of all that is in it, sorted.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

private:
  std::filesystem::path folder;
};

} // namespace lorac::test

#endif // LORAC_TESTS_SUPPORT_TEMPFOLDER_H
