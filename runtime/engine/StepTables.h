//===- StepTables.h - decides and writes what a step needs ------*- C++ -*-===//
// Decide in values, then act: which rows run together (planRuns), then the tables of one run (writeTable), as
// schemas/StepTable.h lays them out.
#ifndef LORAC_RUNTIME_ENGINE_STEPTABLES_H
#define LORAC_RUNTIME_ENGINE_STEPTABLES_H

#include "runtime/engine/AdapterPool.h"
#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac {

class ModelFile;

/// Capacities that one run of a program must keep.
struct StepLimits {
  uint64_t rows = 0;
  uint64_t outRows = 0;
  uint64_t entries = 0;
  uint64_t items = 0;
  uint64_t pages = 0; ///< page numbers
  uint32_t pageTokens = 0;
};

/// One row as the tables need it. The page list and the stack outlive the step.
struct PlannedRow {
  uint32_t token = 0;
  uint32_t position = 0;
  uint32_t sequence = 0; ///< rows of one sequence have one number, counted from 0 over the step
  bool wantLogits = false;
  std::span<const uint32_t> pages; ///< of the sequence
  const Stack *stack = nullptr;    ///< normalised
};

/// Rows [first, first + count) of the step, run together.
struct PlannedRun {
  size_t first = 0;
  size_t count = 0;
  uint64_t outRows = 0;
  uint64_t entries = 0;
  uint64_t items = 0;
};

uint64_t stackItems(const Stack &stack);

/// True where `has` holds for an adapter of one of the rows' stacks.
bool anyAdapter(std::span<const PlannedRow> rows, bool (LoadedAdapter::*has)() const);

/// Cuts the rows, in order, into as few runs as the limits allow. A row whose own stack exceeds them is
/// Exhausted.
Result<std::vector<PlannedRun>> planRuns(std::span<const PlannedRow> rows, const StepLimits &limits);

/// Cosines and sines of position * frequency, made in double, rounded to f32; each position once.
class AngleCache {
public:
  explicit AngleCache(const fbs::AngleTable &table);
  /// f32 from one row to the next: 2 * frequencies, rounded up to 4.
  size_t stride() const { return rowStride; }
  /// The row of a position: cosines, then sines, then zeros. Valid until the next call.
  std::span<const float> row(uint32_t position);

private:
  std::vector<double> frequencies;
  size_t rowStride;
  std::vector<float> values; // rows of positions 0..
};

/// A program that serves steps, and where its tables are.
struct StepProgram {
  struct Input {
    size_t buffer;
    fbs::StepInput kind;
    uint32_t angles;
  };
  size_t program = 0;
  uint32_t rowsMin = 0;
  uint32_t rowsMax = 0;
  bool adapters = false;
  std::vector<Input> inputs;
  size_t outBuffer = 0;
  uint64_t rowStride = 0; ///< f32 from one row of logits to the next
  uint64_t outCapacity = 0;
};

/// The programs of a file that take rows and give logits, with load symbols at `symbols` (Model.symbols'
/// order).
Result<std::vector<StepProgram>> findStepPrograms(const ModelFile &model, std::span<const uint64_t> symbols);

/// The program for `rows` rows that was made for the fewest; null where none serves them.
const StepProgram *chooseProgram(std::span<const StepProgram> programs, uint64_t rows, bool adapters);

/// Fills the table `input` for one run's rows and returns the bytes written. Internal where `buffer` is too
/// short: the program promised another size than its tables need.
Result<uint64_t> writeTable(const StepProgram::Input &input, std::span<const PlannedRow> rows,
                            uint32_t pageTokens, std::span<AngleCache> angles, std::span<uint8_t> buffer);

} // namespace lorac

#endif // LORAC_RUNTIME_ENGINE_STEPTABLES_H
