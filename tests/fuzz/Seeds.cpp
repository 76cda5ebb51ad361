// fuzz_seeds FOLDER: the seeds of model files and bundles, FOLDER/model/* and FOLDER/bundle/*.
#include "tests/runtime/device/DeviceTestModel.h"
#include "tests/runtime/files/TinyModel.h"

#include <filesystem>
#include <fstream>
#include <iostream>

using namespace lorac;
using namespace lorac::test;

int main(int argc, char **argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const auto write = [&](const std::string &name, const Bytes &bytes) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  };
  std::filesystem::create_directories(folder / "model");
  std::filesystem::create_directories(folder / "bundle");

  TinyModel tiny = tinyModel();
  write("model/tiny", tiny.bytes());
  tiny.model.chat_template =
      "{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}\n{% endfor %}";
  tiny.model.programs.resize(1);
  write("model/one-program", tiny.bytes());
  TinyModel chained = chainedModel();
  std::erase_if(chained.model.programs, [](const auto &program) { return program->name != "few"; });
  write("model/chained", chained.bytes());
  write("model/minimal", minimalModel().bytes());
  write("model/with-code", deviceTestModel().bytes());

  TinyAdapter adapter = tinyAdapter();
  write("bundle/tiny", adapter.bytes());
  adapter.adapter.sites.resize(1);
  adapter.adapter.bound_by_user = true;
  write("bundle/one-site", adapter.bytes());
  return 0;
}
