//===- TokenizerReader.h - tokenizers of checkpoints ------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_TOKENIZERREADER_H
#define LORAC_COMPILER_IMPORT_TOKENIZERREADER_H

#include "schemas/model_generated.h"
#include "support/Status.h"
#include "support/Vocabulary.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac {

// Limits, far above what is in use. A model file that broke one of the last three would not load.
constexpr uint64_t kMaxTokenizerBytes = 128ull << 20;      // of tokenizer.json; the largest have some 40 MiB
constexpr uint64_t kMaxTokenizerConfigBytes = 16ull << 20; // it lists every added token
constexpr uint64_t kMaxTokens = uint64_t(1) << 20;         // bounds what an id makes us allocate
constexpr size_t kMaxTemplateTokens = 64;                  // that a post-processor puts around a text
constexpr size_t kMaxAddedTokenBytes = 1024;
constexpr size_t kMaxScoredTokenBytes = 1024; // each way to cut it in two is looked up
constexpr uint64_t kMaxChatTemplateBytes = 1ull << 20;

/// The table of a model file, and what its packed fields hold.
struct TokenizerSource : fbs::TokenizerT {
  std::vector<std::string> tokens; // [id]; empty: no token of that id
  std::vector<uint32_t> merges;    // pairs of ids, in order of rank
};

struct TokenizerData {
  TokenizerSource tokenizer;
  std::string chatTemplate; // Jinja; empty: none
  std::string bosToken;     // as a chat template sees them; empty: none
  std::string eosToken;
  std::vector<uint32_t> eosIds; // ids that the tokenizer itself ends a text with
};

/// Reads what a lora.tokenizer names. `kind` "hf": `file` is tokenizer.json, `config` tokenizer_config.json
/// and `chatTemplateFile` chat_template.jinja (both may be empty); "gguf": `file` is the .gguf, the others
/// must be empty. BPE over bytes, or over characters that fall back to bytes, is read, whose normalizers,
/// pre-tokenizers and decoders stand in a closed table; what
/// is not in it is refused by name.
Result<TokenizerData> readTokenizer(const std::string &kind, const std::string &file,
                                    const std::string &config, const std::string &chatTemplateFile);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_TOKENIZERREADER_H
