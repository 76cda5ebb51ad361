//===- CApi.h - engines made elsewhere, behind the C interface --*- C++ -*-===//
// For tests and for hosts that open devices of their own; programs include lorac/lorac.h.
#ifndef LORAC_RUNTIME_CAPI_H
#define LORAC_RUNTIME_CAPI_H

#include "runtime/include/lorac/lorac.h"

#include <memory>

namespace lorac {

class Engine;
class ModelText;

/// A handle on `engine`, for lorac_engine_destroy(). `text` may be null: then no callback gets text.
lorac_engine *wrapEngine(std::shared_ptr<Engine> engine, std::shared_ptr<const ModelText> text);

} // namespace lorac

#endif // LORAC_RUNTIME_CAPI_H
