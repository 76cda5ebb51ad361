/* One question, asked of the base and of every adapter given, all in one batch:
 *   app MODEL.lorac "Why is the sky blue?" legal.lora pirate.lora=0.5
 * The rows of all answers share the device's steps; each answer has its own stack. */
#include "lorac/lorac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MaxAnswers = 64, MaxTokens = 48 };

static int fail(const lorac_error *error) {
  fprintf(stderr, "app: %s: %s\n", lorac_code_name(error->code), error->message);
  return 1;
}

/* The prompt's tokens: through the model's chat template where it has one. The caller frees them. */
static lorac_code make_prompt(const lorac_model *model, const char *question, uint32_t **tokens,
                              size_t *count, lorac_error *error) {
  lorac_model_info info = LORAC_INIT(lorac_model_info);
  lorac_message message = {"user", question};
  lorac_code code = lorac_model_get_info(model, &info, error);
  int pass;
  *tokens = NULL;
  *count = 0;
  for (pass = 0; pass < 2 && code == LORAC_OK; ++pass) { /* first the size, then the tokens */
    if (info.has_chat_template)
      code = lorac_tokenize_chat(model, &message, 1, 1, *tokens, count, error);
    else
      code = lorac_tokenize(model, question, strlen(question), 1, *tokens, count, error);
    if (pass == 0 && code == LORAC_OK) {
      *tokens = malloc((*count + 1) * sizeof **tokens);
      if (!*tokens) {
        error->code = LORAC_OUT_OF_MEMORY;
        snprintf(error->message, sizeof error->message, "no memory for the prompt");
        code = LORAC_OUT_OF_MEMORY;
      }
    }
  }
  return code;
}

/* Each answer as text, or why there is none. */
static int print_answers(const lorac_model *model, const lorac_generation *generation, char **names) {
  lorac_error error = LORAC_INIT(lorac_error);
  int failed = 0;
  size_t i;
  for (i = 0; i < lorac_generation_count(generation); ++i) {
    lorac_result result = LORAC_INIT(lorac_result);
    char text[4096];
    size_t size = sizeof text;
    if (lorac_generation_get(generation, i, &result, &error) != LORAC_OK)
      return fail(&error);
    printf("--- %s\n", i == 0 ? "base" : names[i - 1]);
    if (result.finish == LORAC_FINISH_ERROR) {
      printf("(%s: %s)\n", lorac_code_name(result.code), result.message);
      failed = 1;
    } else if (lorac_detokenize(model, result.tokens, result.token_count, 0, text, &size, &error) ==
               LORAC_OK) {
      printf("%.*s\n", (int)size, text);
    } else {
      return fail(&error);
    }
  }
  return failed;
}

static int run(const char *path, const char *question, char **bundles, size_t bundle_count) {
  lorac_error error = LORAC_INIT(lorac_error);
  lorac_engine_options options = LORAC_INIT(lorac_engine_options);
  lorac_model *model = NULL;
  lorac_engine *engine = NULL;
  lorac_adapter *adapters[MaxAnswers] = {NULL};
  lorac_stack_entry stacks[MaxAnswers];
  lorac_request requests[MaxAnswers + 1];
  lorac_generation *generation = NULL;
  uint32_t *prompt = NULL;
  size_t prompt_count = 0, i;
  int status = 1;

  if (lorac_model_open(path, &model, &error) != LORAC_OK ||
      make_prompt(model, question, &prompt, &prompt_count, &error) != LORAC_OK)
    goto failed;
  options.sequences = bundle_count + 1;
  options.context = prompt_count + MaxTokens;
  if (lorac_engine_create(model, &options, &engine, &error) != LORAC_OK)
    goto failed;

  memset(requests, 0, sizeof requests);
  for (i = 0; i <= bundle_count; ++i) {
    requests[i].struct_size = sizeof requests[i];
    requests[i].tokens = prompt;
    requests[i].token_count = prompt_count;
    requests[i].max_tokens = MaxTokens;
    if (i == 0)
      continue; /* the base: an empty stack */
    char *strength = strrchr(bundles[i - 1], '=');
    stacks[i - 1].strength = strength ? strtof(strength + 1, NULL) : 1.0f;
    if (strength)
      *strength = '\0';
    if (lorac_adapter_load(engine, bundles[i - 1], NULL, &adapters[i - 1], &error) != LORAC_OK)
      goto failed;
    stacks[i - 1].adapter = adapters[i - 1];
    requests[i].stack = &stacks[i - 1];
    requests[i].stack_count = 1;
  }
  if (lorac_generate(engine, requests, bundle_count + 1, &generation, &error) != LORAC_OK)
    goto failed;
  status = print_answers(model, generation, bundles);
  goto done;

failed:
  status = fail(&error);
done:
  lorac_generation_free(generation);
  for (i = 0; i < bundle_count; ++i)
    lorac_adapter_release(adapters[i]);
  lorac_engine_destroy(engine);
  lorac_model_close(model);
  free(prompt);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 3 || argc - 3 > MaxAnswers) {
    fprintf(stderr, "usage: app MODEL.lorac QUESTION [BUNDLE.lora[=STRENGTH]]...\n");
    return 2;
  }
  return run(argv[1], argv[2], argv + 3, (size_t)(argc - 3));
}
