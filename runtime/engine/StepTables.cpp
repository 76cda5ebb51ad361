//===- StepTables.cpp - the tables of one run -------------------*- C++ -*-===//
#include "runtime/engine/StepTables.h"

#include "runtime/files/Expression.h"
#include "runtime/files/ModelFile.h"
#include "schemas/StepTable.h"
#include "support/Checked.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace lorac {

namespace {

uint64_t pagesOf(const PlannedRow &row, uint32_t pageTokens) {
  return uint64_t(row.position) / pageTokens + 1;
}

/// Appends records to a table and keeps count; never writes past its end.
class TableWriter {
public:
  explicit TableWriter(std::span<uint8_t> buffer) : buffer(buffer) {}

  template <typename Record> void add(const Record &record) { add(&record, sizeof record); }
  void add(const void *data, size_t size) {
    if (size == 0)
      return;
    if (size > buffer.size() - used) {
      full = true;
      return;
    }
    std::memcpy(buffer.data() + used, data, size);
    used += size;
  }
  /// Zeros as far as the buffer goes, at most `size` bytes: kernels may read, and ignore, what lies just past
  /// the last record.
  void addMargin(size_t size) {
    size = std::min(size, buffer.size() - used);
    if (size == 0)
      return;
    std::memset(buffer.data() + used, 0, size);
    used += size;
  }
  Result<uint64_t> finish(const char *name) const {
    if (full)
      return Status(Code::Internal) << "step table " << name << " has room for " << buffer.size()
                                    << " bytes, the step needs more; report the model file";
    return uint64_t(used);
  }

private:
  std::span<uint8_t> buffer;
  size_t used = 0;
  bool full = false;
};

// A block of rows or a block of keys may reach this much past what a step uses.
constexpr size_t RowMargin = 8;
constexpr size_t PageMargin = 16;

/// Index into Pages of each sequence's list, in order of first use in the run. A list is as long as the
/// run's last row of the sequence needs.
struct PageLists {
  struct List {
    uint32_t sequence;
    uint32_t first;
    std::span<const uint32_t> pages;
  };
  std::vector<List> lists;

  PageLists(std::span<const PlannedRow> rows, uint32_t pageTokens) {
    for (const PlannedRow &row : rows) {
      auto it = find(row.sequence);
      if (it == lists.end())
        it = lists.insert(it, {row.sequence, 0, {}});
      uint64_t needed = std::max<uint64_t>(pagesOf(row, pageTokens), it->pages.size());
      it->pages = row.pages.first(std::min<size_t>(needed, row.pages.size()));
    }
    uint32_t first = 0;
    for (List &list : lists) {
      list.first = first;
      first += uint32_t(list.pages.size());
    }
  }
  uint32_t firstOf(uint32_t sequence) { return find(sequence)->first; }

private:
  std::vector<List>::iterator find(uint32_t sequence) {
    // Rows of a sequence mostly stand together: look at the newest first.
    for (auto it = lists.end(); it != lists.begin();)
      if ((--it)->sequence == sequence)
        return it;
    return lists.end();
  }
};

} // namespace

bool anyAdapter(std::span<const PlannedRow> rows, bool (LoadedAdapter::*has)() const) {
  return std::any_of(rows.begin(), rows.end(), [&](const PlannedRow &row) {
    return std::any_of(row.stack->begin(), row.stack->end(),
                       [&](const StackEntry &entry) { return ((*entry.adapter).*has)(); });
  });
}

uint64_t stackItems(const Stack &stack) {
  uint64_t items = 0;
  for (const StackEntry &entry : stack)
    items += entry.adapter->tiles();
  return items;
}

