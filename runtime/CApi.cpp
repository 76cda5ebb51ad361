//===- CApi.cpp - lorac.h over the engine -----------------------*- C++ -*-===//
// Each entry checks its pointers, turns Status and exceptions into codes, and calls one thing of the engine.
#include "runtime/CApi.h"

#include "runtime/device/Device.h"
#include "runtime/engine/Batch.h"
#include "runtime/engine/Engine.h"
#include "runtime/engine/ModelText.h"
#include "runtime/files/AdapterFile.h"
#include "runtime/files/ModelFile.h"

#include <algorithm>
#include <cstring>
#include <new>

using namespace lorac;

#define CODE(NAME, C_NAME, VALUE, MEANING, REMEDY)                                                           \
  static_assert(uint32_t(LORAC_##C_NAME) == VALUE, "lorac.h and support/codes.def differ in " #C_NAME);
#include "support/codes.def"
#undef CODE

struct lorac_model {
  std::shared_ptr<const ModelFile> file;
  std::shared_ptr<const ModelText> text; // null without a tokenizer
};
struct lorac_engine {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<const ModelText> text;
};
struct lorac_adapter {
  std::shared_ptr<Engine> engine; // the slot's device lives as long as the handle
  std::shared_ptr<const LoadedAdapter> adapter;
};
struct lorac_sequence {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<Sequence> sequence;
};
struct lorac_devices {
  std::vector<DeviceInfo> list;
  std::vector<std::string> features;
  std::string note;
};
struct lorac_generation {
  std::vector<GenerationResult> results;
};

namespace {

/// Writes the code and as much of the text as the caller's struct holds. Allocates nothing.
lorac_code report(lorac_error *error, Code code, std::string_view message,
                  std::span<const std::string> notes = {}) {
  lorac_code value = lorac_code(uint32_t(code));
  constexpr size_t MessageAt = offsetof(lorac_error, message);
  if (!error || error->struct_size <= offsetof(lorac_error, code) + sizeof(lorac_code))
    return value;
  error->code = value;
  if (error->struct_size <= MessageAt)
    return value;
  size_t capacity = error->struct_size - MessageAt;
  // A larger struct of a later version keeps its message where ours is.
  char *out = reinterpret_cast<char *>(error) + MessageAt;
  size_t used = 0;
  bool cut = false;
  auto append = [&](std::string_view text) {
    size_t size = std::min(text.size(), capacity - 1 - used);
    std::memcpy(out + used, text.data(), size);
    used += size;
    cut |= size < text.size();
  };
  append(message);
  for (const std::string &note : notes) {
    append("; note: ");
    append(note);
  }
  out[used] = '\0';
  if (cut && used >= 3)
    std::memcpy(out + used - 3, "...", 3);
  return value;
}

lorac_code report(lorac_error *error, const Status &status) {
  return report(error, status.code(), status.message(), status.notes());
}

/// Runs `body` (returning Status) and keeps every exception on this side of the interface.
template <typename Body> lorac_code guarded(lorac_error *error, Body body) {
  try {
    Status status = body();
    return report(error, status);
  } catch (const std::bad_alloc &) {
    return report(error, Code::OutOfMemory, "host memory ran out; use a smaller context or fewer requests");
  } catch (const std::exception &exception) {
    return report(error, Code::Internal, exception.what());
  } catch (...) {
    return report(error, Code::Internal, "unknown exception");
  }
}

/// One line for a null pointer, a wrong size or the like.
Status invalid(std::string_view what) { return Status(Code::InvalidArgument) << what; }

Status needPointer(const void *pointer, std::string_view name) {
  return pointer ? Status::ok() : invalid(std::string(name) + " is null");
}

/// Copies what the caller's struct has room for: an older program's is shorter.
template <typename Struct> Status copyOut(Struct value, Struct *out, std::string_view name) {
  LORAC_TRY(needPointer(out, name));
  if (out->struct_size < 2 * sizeof(size_t))
    return invalid(std::string(name) + ".struct_size is not set; use LORAC_INIT");
  value.struct_size = out->struct_size;
  std::memcpy(static_cast<void *>(out), &value, std::min(out->struct_size, sizeof value));
  return Status::ok();
}

/// Reads a caller's struct of any version: what it lacks is 0. A longer one must be 0 in what we do not know.
template <typename Struct> Status copyIn(const void *in, Struct &value, std::string_view name) {
  size_t size;
  std::memcpy(&size, in, sizeof size);
  if (size < 2 * sizeof(size_t) || size > 65536)
    return invalid(std::string(name) + ".struct_size is not set; use LORAC_INIT");
  std::memset(static_cast<void *>(&value), 0, sizeof value);
  std::memcpy(static_cast<void *>(&value), in, std::min(size, sizeof value));
  const unsigned char *bytes = static_cast<const unsigned char *>(in);
  for (size_t i = sizeof value; i < size; ++i)
    if (bytes[i] != 0)
      return Status(Code::Unsupported) << name << " sets fields that this version of the library ("
                                       << LORAC_API_VERSION << ") does not know; link a newer one";
  return Status::ok();
}

/// The rule for out buffers that lorac.h states under "Strings".
template <typename T> Status fill(std::span<const T> values, T *out, size_t *size) {
  LORAC_TRY(needPointer(size, "size"));
  size_t capacity = *size;
  *size = values.size();
  if (!out)
    return Status::ok();
  if (capacity < values.size())
    return Status(Code::Exhausted) << "the buffer holds " << capacity << ", " << values.size()
                                   << " are needed";
  if (!values.empty())
    std::memcpy(out, values.data(), values.size_bytes());
  return Status::ok();
}

Result<Stack> makeStack(const lorac_stack_entry *entries, size_t count) {
  Stack stack;
  if (count > 0)
    LORAC_TRY(needPointer(entries, "stack"));
  for (size_t i = 0; i < count; ++i) {
    if (!entries[i].adapter)
      return Status(Code::InvalidArgument) << "stack entry " << i << ": adapter is null";
    stack.push_back({entries[i].adapter->adapter, entries[i].strength});
  }
  return stack;
}

Result<std::shared_ptr<const ModelText>> needText(const lorac_model *model) {
  LORAC_TRY(needPointer(model, "model"));
  if (!model->text)
    return Status(Code::Unsupported) << model->file->path()
                                     << ": has no tokenizer; give token ids instead of text";
  return model->text;
}

Result<std::string> renderChat(const ModelText &text, const lorac_message *messages, size_t count,
                               int generationPrompt) {
  if (count > 0)
    LORAC_TRY(needPointer(messages, "messages"));
  std::vector<ChatMessage> list;
  for (size_t i = 0; i < count; ++i) {
    if (!messages[i].role || !messages[i].content)
      return Status(Code::InvalidArgument) << "message " << i << ": role or content is null";
    list.push_back({messages[i].role, messages[i].content});
  }
  return text.renderChat(list, generationPrompt != 0);
}

} // namespace

lorac_engine *lorac::wrapEngine(std::shared_ptr<Engine> engine, std::shared_ptr<const ModelText> text) {
  auto handle = std::make_unique<lorac_engine>();
  handle->engine = std::move(engine);
  handle->text = std::move(text);
  return handle.release();
}

extern "C" {

uint32_t lorac_api_version(void) { return LORAC_API_VERSION; }
const char *lorac_version(void) { return LORAC_VERSION; }

const char *lorac_code_name(lorac_code code) {
  // C lets a caller pass any number; C++ may not even load one that the enum does not have.
  uint32_t number;
  std::memcpy(&number, &code, sizeof(number));
  switch (number) {
#define CODE(NAME, C_NAME, VALUE, MEANING, REMEDY)                                                           \
  case VALUE:                                                                                                \
    return #C_NAME;
#include "support/codes.def"
#undef CODE
  }
  return "UNKNOWN";
}

// ---- model files ----

lorac_code lorac_model_open(const char *path, lorac_model **model, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(path, "path"));
    LORAC_TRY(needPointer(model, "model"));
    auto handle = std::make_unique<lorac_model>();
    LORAC_ASSIGN(handle->file, ModelFile::open(path));
    if (handle->file->metadata().tokenizer()) {
      LORAC_ASSIGN(handle->text, ModelText::create(*handle->file));
    }
    *model = handle.release();
    return Status::ok();
  });
}

