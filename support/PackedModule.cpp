//===- PackedModule.cpp ---------------------------------------------------===//
#include "support/PackedModule.h"

#include <unordered_map>

namespace lorac::module {
namespace {

Status broken(const char *why) { return Status(Code::CorruptFile) << "packed module: " << why; }

/// Calls `visit(index, kind, value, opcode)` for each word of the module; `opcode`, modulo Opcodes, is that
/// of the instruction that it lies in, 0 in the module's header. A Plain word's value is the word itself.
/// Both give what is wrong, or null.
template <typename Visitor> const char *forEachWord(std::span<const uint32_t> packed, Visitor visit) {
  const size_t words = packed[0];
  size_t next = HeaderWords;     // of the packed words
  size_t end = SpirvHeaderWords; // of the instruction, in the module's words
  uint32_t opcode = 0;
  for (size_t i = 0; i < words; ++i) {
    if (next == packed.size())
      return "it ends before its last word";
    uint32_t kind = packed[next] >> KindShift, value = packed[next] & ValueMask;
    ++next;
    if (kind == Made && value == 1) {
      if (next == packed.size())
        return "it ends before its last word";
      kind = Plain;
      value = packed[next++];
    } else if (kind == Made && value != 0) {
      return "it has a word of no known kind";
    }
    if (i == end) {
      if (kind != Plain || value >> 16 == 0)
        return "an instruction does not say how long it is";
      opcode = value % Opcodes;
      end += value >> 16;
    }
    if (const char *why = visit(i, Kind(kind), value, opcode))
      return why;
  }
  return next == packed.size() ? nullptr : "it goes on behind its last word";
}

} // namespace

Result<std::vector<uint32_t>> unpack(std::span<const uint32_t> packed) {
  if (packed.size() < HeaderWords)
    return broken("it has no header");
  if (packed[0] > packed.size() - HeaderWords)
    return broken("it ends before its last word");
  // What is told of later comes before it is made, so everything that is made gets its id first.
  std::vector<std::vector<uint32_t>> made(Opcodes);
  uint32_t next = packed[1] + 1;
  const auto number = [&](size_t, Kind kind, uint32_t, uint32_t opcode) -> const char * {
    if (kind == Made)
      made[opcode].push_back(next++);
    return nullptr;
  };
  if (const char *why = forEachWord(packed, number))
    return broken(why);
  std::vector<uint32_t> result(packed[0]);
  std::unordered_map<uint32_t, uint32_t> names;
  std::vector<uint32_t> count(Opcodes, 0); // of each opcode made so far
  const auto fill = [&](size_t i, Kind kind, uint32_t value, uint32_t opcode) -> const char * {
    if (kind == Plain) {
      result[i] = value;
    } else if (kind == Made) {
      result[i] = made[opcode][count[opcode]++];
    } else if (kind == Shared) {
      result[i] = names.emplace(value, uint32_t(names.size()) + 1).first->second;
    } else {
      const uint32_t of = value >> DistanceBits, which = (count[of] - value) & DistanceMask;
      if (which >= made[of].size())
        return "it names what no instruction makes";
      result[i] = made[of][which];
    }
    return nullptr;
  };
  if (const char *why = forEachWord(packed, fill))
    return broken(why);
  if (names.size() != packed[1])
    return broken("it has another number of ids outside its functions");
  return result;
}

} // namespace lorac::module
