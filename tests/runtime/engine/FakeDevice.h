//===- FakeDevice.h - a device that reads tables and remembers --*- C++ -*-===//
// Reads the step tables as a kernel would and gives logits that are a function of exactly what a row may
// see: the tokens of its sequence (through the page lists and a cache), the stacks that these had, and its
// own stack (through the pool). A wrong table gives a Status, not a wrong number that nobody notices.
#ifndef LORAC_TESTS_RUNTIME_ENGINE_FAKEDEVICE_H
#define LORAC_TESTS_RUNTIME_ENGINE_FAKEDEVICE_H

#include "runtime/device/Device.h"
#include "runtime/files/ModelFile.h"
#include "schemas/StepTable.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lorac::test {

/// The tables of one run, as far as its rows use them.
struct RecordedRun {
  std::string program;
  StepSymbols symbols;
  uint64_t stepBytes = 0;
  std::vector<step::RowRecord> rows;
  std::vector<uint32_t> outRows;
  std::vector<uint32_t> pages;
  std::vector<float> angles;
  std::vector<step::StackRecord> stacks;
  std::vector<step::EntryRecord> entries;
  std::vector<step::ItemRecord> items;
};

class FakeDevice final : public DeviceModel {
public:
  FakeDevice(const ModelFile &model, const LoadSymbols &symbols);

  Status writePool(uint64_t offset, std::span<const uint8_t> bytes) override;
  std::span<uint8_t> stepBuffer(size_t program, size_t buffer) override;
  Status run(size_t program, const StepSymbols &symbols, uint64_t stepBytes) override;
  std::span<const float> outBuffer(size_t program, size_t buffer) override;
  DeviceCounters counters() const override { return counts; }
  std::string description() const override { return "fake:0"; }

  std::vector<RecordedRun> runs;
  struct PoolWrite {
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };
  std::vector<PoolWrite> poolWrites;
  /// The next so many calls of run() or writePool() succeed, then one fails with this code.
  std::optional<uint64_t> failAfter;
  Code failure = Code::OutOfMemory;
  /// Every run whose rows hold this token fails.
  std::optional<uint32_t> failingToken;
  /// The logits of rows with this token end with this value.
  std::optional<uint32_t> poisonedToken;
  float poison = 0;

private:
  Status maybeFail();
  std::span<uint8_t> range(size_t program, size_t buffer);
  Result<uint64_t> stackHash(const RecordedRun &run, uint32_t row) const;

  const ModelFile &model;
  std::vector<uint64_t> symbolValues;
  std::vector<uint8_t> stepMemory; // all programs share it, as a device may do
  std::vector<uint8_t> pool;
  std::vector<uint64_t> cache; // a hash a token
  std::vector<float> out;
  DeviceCounters counts;
};

} // namespace lorac::test

#endif // LORAC_TESTS_RUNTIME_ENGINE_FAKEDEVICE_H
