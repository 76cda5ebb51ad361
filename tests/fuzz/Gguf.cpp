// A .gguf file: its table, its tokenizer, and where it says that it is a model, the whole import.
#include "compiler/import/Gguf.h"
#include "compiler/import/Import.h"
#include "compiler/import/TokenizerReader.h"
#include "support/Checked.h"
#include "tests/fuzz/Fuzz.h"

#include <mlir/IR/BuiltinOps.h>
#include <mlir/IR/MLIRContext.h>
#include <mlir/IR/Verifier.h>

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
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  ImportOptions options;
  options.threads = 1;
  Status status = importCheckpoint(*module, input.path(), options);
  requireTyped(status);
  require(status.isOk() == !module->getBody()->empty(), "a module is written whole or not at all");
  if (status.isOk())
    require(mlir::succeeded(mlir::verify(*module)), "what was imported holds");
  return 0;
}
