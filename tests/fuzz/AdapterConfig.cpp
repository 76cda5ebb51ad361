// adapter_config.json beside the tensors of a small adapter, bound to a base that has its modules.
#include "compiler/import/Peft.h"
#include "tests/fuzz/Fuzz.h"

#include <cmath>
#include <vector>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

constexpr uint32_t Rank = 4, Features = 8;
const char *const Modules[] = {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj",
                               "model.layers.1.self_attn.q_proj", "lm_head"};

/// Holds the adapter's tensors.
struct Folder : InputFolder {
  Folder() {
    std::vector<Tensor> tensors;
    for (const char *module : Modules)
      for (const char *half : {"A", "B"})
        tensors.push_back({std::string("base_model.model.") + module + ".lora_" + half + ".weight",
                           *half == 'A' ? "[4,8]" : "[8,4]", Rank * Features});
    writeSafetensors("adapter_model.safetensors", tensors);
    base.file = "base.lorac";
    for (const char *module : Modules)
      base.sites.push_back({module, Features, Features});
  }
  BaseDescription base;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Folder folder;
  InputFile input({data, size});
  folder.link("adapter_config.json", input);
  Result<PeftAdapter> adapter = readPeft(folder.path(), folder.base);
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
