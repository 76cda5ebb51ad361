//===- Stats.cpp - what run --stats prints --------------------------------===//
#include "tools/lorac/Stats.h"

namespace lorac::cli {
namespace {

double secondsOf(uint64_t nanoseconds) { return double(nanoseconds) * 1e-9; }

double rate(uint64_t count, double seconds) { return seconds > 0 ? double(count) / seconds : 0; }

} // namespace

bool TokenClock::token() {
  last = Clock::now();
  if (++tokens == 1)
    first = last;
  else if (tokens == 2)
    second = last;
  return tokens == 1;
}

double TokenClock::decodeRate() const { return tokens > 2 ? rate(tokens - 2, seconds(second, last)) : 0; }

double RunStats::ownStartSeconds() const {
  return startSeconds() - fileSeconds - secondsOf(counters.driverNanoseconds) -
         secondsOf(firstPipelineNanoseconds);
}

Json RunStats::json() const {
  Json kernels = Json::object();
  for (const auto &[name, count] : counters.dispatchesByKernel)
    kernels[name] = count;
  return {
      {"device", device},
      {"steps", counters.steps},
      {"requests", batch.requests},
      {"prompt_tokens", batch.promptTokens},
      {"new_tokens", batch.newTokens},
      {"dispatches", counters.dispatches},
      {"adapter_dispatches", counters.adapterDispatches},
      {"dispatches_by_kernel", std::move(kernels)},
      {"barriers", counters.barriers},
      {"adapter_bytes", counters.poolBytesUploaded},
      {"step_bytes", counters.stepBytesUploaded},
      {"weight_bytes", counters.weightBytesUploaded},
      {"pool_bytes", poolBytes},
      {"allocations", counters.allocations},
      {"allocated_bytes", counters.allocatedBytes},
      {"pipelines", counters.pipelinesMade},
      {"pipeline_cache_bytes", counters.pipelineCacheBytes},
      {"seconds", {{"open", openSeconds}, {"first_token", clock.untilFirst()}, {"total", clock.total()}}},
      {"start_seconds",
       {{"total", startSeconds()},
        {"file", fileSeconds},
        {"driver", secondsOf(counters.driverNanoseconds)},
        {"pipelines", secondsOf(firstPipelineNanoseconds)},
        {"own", ownStartSeconds()},
        {"tokenizer", textSeconds},
        {"weights", secondsOf(counters.uploadNanoseconds)}}},
      {"tokens_per_second",
       {{"prompt", rate(batch.promptTokens, clock.untilFirst())},
        {"decode", clock.decodeRate()},
        {"new", rate(batch.newTokens, clock.total())}}},
  };
}

std::string RunStats::text() const {
  std::ostringstream out;
  out << "device: " << device << "\n";
  out << "tokens: " << batch.promptTokens << " prompt, " << batch.newTokens << " new, in " << counters.steps
      << " steps\n";
  out << "dispatches: " << counters.dispatches << " (" << counters.adapterDispatches << " of adapters):";
  for (const auto &[name, count] : counters.dispatchesByKernel)
    if (count > 0)
      out << " " << name << " " << count;
  out << "; barriers " << counters.barriers << "\n";
  out << "bytes moved: weights " << counters.weightBytesUploaded << ", adapters "
      << counters.poolBytesUploaded << ", step tables " << counters.stepBytesUploaded << "\n";
  out << "memory: " << counters.allocations << " allocations, " << byteText(counters.allocatedBytes)
      << "; adapter pool " << poolBytes << " bytes\n";
  out << "pipelines made: " << counters.pipelinesMade << ", bytes of the cache on disk used "
      << counters.pipelineCacheBytes << "\n";
  out << "times: open " << decimal(openSeconds) << " s, first token " << decimal(clock.untilFirst())
      << " s, total " << decimal(clock.total()) << " s\n";
  out << "start: " << decimal(startSeconds()) << " s to the first token: reading and verifying the file "
      << decimal(fileSeconds) << ", driver " << decimal(secondsOf(counters.driverNanoseconds))
      << ", making pipelines " << decimal(secondsOf(firstPipelineNanoseconds)) << ", all else "
      << decimal(ownStartSeconds()) << " (tokenizer " << decimal(textSeconds) << ", copying weights "
      << decimal(secondsOf(counters.uploadNanoseconds)) << ")\n";
  out << "tokens/s: prompt " << decimal(rate(batch.promptTokens, clock.untilFirst()))
      << " (making pipelines included)";
  if (clock.decodeRate() > 0)
    out << ", decode " << decimal(clock.decodeRate());
  out << ", new over all " << decimal(rate(batch.newTokens, clock.total())) << "\n";
  return out.str();
}

} // namespace lorac::cli
