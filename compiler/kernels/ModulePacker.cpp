//===- ModulePacker.cpp ---------------------------------------------------===//
#include "compiler/kernels/ModulePacker.h"

#include "support/PackedModule.h"

#include <spirv-tools/libspirv.h>

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>

namespace lorac {
namespace {

// SPIR-V specification, sections 2.3 and 3.32.
constexpr size_t BoundWord = 3;
constexpr uint16_t OpFunction = 54;

bool isId(spv_operand_type_t type) {
  switch (type) {
  case SPV_OPERAND_TYPE_ID:
  case SPV_OPERAND_TYPE_TYPE_ID:
  case SPV_OPERAND_TYPE_RESULT_ID:
  case SPV_OPERAND_TYPE_MEMORY_SEMANTICS_ID:
  case SPV_OPERAND_TYPE_SCOPE_ID:
    return true;
  default:
    return false;
  }
}

/// What of a module's words are ids, and which of these functions define.
struct Reader {
  struct Id {
    size_t word;
    bool defines;
  };
  struct Made {
    uint32_t opcode; ///< modulo module::Opcodes
    uint32_t which;  ///< of those that instructions of this opcode make
  };
  std::vector<Id> ids;                                                     ///< in the order of words
  std::unordered_map<uint32_t, Made> made;                                 ///< by id, what functions define
  std::vector<uint32_t> count = std::vector<uint32_t>(module::Opcodes, 0); ///< of these by opcode
  size_t at = module::SpirvHeaderWords;
  bool inFunctions = false;

  static spv_result_t instruction(void *user, const spv_parsed_instruction_t *instruction) {
    auto &reader = *static_cast<Reader *>(user);
    reader.inFunctions |= instruction->opcode == OpFunction;
    for (uint16_t i = 0; i < instruction->num_operands; ++i) {
      const spv_parsed_operand_t &operand = instruction->operands[i];
      if (!isId(operand.type))
        continue;
      const bool defines = operand.type == SPV_OPERAND_TYPE_RESULT_ID && reader.inFunctions;
      reader.ids.push_back({reader.at + operand.offset, defines});
      const uint32_t opcode = instruction->opcode % module::Opcodes;
      if (defines)
        reader.made.emplace(instruction->result_id, Made{opcode, reader.count[opcode]++});
    }
    reader.at += instruction->num_words;
    return SPV_SUCCESS;
  }
};

} // namespace

Result<std::vector<uint32_t>> packModule(std::span<const uint32_t> words) {
  Reader reader;
  std::unique_ptr<spv_context_t, void (*)(spv_context)> context(spvContextCreate(SPV_ENV_VULKAN_1_1),
                                                                spvContextDestroy);
  if (spvBinaryParse(context.get(), &reader, words.data(), words.size(), nullptr, Reader::instruction,
                     nullptr) != SPV_SUCCESS)
    return Status(Code::Internal) << "a module of ours cannot be read; report it";

  std::vector<uint32_t> packed = {uint32_t(words.size()), 0};
  const auto tell = [&](module::Kind kind, uint32_t value) {
    packed.push_back(uint32_t(kind) << module::KindShift | value);
  };
  const auto keep = [&](uint32_t word) {
    if (word > module::ValueMask)
      tell(module::Made, 1);
    packed.push_back(word);
  };
  size_t bound = 0; // where it stands
  std::set<uint32_t> shared;
  std::vector<uint32_t> count(module::Opcodes, 0); // of each opcode made so far
  auto id = reader.ids.begin();
  for (size_t i = 0; i < words.size(); ++i) {
    if (i == BoundWord) {
      bound = packed.size();
      keep(0); // known below
      continue;
    }
    if (id == reader.ids.end() || id->word != i) {
      keep(words[i]);
      continue;
    }
    const auto made = reader.made.find(words[i]);
    if (made == reader.made.end()) {
      tell(module::Shared, words[i] & module::ValueMask);
      shared.insert(words[i]);
    } else if (const auto [opcode, which] = made->second; id->defines) {
      tell(module::Made, 0);
      ++count[opcode];
    } else {
      tell(module::Back, opcode << module::DistanceBits | ((count[opcode] - which) & module::DistanceMask));
    }
    ++id;
  }
  if (std::ranges::max(reader.count) > module::DistanceMask ||
      (!shared.empty() && *shared.rbegin() > module::ValueMask))
    return Status(Code::Internal) << "a module of ours is too large; report it";
  packed[1] = uint32_t(shared.size());
  packed[bound] = uint32_t(shared.size() + reader.made.size()) + 1;
  return packed;
}

} // namespace lorac
