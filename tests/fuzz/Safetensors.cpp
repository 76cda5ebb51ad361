// A .safetensors file: its table, and the values of the tensors that can be read.
#include "compiler/import/Safetensors.h"
#include "support/Checked.h"
#include "tests/fuzz/Fuzz.h"

#include <cmath>
#include <vector>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

void readTensor(FileCache &files, const std::string &name, const SafetensorsEntry &entry) {
  Result<TensorLocation> where = locate(name, entry);
  requireTyped(where.status());
  if (!where)
    return;
  Result<TensorSource> source = TensorSource::open(files, *where, name);
  requireTyped(source.status());
  if (!source || source->rows() == 0)
    return;
  std::vector<float> row(source->cols());
  Status read = source->readRows(source->rows() - 1, 1, row.data());
  requireTyped(read);
  for (float value : row)
    require(!read.isOk() || std::isfinite(value), "values that were read are finite");
  requireTyped(source->digest().status());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  InputFile input({data, size});
  FileCache files;
  Result<SafetensorsTable> table = readSafetensors(files, input.path());
  requireTyped(table.status());
  if (!table)
    return 0;
  uint64_t covered = 0;
  for (const auto &[name, entry] : *table) {
    require(rangeInside(entry.offset, entry.size, size), "a tensor lies in its file");
    covered += entry.size;
    readTensor(files, name, entry);
  }
  require(covered < size, "tensors do not overlap");
  return 0;
}
