/* The C interface, used from C. Each check that fails gives its line; 0 is success. */
#include "lorac/lorac.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(CONDITION)                                                                                     \
  do {                                                                                                       \
    if (!(CONDITION))                                                                                        \
      return __LINE__;                                                                                       \
  } while (0)

/* Where the last field of each struct of version 2 stands: programs that are already built rely on it. A
 * later field comes after these, and never into the struct's padding; a line here never changes. */
#if UINTPTR_MAX == UINT64_MAX
#define LAST(TYPE, FIELD, OFFSET) _Static_assert(offsetof(TYPE, FIELD) == OFFSET, #TYPE)
LAST(lorac_error, message, 12);
LAST(lorac_model_info, has_chat_template, 57);
LAST(lorac_message, content, 8);
LAST(lorac_device_info, memory_bytes, 48);
LAST(lorac_engine_options, pipeline_cache, 72);
LAST(lorac_engine_info, pool_slots, 64);
LAST(lorac_counters, pipeline_nanoseconds, 112);
LAST(lorac_adapter_options, reserved, 20);
LAST(lorac_adapter_info, accepted_base, 44);
LAST(lorac_stack_entry, strength, 8);
LAST(lorac_step_row, want_logits, 12);
LAST(lorac_token_event, text_size, 32);
LAST(lorac_request, user, 80);
LAST(lorac_result, logit_rows, 48);
#endif

int loracCheckErrors(const char *missing, const char *corrupt);
int loracCheckText(const char *path);
int loracCheckEngine(lorac_engine *engine, const char *bundle);
int loracCheckDevices(void);

