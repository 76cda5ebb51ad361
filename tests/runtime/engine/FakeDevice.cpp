#include "tests/runtime/engine/FakeDevice.h"

#include "runtime/files/Expression.h"

#include <algorithm>
#include <cstring>

namespace lorac::test {

namespace {

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 29);
}

Status wrong() { return Status(Code::Internal) << "fake device: "; }

constexpr uint8_t Stale = 0xcd;

} // namespace

FakeDevice::FakeDevice(const ModelFile &model, const LoadSymbols &symbols) : model(model) {
  symbolValues.assign(model.metadata().symbols()->size(), 0);
  symbolValues[model.symbolIndex("pages")] = symbols.pages;
  symbolValues[model.symbolIndex("max_pages")] = symbols.maxPages;
  symbolValues[model.symbolIndex("max_items")] = symbols.maxItems;
  symbolValues[model.symbolIndex("max_entries")] = symbols.maxEntries;
  symbolValues[model.symbolIndex("pool_bytes")] = symbols.poolBytes;
  pool.assign(symbols.poolBytes, 0);
  cache.assign(symbols.pages * model.metadata().page_tokens(), 0);
  uint64_t bytes = 0;
  for (const fbs::Program *program : *model.metadata().programs())
    for (const fbs::Buffer *buffer : *program->buffers())
      if (buffer->space() == fbs::Space::Step)
        bytes = std::max(bytes, *evaluate(model.metadata(), buffer->offset(), symbolValues) +
                                    *evaluate(model.metadata(), buffer->size(), symbolValues));
  stepMemory.assign(bytes, Stale);
}

Status FakeDevice::maybeFail() {
  if (failAfter && (*failAfter)-- == 0) {
    failAfter.reset();
    return Status(failure) << "fake failure";
  }
  return Status::ok();
}

Status FakeDevice::writePool(uint64_t offset, std::span<const uint8_t> bytes) {
  LORAC_TRY(maybeFail());
  if (offset % 16 != 0 || bytes.size() % 16 != 0 || offset > pool.size() ||
      bytes.size() > pool.size() - offset)
    return wrong() << "pool write of " << bytes.size() << " at " << offset;
  std::memcpy(pool.data() + offset, bytes.data(), bytes.size());
  poolWrites.push_back({offset, {bytes.begin(), bytes.end()}});
  counts.poolBytesUploaded += bytes.size();
  return Status::ok();
}

std::span<uint8_t> FakeDevice::range(size_t program, size_t buffer) {
  const fbs::Buffer &entry =
      *model.metadata().programs()->Get(uint32_t(program))->buffers()->Get(uint32_t(buffer));
  return std::span(stepMemory)
      .subspan(*evaluate(model.metadata(), entry.offset(), symbolValues),
               *evaluate(model.metadata(), entry.size(), symbolValues));
}

std::span<uint8_t> FakeDevice::stepBuffer(size_t program, size_t buffer) { return range(program, buffer); }

Result<uint64_t> FakeDevice::stackHash(const RecordedRun &run, uint32_t row) const {
  if (run.stacks.empty() || run.stacks[row].entryCount == 0)
    return uint64_t(0);
  uint64_t hash = 1;
  for (uint32_t e = 0; e < run.stacks[row].entryCount; ++e) {
    uint32_t index = run.stacks[row].firstEntry + e;
    if (index >= run.entries.size())
      return wrong() << "row " << row << " has entry " << index << " of " << run.entries.size();
    const step::EntryRecord &entry = run.entries[index];
    uint64_t base = uint64_t(entry.slotBase) * 16;
    uint32_t sites = model.metadata().sites()->size();
    if (base + (sites + 1) * sizeof(step::SiteRecord) > pool.size())
      return wrong() << "slot at " << base;
    uint32_t tiles = 0;
    for (uint32_t s = 0; s <= sites; ++s) {
      step::SiteRecord site;
      std::memcpy(&site, pool.data() + base + s * sizeof site, sizeof site);
      uint32_t siteTiles = site.tiles & step::TileCountMask;
      if (s == sites && siteTiles != 0)
        return wrong() << "the null record has " << siteTiles << " tiles";
      hash = mix(mix(hash, site.tiles), site.scalingBits);
      tiles = std::max(tiles, siteTiles);
      if (siteTiles == 0)
        continue;
      for (uint64_t at : {base + uint64_t(site.aOffset) * 16, base + uint64_t(site.bOffset) * 16}) {
        uint64_t word;
        if (at + sizeof word > pool.size())
          return wrong() << "site " << s << " at " << at;
        std::memcpy(&word, pool.data() + at, sizeof word);
        hash = mix(hash, word);
      }
    }
    for (uint32_t tile = 0; tile < tiles; ++tile) {
      if (entry.firstItem + tile >= run.items.size())
        return wrong() << "entry " << index << " has item " << entry.firstItem + tile << " of "
                       << run.items.size();
      const step::ItemRecord &item = run.items[entry.firstItem + tile];
      if (item.row != row || item.slotBase != entry.slotBase ||
          item.tile != (tile | (tiles << step::EntryTilesShift)))
        return wrong() << "item " << entry.firstItem + tile << " is not tile " << tile << " of row " << row;
      hash = mix(hash, item.strengthBits);
    }
  }
  return hash;
}

