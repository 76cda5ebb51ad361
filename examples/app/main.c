/* One prompt, answered by the base, by every adapter given and by all of them stacked, all in one batch:
 *   app MODEL.lorac "Why is the sky blue?" legal.lora pirate.lora=0.5
 *   app MODEL.lorac --tokens 259,129,92 legal.lora          (for a model without a tokenizer: ids in, ids
 * out) The rows of all answers share the device's steps; each answer has its own stack. */
#include "lorac/lorac.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MaxBundles = 64, MaxTokens = 48 };

/* What was made, for one place that frees it. */
typedef struct {
  lorac_model *model;
  lorac_engine *engine;
  lorac_adapter *adapters[MaxBundles];
  lorac_generation *generation;
  uint32_t *prompt;
  size_t prompt_count;
} App;

/* A failure of our own, in the form of the library's. */
static lorac_code fail(lorac_error *error, lorac_code code, const char *what, const char *which) {
  error->code = code;
  snprintf(error->message, sizeof error->message, "%s%s", what, which);
  return code;
}

/* "259,129,92" */
static lorac_code parse_tokens(App *app, const char *text, lorac_error *error) {
  const char *at = text;
  app->prompt = malloc((strlen(text) + 1) * sizeof *app->prompt); /* more than one an id */
  if (!app->prompt)
    return fail(error, LORAC_OUT_OF_MEMORY, "no memory for the prompt", "");
  for (;;) {
    char *end = NULL;
    unsigned long id = strtoul(at, &end, 10);
    if (*at < '0' || *at > '9' || id > UINT32_MAX || (*end != ',' && *end != '\0'))
      return fail(error, LORAC_INVALID_ARGUMENT, "not a list of token ids: ", text);
    app->prompt[app->prompt_count++] = (uint32_t)id;
    if (*end == '\0')
      return LORAC_OK;
    at = end + 1;
  }
}

/* The question's tokens: through the model's chat template where it has one. */
static lorac_code make_prompt(App *app, const char *question, lorac_error *error) {
  lorac_model_info info = LORAC_INIT(lorac_model_info);
  lorac_message message = {"user", question};
  lorac_code code = lorac_model_get_info(app->model, &info, error);
  int pass;
  for (pass = 0; pass < 2 && code == LORAC_OK; ++pass) { /* first the size, then the tokens */
    if (info.has_chat_template)
      code = lorac_tokenize_chat(app->model, &message, 1, 1, app->prompt, &app->prompt_count, error);
    else
      code =
          lorac_tokenize(app->model, question, strlen(question), 1, app->prompt, &app->prompt_count, error);
    if (pass == 0 && code == LORAC_OK) {
      app->prompt = malloc((app->prompt_count + 1) * sizeof *app->prompt);
      if (!app->prompt)
        code = fail(error, LORAC_OUT_OF_MEMORY, "no memory for the prompt", "");
    }
  }
  return code;
}

/* Loads "PATH" or "PATH=STRENGTH"; the argument is left as the path alone. */
static lorac_code load(App *app, size_t index, char *bundle, float *strength, lorac_error *error) {
  char *mark = strrchr(bundle, '='), *end = NULL;
  *strength = 1.0f;
  if (mark) {
    *strength = strtof(mark + 1, &end);
    if (end == mark + 1 || *end != '\0')
      return fail(error, LORAC_INVALID_ARGUMENT, "not a strength: ", mark + 1);
    *mark = '\0';
  }
  return lorac_adapter_load(app->engine, bundle, NULL, &app->adapters[index], error);
}

static lorac_code print_answer(const App *app, const lorac_result *result, int as_tokens,
                               lorac_error *error) {
  size_t i, size = 0;
  char *text = NULL;
  lorac_code code = LORAC_OK;
  if (as_tokens) {
    for (i = 0; i < result->token_count; ++i)
      printf("%s%" PRIu32, i == 0 ? "" : ",", result->tokens[i]);
    printf("\n");
    return LORAC_OK;
  }
  code = lorac_detokenize(app->model, result->tokens, result->token_count, 0, NULL, &size, error);
  if (code == LORAC_OK && !(text = malloc(size + 1)))
    code = fail(error, LORAC_OUT_OF_MEMORY, "no memory for an answer", "");
  if (code == LORAC_OK)
    code = lorac_detokenize(app->model, result->tokens, result->token_count, 0, text, &size, error);
  if (code == LORAC_OK)
    printf("%.*s\n", (int)size, text);
  free(text);
  return code;
}