void lorac_model_close(lorac_model *model) { delete model; }

lorac_code lorac_model_get_info(const lorac_model *model, lorac_model_info *info, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(model, "model"));
    const fbs::Model &metadata = model->file->metadata();
    lorac_model_info value{};
    value.vocab_size = metadata.vocab_size();
    value.max_context = metadata.max_context();
    value.max_rows = metadata.max_rows();
    value.site_count = metadata.sites()->size();
    Digest fingerprint = model->file->fingerprint();
    std::memcpy(value.fingerprint, fingerprint.data(), fingerprint.size());
    value.has_tokenizer = model->text != nullptr;
    value.has_chat_template = model->text && model->text->hasChatTemplate();
    return copyOut(value, info, "info");
  });
}

// ---- text ----

lorac_code lorac_tokenize(const lorac_model *model, const char *text, size_t length, int special,
                          uint32_t *tokens, size_t *count, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_ASSIGN(auto modelText, needText(model));
    if (length > 0)
      LORAC_TRY(needPointer(text, "text"));
    LORAC_ASSIGN(std::vector<uint32_t> ids, modelText->encode(std::string_view(text, length), special != 0));
    return fill(std::span<const uint32_t>(ids), tokens, count);
  });
}

lorac_code lorac_detokenize(const lorac_model *model, const uint32_t *tokens, size_t count, int special,
                            char *text, size_t *size, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_ASSIGN(auto modelText, needText(model));
    if (count > 0)
      LORAC_TRY(needPointer(tokens, "tokens"));
    std::string decoded = modelText->decode(std::span(tokens, count), special != 0);
    return fill(std::span<const char>(decoded), text, size);
  });
}

