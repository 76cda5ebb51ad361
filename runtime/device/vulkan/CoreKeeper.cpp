//===- CoreKeeper.cpp -----------------------------------------------------===//
#include "runtime/device/vulkan/CoreKeeper.h"

#include <exception>
#include <pthread.h>
#include <sched.h>

namespace lorac::vulkan {
namespace {

/// False where the calling thread stays of the class that it was.
bool joinIdleClass() {
#ifdef SCHED_IDLE
  const sched_param none = {};
  return ::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &none) == 0;
#else
  return false;
#endif
}

} // namespace

CoreKeeper::~CoreKeeper() {
  state = State::Over;
  state.notify_one();
  if (thread.joinable())
    thread.join();
}

void CoreKeeper::begin() {
  if (!tried) {
    tried = true;
    try {
      thread = std::thread([this] { run(); });
    } catch (const std::exception &) {
      return; // cores then sleep between dispatches, as they do without this
    }
  }
  state = State::Busy;
  state.notify_one();
}

void CoreKeeper::end() { state = State::Asleep; }

void CoreKeeper::run() {
  if (!joinIdleClass())
    return;
  for (State seen = state; seen != State::Over; seen = state) {
    if (seen == State::Asleep)
      state.wait(State::Asleep);
    else
      ::sched_yield(); // no pause instruction: a virtual machine that repeats it loses its core for a while
  }
}

} // namespace lorac::vulkan
