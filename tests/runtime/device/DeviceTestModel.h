//===- DeviceTestModel.h - a model file with code that runs -----*- C++ -*-===//
// Rows of 16 f32. Three weight buffers "table0" to "table2" of 16 such rows: element i of table t is 1000 t +
// i.
//   program 0 "rows" (1-4 rows)  x = table0[token]; z = x + the variant's tag; logits = z[rows asked for]
//   program 1 "moves"            logits = table1 with bytes 256 to 511 zero, then table2
//   program 2 "remember"         logits = the cache's first 1024 bytes; then these become table1
//   program 3 "pool" (adapters)  logits = the whole pool
#ifndef LORAC_TESTS_RUNTIME_DEVICE_DEVICETESTMODEL_H
#define LORAC_TESTS_RUNTIME_DEVICE_DEVICETESTMODEL_H

#include "runtime/device/Device.h"
#include "runtime/files/ModelFile.h"
#include "tests/runtime/files/TinyModel.h"

#include <memory>
#include <span>

namespace lorac::test {

enum DeviceProgram : size_t { RowsProgram, MovesProgram, RememberProgram, PoolProgram };
// Buffers of RowsProgram that a test touches; the others' logits are their last buffer.
enum RowsBuffer : size_t { RowsInput = 1, OutRowsInput = 2, RowsLogits = 5 };
constexpr size_t LogitsBuffer = 2;
constexpr size_t PoolLogitsBuffer = 1;
constexpr float SubgroupTag = 100, TexelTag = 200, StorageTag = 300, ChainTag = 400;
constexpr size_t RowWidth = 16;

TinyModel deviceTestModel();
/// The same with the first two dispatches of program 0 as a chain, whose code has a tag of its own. The Run
/// is the program's first command.
TinyModel chainedDeviceTestModel();
/// Pages 4, pool 1024 bytes, room for 16 items.
LoadSymbols deviceTestSymbols();

/// A parsed file that keeps its bytes.
struct ParsedModel {
  Bytes bytes;
  std::shared_ptr<const ModelFile> file;
};
ParsedModel parsed(TinyModel model);

} // namespace lorac::test

#endif // LORAC_TESTS_RUNTIME_DEVICE_DEVICETESTMODEL_H