lorac_code lorac_render_chat(const lorac_model *model, const lorac_message *messages, size_t message_count,
                             int generation_prompt, char *text, size_t *size, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_ASSIGN(auto modelText, needText(model));
    LORAC_ASSIGN(std::string rendered, renderChat(*modelText, messages, message_count, generation_prompt));
    return fill(std::span<const char>(rendered), text, size);
  });
}

lorac_code lorac_tokenize_chat(const lorac_model *model, const lorac_message *messages, size_t message_count,
                               int generation_prompt, uint32_t *tokens, size_t *count, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_ASSIGN(auto modelText, needText(model));
    LORAC_ASSIGN(std::string rendered, renderChat(*modelText, messages, message_count, generation_prompt));
    LORAC_ASSIGN(std::vector<uint32_t> ids, modelText->encodeRendered(rendered));
    return fill(std::span<const uint32_t>(ids), tokens, count);
  });
}

// ---- devices ----

lorac_code lorac_devices_list(lorac_devices **devices, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(devices, "devices"));
    auto handle = std::make_unique<lorac_devices>();
    handle->list = listDevices(&handle->note);
    for (const DeviceInfo &device : handle->list) {
      std::string names;
      for (const std::string &feature : device.features)
        names += (names.empty() ? "" : ",") + feature;
      handle->features.push_back(std::move(names));
    }
    *devices = handle.release();
    return Status::ok();
  });
}

size_t lorac_devices_count(const lorac_devices *devices) { return devices ? devices->list.size() : 0; }
const char *lorac_devices_note(const lorac_devices *devices) { return devices ? devices->note.c_str() : ""; }

lorac_code lorac_devices_get(const lorac_devices *devices, size_t index, lorac_device_info *info,
                             lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(devices, "devices"));
    if (index >= devices->list.size())
      return Status(Code::NotFound) << "device " << index << " of " << devices->list.size();
    const DeviceInfo &device = devices->list[index];
    lorac_device_info value{};
    value.kind = device.kind.c_str();
    value.index = device.index;
    value.subgroup_size = device.subgroupSize;
    value.name = device.name.c_str();
    value.driver = device.driver.c_str();
    value.features = devices->features[index].c_str();
    value.memory_bytes = device.memoryBytes;
    return copyOut(value, info, "info");
  });
}

void lorac_devices_free(lorac_devices *devices) { delete devices; }

// ---- engines ----

