//===- Sampler.cpp - the next token from logits ---------------------------===//
#include "runtime/text/Sampler.h"

#include "tests/support/StatusTest.h"

#include <cmath>
#include <limits>
#include <map>

namespace lorac {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::map<uint32_t, int> draw(const SamplerOptions &options, const std::vector<float> &logits, int count) {
  auto sampler = Sampler::create(options);
  EXPECT_OK(sampler);
  std::map<uint32_t, int> counts;
  for (int i = 0; i < count; ++i) {
    auto token = sampler->sample(logits);
    EXPECT_OK(token);
    ++counts[*token];
  }
  return counts;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOnTies) {
  EXPECT_EQ(draw({}, {1, 3, 2}, 1), (std::map<uint32_t, int>{{1, 1}}));
  EXPECT_EQ(draw({}, {1, 3, 3, -kInfinity}, 3), (std::map<uint32_t, int>{{1, 3}}));
  EXPECT_EQ(draw({}, {-kInfinity, -5}, 1), (std::map<uint32_t, int>{{1, 1}}));
}

// The first numbers of the reference implementation that comes with the paper, for seed 1234567.
TEST(Sampler, GeneratorIsSplitMix64) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
  EXPECT_EQ(random.next(), 4593380528125082431u);
  for (int i = 0; i < 1000; ++i) {
    double unit = random.nextUnit();
    EXPECT_TRUE(unit >= 0 && unit < 1);
  }
}

