/*===- lorac.h - the C interface of Lorac's runtime -----------------------------------------===*\
 * Opens a model file on a device, loads adapters beside it and runs any mix of them over the one frozen
 * base. C11.
 *
 * Errors     Every function that can fail returns a lorac_code and takes an optional lorac_error (with its
 *            struct_size set), which receives the code and one line of text: what, why, what to do; LORAC_OK
 *            and "" on success. On failure out parameters are left as they were, except where a function
 *            says otherwise. Each function may also return LORAC_OUT_OF_MEMORY and LORAC_INTERNAL, and
 *            LORAC_INVALID_ARGUMENT for a null where something must be. Nothing prints, exits or throws.
 * Structs    Those with `struct_size` grow at their end in later versions: set it to sizeof the struct as
 *            you compiled it (LORAC_INIT(type) does, all else 0). 0 in a field means its default. Structs
 *            without it never change.
 * Strings    UTF-8; given ones are read only during the call. Out buffers follow one rule: `*size` holds
 *            the capacity on entry and what is needed on return; a null buffer asks for the size alone
 *            (LORAC_OK); one that is too small gives LORAC_EXHAUSTED and is not written.
 * Threads    Functions on different engines never disturb each other. A handle's functions may be called
 *            from any thread at once unless a comment says otherwise; an engine serialises its device
 *            work. Closing or freeing a handle must not overlap with a call that is given the handle.
 * Lifetimes  An engine keeps its model, an adapter and a sequence keep their engine: close handles in any
 *            order, each once. What takes a handle to close it takes null too, and does nothing.
 * Process    The library keeps no state of its own between calls. It opens libvulkan.so.1 when devices are
 *            first asked for and keeps it; LORAC_VULKAN_VALIDATION=1 in the environment turns Vulkan's
 *            validation layers on. Fork before the first engine or devices list, not after.
\*===----------------------------------------------------------------------------------------===*/
#ifndef LORAC_LORAC_H
#define LORAC_LORAC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/** What LORAC_INIT is in C++ (11 and above). */
template <typename Struct> inline Struct lorac_init() {
  Struct value{};
  value.struct_size = sizeof(Struct);
  return value;
}
extern "C" {
#endif

/** Grows by one whenever something is added; what exists stays. */
#define LORAC_API_VERSION 3u
/** Of the library that is linked; at least the LORAC_API_VERSION that a program needs. */
uint32_t lorac_api_version(void);
/** "0.1.0", of the library that is linked: for logs, not for decisions. Static memory. */
const char *lorac_version(void);

/** `lorac_request request = LORAC_INIT(lorac_request);` */
#ifdef __cplusplus
#define LORAC_INIT(TYPE) lorac_init<TYPE>()
#else
#define LORAC_INIT(TYPE) {.struct_size = sizeof(TYPE)}
#endif

/* ---- errors -------------------------------------------------------------------------------------- */

/** What a program can do about a failure; values are stable. */
typedef enum lorac_code {
  LORAC_OK = 0,
  LORAC_INVALID_ARGUMENT = 1,   /**< an argument is outside its range: mend the call */
  LORAC_NOT_FOUND = 2,          /**< a file, adapter or device does not exist */
  LORAC_CORRUPT_FILE = 3,       /**< a file breaks its format or a digest */
  LORAC_UNSUPPORTED = 4,        /**< well formed, but Lorac cannot do it */
  LORAC_INCOMPATIBLE = 5,       /**< two inputs do not belong together */
  LORAC_IO = 6,                 /**< the operating system refused a read or write */
  LORAC_OUT_OF_MEMORY = 7,      /**< host or device memory is not enough */
  LORAC_EXHAUSTED = 8,          /**< a capacity of this engine or buffer is used up */
  LORAC_DEVICE_UNAVAILABLE = 9, /**< no device satisfies what was asked */
  LORAC_DEVICE_LOST = 10,       /**< the device stopped answering; its engine is over */
  LORAC_INTERNAL = 11           /**< a mistake in Lorac: report it with the message */
} lorac_code;

/** "CORRUPT_FILE"; "UNKNOWN" for a number that is no code. Static memory. */
const char *lorac_code_name(lorac_code code);

/** Belongs to the caller; one a thread or a call. A message that does not fit ends in "...". */
typedef struct lorac_error {
  size_t struct_size; /**< bytes of the whole struct; the rest after `code` is room for the message */
  lorac_code code;
  char message[1012];
} lorac_error;

/* ---- model files --------------------------------------------------------------------------------- */

typedef struct lorac_model lorac_model;

/** Maps and verifies a model file: LORAC_NOT_FOUND, LORAC_IO, LORAC_CORRUPT_FILE, LORAC_UNSUPPORTED. The file
 *  must not change while it is open, nor while an engine has it; to replace it, rename another over it, as
 *  `lorac compile` does. It holds code for the device: open one as you would run a program. */
lorac_code lorac_model_open(const char *path, lorac_model **model, lorac_error *error);
/** Null is nothing to do. */
void lorac_model_close(lorac_model *model);

typedef struct lorac_model_info {
  size_t struct_size;
  uint32_t vocab_size;
  uint32_t max_context; /**< tokens */
  uint32_t max_rows;    /**< rows a device step */
  uint32_t site_count;  /**< linear layers that adapters may target */
  uint8_t fingerprint[32];
  uint8_t has_tokenizer;
  uint8_t has_chat_template;
} lorac_model_info;
lorac_code lorac_model_get_info(const lorac_model *model, lorac_model_info *info, lorac_error *error);

/* ---- text ---------------------------------------------------------------------------------------- */

/* All of these: LORAC_UNSUPPORTED where the model has no tokenizer (or no chat template),
 * LORAC_INVALID_ARGUMENT for text that is not UTF-8. */

/** Token ids of `length` bytes of text. `special`: nonzero adds what the tokenizer puts around a prompt (a
 *  beginning-of-text token, say) and recognises special tokens written out. */
lorac_code lorac_tokenize(const lorac_model *model, const char *text, size_t length, int special,
                          uint32_t *tokens, size_t *count, lorac_error *error);
/** Text of token ids; not terminated. Always UTF-8: U+FFFD stands for bytes that make no character.
 *  `special`: nonzero keeps special tokens. */
lorac_code lorac_detokenize(const lorac_model *model, const uint32_t *tokens, size_t count, int special,
                            char *text, size_t *size, lorac_error *error);

typedef struct lorac_message {
  const char *role; /**< "system", "user", "assistant" */
  const char *content;
} lorac_message;
/** Renders the model's chat template; not terminated. `generation_prompt`: nonzero opens the assistant's
 *  turn. lorac_tokenize_chat is the way to its tokens: lorac_tokenize would put the prefix around it again.
 */
lorac_code lorac_render_chat(const lorac_model *model, const lorac_message *messages, size_t message_count,
                             int generation_prompt, char *text, size_t *size, lorac_error *error);
/** Token ids of a rendered chat: special tokens are recognised, none are added twice. */
lorac_code lorac_tokenize_chat(const lorac_model *model, const lorac_message *messages, size_t message_count,
                               int generation_prompt, uint32_t *tokens, size_t *count, lorac_error *error);

/* ---- devices ------------------------------------------------------------------------------------- */

typedef struct lorac_devices lorac_devices;
typedef struct lorac_device_info {
  size_t struct_size;
  const char *kind; /**< "vulkan"; strings live as long as the list */
  int index;
  uint32_t subgroup_size;
  const char *name;
  const char *driver;
  const char *features; /**< names, separated by commas */
  uint64_t memory_bytes;
} lorac_device_info;
/** Every device that Lorac could open; an empty list is no failure. */
lorac_code lorac_devices_list(lorac_devices **devices, lorac_error *error);
size_t lorac_devices_count(const lorac_devices *devices);
/** Why there are none, or fewer than hoped for; "" where nothing is to be said. */
const char *lorac_devices_note(const lorac_devices *devices);
lorac_code lorac_devices_get(const lorac_devices *devices, size_t index, lorac_device_info *info,
                             lorac_error *error);
void lorac_devices_free(lorac_devices *devices);

/* ---- engines ------------------------------------------------------------------------------------- */

/** A model open on a device. */
typedef struct lorac_engine lorac_engine;

typedef struct lorac_engine_options {
  size_t struct_size;
  const char *device;   /**< "auto" (default), "vulkan", "vulkan:1", each with ",deny=FEATURE", repeatable:
                         * texel, subgroup,   storage, hostvisible, chains */
  uint64_t context;     /**< tokens that a sequence may hold; default: the model's maximum */
  uint64_t sequences;   /**< cache for so many sequences of full context (shorter ones share it); default 1 */
  uint64_t pages;       /**< cache pages, in place of `sequences` */
  uint64_t pool_bytes;  /**< for adapters; default 64 MiB */
  uint64_t max_entries; /**< stack entries a device step; default: 16 a row */
  uint64_t max_items; /**< (row, adapter, rank tile) triples a device step; default: 8192, or 16 a row if that
                         is more */
  uint32_t max_rows;  /**< rows a device step; default: the model's maximum */
  uint32_t reserved;  /**< 0 */
  /** A folder that keeps compiled pipelines for the next process, made where it is missing; default: none is
   *  kept. A file in it that is corrupt, of another driver or cannot be read or written is as if there were
   *  none. It holds code for the device: let nobody write to it who may not change the program. */
  const char *pipeline_cache;
} lorac_engine_options;

/** `options` may be null. Uploads the weights (a device that computes on the CPU reads them where the file is
 * mapped, so that processes share them; with ",deny=hostvisible" it gets a copy too); a step makes the
 * pipelines of what it runs first: LORAC_DEVICE_UNAVAILABLE where no device will do, LORAC_INVALID_ARGUMENT
 * for an option outside the model's limits. */
lorac_code lorac_engine_create(const lorac_model *model, const lorac_engine_options *options,
                               lorac_engine **engine, lorac_error *error);
void lorac_engine_destroy(lorac_engine *engine);

typedef struct lorac_engine_info {
  size_t struct_size;
  uint64_t context;
  uint64_t max_rows;
  uint64_t page_tokens;
  uint64_t total_pages;
  uint64_t free_pages;
  uint64_t pool_bytes;
  uint64_t pool_free_bytes;
  uint64_t pool_slots; /**< adapter versions that hold a slot */
} lorac_engine_info;
lorac_code lorac_engine_get_info(const lorac_engine *engine, lorac_engine_info *info, lorac_error *error);
/** "vulkan:0 NAME, DRIVER"; terminated, and `*size` counts the terminator. */
lorac_code lorac_engine_describe(const lorac_engine *engine, char *text, size_t *size, lorac_error *error);

/** What was done since the engine was created; only grows. */
typedef struct lorac_counters {
  size_t struct_size;
  uint64_t steps; /**< device steps */
  uint64_t dispatches;
  uint64_t adapter_dispatches; /**< of kernels that exist for adapters alone */
  uint64_t barriers;
  uint64_t pipelines_made;
  uint64_t allocations;
  uint64_t allocated_bytes;
  uint64_t weight_bytes_uploaded; /**< 0 where the device reads the mapped file */
  uint64_t pool_bytes_uploaded;
  uint64_t step_bytes_uploaded;
  uint64_t pipeline_cache_bytes; /**< that `pipeline_cache` gave the driver; 0: it had nothing of use */
  uint64_t driver_nanoseconds;   /**< finding and starting the driver and its device */
  uint64_t upload_nanoseconds;   /**< copying the weights to the device */
  uint64_t pipeline_nanoseconds; /**< waiting for the driver to make pipelines, and reading the cache */
} lorac_counters;
lorac_code lorac_engine_get_counters(const lorac_engine *engine, lorac_counters *counters,
                                     lorac_error *error);

/* ---- adapters ------------------------------------------------------------------------------------ */

/** One loaded version of an adapter. Sequences keep the versions that they use; a version leaves device
 *  memory when its handles are released, its name gives another (or none) and its last sequence has ended. */
typedef struct lorac_adapter lorac_adapter;

typedef struct lorac_adapter_options {
  size_t struct_size;
  const char *name;     /**< default: the bundle's own */
  uint32_t accept_base; /**< nonzero loads it though it was made for another base */
  uint32_t reserved;    /**< 0 */
} lorac_adapter_options;

/** Loads a bundle; its name gives this version from now on. `options` and `adapter` may be null. The errors
 *  of lorac_model_open, LORAC_INCOMPATIBLE for a bundle of another base, LORAC_EXHAUSTED for a full pool. */
lorac_code lorac_adapter_load(lorac_engine *engine, const char *path, const lorac_adapter_options *options,
                              lorac_adapter **adapter, lorac_error *error);
/** A new handle on the newest version of a name, or LORAC_NOT_FOUND. */
lorac_code lorac_adapter_find(const lorac_engine *engine, const char *name, lorac_adapter **adapter,
                              lorac_error *error);
/** Takes a name away (LORAC_NOT_FOUND: there is none). Handles and sequences keep the version. */
lorac_code lorac_adapter_unload(lorac_engine *engine, const char *name, lorac_error *error);
/** Frees the handle, not the name. */
void lorac_adapter_release(lorac_adapter *adapter);

typedef struct lorac_adapter_info {
  size_t struct_size;
  const char *name; /**< strings live as long as the handle */
  const char *bundle_version;
  uint64_t load; /**< counts the loads of an engine from 1: tells versions of a name apart */
  uint64_t pool_bytes;
  uint32_t rank_tiles;    /**< of its largest site, 8 ranks each */
  uint32_t accepted_base; /**< 1 where accept_base let it in */
} lorac_adapter_info;
lorac_code lorac_adapter_get_info(const lorac_adapter *adapter, lorac_adapter_info *info, lorac_error *error);

/** One adapter of a stack. Strength 1 is the adapter as trained, 0 takes it out; one that stands twice adds
 *  its strengths. */
typedef struct lorac_stack_entry {
  const lorac_adapter *adapter;
  float strength;
} lorac_stack_entry;

/* ---- sequences and steps ------------------------------------------------------------------------- */

/** A text that grows by steps. Its functions may be called from any thread, but free it only when no step
 *  names it. */
typedef struct lorac_sequence lorac_sequence;

/** The empty stack (null, 0) is the base. */
lorac_code lorac_sequence_create(lorac_engine *engine, const lorac_stack_entry *stack, size_t stack_count,
                                 lorac_sequence **sequence, lorac_error *error);
void lorac_sequence_free(lorac_sequence *sequence);
/** For later steps; what earlier tokens left in the cache stays as it was computed. */
lorac_code lorac_sequence_set_stack(lorac_sequence *sequence, const lorac_stack_entry *stack,
                                    size_t stack_count, lorac_error *error);
/** Tokens fed so far; 0 for null. */
uint64_t lorac_sequence_length(const lorac_sequence *sequence);
/** Forgets the tokens from `length` on. */
lorac_code lorac_sequence_truncate(lorac_sequence *sequence, uint64_t length, lorac_error *error);
/** Takes cache pages for `length` tokens now, so that no later step up to there lacks any; LORAC_EXHAUSTED
 *  where there are too few. */
lorac_code lorac_sequence_reserve(lorac_sequence *sequence, uint64_t length, lorac_error *error);

/** One token of one sequence. Rows of one sequence take consecutive positions in the order they stand in. */
typedef struct lorac_step_row {
  lorac_sequence *sequence;
  uint32_t token;
  uint32_t want_logits; /**< 0 or 1 */
} lorac_step_row;
/** Runs any mix of rows, all or nothing: after a failure every sequence is as before. `logits` receives
 *  [asked rows, vocab_size] floats in the rows' order; `capacity` counts floats (may be 0 where no row
 *  asks). LORAC_EXHAUSTED: too many rows, no cache pages left, or `logits` too small; LORAC_DEVICE_LOST: the
 *  engine is over, a new one may serve. */
lorac_code lorac_engine_step(lorac_engine *engine, const lorac_step_row *rows, size_t row_count,
                             float *logits, size_t capacity, lorac_error *error);

/* ---- generation ---------------------------------------------------------------------------------- */

typedef enum lorac_finish {
  LORAC_FINISH_LENGTH = 0,
  LORAC_FINISH_STOP = 1,
  LORAC_FINISH_ERROR = 2
} lorac_finish;

/** One new token. `text` is what became readable with it (valid during the callback, not terminated; empty
 *  where the model has no tokenizer or a character is not complete yet). */
typedef struct lorac_token_event {
  size_t struct_size;
  size_t request; /**< index in the call's requests */
  uint32_t token;
  uint32_t reserved;
  const char *text;
  size_t text_size;
} lorac_token_event;
/** Nonzero ends the request (LORAC_FINISH_STOP). Runs on the thread of lorac_generate, which
 *  holds no lock meanwhile. Must return: no exception and no longjmp may leave it. */
typedef int (*lorac_token_callback)(void *user, const lorac_token_event *event);

#define LORAC_IGNORE_EOS 1u     /**< an eos id is a token like any other */
#define LORAC_CAPTURE_LOGITS 2u /**< the result has the logits of every position fed */

typedef struct lorac_request {
  size_t struct_size;
  const uint32_t *tokens; /**< the prompt, at least one token */
  size_t token_count;
  const lorac_stack_entry *stack;
  size_t stack_count;
  uint64_t seed;
  float temperature;             /**< 0: greedy */
  float top_p;                   /**< default 1 */
  uint32_t top_k;                /**< default: all */
  uint32_t flags;                /**< LORAC_IGNORE_EOS, LORAC_CAPTURE_LOGITS */
  uint64_t max_tokens;           /**< default: to an eos id or the end of the context */
  lorac_token_callback on_token; /**< may be null */
  void *user;
} lorac_request;

/** Results of one lorac_generate. */
typedef struct lorac_generation lorac_generation;
typedef struct lorac_result {
  size_t struct_size;
  lorac_code code; /**< LORAC_OK unless finish is LORAC_FINISH_ERROR */
  lorac_finish finish;
  const char *message;    /**< of the error, else ""; pointers live as long as the lorac_generation */
  const uint32_t *tokens; /**< the new ones, an ending eos id included */
  size_t token_count;
  const float *logits; /**< with LORAC_CAPTURE_LOGITS: [logit_rows, vocab_size], one row a position fed */
  size_t logit_rows;
} lorac_result;

/** Runs the requests as rows of the same steps, each with its own stack, to their end. A request that fails
 *  has an error result and stops no other: LORAC_OK then still. Equal struct_size in all requests. */
lorac_code lorac_generate(lorac_engine *engine, const lorac_request *requests, size_t request_count,
                          lorac_generation **generation, lorac_error *error);
/** One result a request; 0 for null. */
size_t lorac_generation_count(const lorac_generation *generation);
/** LORAC_NOT_FOUND for an index past the last. */
lorac_code lorac_generation_get(const lorac_generation *generation, size_t index, lorac_result *result,
                                lorac_error *error);
void lorac_generation_free(lorac_generation *generation);

#ifdef __cplusplus
}
#endif

#endif /* LORAC_LORAC_H */
