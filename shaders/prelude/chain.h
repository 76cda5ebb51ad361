// clang-format off: GLSL alone
// chain.h - several bodies as one dispatch, link after link (docs/decisions/0019). glsl.h comes before it, with IN_CHAIN set; the compiler
// writes main(). Groups that run at the same time find each other, share each link's groups out among themselves, and
// wait for each other where a barrier stood between two dispatches. Source of the discovery: Sorensen et al., Portable Inter-workgroup
// Barrier Synchronisation for GPUs (OOPSLA 2016): whoever comes while the poll is open runs, and waits for those alone; who comes later
// leaves. So a chain ends whatever the device runs at a time, one group included.
// Set before it: CHAIN_BINDING.
#if !GROUP_IS_SUBGROUP
#error "a chain's groups are one subgroup of 8"
#endif

// [0] those who came, and the bit CHAIN_CLOSED once the poll is closed; [1] members, 0 while it is open; [2] arrivals at meetings. All 0
// before the dispatch. What follows: schemas/Chain.h.
layout(std430, binding = CHAIN_BINDING) coherent buffer ChainBlock { uint chainWords[]; };
#define CHAIN_CLOSED 0x80000000u
// Looks at the poll until whoever came first closes it: some 0.3 ms. A worker that sleeps takes 0.05.
#define CHAIN_PATIENCE 10000u

uint chainMember;
uint chainMembers;
uint chainMeetings;

// False: came too late, and has nothing to do.
bool chainJoin() {
  uint place = 0u;
  uint members = 0u;
  if (LANE == 0u) {
    place = atomicAdd(chainWords[0], 1u);
    if (place == 0u) {
      uint patience = CHAIN_PATIENCE;
      while (atomicAdd(chainWords[0], 0u) < gl_NumWorkGroups.x && patience > 0u)
        --patience;
      members = atomicAdd(chainWords[0], CHAIN_CLOSED);
    }
    if (place < CHAIN_CLOSED) {
      uint published = members; // by the first alone: the others add 0 until it has
      do {
        members = atomicAdd(chainWords[1], published) + published;
        published = 0u;
      } while (members == 0u);
    }
  }
  chainMember = subgroupShuffle(place, 0u);
  chainMembers = subgroupShuffle(members, 0u);
  chainMeetings = 0u;
  return chainMember < CHAIN_CLOSED;
}

// All members come before one goes on, and see what each has written.
void chainMeet() {
  ++chainMeetings;
  memoryBarrierBuffer();
  subgroupBarrier();
  if (LANE == 0u) {
    uint all = chainMembers * chainMeetings;
    uint own = 1u;
    uint arrived;
    do {
      arrived = atomicAdd(chainWords[2], own) + own;
      own = 0u;
    } while (arrived < all);
  }
  memoryBarrierBuffer();
  subgroupBarrier();
}

// The groups of a link, member after member.
uint chainFirst(uint groups, uint member) { return groups / chainMembers * member + min(member, groups % chainMembers); }
