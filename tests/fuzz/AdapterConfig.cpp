// adapter_config.json beside the tensors of a small adapter, bound to a base that has its modules.
#include "compiler/import/Peft.h"
#include "tests/fuzz/Fuzz.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

constexpr uint32_t Rank = 4, Features = 8;
const char *const Modules[] = {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj",
                               "model.layers.1.self_attn.q_proj", "lm_head"};

/// Holds the adapter's tensors, and a link named adapter_config.json to the input of the moment.
class Folder {
public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lorac-fuzz-XXXXXX").string();
    require(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made");
    path = pattern;
    std::string header = "{", data;
    for (const char *module : Modules)
      for (const char *half : {"A", "B"}) {
        const size_t begin = data.size();
        for (uint32_t i = 0; i < Rank * Features; ++i) {
          const float value = float(i) * 0.25f;
          data.append(reinterpret_cast<const char *>(&value), sizeof(value));
        }
        header += (header.size() > 1 ? ",\"base_model.model." : "\"base_model.model.") + std::string(module) +
                  ".lora_" + half +
                  ".weight\":{\"dtype\":\"F32\",\"shape\":" + (*half == 'A' ? "[4,8]" : "[8,4]") +
                  ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
      }
    header += "}";
    const uint64_t headerSize = header.size();
    std::ofstream file(path + "/adapter_model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char *>(&headerSize), sizeof(headerSize));
    file << header << data;
    base.file = "base.lorac";
    for (const char *module : Modules)
      base.sites.push_back({module, Features, Features});
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void link(const std::string &target) {
    std::error_code ignored;
    std::filesystem::remove(path + "/adapter_config.json", ignored);
    std::filesystem::create_symlink(target, path + "/adapter_config.json");
  }

  std::string path;
  BaseDescription base;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Folder folder;
  InputFile input({data, size});
  folder.link(input.path());
  Result<PeftAdapter> adapter = readPeft(folder.path, folder.base);
  requireTyped(adapter.status());
  if (!adapter)
    return 0;
  require(adapter->sites.size() == std::size(Modules), "no tensor is left out");
  for (const PeftSite &site : adapter->sites) {
    require(site.rank == Rank, "a rank is the tensors'");
    require(std::isfinite(float(site.scaling)), "a scaling is a finite number that f32 holds");
  }
  for (const PeftTreatment &treatment : adapter->treatments)
    require(treatment.verdict == "honoured" || treatment.verdict == "folded" ||
                treatment.verdict == "dropped",
            "a treatment has one of three verdicts");
  return 0;
}
