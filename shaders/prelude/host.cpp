// host.cpp - a group's lanes as fibers. A lane runs until it meets the others; when all have come, the next
// round starts.
#include "shaders/prelude/host.h"

#include <ucontext.h>

#include <array>
#include <memory>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define LORAC_ASAN_FIBERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LORAC_ASAN_FIBERS 1
#endif
#endif
#ifdef LORAC_ASAN_FIBERS
#include <sanitizer/common_interface_defs.h>
#endif

namespace lorac::shader {
namespace {

constexpr size_t StackBytes = 96 << 10; // AddressSanitizer clears the shadow of all of it at every switch
constexpr size_t MaxLanes = 64;
constexpr size_t MaxFaults = 20;

struct Lane {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack;
  bool ended = false;
  const char *word = nullptr; ///< where it waits
  unsigned parity = 0;        ///< which half of `slots` its next exchange uses
};

/// The group that runs; one at a time (see runGrid).
struct Group {
  ucontext_t scheduler;
  std::array<Lane, MaxLanes> lanes;
  void (*body)() = nullptr;
  Position position;
  // Values exchanged between lanes. Two halves: a lane may write for the next exchange while another has yet
  // to read this one's.
  f32x4 slots[2][MaxLanes];
#ifdef LORAC_ASAN_FIBERS
  const void *schedulerStack = nullptr;
  size_t schedulerStackBytes = 0;
#endif
};
Group group;
std::vector<std::string> faults;

void enterLane() {
#ifdef LORAC_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(nullptr, &group.schedulerStack, &group.schedulerStackBytes);
#endif
  group.body();
  Lane &lane = group.lanes[group.position.lane];
  lane.ended = true;
#ifdef LORAC_ASAN_FIBERS
  __sanitizer_start_switch_fiber(nullptr, group.schedulerStack, group.schedulerStackBytes);
#endif
  swapcontext(&lane.context, &group.scheduler);
}

/// Runs lane number `index` until it waits or ends.
void resume(u32 index) {
  Lane &lane = group.lanes[index];
  group.position.lane = index;
#ifdef LORAC_ASAN_FIBERS
  void *fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, lane.stack.get(), StackBytes);
#endif
  swapcontext(&group.scheduler, &lane.context);
#ifdef LORAC_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

/// A lane about to enter the body. Apart from its caller: getcontext counts as a function that returns twice.
[[gnu::noinline]] void prepare(Lane &lane) {
  if (!lane.stack)
    lane.stack = std::make_unique<std::byte[]>(StackBytes);
  lane.ended = false;
  lane.parity = 0;
  getcontext(&lane.context);
  lane.context.uc_stack.ss_sp = lane.stack.get();
  lane.context.uc_stack.ss_size = StackBytes;
  lane.context.uc_link = nullptr;
  makecontext(&lane.context, enterLane, 0);
}

void runGroup() {
  u32 lanes = group.position.lanes;
  for (u32 i = 0; i < lanes; ++i)
    prepare(group.lanes[i]);
  for (;;) {
    u32 ended = 0;
    const char *word = nullptr;
    bool sameWord = true;
    for (u32 i = 0; i < lanes; ++i) {
      resume(i);
      if (group.lanes[i].ended) {
        ++ended;
      } else {
        sameWord = sameWord && (!word || word == group.lanes[i].word);
        word = group.lanes[i].word;
      }
    }
    if (ended == lanes)
      return;
    if (ended != 0 || !sameWord) {
      // The fibers that wait are given up; their frames hold plain values alone, and new stacks carry no
      // trace of them.
      for (Lane &lane : group.lanes)
        lane.stack.reset();
      addFault("lanes diverge: " + std::to_string(ended) + " of " + std::to_string(lanes) +
               " ended while others wait at " + word);
      return;
    }
  }
}

/// Puts the lane's value where all see it, waits, and gives the half in which they lie.
unsigned exchange(const char *word, f32x4 value) {
  Lane &lane = group.lanes[group.position.lane];
  unsigned half = lane.parity;
  lane.parity ^= 1u;
  group.slots[half][group.position.lane] = value;
  meet(word);
  return half;
}

template <typename Combine> f32 reduce(const char *word, f32 value, Combine combine) {
  u32 lanes = group.position.lanes;
  unsigned half = exchange(word, {value, 0.0f, 0.0f, 0.0f});
  std::array<f32, MaxLanes> values;
  for (u32 i = 0; i < lanes; ++i)
    values[i] = group.slots[half][i].x;
  for (u32 step = lanes / 2; step > 0; step /= 2)
    for (u32 i = 0; i < step; ++i)
      values[i] = combine(values[i], values[i + step]);
  return values[0];
}

} // namespace

const Position &position() { return group.position; }

void addFault(std::string text) {
  if (faults.size() < MaxFaults)
    faults.push_back(std::move(text));
}
std::vector<std::string> takeFaults() { return std::exchange(faults, {}); }

void meet(const char *word) {
  u32 index = group.position.lane;
  Lane &lane = group.lanes[index];
  lane.word = word;
#ifdef LORAC_ASAN_FIBERS
  void *fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, group.schedulerStack, group.schedulerStackBytes);
#endif
  swapcontext(&lane.context, &group.scheduler);
#ifdef LORAC_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fake, &group.schedulerStack, &group.schedulerStackBytes);
#endif
}

f32x4 broadcast(f32x4 value, u32 from) {
  unsigned half = exchange("broadcast", value);
  return group.slots[half][from];
}
f32 broadcast(f32 value, u32 from) { return broadcast(f32x4{value, 0.0f, 0.0f, 0.0f}, from).x; }
u32 broadcast(u32 value, u32 from) { return AS_U32(broadcast(AS_F32(value), from)); }
f32 blockSum(f32x4 own) {
  f32 sum = (own.x + own.y) + (own.z + own.w);
  for (u32 step : {4u, 2u, 1u})
    sum = sum + broadcast(sum, group.position.lane ^ step);
  return sum;
}
f32 blockSum(const Binding<f32x4> &values, u32 base) {
  f32 sums[8];
  for (u32 i = 0; i < 8; ++i) {
    const f32x4 own = values.load(base + i);
    sums[i] = (own.x + own.y) + (own.z + own.w);
  }
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}
f32 groupSum(f32 value) {
  return reduce("groupSum", value, [](f32 a, f32 b) { return a + b; });
}
f32 groupMax(f32 value) {
  return reduce("groupMax", value, [](f32 a, f32 b) { return max(a, b); });
}

void runGrid(void (*body)(), u32 lanes, u32 gridX, u32 gridY) {
  if (lanes == 0 || lanes > MaxLanes)
    return addFault("a group of " + std::to_string(lanes) + " lanes");
  group.body = body;
  for (u32 y = 0; y < gridY; ++y)
    for (u32 x = 0; x < gridX; ++x) {
      group.position = {0, lanes, x, y, gridX};
      runGroup();
    }
}

} // namespace lorac::shader
