// raw_read.cpp - every word of a group's pieces is read, once, by one of its lanes, and nothing beside them.
#include "tests/shaders/KernelTest.h"

namespace lorac::shader {
namespace {
namespace lanes8 {
#define LANES 8
#include "shaders/raw_read.kernel"
#undef LANES
} // namespace lanes8
namespace lanes1 {
#define LANES 1
#include "shaders/raw_read.kernel"
#undef LANES
} // namespace lanes1

TEST(RawReadKernel, JoinsEveryPieceOnce) {
  constexpr uint32_t Groups = 3;
  for (uint32_t pieces : {1u, 8u, 31u, 32u, 75u}) // no whole round, one, between two, with a rest
    for (uint32_t lanes : {1u, 8u}) {
      Random random(pieces);
      std::vector<uint32_t> words(size_t(Groups) * pieces * 4);
      for (uint32_t &word : words)
        word = uint32_t(random.next());
      std::vector<uint32_t> y(size_t(Groups) * lanes, Poison);
      if (lanes == 8) {
        lanes8::source.bind(words);
        lanes8::y.bind(y);
        lanes8::push = {pieces};
        runGrid(lanes8::raw_read, 8, Groups, 1);
      } else {
        lanes1::source.bind(words);
        lanes1::y.bind(y);
        lanes1::push = {pieces};
        runGrid(lanes1::raw_read, 1, Groups, 1);
      }
      expectNoFaults();
      for (uint32_t group = 0; group < Groups; ++group)
        for (uint32_t lane = 0; lane < lanes; ++lane) {
          uint32_t expected = 0;
          for (uint32_t piece = lane; piece < pieces; piece += lanes)
            for (uint32_t word = 0; word < 4; ++word)
              expected ^= words[(size_t(group) * pieces + piece) * 4 + word];
          EXPECT_EQ(y[size_t(group) * lanes + lane], expected) << pieces << " pieces, lane " << lane;
        }
    }
}

} // namespace
} // namespace lorac::shader