/* Each answer, or why there is none; then what all of them took. */
static lorac_code print_all(const App *app, char **bundles, size_t bundle_count, int as_tokens,
                            lorac_error *error) {
  lorac_counters counters = LORAC_INIT(lorac_counters);
  lorac_code code = LORAC_OK;
  size_t i;
  for (i = 0; i < lorac_generation_count(app->generation); ++i) {
    lorac_result result = LORAC_INIT(lorac_result);
    if ((code = lorac_generation_get(app->generation, i, &result, error)) != LORAC_OK)
      return code;
    printf("--- %s\n", i == 0 ? "base" : i <= bundle_count ? bundles[i - 1] : "all adapters");
    if (result.finish == LORAC_FINISH_ERROR)
      return fail(error, result.code, result.message, "");
    if ((code = print_answer(app, &result, as_tokens, error)) != LORAC_OK)
      return code;
  }
  if ((code = lorac_engine_get_counters(app->engine, &counters, error)) == LORAC_OK)
    printf("--- %" PRIu64 " steps of %" PRIu64 " dispatches, %" PRIu64
           " of them for adapters; uploaded %" PRIu64 " bytes of weights and %" PRIu64 " of adapters\n",
           counters.steps, counters.dispatches, counters.adapter_dispatches, counters.weight_bytes_uploaded,
           counters.pool_bytes_uploaded);
  return code;
}

static lorac_code run(App *app, const char *path, const char *prompt, int as_tokens, char **bundles,
                      size_t bundle_count, lorac_error *error) {
  lorac_engine_options options = LORAC_INIT(lorac_engine_options);
  lorac_stack_entry stack[MaxBundles];
  lorac_request requests[MaxBundles + 2];
  /* The base, each adapter, and where there are several all of them. */
  size_t request_count = bundle_count + (bundle_count > 1 ? 2 : 1), i;
  lorac_code code;

  if ((code = lorac_model_open(path, &app->model, error)) != LORAC_OK)
    return code;
  code = as_tokens ? parse_tokens(app, prompt, error) : make_prompt(app, prompt, error);
  if (code != LORAC_OK)
    return code;
  options.sequences = request_count;
  options.context = app->prompt_count + MaxTokens;
  if ((code = lorac_engine_create(app->model, &options, &app->engine, error)) != LORAC_OK)
    return code;

  memset(requests, 0, sizeof requests);
  for (i = 0; i < bundle_count; ++i) {
    if ((code = load(app, i, bundles[i], &stack[i].strength, error)) != LORAC_OK)
      return code;
    stack[i].adapter = app->adapters[i];
  }
  for (i = 0; i < request_count; ++i) {
    requests[i].struct_size = sizeof requests[i];
    requests[i].tokens = app->prompt;
    requests[i].token_count = app->prompt_count;
    requests[i].max_tokens = MaxTokens;
    if (i > 0) { /* the base has the empty stack */
      requests[i].stack = i <= bundle_count ? &stack[i - 1] : stack;
      requests[i].stack_count = i <= bundle_count ? 1 : bundle_count;
    }
  }
  if ((code = lorac_generate(app->engine, requests, request_count, &app->generation, error)) != LORAC_OK)
    return code;
  return print_all(app, bundles, bundle_count, as_tokens, error);
}

int main(int argc, char **argv) {
  lorac_error error = LORAC_INIT(lorac_error);
  App app;
  int as_tokens = argc > 2 && strcmp(argv[2], "--tokens") == 0;
  int first = as_tokens ? 4 : 3, i;
  lorac_code code;
  if (argc < first || argc - first > MaxBundles) {
    fprintf(stderr, "usage: app MODEL.lorac QUESTION|--tokens IDS [BUNDLE.lora[=STRENGTH]]...\n");
    return 2;
  }
  if (lorac_api_version() < LORAC_API_VERSION) {
    fprintf(stderr, "app: liblorac_runtime %s is older than what this program was built with\n",
            lorac_version());
    return 1;
  }
  memset(&app, 0, sizeof app);
  code = run(&app, argv[1], argv[first - 1], as_tokens, argv + first, (size_t)(argc - first), &error);
  if (code != LORAC_OK)
    fprintf(stderr, "app: %s: %s\n", lorac_code_name(code), error.message);
  lorac_generation_free(app.generation);
  for (i = 0; i < argc - first; ++i)
    lorac_adapter_release(app.adapters[i]);
  lorac_engine_destroy(app.engine);
  lorac_model_close(app.model);
  free(app.prompt);
  return code == LORAC_OK ? 0 : 1;
}
