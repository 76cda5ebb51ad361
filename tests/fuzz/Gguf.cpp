// A .gguf file: its table, its tokenizer, and where it says that it is a model, the whole import.
#include "compiler/import/Gguf.h"
#include "compiler/import/TokenizerReader.h"
#include "support/Checked.h"
#include "tests/fuzz/ImportWhole.h"

using namespace lorac;
using namespace lorac::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  InputFile input({data, size});
  FileCache files;
  Result<GgufFile> gguf = GgufFile::open(files, input.path());
  requireTyped(gguf.status());
  if (!gguf)
    return 0;
  for (const auto &[name, tensor] : gguf->tensors()) {
    require(rangeInside(tensor.offset, tensor.size, size), "a tensor lies in its file");
    Result<TensorLocation> where = gguf->locate(name, tensor);
    requireTyped(where.status());
    if (!where)
      continue;
    Result<TensorSource> source = TensorSource::open(files, *where, name);
    requireTyped(source.status());
    if (source)
      requireTyped(source->digest().status());
  }
  if (gguf->find("tokenizer.ggml.model"))
    requireTyped(readTokenizer("gguf", input.path(), "", "").status());
  if (!gguf->find("general.architecture"))
    return 0;
  importWhole(input.path());
  return 0;
}