Result<std::vector<PlannedRun>> planRuns(std::span<const PlannedRow> rows, const StepLimits &limits) {
  std::vector<PlannedRun> runs;
  PlannedRun run;
  std::vector<std::pair<uint32_t, uint64_t>> lists; // of this run: sequence, its page numbers so far
  uint64_t pages = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const PlannedRow &row = rows[i];
    uint64_t entries = row.stack->size();
    uint64_t items = stackItems(*row.stack);
    uint64_t needed = pagesOf(row, limits.pageTokens);
    if (entries > limits.entries || items > limits.items)
      return Status(Code::Exhausted)
             << "one sequence's stack of " << entries << " adapters takes " << items
             << " rank tiles, a step has room for " << limits.entries << " adapters and " << limits.items
             << " rank tiles; open a session with more of them (maxEntries, maxItems)";
    if (needed > limits.pages)
      return Status(Code::Exhausted) << "one sequence needs " << needed << " cache pages, this session has "
                                     << limits.pages << "; open a session with more";
    auto list =
        std::find_if(lists.begin(), lists.end(), [&](const auto &l) { return l.first == row.sequence; });
    uint64_t known = list == lists.end() ? 0 : list->second;
    uint64_t morePages = needed > known ? needed - known : 0;
    bool fits = run.count < limits.rows && run.outRows + row.wantLogits <= limits.outRows &&
                run.entries + entries <= limits.entries && run.items + items <= limits.items &&
                pages + morePages <= limits.pages;
    if (!fits && run.count > 0) {
      runs.push_back(run);
      run = {i};
      lists.clear();
      list = lists.end();
      pages = 0;
      morePages = needed;
      known = 0;
    }
    if (list == lists.end())
      lists.emplace_back(row.sequence, needed);
    else
      list->second = std::max(known, needed);
    pages += morePages;
    ++run.count;
    run.outRows += row.wantLogits;
    run.entries += entries;
    run.items += items;
  }
  if (run.count > 0)
    runs.push_back(run);
  return runs;
}

AngleCache::AngleCache(const fbs::AngleTable &table)
    : frequencies(table.frequencies()->begin(), table.frequencies()->end()),
      rowStride(roundUp(2 * frequencies.size(), 4)) {}

std::span<const float> AngleCache::row(uint32_t position) {
  size_t known = rowStride == 0 ? size_t(position) + 1 : values.size() / rowStride;
  if (position >= known) {
    values.resize((size_t(position) + 1) * rowStride, 0.0f);
    for (size_t p = known; p <= position; ++p) {
      float *cosines = values.data() + p * rowStride;
      float *sines = cosines + frequencies.size();
      for (size_t i = 0; i < frequencies.size(); ++i) {
        double angle = double(p) * frequencies[i];
        cosines[i] = float(std::cos(angle));
        sines[i] = float(std::sin(angle));
      }
    }
  }
  return {values.data() + size_t(position) * rowStride, rowStride};
}

Result<std::vector<StepProgram>> findStepPrograms(const ModelFile &model, std::span<const uint64_t> symbols) {
  std::vector<StepProgram> found;
  const auto &programs = *model.metadata().programs();
  for (uint32_t p = 0; p < programs.size(); ++p) {
    const fbs::Program &program = *programs[p];
    StepProgram entry;
    entry.program = p;
    entry.rowsMin = program.rows_min();
    entry.rowsMax = program.rows_max();
    entry.adapters = program.adapters();
    bool takesRows = false, givesLogits = false;
    for (uint32_t b = 0; b < program.buffers()->size(); ++b) {
      const fbs::Buffer &buffer = *program.buffers()->Get(b);
      if (buffer.space() == fbs::Space::Step && buffer.input() != fbs::StepInput::None) {
        entry.inputs.push_back({b, buffer.input(), buffer.angles()});
        takesRows |= buffer.input() == fbs::StepInput::Rows;
      } else if (buffer.space() == fbs::Space::Out && !givesLogits) {
        if (buffer.width() != model.metadata().vocab_size() || buffer.row_stride() < buffer.width())
          continue; // another result than logits
        std::optional<uint64_t> size = evaluate(model.metadata(), buffer.size(), symbols);
        if (!size)
          return Status(Code::CorruptFile)
                 << model.path() << ": program '" << program.name()->string_view() << "', buffer '"
                 << buffer.name()->string_view() << "': its size does not evaluate; compile the model again";
        givesLogits = true;
        entry.outBuffer = b;
        entry.rowStride = buffer.row_stride();
        // The last row may end at its width.
        uint64_t floats = *size / sizeof(float);
        entry.outCapacity = floats < buffer.width() ? 0 : (floats - buffer.width()) / buffer.row_stride() + 1;
      }
    }
    if (takesRows && givesLogits && entry.outCapacity > 0)
      found.push_back(std::move(entry));
  }
  return found;
}