int loracCheckErrors(const char *missing, const char *corrupt) {
  lorac_error error = LORAC_INIT(lorac_error);
  lorac_model *model = NULL;
  struct {
    size_t struct_size;
    lorac_code code;
    char message[12];
  } small;
  CHECK(lorac_api_version() == LORAC_API_VERSION);
  CHECK(lorac_version()[0] >= '0' && lorac_version()[0] <= '9' && strchr(lorac_version(), '.') != NULL);
  CHECK(strcmp(lorac_code_name(LORAC_CORRUPT_FILE), "CORRUPT_FILE") == 0);
  CHECK(strcmp(lorac_code_name((lorac_code)99), "UNKNOWN") == 0);

  CHECK(lorac_model_open(missing, &model, &error) == LORAC_NOT_FOUND);
  CHECK(error.code == LORAC_NOT_FOUND && strstr(error.message, missing) != NULL && model == NULL);
  CHECK(lorac_model_open(corrupt, &model, &error) == LORAC_CORRUPT_FILE);
  CHECK(strstr(error.message, corrupt) != NULL && model == NULL);
  CHECK(lorac_model_open(NULL, &model, &error) == LORAC_INVALID_ARGUMENT);
  CHECK(strcmp(error.message, "path is null") == 0);
  CHECK(lorac_model_open(missing, NULL, NULL) ==
        LORAC_INVALID_ARGUMENT); /* no error struct: the code alone */

  /* A smaller error struct receives what fits. */
  small.struct_size = sizeof small;
  CHECK(lorac_model_open(NULL, &model, (lorac_error *)(void *)&small) == LORAC_INVALID_ARGUMENT);
  CHECK(strcmp(small.message, "path is ...") == 0);

  CHECK(lorac_engine_create(NULL, NULL, NULL, &error) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_adapter_load(NULL, missing, NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_adapter_find(NULL, "a", NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_adapter_unload(NULL, "a", NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_adapter_get_info(NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_create(NULL, NULL, 0, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_set_stack(NULL, NULL, 0, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_truncate(NULL, 0, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_reserve(NULL, 0, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_length(NULL) == 0);
  CHECK(lorac_engine_step(NULL, NULL, 0, NULL, 0, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_engine_get_info(NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_engine_get_counters(NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_engine_describe(NULL, NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_generate(NULL, NULL, 0, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_generation_get(NULL, 0, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_generation_count(NULL) == 0);
  CHECK(lorac_tokenize(NULL, "a", 1, 1, NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_detokenize(NULL, NULL, 0, 1, NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_render_chat(NULL, NULL, 0, 1, NULL, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_devices_get(NULL, 0, NULL, NULL) == LORAC_INVALID_ARGUMENT);
  lorac_model_close(NULL);
  lorac_engine_destroy(NULL);
  lorac_adapter_release(NULL);
  lorac_sequence_free(NULL);
  lorac_generation_free(NULL);
  lorac_devices_free(NULL);
  return 0;
}

int loracCheckText(const char *path) {
  lorac_error error = LORAC_INIT(lorac_error);
  lorac_model *model = NULL;
  lorac_model_info info = LORAC_INIT(lorac_model_info);
  lorac_engine_options options = LORAC_INIT(lorac_engine_options);
  lorac_engine *engine = NULL;
  struct {
    lorac_engine_options known;
    uint64_t unknown;
  } future;
  uint32_t tokens[8];
  char text[16];
  size_t count = 0, size = 0;
  CHECK(lorac_model_open(path, &model, &error) == LORAC_OK);
  CHECK(lorac_model_get_info(model, &info, &error) == LORAC_OK);
  CHECK(info.vocab_size == 32 && info.max_context == 64 && info.max_rows == 16 && info.site_count == 4);
  CHECK(info.has_tokenizer == 1 && info.struct_size == sizeof info);
  info.struct_size = 0;
  CHECK(lorac_model_get_info(model, &info, &error) == LORAC_INVALID_ARGUMENT);

  /* Ask for the size, then for the tokens: <s> (0), abc (30). */
  CHECK(lorac_tokenize(model, "abc", 3, 1, NULL, &count, &error) == LORAC_OK && count == 2);
  count = 1;
  CHECK(lorac_tokenize(model, "abc", 3, 1, tokens, &count, &error) == LORAC_EXHAUSTED && count == 2);
  count = 8;
  CHECK(lorac_tokenize(model, "abc", 3, 1, tokens, &count, &error) == LORAC_OK && count == 2);
  CHECK(tokens[0] == 0 && tokens[1] == 30);
  CHECK(lorac_tokenize(model, "abc", 3, 0, tokens, &count, &error) == LORAC_OK && count == 1 &&
        tokens[0] == 30);
  CHECK(lorac_tokenize(model, "\xff", 1, 0, tokens, &count, &error) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_tokenize(model, NULL, 1, 0, tokens, &count, &error) == LORAC_INVALID_ARGUMENT);
  tokens[0] = 0;
  tokens[1] = 30;
  size = sizeof text;
  CHECK(lorac_detokenize(model, tokens, 2, 0, text, &size, &error) == LORAC_OK);
  CHECK(size == 3 && memcmp(text, "abc", 3) == 0);
  size = sizeof text;
  CHECK(lorac_detokenize(model, tokens, 2, 1, text, &size, &error) == LORAC_OK);
  CHECK(size == 6 && memcmp(text, "<s>abc", 6) == 0);

  {
    lorac_message messages[1] = {{"user", "abc"}};
    CHECK(lorac_render_chat(model, messages, 1, 1, NULL, &size, &error) == LORAC_OK && size == 12);
    size = sizeof text;
    CHECK(lorac_render_chat(model, messages, 1, 1, text, &size, &error) == LORAC_OK);
    CHECK(memcmp(text, "<s>user:abc\n", 12) == 0);
    /* The template wrote <s>: it stands once. */
    CHECK(lorac_tokenize_chat(model, messages, 1, 1, NULL, &count, &error) == LORAC_OK && count >= 2);
    messages[0].content = NULL;
    CHECK(lorac_render_chat(model, messages, 1, 1, NULL, &size, &error) == LORAC_INVALID_ARGUMENT);
  }

  /* Options of a later version: fields that we do not know must be 0. */
  options.context = 65;
  CHECK(lorac_engine_create(model, &options, &engine, &error) == LORAC_INVALID_ARGUMENT);
  CHECK(strstr(error.message, "--max-context 65") != NULL);
  memset(&future, 0, sizeof future);
  future.known.struct_size = sizeof future;
  future.known.context = 65;
  CHECK(lorac_engine_create(model, &future.known, &engine, &error) == LORAC_INVALID_ARGUMENT);
  future.unknown = 1;
  CHECK(lorac_engine_create(model, &future.known, &engine, &error) == LORAC_UNSUPPORTED);
  options.struct_size = 0;
  CHECK(lorac_engine_create(model, &options, &engine, &error) == LORAC_INVALID_ARGUMENT && engine == NULL);
  lorac_model_close(model);
  return 0;
}

typedef struct {
  size_t calls;
  uint32_t last;
  size_t stop_after;
} Watch;

static int watch(void *user, const lorac_token_event *event) {
  Watch *state = user;
  ++state->calls;
  state->last = event->token;
  return event->request == 1 && state->calls >= state->stop_after;
}

/* Takes over `engine`. */
int loracCheckEngine(lorac_engine *engine, const char *bundle) {
  lorac_error error = LORAC_INIT(lorac_error);
  lorac_engine_info info = LORAC_INIT(lorac_engine_info);
  lorac_counters counters = LORAC_INIT(lorac_counters);
  lorac_adapter_info adapter_info = LORAC_INIT(lorac_adapter_info);
  lorac_adapter_options adapter_options = LORAC_INIT(lorac_adapter_options);
  lorac_adapter *adapter = NULL, *found = NULL;
  lorac_sequence *base = NULL, *adapted = NULL;
  lorac_stack_entry stack[1];
  lorac_step_row rows[3];
  float logits[64], again[32];
  char text[32];
  size_t size = sizeof text;
  const uint32_t prompt[3] = {3, 4, 5};
  lorac_request requests[3];
  lorac_generation *generation = NULL;
  lorac_result result = LORAC_INIT(lorac_result);
  Watch state = {0, 0, 2};

  CHECK(lorac_engine_describe(engine, text, &size, &error) == LORAC_OK && strcmp(text, "fake:0") == 0);
  CHECK(lorac_adapter_load(engine, "nowhere.lora", NULL, &adapter, &error) == LORAC_NOT_FOUND);
  CHECK(lorac_adapter_load(engine, bundle, NULL, &adapter, &error) == LORAC_OK);
  CHECK(lorac_adapter_get_info(adapter, &adapter_info, &error) == LORAC_OK);
  CHECK(strcmp(adapter_info.name, "tiny") == 0 && adapter_info.load == 1 && adapter_info.rank_tiles == 2);
  adapter_options.name = "other";
  CHECK(lorac_adapter_load(engine, bundle, &adapter_options, NULL, &error) == LORAC_OK);
  CHECK(lorac_adapter_find(engine, "other", &found, &error) == LORAC_OK && found != NULL);
  CHECK(lorac_adapter_unload(engine, "other", &error) == LORAC_OK);
  CHECK(lorac_adapter_unload(engine, "other", &error) == LORAC_NOT_FOUND);
  CHECK(lorac_engine_get_info(engine, &info, &error) == LORAC_OK && info.pool_slots == 2);
  lorac_adapter_release(found);
  CHECK(lorac_engine_get_info(engine, &info, &error) == LORAC_OK && info.pool_slots == 1);
  CHECK(info.context == 64 && info.max_rows == 16 && info.page_tokens == 16);

  stack[0].adapter = adapter;
  stack[0].strength = 1.0f;
  CHECK(lorac_sequence_create(engine, NULL, 0, &base, &error) == LORAC_OK);
  CHECK(lorac_sequence_create(engine, stack, 1, &adapted, &error) == LORAC_OK);
  rows[0].sequence = base;
  rows[0].token = 3;
  rows[0].want_logits = 1;
  rows[1].sequence = adapted;
  rows[1].token = 3;
  rows[1].want_logits = 0;
  rows[2] = rows[1];
  rows[2].token = 4;
  rows[2].want_logits = 1;
  CHECK(lorac_engine_step(engine, rows, 3, logits, 63, &error) == LORAC_EXHAUSTED);
  CHECK(lorac_sequence_length(adapted) == 0);
  CHECK(lorac_engine_step(engine, rows, 3, logits, 64, &error) == LORAC_OK);
  CHECK(lorac_sequence_length(base) == 1 && lorac_sequence_length(adapted) == 2);
  /* The second row of logits is the adapted sequence's. */
  CHECK(lorac_sequence_truncate(adapted, 1, &error) == LORAC_OK);
  CHECK(lorac_engine_step(engine, rows + 2, 1, again, 32, &error) == LORAC_OK);
  CHECK(memcmp(again, logits + 32, sizeof again) == 0);
  rows[0].want_logits = 2;
  CHECK(lorac_engine_step(engine, rows, 1, logits, 64, &error) == LORAC_INVALID_ARGUMENT);
  rows[0].want_logits = 0;
  CHECK(lorac_engine_step(engine, rows, 1, NULL, 0, &error) == LORAC_OK);
  CHECK(lorac_sequence_reserve(base, 64, &error) == LORAC_OK);
  CHECK(lorac_sequence_set_stack(base, stack, 1, &error) == LORAC_OK);
  CHECK(lorac_engine_get_counters(engine, &counters, &error) == LORAC_OK);
  CHECK(counters.steps == 3 && counters.pool_bytes_uploaded > 0);

  memset(requests, 0, sizeof requests);
  requests[0].struct_size = requests[1].struct_size = requests[2].struct_size = sizeof requests[0];
  requests[0].tokens = prompt;
  requests[0].token_count = 3;
  requests[0].max_tokens = 5;
  requests[0].flags = LORAC_IGNORE_EOS | LORAC_CAPTURE_LOGITS;
  requests[1] = requests[0];
  requests[1].stack = stack;
  requests[1].stack_count = 1;
  requests[1].on_token = watch;
  requests[1].user = &state;
  requests[2] = requests[0];
  requests[2].token_count = 0;
  CHECK(lorac_generate(engine, requests, 3, &generation, &error) == LORAC_OK);
  CHECK(lorac_generation_count(generation) == 3);
  CHECK(lorac_generation_get(generation, 0, &result, &error) == LORAC_OK);
  CHECK(result.code == LORAC_OK && result.finish == LORAC_FINISH_LENGTH && result.token_count == 5);
  CHECK(result.logit_rows == 7 && result.logits != NULL && result.message[0] == '\0');
  CHECK(lorac_generation_get(generation, 1, &result, &error) == LORAC_OK);
  CHECK(result.finish == LORAC_FINISH_STOP && result.token_count == 2 && state.calls == 2);
  CHECK(result.tokens[1] == state.last);
  CHECK(lorac_generation_get(generation, 2, &result, &error) == LORAC_OK);
  CHECK(result.code == LORAC_INVALID_ARGUMENT && result.finish == LORAC_FINISH_ERROR);
  CHECK(strstr(result.message, "no tokens") != NULL);
  CHECK(lorac_generation_get(generation, 3, &result, &error) == LORAC_NOT_FOUND);
  lorac_generation_free(generation);

  /* Flags that mean nothing and differing sizes are refused. */
  requests[0].flags = 64;
  CHECK(lorac_generate(engine, requests, 1, &generation, &error) == LORAC_OK);
  CHECK(lorac_generation_get(generation, 0, &result, &error) == LORAC_OK);
  CHECK(result.code == LORAC_INVALID_ARGUMENT);
  lorac_generation_free(generation);
  requests[1].struct_size = sizeof requests[0] - 8;
  CHECK(lorac_generate(engine, requests, 2, &generation, &error) == LORAC_INVALID_ARGUMENT);

  /* Any order of closing. */
  lorac_engine_destroy(engine);
  CHECK(lorac_engine_step(NULL, rows, 1, NULL, 0, &error) == LORAC_INVALID_ARGUMENT);
  CHECK(lorac_sequence_length(adapted) == 2);
  lorac_adapter_release(adapter);
  lorac_sequence_free(adapted);
  lorac_sequence_free(base);
  return 0;
}

int loracCheckDevices(void) {
  lorac_error error = LORAC_INIT(lorac_error);
  lorac_devices *devices = NULL;
  lorac_device_info info = LORAC_INIT(lorac_device_info);
  size_t i;
  CHECK(lorac_devices_list(&devices, &error) == LORAC_OK);
  for (i = 0; i < lorac_devices_count(devices); ++i) {
    CHECK(lorac_devices_get(devices, i, &info, &error) == LORAC_OK);
    CHECK(info.kind[0] != '\0' && info.name != NULL && info.features != NULL);
  }
  CHECK(lorac_devices_get(devices, i, &info, &error) == LORAC_NOT_FOUND);
  CHECK(i > 0 || lorac_devices_note(devices)[0] != '\0'); /* none, and why */
  lorac_devices_free(devices);
  return 0;
}