lorac_code lorac_engine_create(const lorac_model *model, const lorac_engine_options *options,
                               lorac_engine **engine, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(model, "model"));
    LORAC_TRY(needPointer(engine, "engine"));
    EngineOptions wanted;
    if (options) {
      lorac_engine_options given;
      LORAC_TRY(copyIn(options, given, "options"));
      if (given.device) {
        LORAC_ASSIGN(wanted.device, DeviceSpec::parse(given.device));
      }
      wanted.context = given.context;
      wanted.sequences = given.sequences == 0 ? wanted.sequences : given.sequences;
      wanted.pages = given.pages;
      wanted.poolBytes = given.pool_bytes == 0 ? wanted.poolBytes : given.pool_bytes;
      wanted.maxEntries = given.max_entries;
      wanted.maxItems = given.max_items;
      wanted.maxRows = given.max_rows;
      if (given.reserved != 0)
        return invalid("options.reserved is not 0");
      if (given.pipeline_cache)
        wanted.deviceOptions.pipelineCache = given.pipeline_cache;
    }
    auto handle = std::make_unique<lorac_engine>();
    LORAC_ASSIGN(handle->engine, Engine::open(model->file, wanted));
    handle->text = model->text;
    *engine = handle.release();
    return Status::ok();
  });
}

void lorac_engine_destroy(lorac_engine *engine) { delete engine; }

lorac_code lorac_engine_get_info(const lorac_engine *engine, lorac_engine_info *info, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    lorac_engine_info value{};
    value.context = engine->engine->context();
    value.max_rows = engine->engine->maxRows();
    value.page_tokens = engine->engine->pageTokens();
    value.total_pages = engine->engine->totalPages();
    value.free_pages = engine->engine->freePages();
    value.pool_bytes = engine->engine->pool().totalBytes();
    value.pool_free_bytes = engine->engine->pool().freeBytes();
    value.pool_slots = engine->engine->pool().slots();
    return copyOut(value, info, "info");
  });
}

lorac_code lorac_engine_describe(const lorac_engine *engine, char *text, size_t *size, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    std::string description = engine->engine->deviceDescription();
    return fill(std::span<const char>(description.c_str(), description.size() + 1), text, size);
  });
}

lorac_code lorac_engine_get_counters(const lorac_engine *engine, lorac_counters *counters,
                                     lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    DeviceCounters done = engine->engine->counters();
    lorac_counters value{};
    value.steps = done.steps;
    value.dispatches = done.dispatches;
    value.adapter_dispatches = done.adapterDispatches;
    value.barriers = done.barriers;
    value.pipelines_made = done.pipelinesMade;
    value.allocations = done.allocations;
    value.allocated_bytes = done.allocatedBytes;
    value.weight_bytes_uploaded = done.weightBytesUploaded;
    value.pool_bytes_uploaded = done.poolBytesUploaded;
    value.step_bytes_uploaded = done.stepBytesUploaded;
    value.pipeline_cache_bytes = done.pipelineCacheBytes;
    value.driver_nanoseconds = done.driverNanoseconds;
    value.upload_nanoseconds = done.uploadNanoseconds;
    value.pipeline_nanoseconds = done.pipelineNanoseconds;
    return copyOut(value, counters, "counters");
  });
}

// ---- adapters ----

lorac_code lorac_adapter_load(lorac_engine *engine, const char *path, const lorac_adapter_options *options,
                              lorac_adapter **adapter, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    LORAC_TRY(needPointer(path, "path"));
    LoadAdapterOptions wanted;
    if (options) {
      lorac_adapter_options given;
      LORAC_TRY(copyIn(options, given, "options"));
      if (given.name)
        wanted.name = given.name;
      wanted.acceptBase = given.accept_base != 0;
      if (given.reserved != 0)
        return invalid("options.reserved is not 0");
    }
    auto handle = std::make_unique<lorac_adapter>();
    LORAC_ASSIGN(std::shared_ptr<const AdapterFile> file, AdapterFile::open(path));
    LORAC_ASSIGN(handle->adapter, engine->engine->loadAdapter(*file, wanted));
    handle->engine = engine->engine;
    if (adapter)
      *adapter = handle.release();
    return Status::ok();
  });
}