const StepProgram *chooseProgram(std::span<const StepProgram> programs, uint64_t rows, bool adapters) {
  const StepProgram *best = nullptr;
  for (const StepProgram &program : programs)
    if (program.adapters == adapters && program.rowsMin <= rows && rows <= program.rowsMax &&
        (!best || program.rowsMax < best->rowsMax))
      best = &program;
  return best;
}

Result<uint64_t> writeTable(const StepProgram::Input &input, std::span<const PlannedRow> rows,
                            uint32_t pageTokens, std::span<AngleCache> angles, std::span<uint8_t> buffer) {
  TableWriter writer(buffer);
  switch (input.kind) {
  case fbs::StepInput::Rows: {
    PageLists lists(rows, pageTokens);
    uint32_t outRows = 0;
    for (const PlannedRow &row : rows)
      writer.add(step::RowRecord{row.token, row.position, lists.firstOf(row.sequence),
                                 row.wantLogits ? outRows++ : step::NoOutRow});
    writer.addMargin(RowMargin * sizeof(step::RowRecord));
    return writer.finish("Rows");
  }
  case fbs::StepInput::OutRows:
    for (size_t i = 0; i < rows.size(); ++i)
      if (rows[i].wantLogits)
        writer.add(step::OutRecord{uint32_t(i), {}});
    return writer.finish("OutRows");
  case fbs::StepInput::Pages: {
    PageLists lists(rows, pageTokens);
    for (const auto &list : lists.lists)
      writer.add(list.pages.data(), list.pages.size_bytes());
    writer.addMargin(PageMargin * sizeof(uint32_t));
    return writer.finish("Pages");
  }
  case fbs::StepInput::Angles: {
    if (input.angles >= angles.size())
      return Status(Code::Internal) << "step input names angle table " << input.angles << " of "
                                    << angles.size();
    for (const PlannedRow &row : rows) {
      std::span<const float> values = angles[input.angles].row(row.position);
      writer.add(values.data(), values.size_bytes());
    }
    return writer.finish("Angles");
  }
  case fbs::StepInput::Stacks: {
    uint32_t entry = 0, item = 0;
    const uint32_t float32 = anyAdapter(rows, &LoadedAdapter::isFloat32) ? step::StepFloat32Bit : 0;
    for (const PlannedRow &row : rows) {
      const uint32_t count = uint32_t(row.stack->size()), items = uint32_t(stackItems(*row.stack));
      writer.add(step::StackRecord{entry, count, item, items | float32});
      entry += count;
      item += items;
    }
    writer.addMargin(RowMargin * sizeof(step::StackRecord));
    return writer.finish("Stacks");
  }
  case fbs::StepInput::Entries: {
    uint32_t item = 0;
    for (const PlannedRow &row : rows)
      for (const StackEntry &entry : *row.stack) {
        writer.add(step::EntryRecord{entry.adapter->slotBase(), item, {}});
        item += entry.adapter->tiles();
      }
    return writer.finish("Entries");
  }
  case fbs::StepInput::Items:
    for (uint32_t i = 0; i < rows.size(); ++i)
      for (const StackEntry &entry : *rows[i].stack)
        for (uint32_t tile = 0; tile < entry.adapter->tiles(); ++tile)
          writer.add(step::ItemRecord{i, entry.adapter->slotBase(),
                                      tile | (entry.adapter->tiles() << step::EntryTilesShift),
                                      std::bit_cast<uint32_t>(entry.strength)});
    return writer.finish("Items");
  case fbs::StepInput::None:
    break;
  }
  return Status(Code::Internal) << "unknown step input " << int(input.kind);
}

} // namespace lorac
