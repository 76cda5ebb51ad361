//===- ModulePacker.cpp ---------------------------------------------------===//
#include "compiler/kernels/ModulePacker.h"

#include "support/Checked.h"
#include "support/PackedModule.h"

#include <spirv-tools/libspirv.h>

#include <memory>
#include <set>
#include <unordered_map>

namespace lorac {
namespace {

// SPIR-V specification, sections 2.3 and 3.32.
constexpr size_t SpirvHeaderWords = 5, BoundWord = 3;
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
  std::vector<Id> ids;                         ///< in the order of words
  std::unordered_map<uint32_t, uint32_t> made; ///< by id: which of those that functions define
  size_t at = SpirvHeaderWords;
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
      if (defines)
        reader.made.emplace(instruction->result_id, uint32_t(reader.made.size()));
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

  std::vector<uint32_t> kept, kinds(ceilDiv(words.size(), size_t(module::KindsAWord)), 0);
  std::set<uint32_t> shared;
  const auto tell = [&](size_t word, module::Kind kind) {
    kinds[word / module::KindsAWord] |= kind << (word % module::KindsAWord * 2);
  };
  uint32_t next = 0; // of what functions made
  auto id = reader.ids.begin();
  for (size_t i = 0; i < words.size(); ++i) {
    if (id == reader.ids.end() || id->word != i) {
      kept.push_back(words[i]);
      continue;
    }
    const auto made = reader.made.find(words[i]);
    if (id->defines) {
      tell(i, module::Made);
      ++next;
    } else if (made != reader.made.end()) {
      tell(i, module::Back);
      kept.push_back(next - made->second);
    } else {
      tell(i, module::Shared);
      kept.push_back(words[i]);
      shared.insert(words[i]);
    }
    ++id;
  }
  kept[BoundWord] = uint32_t(shared.size()) + next + 1;
  std::vector<uint32_t> packed = {uint32_t(words.size()), uint32_t(kept.size()), uint32_t(shared.size())};
  packed.insert(packed.end(), kept.begin(), kept.end());
  packed.insert(packed.end(), kinds.begin(), kinds.end());
  return packed;
}

} // namespace lorac
