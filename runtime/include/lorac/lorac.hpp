//===- lorac.hpp - the C interface for C++17 --------------------*- C++ -*-===//
// Owners and ranges over lorac.h, header-only. Failures become lorac::api::Error; everything else, threads
// and lifetimes above all, is as lorac.h says.
#ifndef LORAC_LORAC_HPP
#define LORAC_LORAC_HPP

#include "lorac/lorac.h"

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace lorac::api {

class Error : public std::runtime_error {
public:
  Error(lorac_code code, const std::string &message) : std::runtime_error(message), errorCode(code) {}
  lorac_code code() const noexcept { return errorCode; }

private:
  lorac_code errorCode;
};

/// A struct of lorac.h with its struct_size set and all else 0.
template <typename Struct> Struct init() {
  Struct value{};
  value.struct_size = sizeof(Struct);
  return value;
}

namespace detail {

/// Calls `function(arguments..., &error)`.
template <typename Function, typename... Arguments> void call(Function function, Arguments... arguments) {
  lorac_error error = init<lorac_error>();
  lorac_code code = function(arguments..., &error);
  if (code != LORAC_OK)
    throw Error(code, error.message);
}

/// Asks for the size, then for the bytes.
template <typename Value, typename Function, typename... Arguments>
std::vector<Value> fetch(Function function, Arguments... arguments) {
  size_t size = 0;
  call(function, arguments..., static_cast<Value *>(nullptr), &size);
  std::vector<Value> values(size);
  if (size > 0)
    call(function, arguments..., values.data(), &size);
  values.resize(size);
  return values;
}

template <typename Handle, void (*Free)(Handle *)> struct Freer {
  void operator()(Handle *handle) const { Free(handle); }
};
template <typename Handle, void (*Free)(Handle *)> using Owner = std::unique_ptr<Handle, Freer<Handle, Free>>;

} // namespace detail

struct Device {
  std::string kind; ///< "vulkan"
  int index = 0;
  std::string name;
  std::string driver;
  std::string features; ///< names, separated by commas
  uint32_t subgroupSize = 0;
  uint64_t memoryBytes = 0;
};

/// Every device that Lorac could open. `note` receives why there are none, or fewer than hoped for.
inline std::vector<Device> devices(std::string *note = nullptr) {
  lorac_devices *made = nullptr;
  detail::call(lorac_devices_list, &made);
  detail::Owner<lorac_devices, lorac_devices_free> list(made);
  if (note)
    *note = lorac_devices_note(made);
  std::vector<Device> result;
  for (size_t i = 0; i < lorac_devices_count(made); ++i) {
    lorac_device_info info = init<lorac_device_info>();
    detail::call(lorac_devices_get, made, i, &info);
    result.push_back({info.kind, info.index, info.name, info.driver, info.features, info.subgroup_size,
                      info.memory_bytes});
  }
  return result;
}

struct Message {
  std::string role;
  std::string content;
};

class Model {
public:
  explicit Model(const std::string &path) {
    lorac_model *opened = nullptr;
    detail::call(lorac_model_open, path.c_str(), &opened);
    handle.reset(opened);
  }
  lorac_model *get() const { return handle.get(); }
  lorac_model_info info() const {
    lorac_model_info value = init<lorac_model_info>();
    detail::call(lorac_model_get_info, handle.get(), &value);
    return value;
  }
  std::vector<uint32_t> tokenize(const std::string &text, bool special = true) const {
    return detail::fetch<uint32_t>(lorac_tokenize, handle.get(), text.data(), text.size(), int(special));
  }
  std::string detokenize(const std::vector<uint32_t> &tokens, bool special = false) const {
    auto text =
        detail::fetch<char>(lorac_detokenize, handle.get(), tokens.data(), tokens.size(), int(special));
    return std::string(text.begin(), text.end());
  }
  std::string renderChat(const std::vector<Message> &messages, bool generationPrompt = true) const {
    std::vector<lorac_message> list = views(messages);
    auto text =
        detail::fetch<char>(lorac_render_chat, handle.get(), list.data(), list.size(), int(generationPrompt));
    return std::string(text.begin(), text.end());
  }
  std::vector<uint32_t> tokenizeChat(const std::vector<Message> &messages,
                                     bool generationPrompt = true) const {
    std::vector<lorac_message> list = views(messages);
    return detail::fetch<uint32_t>(lorac_tokenize_chat, handle.get(), list.data(), list.size(),
                                   int(generationPrompt));
  }

private:
  static std::vector<lorac_message> views(const std::vector<Message> &messages) {
    std::vector<lorac_message> list;
    for (const Message &message : messages)
      list.push_back({message.role.c_str(), message.content.c_str()});
    return list;
  }
  detail::Owner<lorac_model, lorac_model_close> handle;
};

class Adapter {
public:
  explicit Adapter(lorac_adapter *adapter) : handle(adapter) {}
  lorac_adapter *get() const { return handle.get(); }
  lorac_adapter_info info() const {
    lorac_adapter_info value = init<lorac_adapter_info>();
    detail::call(lorac_adapter_get_info, handle.get(), &value);
    return value;
  }

private:
  detail::Owner<lorac_adapter, lorac_adapter_release> handle;
};

using Stack = std::vector<lorac_stack_entry>;

class Sequence {
public:
  explicit Sequence(lorac_sequence *sequence) : handle(sequence) {}
  lorac_sequence *get() const { return handle.get(); }
  uint64_t length() const { return lorac_sequence_length(handle.get()); }
  void setStack(const Stack &stack) {
    detail::call(lorac_sequence_set_stack, handle.get(), stack.data(), stack.size());
  }
  void truncate(uint64_t length) { detail::call(lorac_sequence_truncate, handle.get(), length); }
  void reserve(uint64_t length) { detail::call(lorac_sequence_reserve, handle.get(), length); }

private:
  detail::Owner<lorac_sequence, lorac_sequence_free> handle;
};

struct Request {
  std::vector<uint32_t> tokens;
  Stack stack;
  float temperature = 0;
  float topP = 1;
  uint32_t topK = 0;
  uint64_t seed = 0;
  uint64_t maxTokens = 0; ///< 0: to an eos id or the end of the context
  bool ignoreEos = false;
  bool captureLogits = false;
  /// False ends the request. Must not throw.
  std::function<bool(uint32_t token, const std::string &text)> onToken;
};

struct Outcome {
  lorac_code code = LORAC_OK;
  lorac_finish finish = LORAC_FINISH_ERROR;
  std::string message;
  std::vector<uint32_t> tokens;
  std::vector<float> logits;
  size_t logitRows = 0;
};

class Engine {
public:
  explicit Engine(const Model &model, const lorac_engine_options &options = init<lorac_engine_options>()) {
    lorac_engine *created = nullptr;
    detail::call(lorac_engine_create, model.get(), &options, &created);
    handle.reset(created);
    vocab = model.info().vocab_size;
  }
  lorac_engine *get() const { return handle.get(); }
  lorac_engine_info info() const {
    lorac_engine_info value = init<lorac_engine_info>();
    detail::call(lorac_engine_get_info, handle.get(), &value);
    return value;
  }
  lorac_counters counters() const {
    lorac_counters value = init<lorac_counters>();
    detail::call(lorac_engine_get_counters, handle.get(), &value);
    return value;
  }
  std::string describe() const {
    auto text = detail::fetch<char>(lorac_engine_describe, handle.get());
    return std::string(text.data());
  }

  Adapter loadAdapter(const std::string &path,
                      const lorac_adapter_options &options = init<lorac_adapter_options>()) {
    lorac_adapter *adapter = nullptr;
    detail::call(lorac_adapter_load, handle.get(), path.c_str(), &options, &adapter);
    return Adapter(adapter);
  }
  Adapter findAdapter(const std::string &name) const {
    lorac_adapter *adapter = nullptr;
    detail::call(lorac_adapter_find, handle.get(), name.c_str(), &adapter);
    return Adapter(adapter);
  }
  void unloadAdapter(const std::string &name) {
    detail::call(lorac_adapter_unload, handle.get(), name.c_str());
  }

  Sequence createSequence(const Stack &stack = {}) {
    lorac_sequence *sequence = nullptr;
    detail::call(lorac_sequence_create, handle.get(), stack.data(), stack.size(), &sequence);
    return Sequence(sequence);
  }
  /// Logits of the rows that ask for them, one after the other.
  std::vector<float> step(const std::vector<lorac_step_row> &rows) {
    size_t asked = 0;
    for (const lorac_step_row &row : rows)
      asked += row.want_logits;
    std::vector<float> logits(asked * vocab);
    detail::call(lorac_engine_step, handle.get(), rows.data(), rows.size(), logits.data(), logits.size());
    return logits;
  }

  std::vector<Outcome> generate(const std::vector<Request> &requests) {
    std::vector<lorac_request> list;
    for (const Request &request : requests) {
      lorac_request entry = init<lorac_request>();
      entry.tokens = request.tokens.data();
      entry.token_count = request.tokens.size();
      entry.stack = request.stack.data();
      entry.stack_count = request.stack.size();
      entry.temperature = request.temperature;
      entry.top_p = request.topP;
      entry.top_k = request.topK;
      entry.seed = request.seed;
      entry.max_tokens = request.maxTokens;
      entry.flags =
          (request.ignoreEos ? LORAC_IGNORE_EOS : 0u) | (request.captureLogits ? LORAC_CAPTURE_LOGITS : 0u);
      if (request.onToken) {
        entry.user = const_cast<Request *>(&request);
        entry.on_token = [](void *user, const lorac_token_event *event) {
          std::string text(event->text, event->text_size);
          return static_cast<Request *>(user)->onToken(event->token, text) ? 0 : 1;
        };
      }
      list.push_back(entry);
    }
    lorac_generation *made = nullptr;
    detail::call(lorac_generate, handle.get(), list.data(), list.size(), &made);
    detail::Owner<lorac_generation, lorac_generation_free> generation(made);
    std::vector<Outcome> outcomes;
    for (size_t i = 0; i < lorac_generation_count(made); ++i) {
      lorac_result result = init<lorac_result>();
      detail::call(lorac_generation_get, made, i, &result);
      Outcome outcome;
      outcome.code = result.code;
      outcome.finish = result.finish;
      outcome.message = result.message;
      outcome.tokens.assign(result.tokens, result.tokens + result.token_count);
      outcome.logits.assign(result.logits, result.logits + result.logit_rows * vocab);
      outcome.logitRows = result.logit_rows;
      outcomes.push_back(std::move(outcome));
    }
    return outcomes;
  }

private:
  detail::Owner<lorac_engine, lorac_engine_destroy> handle;
  size_t vocab = 0;
};

} // namespace lorac::api

#endif // LORAC_LORAC_HPP
