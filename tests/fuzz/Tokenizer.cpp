// tokenizer.json: read it, make a tokenizer of it, and take texts there and back.
#include "runtime/text/Tokenizer.h"
#include "compiler/import/TokenizerReader.h"
#include "tests/fuzz/Fuzz.h"

#include <algorithm>
#include <vector>

using namespace lorac;
using namespace lorac::fuzz;

namespace {

void thereAndBack(const Tokenizer &tokenizer, std::string_view text) {
  for (bool special : {false, true}) {
    Result<std::vector<uint32_t>> ids = tokenizer.encode(text, special, special);
    requireTyped(ids.status());
    if (!ids)
      return;
    for (uint32_t id : *ids)
      require(id < tokenizer.size(), "a token of a text is one of the vocabulary");
    for (bool skip : {false, true}) {
      const std::string whole = tokenizer.decode(*ids, skip);
      require(firstInvalidUtf8(whole) == std::string_view::npos, "decoded text is UTF-8");
      Detokenizer stream(tokenizer, skip);
      std::string streamed;
      for (uint32_t id : *ids)
        streamed += stream.push(id);
      streamed += stream.flush();
      require(streamed == whole, "a text streams to what it decodes to");
    }
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  InputFile input({data, size});
  Result<TokenizerData> read = readTokenizer("hf", input.path(), "", "");
  requireTyped(read.status());
  if (!read)
    return 0;
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fbs::Tokenizer::Pack(builder, static_cast<const fbs::TokenizerT *>(&read->tokenizer)));
  const auto *table = flatbuffers::GetRoot<fbs::Tokenizer>(builder.GetBufferPointer());
  Result<Tokenizer> tokenizer = Tokenizer::create(*table);
  requireTyped(tokenizer.status());
  if (!tokenizer)
    return 0;
  thereAndBack(*tokenizer, "The cat's 12345 mice\n\n  don't  \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\t");
  thereAndBack(*tokenizer, "");
  // The input's own words: added tokens and merges stand in it.
  std::string own(textOf(data, std::min<size_t>(size, 2000)));
  own.resize(std::min(own.size(), firstInvalidUtf8(own)));
  thereAndBack(*tokenizer, own);
  return 0;
}
