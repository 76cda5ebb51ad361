//===- TokenizerReader.h - tokenizers of checkpoints ------------*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_TOKENIZERREADER_H
#define LORAC_COMPILER_IMPORT_TOKENIZERREADER_H

#include "schemas/model_generated.h"
#include "support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac {

struct TokenizerData {
  fbs::TokenizerT tokenizer;
  std::string chatTemplate; // Jinja; empty: none
  std::string bosToken;     // as a chat template sees them; empty: none
  std::string eosToken;
  std::vector<uint32_t> eosIds; // ids that the tokenizer itself ends a text with
};

/// Reads what a lora.tokenizer names. `kind` "hf": `file` is tokenizer.json, `config` tokenizer_config.json
/// and `chatTemplateFile` chat_template.jinja (both may be empty); "gguf": `file` is the .gguf, the others
/// must be empty. Byte-level BPE is read, whose normalizers and pre-tokenizers stand in a closed table; what
/// is not in it is refused by name.
Result<TokenizerData> readTokenizer(const std::string &kind, const std::string &file,
                                    const std::string &config, const std::string &chatTemplateFile);

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_TOKENIZERREADER_H
