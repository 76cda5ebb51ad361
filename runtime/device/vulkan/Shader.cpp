//===- Shader.cpp - a short walk over SPIR-V --------------------------------===//
// Numbers are those of the SPIR-V specification, section 3.
#include "runtime/device/vulkan/Shader.h"

#include "support/Checked.h"
#include "support/PackedModule.h"

#include <algorithm>
#include <unordered_map>

namespace lorac::vulkan {
namespace {

constexpr uint32_t OpEntryPoint = 15, OpExecutionMode = 16, OpCapability = 17, OpTypeBool = 20,
                   OpTypeInt = 21, OpTypeFloat = 22, OpTypeVector = 23, OpTypeMatrix = 24, OpTypeArray = 28,
                   OpTypeStruct = 30, OpTypePointer = 32, OpConstant = 43, OpFunction = 54,
                   OpFunctionEnd = 56, OpVariable = 59, OpDecorate = 71;
constexpr uint32_t ModelGLCompute = 5, ModeLocalSize = 17, DecorationBinding = 33;
constexpr uint32_t StorageUniformConstant = 0, StorageUniform = 2, StorageWorkgroup = 4,
                   StoragePushConstant = 9, StorageBuffer = 12;

class Reader {
public:
  explicit Reader(std::span<const uint32_t> words) : words(words) {}

  Result<ShaderFacts> read() {
    if (words.size() < module::SpirvHeaderWords || words[0] != module::SpirvMagic)
      return broken("no SPIR-V module of this byte order");
    facts.version = words[1];
    size_t at = module::SpirvHeaderWords;
    bool inFunctions = false, whole = true;
    while (at < words.size()) {
      uint32_t length = words[at] >> 16, op = words[at] & 0xffffu;
      if (length == 0 || length > words.size() - at)
        return broken("an instruction goes past its end");
      inFunctions |= op == OpFunction; // what we look for stands before the first function
      if (inFunctions)
        whole = op == OpFunctionEnd;
      else
        LORAC_TRY(instruction(op, words.subspan(at + 1, length - 1)));
      at += length;
    }
    if (!whole)
      return broken("its last function has no end");
    if (facts.entryPoint.empty())
      return broken("no compute entry point");
    if (facts.localSize[0] == 0)
      return broken("no literal local size");
    return std::move(facts);
  }

private:
  static Status broken(const char *why) { return Status(Code::CorruptFile) << why; }

  Status instruction(uint32_t op, std::span<const uint32_t> operands) {
    auto needs = [&](size_t count) { return operands.size() >= count; };
    auto known = [&](uint32_t id) {
      auto found = typeBytes.find(id);
      return found == typeBytes.end() ? uint64_t(0) : found->second;
    };
    switch (op) {
    case OpCapability:
      if (!needs(1))
        return broken("a capability without a number");
      facts.capabilities.push_back(operands[0]);
      break;
    case OpEntryPoint: {
      if (!needs(3) || operands[0] != ModelGLCompute || !facts.entryPoint.empty())
        return broken("an entry point that is not the one compute shader");
      for (uint32_t word : operands.subspan(2)) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
          char letter = char(word >> shift);
          if (letter == 0)
            return Status::ok();
          facts.entryPoint += letter;
        }
      }
      return broken("an entry point's name has no end");
    }
    case OpExecutionMode:
      if (needs(5) && operands[1] == ModeLocalSize)
        facts.localSize = {operands[2], operands[3], operands[4]};
      break;
    case OpTypeBool:
      if (needs(1))
        typeBytes[operands[0]] = 4;
      break;
    case OpTypeInt:
    case OpTypeFloat:
      if (needs(2))
        typeBytes[operands[0]] = operands[1] / 8;
      break;
    case OpTypeVector:
    case OpTypeMatrix:
      if (needs(3))
        LORAC_TRY(setBytes(operands[0], known(operands[1]), operands[2]));
      break;
    case OpConstant:
      if (needs(3))
        constants[operands[1]] = operands[2];
      break;
    case OpTypeArray:
      if (needs(3)) {
        auto length = constants.find(operands[2]);
        LORAC_TRY(setBytes(operands[0], known(operands[1]), length == constants.end() ? 0 : length->second));
      }
      break;
    case OpTypeStruct: {
      if (!needs(1))
        break;
      uint64_t sum = 0;
      for (uint32_t member : operands.subspan(1)) {
        std::optional<uint64_t> next = checkedAdd(sum, known(member));
        if (!next)
          return broken("a type of more than 2^64 bytes");
        sum = *next;
      }
      typeBytes[operands[0]] = sum;
      break;
    }
    case OpTypePointer:
      if (needs(3))
        pointees[operands[0]] = operands[2];
      break;
    case OpDecorate:
      if (needs(3) && operands[1] == DecorationBinding)
        bindings[operands[0]] = operands[2];
      break;
    case OpVariable:
      if (needs(3))
        return variable(operands[1], operands[2], known(pointees[operands[0]]));
      break;
    default:
      break;
    }
    return Status::ok();
  }

  Status variable(uint32_t id, uint32_t storage, uint64_t bytes) {
    switch (storage) {
    case StorageWorkgroup: {
      std::optional<uint64_t> sum = checkedAdd(facts.sharedBytes, bytes);
      if (!sum)
        return broken("shared memory of more than 2^64 bytes");
      facts.sharedBytes = *sum;
      break;
    }
    case StoragePushConstant:
      facts.pushBytes = std::max(facts.pushBytes, bytes);
      break;
    case StorageUniformConstant:
    case StorageUniform:
    case StorageBuffer:
      if (auto found = bindings.find(id); found != bindings.end())
        facts.bindings.push_back({found->second, storage == StorageUniformConstant});
      break;
    default:
      break;
    }
    return Status::ok();
  }

  Status setBytes(uint32_t id, uint64_t element, uint64_t count) {
    std::optional<uint64_t> bytes = checkedMul(element, count);
    if (!bytes)
      return broken("a type of more than 2^64 bytes");
    typeBytes[id] = *bytes;
    return Status::ok();
  }

  std::span<const uint32_t> words;
  ShaderFacts facts;
  std::unordered_map<uint32_t, uint64_t> typeBytes;
  std::unordered_map<uint32_t, uint64_t> constants;
  std::unordered_map<uint32_t, uint32_t> pointees;
  std::unordered_map<uint32_t, uint32_t> bindings; // by variable
};

} // namespace

Result<ShaderFacts> readShader(std::span<const uint32_t> words) { return Reader(words).read(); }

} // namespace lorac::vulkan
