// clang-format off: GLSL alone
// chain.h - several bodies as one dispatch, link after link (docs/decisions/0019). glsl.h comes before it, with IN_CHAIN set; the compiler
// writes main(). Each link's groups lie in a queue of their own: who runs takes some, works and says that they are done; where a barrier
// stood between two dispatches one waits until all of the first are done. Nobody waits but for groups that somebody took who runs, so a chain
// ends however many the device runs at a time and whenever each begins: who comes late finds the queues empty up to where the others are.
// Set before it: CHAIN_BINDING.
#if !GROUP_IS_SUBGROUP
#error "a chain's groups are one subgroup of 8"
#endif

layout(std430, binding = CHAIN_BINDING) coherent buffer ChainBlock { uint chainWords[]; }; // schemas/Chain.h

// Of a link's groups the first that are taken now: `share` from there on, or what is left of them.
uint chainTake(uint link, uint share) {
  uint first = 0u;
  if (LANE == 0u)
    first = atomicAdd(chainWords[2u * link], share);
  return subgroupShuffle(first, 0u);
}

// What these have written is seen by whoever waits.
void chainDone(uint link, uint count) {
  memoryBarrierBuffer();
  subgroupBarrier();
  if (LANE == 0u)
    atomicAdd(chainWords[2u * link + 1u], count);
}

void chainWait(uint link, uint groups) {
  if (LANE == 0u) {
    uint done;
    do
      done = atomicAdd(chainWords[2u * link + 1u], 0u);
    while (done < groups);
  }
  subgroupBarrier();
  memoryBarrierBuffer();
}

// Groups that are taken at once: an equal share for each who may run. Smaller ones would be taken more often than that gains.
uint chainShare(uint groups) { return (groups + gl_NumWorkGroups.x - 1u) / gl_NumWorkGroups.x; }

// What main() declares once, since a driver's time grows with variables times blocks.
#define CHAIN_VARIABLES                                                                                      \
  uint share;                                                                                                \
  uint first;

// A link's groups, X of them along x: takes shares until none is left.
#define CHAIN_RUN(LINK, X, GROUPS, BODY)                                                                     \
  groupsAlongX = X;                                                                                          \
  share = chainShare(GROUPS);                                                                                \
  first = chainTake(LINK, share);                                                                            \
  while (first < GROUPS) {                                                                                   \
    uint end = min(first + share, GROUPS);                                                                   \
    for (uint i = first; i < end; ++i) {                                                                     \
      groupPlace = uvec2(i % X, i / X);                                                                      \
      BODY();                                                                                                \
    }                                                                                                        \
    chainDone(LINK, end - first);                                                                            \
    first = chainTake(LINK, share);                                                                          \
  }