Status FakeDevice::run(size_t program, const StepSymbols &symbols, uint64_t stepBytes) {
  LORAC_TRY(maybeFail());
  const fbs::Model &metadata = model.metadata();
  const fbs::Program &entry = *metadata.programs()->Get(uint32_t(program));
  RecordedRun run;
  run.program = entry.name()->str();
  run.symbols = symbols;
  run.stepBytes = stepBytes;
  if (symbols.rows < entry.rows_min() || symbols.rows > entry.rows_max())
    return wrong() << symbols.rows << " rows in program " << run.program;

  auto copy = [&](auto &records, std::span<const uint8_t> bytes, size_t count) {
    records.resize(count);
    if (count * sizeof records[0] > bytes.size())
      return false;
    if (count > 0)
      std::memcpy(records.data(), bytes.data(), count * sizeof records[0]);
    return true;
  };
  // Counts of entries and pages follow from the tables of rows.
  std::span<const uint8_t> bytesOf[8];
  uint32_t angleTable = 0;
  for (uint32_t b = 0; b < entry.buffers()->size(); ++b) {
    const fbs::Buffer &buffer = *entry.buffers()->Get(b);
    if (buffer.space() == fbs::Space::Step) {
      bytesOf[size_t(buffer.input())] = range(program, b);
      if (buffer.input() == fbs::StepInput::Angles)
        angleTable = buffer.angles();
    }
  }
  auto bytes = [&](fbs::StepInput input) { return bytesOf[size_t(input)]; };
  if (!copy(run.rows, bytes(fbs::StepInput::Rows), symbols.rows))
    return wrong() << "rows";
  std::vector<step::OutRecord> outRecords;
  if (!copy(outRecords, bytes(fbs::StepInput::OutRows), symbols.outRows))
    return wrong() << "out rows";
  for (const step::OutRecord &record : outRecords)
    run.outRows.push_back(record.row);
  // Rows say where they are among the out rows, and those that are not there say so.
  std::vector<uint32_t> places(run.rows.size(), step::NoOutRow);
  for (uint32_t i = 0; i < run.outRows.size(); ++i)
    if (run.outRows[i] < places.size())
      places[run.outRows[i]] = i;
  for (size_t i = 0; i < run.rows.size(); ++i)
    if (run.rows[i].outRow != places[i])
      return wrong() << "row " << i << " says that its logits row is " << run.rows[i].outRow;
  uint32_t pageTokens = metadata.page_tokens();
  uint32_t pages = 0;
  for (const step::RowRecord &row : run.rows)
    pages = std::max(pages, row.firstPage + row.position / pageTokens + 1);
  if (!copy(run.pages, bytes(fbs::StepInput::Pages), pages))
    return wrong() << "pages";
  size_t angleStride = (metadata.angles()->Get(angleTable)->frequencies()->size() * 2 + 3) / 4 * 4;
  if (!copy(run.angles, bytes(fbs::StepInput::Angles), symbols.rows * angleStride))
    return wrong() << "angles";
  if (entry.adapters()) {
    if (!copy(run.stacks, bytes(fbs::StepInput::Stacks), symbols.rows))
      return wrong() << "stacks";
    uint32_t entries = 0;
    for (const step::StackRecord &stack : run.stacks)
      entries = std::max(entries, stack.entryCount == 0 ? 0 : stack.firstEntry + stack.entryCount);
    if (!copy(run.entries, bytes(fbs::StepInput::Entries), entries) ||
        !copy(run.items, bytes(fbs::StepInput::Items), symbols.items))
      return wrong() << "entries or items";
  } else if (symbols.items != 0) {
    return wrong() << symbols.items << " items with adapters off";
  }
  if (failingToken)
    for (const step::RowRecord &row : run.rows)
      if (row.token == *failingToken)
        return Status(failure) << "fake failure at token " << row.token;

  // All rows write the cache, then each reads what lies before it.
  auto place = [&](const step::RowRecord &row, uint32_t position) {
    return size_t(run.pages[row.firstPage + position / pageTokens]) * pageTokens + position % pageTokens;
  };
  std::vector<uint64_t> stacks;
  for (uint32_t r = 0; r < run.rows.size(); ++r) {
    const step::RowRecord &row = run.rows[r];
    LORAC_ASSIGN(uint64_t stack, stackHash(run, r));
    stacks.push_back(stack);
    if (place(row, row.position) >= cache.size())
      return wrong() << "row " << r << " writes page "
                     << run.pages[row.firstPage + row.position / pageTokens];
    cache[place(row, row.position)] = mix(mix(row.token, row.position), stack);
  }
  uint32_t vocab = metadata.vocab_size();
  out.assign(symbols.outRows * vocab, 0.0f);
  for (size_t i = 0; i < run.outRows.size(); ++i) {
    const step::RowRecord &row = run.rows.at(run.outRows[i]);
    uint64_t state = stacks[run.outRows[i]];
    for (uint32_t position = 0; position <= row.position; ++position) {
      if (place(row, position) >= cache.size())
        return wrong() << "row " << run.outRows[i] << " reads a page that does not exist";
      state = mix(state, cache[place(row, position)]);
    }
    for (uint32_t v = 0; v < vocab; ++v)
      out[i * vocab + v] = float(mix(state, v) >> 40) * 0x1p-24f;
    if (row.token == poisonedToken)
      out[(i + 1) * vocab - 1] = poison;
  }
  ++counts.steps;
  counts.stepBytesUploaded += stepBytes;
  runs.push_back(std::move(run));
  std::fill(stepMemory.begin(), stepMemory.end(), Stale); // nothing survives from run to run
  return Status::ok();
}

std::span<const float> FakeDevice::outBuffer(size_t, size_t) { return out; }

} // namespace lorac::test
