// model.safetensors.index.json beside two shards.
#include "compiler/import/Safetensors.h"
#include "support/Checked.h"
#include "tests/fuzz/Fuzz.h"

#include <array>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

constexpr size_t ValuesOfTensor = 4;

struct Folder : InputFolder {
  Folder() {
    writeSafetensors("1.safetensors",
                     std::array{Tensor{"a", "[4]", ValuesOfTensor}, Tensor{"b", "[2,2]", ValuesOfTensor}});
    writeSafetensors("2.safetensors", std::array{Tensor{"c", "[1,4]", ValuesOfTensor}});
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static Folder folder;
  InputFile input({data, size});
  folder.link("model.safetensors.index.json", input);
  FileCache files;
  Result<SafetensorsTable> table = readSafetensorsCheckpoint(files, folder.path());
  // A shard that is not there is NotFound, as where it was not fetched.
  if (table.status().code() != Code::NotFound)
    requireTyped(table.status());
  if (!table)
    return 0;
  require(!table->empty(), "a checkpoint has tensors");
  for (const auto &[name, entry] : *table) {
    require(entry.file == folder.path() + (name == "c" ? "/2.safetensors" : "/1.safetensors"),
            "a tensor is where the index says and its shard holds it");
    require(entry.size == ValuesOfTensor * sizeof(float), "a tensor is whole");
  }
  require(table->count("a") == table->count("b"), "a shard's tensors are all taken or none");
  return 0;
}
