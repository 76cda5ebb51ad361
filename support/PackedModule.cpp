//===- PackedModule.cpp ---------------------------------------------------===//
#include "support/PackedModule.h"

#include "support/Checked.h"

#include <unordered_map>

namespace lorac::module {

Result<std::vector<uint32_t>> unpack(std::span<const uint32_t> packed) {
  const auto broken = [](const char *why) { return Status(Code::CorruptFile) << "packed module: " << why; };
  if (packed.size() < HeaderWords)
    return broken("it has no header");
  const uint64_t words = packed[0], kept = packed[1], shared = packed[2];
  if (HeaderWords + kept + ceilDiv(words, KindsAWord) != packed.size())
    return broken("its header gives it another size");
  const std::span<const uint32_t> keptWords = packed.subspan(HeaderWords, size_t(kept)),
                                  kinds = packed.subspan(HeaderWords + size_t(kept));
  std::vector<uint32_t> result(static_cast<size_t>(words));
  std::unordered_map<uint32_t, uint32_t> names;
  uint32_t next = uint32_t(shared) + 1;
  size_t taken = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    const uint32_t kind = kinds[i / KindsAWord] >> (i % KindsAWord * 2) & 3;
    if (kind == Made) {
      result[i] = next++;
      continue;
    }
    if (taken == keptWords.size())
      return broken("it keeps too few words");
    const uint32_t word = keptWords[taken++];
    if (kind == Plain)
      result[i] = word;
    else if (kind == Back)
      result[i] = next - word;
    else
      result[i] = names.emplace(word, uint32_t(names.size()) + 1).first->second;
  }
  if (taken != keptWords.size() || names.size() != shared)
    return broken("it keeps other words than it takes");
  return result;
}

} // namespace lorac::module
