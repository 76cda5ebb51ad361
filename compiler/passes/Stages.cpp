//===- Stages.cpp - the passes after import, in order ----------------------===//
#include "compiler/passes/Stages.h"

#include "compiler/passes/Passes.h"

using namespace mlir;

namespace lorac {

ArrayRef<Stage> stages() {
  static const Stage all[] = {
      {"merge", [] { return createMergePass(); }, false},
      {"gather", [] { return createGatherPass(); }, false},
      {"fuse", [] { return createFusePass(); }, true},
      {"quantize", [] { return createQuantizePass(); }, false},
      {"select", [] { return createSelectPass(); }, false},
      {"plan-memory", [] { return createPlanMemoryPass(); }, false},
      {"barriers", [] { return createBarriersPass(); }, false},
      {"chain", [] { return createChainPass(); }, false},
  };
  return all;
}

} // namespace lorac
