// config.json beside the tensors of a Llama of one layer: the whole import.
#include "tests/fuzz/ImportWhole.h"

using namespace lorac;
using namespace lorac::fuzz;

namespace {

/// Holds a model of 5 words, width 8, two heads of 4 with one key head, 12 between up and down.
struct Folder : InputFolder {
  Folder() {
    const std::string layer = "model.layers.0.";
    const Tensor tensors[] = {{"model.embed_tokens.weight", "[5,8]", 40},
                              {"model.norm.weight", "[8]", 8},
                              {layer + "input_layernorm.weight", "[8]", 8},
                              {layer + "post_attention_layernorm.weight", "[8]", 8},
                              {layer + "self_attn.q_proj.weight", "[8,8]", 64},
                              {layer + "self_attn.k_proj.weight", "[4,8]", 32},
                              {layer + "self_attn.v_proj.weight", "[4,8]", 32},
                              {layer + "self_attn.o_proj.weight", "[8,8]", 64},
                              {layer + "mlp.gate_proj.weight", "[12,8]", 96},
                              {layer + "mlp.up_proj.weight", "[12,8]", 96},
                              {layer + "mlp.down_proj.weight", "[8,12]", 96}};
    writeSafetensors("model.safetensors", tensors);
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Folder folder;
  InputFile input({data, size});
  folder.link("config.json", input);
  importWhole(folder.path());
  return 0;
}