lorac_code lorac_adapter_find(const lorac_engine *engine, const char *name, lorac_adapter **adapter,
                              lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    LORAC_TRY(needPointer(name, "name"));
    LORAC_TRY(needPointer(adapter, "adapter"));
    auto handle = std::make_unique<lorac_adapter>();
    handle->engine = engine->engine;
    handle->adapter = engine->engine->findAdapter(name);
    if (!handle->adapter)
      return Status(Code::NotFound) << "no adapter named '" << name << "' is loaded";
    *adapter = handle.release();
    return Status::ok();
  });
}

lorac_code lorac_adapter_unload(lorac_engine *engine, const char *name, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    LORAC_TRY(needPointer(name, "name"));
    return engine->engine->unloadAdapter(name);
  });
}

void lorac_adapter_release(lorac_adapter *adapter) { delete adapter; }

lorac_code lorac_adapter_get_info(const lorac_adapter *adapter, lorac_adapter_info *info,
                                  lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(adapter, "adapter"));
    lorac_adapter_info value{};
    value.name = adapter->adapter->name().c_str();
    value.bundle_version = adapter->adapter->bundleVersion().c_str();
    value.load = adapter->adapter->load();
    value.pool_bytes = adapter->adapter->bytes();
    value.rank_tiles = adapter->adapter->tiles();
    value.accepted_base = adapter->adapter->acceptedBase();
    return copyOut(value, info, "info");
  });
}

// ---- sequences and steps ----

lorac_code lorac_sequence_create(lorac_engine *engine, const lorac_stack_entry *stack, size_t stack_count,
                                 lorac_sequence **sequence, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    LORAC_TRY(needPointer(sequence, "sequence"));
    auto handle = std::make_unique<lorac_sequence>();
    LORAC_ASSIGN(Stack entries, makeStack(stack, stack_count));
    LORAC_ASSIGN(handle->sequence, engine->engine->createSequence(entries));
    handle->engine = engine->engine;
    *sequence = handle.release();
    return Status::ok();
  });
}

void lorac_sequence_free(lorac_sequence *sequence) { delete sequence; }

lorac_code lorac_sequence_set_stack(lorac_sequence *sequence, const lorac_stack_entry *stack,
                                    size_t stack_count, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(sequence, "sequence"));
    LORAC_ASSIGN(Stack entries, makeStack(stack, stack_count));
    return sequence->sequence->setStack(entries);
  });
}

uint64_t lorac_sequence_length(const lorac_sequence *sequence) {
  return sequence ? sequence->sequence->length() : 0;
}

lorac_code lorac_sequence_truncate(lorac_sequence *sequence, uint64_t length, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(sequence, "sequence"));
    return sequence->sequence->truncate(length);
  });
}

lorac_code lorac_sequence_reserve(lorac_sequence *sequence, uint64_t length, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(sequence, "sequence"));
    return sequence->sequence->reserve(length);
  });
}

lorac_code lorac_engine_step(lorac_engine *engine, const lorac_step_row *rows, size_t row_count,
                             float *logits, size_t capacity, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    if (row_count > 0)
      LORAC_TRY(needPointer(rows, "rows"));
    std::vector<StepRow> list;
    list.reserve(std::min<size_t>(row_count, 65536));
    size_t asked = 0;
    for (size_t i = 0; i < row_count; ++i) {
      if (!rows[i].sequence)
        return Status(Code::InvalidArgument) << "row " << i << ": sequence is null";
      if (rows[i].want_logits > 1)
        return Status(Code::InvalidArgument)
               << "row " << i << ": want_logits is " << rows[i].want_logits << ", not 0 or 1";
      list.push_back({rows[i].sequence->sequence.get(), rows[i].token, rows[i].want_logits != 0});
      asked += rows[i].want_logits;
    }
    size_t vocab = engine->engine->vocabSize();
    if (asked > 0) {
      LORAC_TRY(needPointer(logits, "logits"));
      if (capacity / vocab < asked)
        return Status(Code::Exhausted) << "logits holds " << capacity << " floats, " << asked << " rows of "
                                       << vocab << " are asked for";
    }
    StepOutput output;
    LORAC_TRY(engine->engine->step(list, output));
    for (size_t i = 0; i < row_count; ++i)
      if (std::span<const float> row = output.row(i); !row.empty()) {
        std::memcpy(logits, row.data(), row.size_bytes());
        logits += row.size();
      }
    return Status::ok();
  });
}

