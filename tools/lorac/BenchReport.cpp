//===- BenchReport.cpp - what lorac bench measured --------------------------===//
#include "tools/lorac/BenchReport.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace lorac::cli {
namespace {

constexpr size_t Prompt = 0, Decode = 1;

double perUnit(uint64_t count, const Phase &phase) { return double(count) / double(phase.units); }

Json countsJson(const Phase &phase) {
  Json kernels = Json::object();
  for (const auto &[name, count] : phase.counts.dispatchesByKernel)
    if (count > 0)
      kernels[name] = perUnit(count, phase);
  return {{"steps", perUnit(phase.counts.steps, phase)},
          {"dispatches", perUnit(phase.counts.dispatches, phase)},
          {"adapter_dispatches", perUnit(phase.counts.adapterDispatches, phase)},
          {"dispatches_by_kernel", std::move(kernels)},
          {"barriers", perUnit(phase.counts.barriers, phase)},
          {"step_bytes", perUnit(phase.counts.stepBytesUploaded, phase)}};
}

double rateOf(const KernelLine &line) {
  return line.seconds.median > 0 ? line.bytes / line.seconds.median : 0;
}

Json phaseJson(const Phase &phase, double best) {
  Json kernels = Json::array();
  for (const KernelLine &line : phase.kernels)
    kernels.push_back({{"program", line.program},
                       {"kernel", line.kernel},
                       {"weights", line.weights},
                       {"calls", line.calls},
                       {"seconds", line.seconds.json()},
                       {"bytes", line.bytes},
                       {"bytes_per_second", rateOf(line)},
                       {"of_raw_read", best > 0 ? rateOf(line) / best : 0}});
  return {{"tokens", phase.tokens},
          {"seconds", phase.seconds.json()},
          {"tokens_per_second", phase.tokensPerSecond.json()},
          {"counts", countsJson(phase)},
          {"kernels", std::move(kernels)}};
}

std::string spreadText(const Spread &spread) {
  return decimal(spread.median) + " (" + decimal(spread.min) + " to " + decimal(spread.max) + ")";
}

std::string gigabytes(double bytesPerSecond) { return decimal(bytesPerSecond / 1e9); }

/// Columns as wide as their widest cell, the first `left` of them to the left.
class Table {
public:
  explicit Table(size_t left) : left(left) {}
  void row(std::vector<std::string> cells) { rows.push_back(std::move(cells)); }
  std::string text() const {
    std::vector<size_t> widths;
    for (const std::vector<std::string> &row : rows)
      for (size_t i = 0; i < row.size(); ++i) {
        widths.resize(std::max(widths.size(), i + 1));
        widths[i] = std::max(widths[i], row[i].size());
      }
    std::string text;
    for (const std::vector<std::string> &row : rows) {
      std::string line = " ";
      for (size_t i = 0; i < row.size(); ++i) {
        std::string space(widths[i] - row[i].size(), ' ');
        line += " " + (i < left ? row[i] + space : space + row[i]);
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

private:
  size_t left;
  std::vector<std::vector<std::string>> rows;
};

void addCounts(std::ostringstream &out, const char *unit, const std::string &name, const Phase &phase) {
  out << unit << ", " << name << ": " << decimal(perUnit(phase.counts.dispatches, phase)) << " dispatches ("
      << decimal(perUnit(phase.counts.adapterDispatches, phase)) << " of adapters):";
  for (const auto &[kernel, count] : phase.counts.dispatchesByKernel)
    if (count > 0)
      out << " " << kernel << " " << decimal(perUnit(count, phase));
  out << "; barriers " << decimal(perUnit(phase.counts.barriers, phase)) << ", step tables "
      << decimal(perUnit(phase.counts.stepBytesUploaded, phase)) << " bytes\n";
}

void addKernels(std::ostringstream &out, const char *unit, const std::string &name, const Phase &phase,
                double best) {
  if (phase.kernels.empty())
    return;
  double all = 0, bytes = 0;
  for (const KernelLine &line : phase.kernels) {
    all += line.seconds.median;
    bytes += line.bytes;
  }
  out << "\nkernels of " << unit << ", " << name << ":\n";
  Table table(3);
  table.row({"program", "kernel", "weights", "calls", "ms", "% of time", "bytes", "GB/s", "of raw read"});
  auto add = [&](const KernelLine &line) {
    char share[16], raw[16];
    std::snprintf(share, sizeof share, "%.1f", all > 0 ? 100 * line.seconds.median / all : 0);
    std::snprintf(raw, sizeof raw, "%.2f", best > 0 ? rateOf(line) / best : 0);
    table.row({line.program, line.kernel, line.weights, decimal(line.calls),
               decimal(line.seconds.median * 1e3), share, byteText(uint64_t(line.bytes)),
               gigabytes(rateOf(line)), raw});
  };
  for (const KernelLine &line : phase.kernels)
    add(line);
  double calls = 0;
  for (const KernelLine &line : phase.kernels)
    calls += line.calls;
  add({"all", "", "", calls, {all, all, all}, bytes});
  out << table.text();
}

} // namespace

Spread Spread::of(std::vector<double> values) {
  if (values.empty())
    return {};
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

Json Spread::json() const { return {{"median", median}, {"min", min}, {"max", max}}; }

double BenchReport::bestRead() const {
  double best = 0;
  for (const RawRead &read : rawReads)
    best = std::max(best, read.bytesPerSecond.median);
  return best;
}

Json BenchReport::json() const {
  Json bundles = Json::array(), reads = Json::array(), caseList = Json::array(), spaces = Json::object();
  for (const Adapter &adapter : adapters)
    bundles.push_back({{"path", adapter.path}, {"strength", adapter.strength}});
  for (const RawRead &read : rawReads)
    reads.push_back({{"way", read.way},
                     {"lanes", read.lanes},
                     {"bytes", read.bytes},
                     {"bytes_per_second", read.bytesPerSecond.json()}});
  for (const auto &[space, bytes] : spaceBytes)
    spaces[space] = bytes;
  double best = bestRead();
  for (const BenchCase &entry : cases)
    caseList.push_back({{"case", entry.name},
                        {"prompt", phaseJson(entry.prompt, best)},
                        {"decode", phaseJson(entry.decode, best)}});
  Json object = {{"model", model},
                 {"device", device},
                 {"prompt_length", promptLength},
                 {"new_tokens", newTokens},
                 {"batch", batch},
                 {"distinct_adapters", distinctAdapters},
                 {"adapters", std::move(bundles)},
                 {"repetitions", repetitions},
                 {"max_rows", maxRows},
                 {"raw_reads", std::move(reads)},
                 {"best_raw_read", best > 0 ? Json(best) : Json()},
                 {"cases", std::move(caseList)}};
  object["adapters_over_base"] = Json();
  if (adaptersOverBase)
    object["adapters_over_base"] = {{"prompt", (*adaptersOverBase)[Prompt].json()},
                                    {"decode", (*adaptersOverBase)[Decode].json()}};
  object["memory"] = {{"bytes_by_space", std::move(spaces)},
                      {"allocations", total.allocations},
                      {"allocated_bytes", total.allocatedBytes},
                      {"weight_bytes", total.weightBytesUploaded},
                      {"adapter_bytes", total.poolBytesUploaded}};
  object["pipelines"] = total.pipelinesMade;
  object["open_seconds"] = openSeconds;
  object["no_kernels"] = noKernels.empty() ? Json() : Json(noKernels);
  return object;
}

std::string BenchReport::text() const {
  std::ostringstream out;
  out << "model: " << model << "\ndevice: " << device << "\n";
  out << "measured: " << batch << (batch == 1 ? " sequence" : " sequences") << " with a prompt of "
      << promptLength << " and " << newTokens << " new tokens, " << repetitions
      << " repetitions after one that is not counted; medians (lowest to highest)\n";
  for (const Adapter &adapter : adapters)
    out << "adapter: " << adapter.path << ", strength " << decimal(adapter.strength) << "\n";
  if (distinctAdapters > 0)
    out << "adapters: " << distinctAdapters << " in slots of their own, sequence i has number i modulo "
        << distinctAdapters << "\n";

  out << "\ntokens/s:\n";
  Table rates(1);
  rates.row({"", "prompt", "decode"});
  for (const BenchCase &entry : cases)
    rates.row(
        {entry.name, spreadText(entry.prompt.tokensPerSecond), spreadText(entry.decode.tokensPerSecond)});
  if (adaptersOverBase)
    rates.row({"time with adapters / base", spreadText((*adaptersOverBase)[Prompt]),
               spreadText((*adaptersOverBase)[Decode])});
  out << rates.text();

  if (!rawReads.empty())
    out << "\nraw read:\n";
  Table reads(2);
  if (!rawReads.empty())
    reads.row({"way", "lanes", "bytes", "GB/s"});
  for (const RawRead &read : rawReads) {
    Spread rate = {read.bytesPerSecond.median / 1e9, read.bytesPerSecond.min / 1e9,
                   read.bytesPerSecond.max / 1e9};
    reads.row({read.way, std::to_string(read.lanes), byteText(read.bytes), spreadText(rate)});
  }
  out << reads.text() << "\n";

  for (const BenchCase &entry : cases) {
    addCounts(out, "all prompts", entry.name, entry.prompt);
    addCounts(out, "a decoding step", entry.name, entry.decode);
  }
  out << "memory: " << total.allocations << " allocations, " << byteText(total.allocatedBytes) << ":";
  for (const auto &[space, bytes] : spaceBytes)
    out << " " << space << " " << byteText(bytes);
  out << "\nbytes moved: weights " << total.weightBytesUploaded << ", adapters " << total.poolBytesUploaded
      << "\npipelines made: " << total.pipelinesMade << "\ntime to open: " << decimal(openSeconds) << " s\n";
  for (const BenchCase &entry : cases) {
    addKernels(out, "a decoding step", entry.name, entry.decode, bestRead());
    addKernels(out, "all prompts", entry.name, entry.prompt, bestRead());
  }
  if (!noKernels.empty())
    out << "\nno times of kernels: " << noKernels << "\n";
  return out.str();
}

} // namespace lorac::cli