TEST(Sampler, SameSeedSameTokens) {
  std::vector<float> logits;
  for (int i = 0; i < 500; ++i)
    logits.push_back(float(std::sin(i) * 3));
  auto run = [&](uint64_t seed) {
    auto sampler = Sampler::create({.temperature = 0.8, .topP = 0.9, .topK = 100, .seed = seed});
    std::vector<uint32_t> tokens;
    for (int i = 0; i < 50; ++i)
      tokens.push_back(*sampler->sample(logits));
    return tokens;
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

TEST(Sampler, DrawsInProportion) {
  const int count = 20000;
  std::vector<float> logits = {float(std::log(0.5)), float(std::log(0.3)), float(std::log(0.2)), -kInfinity};
  auto counts = draw({.temperature = 1, .seed = 3}, logits, count);
  EXPECT_NEAR(counts[0], 0.5 * count, 300);
  EXPECT_NEAR(counts[1], 0.3 * count, 300);
  EXPECT_NEAR(counts[2], 0.2 * count, 300);
  EXPECT_EQ(counts[3], 0);
  // Temperature 0.5 squares the ratios.
  counts = draw({.temperature = 0.5, .seed = 3}, logits, count);
  EXPECT_NEAR(counts[0], 0.25 / 0.38 * count, 300);
  EXPECT_NEAR(counts[2], 0.04 / 0.38 * count, 300);
}

TEST(Sampler, TopKKeepsTheLargestAndTheLowerIdsOnTies) {
  auto counts = draw({.temperature = 1, .topK = 2, .seed = 1}, {0, 5, 5, 5, 5}, 500);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(2));
  EXPECT_EQ(draw({.temperature = 1, .topK = 1, .seed = 1}, {0, 5, 5}, 50).size(), 1u);
  EXPECT_EQ(draw({.temperature = 1, .topK = 99, .seed = 1}, {5, 5, 5}, 500).size(), 3u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  std::vector<float> logits = {float(std::log(0.125)), float(std::log(0.5)), float(std::log(0.25)),
                               float(std::log(0.125))};
  auto kept = [&](double topP) {
    return draw({.temperature = 1, .topP = topP, .seed = 5}, logits, 600).size();
  };
  EXPECT_EQ(kept(0.4), 1u);
  EXPECT_EQ(kept(0.49), 1u);
  EXPECT_EQ(kept(0.6), 2u);
  EXPECT_EQ(kept(0.74), 2u);
  EXPECT_EQ(kept(0.8), 3u);
  EXPECT_EQ(kept(0.99), 4u);
  EXPECT_EQ(kept(1e-300), 1u);
}

// Top-p is over what top-k left: 0.5 of {0.4, 0.3, 0.3} is 0.4/0.7 after top-k 2, one token.
TEST(Sampler, TopKComesBeforeTopP) {
  std::vector<float> logits = {float(std::log(0.4)), float(std::log(0.3)), float(std::log(0.3))};
  EXPECT_EQ(draw({.temperature = 1, .topP = 0.5, .seed = 1}, logits, 500).size(), 2u);
  EXPECT_EQ(draw({.temperature = 1, .topP = 0.5, .topK = 2, .seed = 1}, logits, 500).size(), 1u);
}

// Temperature comes before top-p: a colder one needs fewer tokens for the same mass.
TEST(Sampler, TemperatureComesBeforeTopP) {
  std::vector<float> logits = {float(std::log(0.5)), float(std::log(0.3)), float(std::log(0.2))};
  EXPECT_EQ(draw({.temperature = 1, .topP = 0.75, .seed = 1}, logits, 500).size(), 2u);
  EXPECT_EQ(draw({.temperature = 0.25, .topP = 0.75, .seed = 1}, logits, 500).size(), 1u);
}

// The nucleus of a large flat vocabulary is found in several rounds of sorting.
TEST(Sampler, LargeNucleus) {
  std::vector<float> flat(20000, 0.0f);
  auto counts = draw({.temperature = 1, .topP = 0.5, .seed = 9}, flat, 300);
  EXPECT_LT(counts.rbegin()->first, 10000u); // ties: the lower ids
  EXPECT_GT(counts.rbegin()->first, 9000u);
  EXPECT_GT(counts.size(), 250u);
}

TEST(Sampler, ExtremeTemperaturesStayFinite) {
  EXPECT_EQ(draw({.temperature = 1e-308, .topP = 0.9, .seed = 1}, {1, 2, 3}, 20),
            (std::map<uint32_t, int>{{2, 20}}));
  EXPECT_EQ(draw({.temperature = 1e300, .seed = 1}, {1, 2, 3}, 300).size(), 3u);
  EXPECT_EQ(draw({.temperature = 1, .seed = 1}, {-3e38f, 3e38f}, 20), (std::map<uint32_t, int>{{1, 20}}));
}

TEST(Sampler, RejectsOptionsOutsideTheirRange) {
  EXPECT_STATUS(Sampler::create({.temperature = -0.1}), Code::InvalidArgument, "temperature is -0.1");
  EXPECT_STATUS(Sampler::create({.temperature = kNan}), Code::InvalidArgument, "temperature is nan");
  EXPECT_STATUS(Sampler::create({.temperature = kInfinity}), Code::InvalidArgument, "temperature is inf");
  EXPECT_STATUS(Sampler::create({.topP = 0}), Code::InvalidArgument, "top_p is 0");
  EXPECT_STATUS(Sampler::create({.topP = 1.5}), Code::InvalidArgument, "top_p is 1.5");
  EXPECT_STATUS(Sampler::create({.topP = kNan}), Code::InvalidArgument, "top_p is nan");
  EXPECT_STATUS(Sampler::create({.topK = -1}), Code::InvalidArgument, "top_k is -1");
}

TEST(Sampler, RejectsLogitsThatAreNoNumbers) {
  for (double temperature : {0.0, 1.0}) {
    auto sampler = Sampler::create({.temperature = temperature});
    ASSERT_OK(sampler);
    EXPECT_STATUS(sampler->sample(std::vector<float>{1, kNan}), Code::InvalidArgument,
                  "the logit of token 1 is not a number");
    EXPECT_STATUS(sampler->sample(std::vector<float>{kInfinity, 1}), Code::InvalidArgument,
                  "the logit of token 0 is infinite");
    EXPECT_STATUS(sampler->sample(std::vector<float>{-kInfinity, -kInfinity}), Code::InvalidArgument,
                  "every logit is -infinity");
    EXPECT_STATUS(sampler->sample({}), Code::InvalidArgument, "there are 0 logits");
  }
}

} // namespace
} // namespace lorac
