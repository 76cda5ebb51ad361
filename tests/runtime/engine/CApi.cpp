#include "runtime/CApi.h"
#include "lorac/lorac.hpp"
#include "runtime/engine/ModelText.h"
#include "tests/runtime/engine/Fixture.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

extern "C" {
int loracCheckErrors(const char *missing, const char *corrupt);
int loracCheckText(const char *path);
int loracCheckEngine(lorac_engine *engine, const char *bundle);
int loracCheckDevices(void);
}

namespace lorac::test {
namespace {

class CApiTest : public EngineFilesTest {
protected:
  /// With a template that the text checks know.
  Bytes chatModel() {
    TinyModel tiny = tinyModel();
    tiny.model.chat_template =
        "{% for m in messages %}{{ bos_token }}{{ m.role }}:{{ m.content }}\n{% endfor %}";
    return tiny.bytes();
  }
};

TEST_F(CApiTest, ErrorsFromC) {
  Bytes corrupt = modelBytes;
  corrupt[70] ^= 1;
  EXPECT_EQ(loracCheckErrors(folder.path("missing.lorac").c_str(), write("corrupt.lorac", corrupt).c_str()),
            0)
      << "line of c_api.c";
}

TEST_F(CApiTest, TextFromC) {
  EXPECT_EQ(loracCheckText(write("tiny.lorac", chatModel()).c_str()), 0) << "line of c_api.c";
}

TEST_F(CApiTest, EngineFromC) {
  open();
  std::string bundle = write("tiny.lora", tinyAdapter().bytes());
  lorac_engine *handle = wrapEngine(engine, nullptr);
  EXPECT_EQ(loracCheckEngine(handle, bundle.c_str()), 0) << "line of c_api.c";
}

TEST_F(CApiTest, DevicesFromC) { EXPECT_EQ(loracCheckDevices(), 0) << "line of c_api.c"; }

TEST_F(CApiTest, CallbackTextComesInWholeCharacters) {
  open();
  Result<std::shared_ptr<const ModelText>> text = ModelText::create(*model);
  ASSERT_STATUS_OK(text.status());
  lorac_engine *handle = wrapEngine(engine, *text);
  const uint32_t prompt[] = {3};
  std::string streamed;
  lorac_request request = api::init<lorac_request>();
  request.tokens = prompt;
  request.token_count = 1;
  request.max_tokens = 20;
  request.flags = LORAC_IGNORE_EOS;
  request.user = &streamed;
  request.on_token = [](void *user, const lorac_token_event *event) {
    static_cast<std::string *>(user)->append(event->text, event->text_size);
    return 0;
  };
  lorac_generation *generation = nullptr;
  ASSERT_EQ(lorac_generate(handle, &request, 1, &generation, nullptr), LORAC_OK);
  lorac_result result = api::init<lorac_result>();
  ASSERT_EQ(lorac_generation_get(generation, 0, &result, nullptr), LORAC_OK);
  EXPECT_EQ(streamed, (*text)->decode(std::span(result.tokens, result.token_count)));
  EXPECT_FALSE(streamed.empty());
  lorac_generation_free(generation);
  lorac_engine_destroy(handle);
}

TEST_F(CApiTest, TheWrapperThrowsTypedErrors) {
  try {
    api::Model model(folder.path("missing.lorac"));
    FAIL() << "a missing file opened";
  } catch (const api::Error &error) {
    EXPECT_EQ(error.code(), LORAC_NOT_FOUND);
    EXPECT_NE(std::string(error.what()).find("missing.lorac"), std::string::npos);
  }
  api::Model model(write("tiny.lorac", chatModel()));
  EXPECT_EQ(model.info().vocab_size, 32u);
  EXPECT_EQ(model.tokenize("abc"), (std::vector<uint32_t>{0, 30}));
  EXPECT_EQ(model.detokenize({30}), "abc");
  EXPECT_EQ(model.renderChat({{"user", "ab"}}), "<s>user:ab\n");
}

} // namespace
} // namespace lorac::test
