//===- FaultSession.h - all that a session does, as a user does it -*- C++ -*-===//
// Load a model, open a device, load a bundle, step, switch the stack there and back, generate, unload, close:
// through the C interface alone.
#ifndef LORAC_TESTS_FAULTS_FAULTSESSION_H
#define LORAC_TESTS_FAULTS_FAULTSESSION_H

#include "lorac/lorac.h"
#include "tests/runtime/files/TinyModel.h"

#include <functional>
#include <string>
#include <vector>

namespace lorac::test {

/// A model whose few kernels run on any Vulkan device, and a bundle for it. Rows of 16 f32: logits are a row
/// of a table plus a number; with an adapter the first 8 come from the bundle's image instead.
TinyModel faultModel();
TinyAdapter faultAdapter();

/// What a session came to.
struct SessionResult {
  /// The first call that failed, its code and text; LORAC_OK where none did.
  std::string call;
  lorac_code code = LORAC_OK;
  std::string message;
  /// True where `hasFailed` became true while requests were generated: those that a failed step stopped are
  /// tried again one by one, so a failure that passes is not seen.
  bool failedInGenerate = false;
  /// All results that were got, in order.
  std::vector<float> logits;
  std::vector<uint32_t> tokens;
  /// Of calls that were made again after a failure: must stay LORAC_OK.
  lorac_code again = LORAC_OK;
  std::string againMessage;
};

struct SessionOptions {
  std::string model, bundle;
  const char *device = nullptr;
  const char *pipelineCache = nullptr; ///< a folder
  /// Makes the engine; default lorac_engine_create with `device`.
  std::function<lorac_code(lorac_model *, lorac_engine **, lorac_error *)> makeEngine;
  /// A failed call is made once more, and the session goes on if that succeeds: a failure must leave
  /// everything as it was. Not after DeviceLost: there every later call must say so too.
  bool again = true;
  /// Called between a failure and the second try.
  std::function<void()> onFailure;
  /// Whether the fault came; may be empty.
  std::function<bool()> hasFailed;
  /// Called with true before each call of the library, with false after it; may be empty.
  std::function<void(bool)> inside;
  /// With text in and out (the model must have a tokenizer).
  bool text = false;
};

SessionResult runSession(const SessionOptions &options);

} // namespace lorac::test

#endif // LORAC_TESTS_FAULTS_FAULTSESSION_H