// ---- generation ----

lorac_code lorac_generate(lorac_engine *engine, const lorac_request *requests, size_t request_count,
                          lorac_generation **generation, lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(engine, "engine"));
    LORAC_TRY(needPointer(generation, "generation"));
    if (request_count > 0)
      LORAC_TRY(needPointer(requests, "requests"));
    auto handle = std::make_unique<lorac_generation>();
    std::vector<GenerationRequest> list;
    // The caller's stride is the size of its struct, not of ours.
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(requests);
    for (size_t i = 0; i < request_count; ++i) {
      lorac_request given;
      size_t stride = requests[0].struct_size;
      LORAC_TRY(copyIn(bytes + i * stride, given, "request"));
      if (given.struct_size != stride)
        return Status(Code::InvalidArgument) << "request " << i << ": struct_size is " << given.struct_size
                                             << ", that of request 0 is " << stride;
      GenerationRequest request;
      auto convert = [&]() -> Status {
        if (given.token_count > 0)
          LORAC_TRY(needPointer(given.tokens, "tokens"));
        if (given.flags & ~(LORAC_IGNORE_EOS | LORAC_CAPTURE_LOGITS))
          return Status(Code::InvalidArgument) << "flags " << given.flags << " has bits that mean nothing";
        if (given.max_tokens > UINT32_MAX)
          return Status(Code::InvalidArgument)
                 << "max_tokens " << given.max_tokens << " is more than any context";
        request.tokens.assign(given.tokens, given.tokens + given.token_count);
        LORAC_ASSIGN(request.stack, makeStack(given.stack, given.stack_count));
        request.sampling.temperature = given.temperature;
        request.sampling.topP = given.top_p == 0 ? 1 : double(given.top_p);
        request.sampling.topK = given.top_k;
        request.sampling.seed = given.seed;
        if (given.max_tokens > 0)
          request.maxTokens = uint32_t(given.max_tokens);
        request.ignoreEos = given.flags & LORAC_IGNORE_EOS;
        request.captureLogits = given.flags & LORAC_CAPTURE_LOGITS;
        return Status::ok();
      };
      request.status = convert();
      if (given.on_token) {
        std::shared_ptr<TextStream> stream;
        if (engine->text)
          stream = std::make_shared<TextStream>(engine->text);
        request.onToken = [stream, given, i](uint32_t token) {
          std::string text = stream ? stream->add(token) : std::string();
          lorac_token_event event{};
          event.struct_size = sizeof event;
          event.request = i;
          event.token = token;
          event.text = text.c_str();
          event.text_size = text.size();
          return given.on_token(given.user, &event) == 0;
        };
      }
      list.push_back(std::move(request));
    }
    handle->results = generate(engine->engine, std::move(list));
    *generation = handle.release();
    return Status::ok();
  });
}

size_t lorac_generation_count(const lorac_generation *generation) {
  return generation ? generation->results.size() : 0;
}

lorac_code lorac_generation_get(const lorac_generation *generation, size_t index, lorac_result *result,
                                lorac_error *error) {
  return guarded(error, [&]() -> Status {
    LORAC_TRY(needPointer(generation, "generation"));
    if (index >= generation->results.size())
      return Status(Code::NotFound) << "result " << index << " of " << generation->results.size();
    const GenerationResult &done = generation->results[index];
    lorac_result value{};
    value.code = lorac_code(uint32_t(done.status.code()));
    value.finish = done.finish == Finish::Length ? LORAC_FINISH_LENGTH
                   : done.finish == Finish::Stop ? LORAC_FINISH_STOP
                                                 : LORAC_FINISH_ERROR;
    value.message = done.status.message().c_str();
    value.tokens = done.tokens.data();
    value.token_count = done.tokens.size();
    value.logits = done.logits.data();
    value.logit_rows = done.logitRows;
    return copyOut(value, result, "result");
  });
}

void lorac_generation_free(lorac_generation *generation) { delete generation; }

} // extern "C"
