//===- StatusTest.h - expecting one code and one sentence -------*- C++ -*-===//
#ifndef LORAC_TESTS_SUPPORT_STATUSTEST_H
#define LORAC_TESTS_SUPPORT_STATUSTEST_H

#include "support/Status.h"

#include <gtest/gtest.h>

#include <string>

namespace lorac::test {

inline Status statusOf(const Status &status) { return status; }
template <typename T> Status statusOf(const Result<T> &result) { return result.status(); }

inline testing::AssertionResult isOk(const Status &status) {
  if (status.isOk())
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << codeName(status.code()) << ": " << status.message();
}

inline testing::AssertionResult isStatus(const Status &status, Code code, const std::string &part) {
  if (status.code() == code && status.message().find(part) != std::string::npos &&
      status.message().find('\n') == std::string::npos)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << "got " << codeName(status.code()) << ": \"" << status.message()
                                     << "\", expected " << codeName(code) << " with \"" << part
                                     << "\" on one line";
}

} // namespace lorac::test

#define ASSERT_OK(EXPRESSION) ASSERT_TRUE(::lorac::test::isOk(::lorac::test::statusOf(EXPRESSION)))
#define EXPECT_OK(EXPRESSION) EXPECT_TRUE(::lorac::test::isOk(::lorac::test::statusOf(EXPRESSION)))
/// EXPRESSION (a Status or Result) fails with CODE and a message of one line that holds PART.
#define EXPECT_STATUS(EXPRESSION, CODE, PART)                                                                \
  EXPECT_TRUE(::lorac::test::isStatus(::lorac::test::statusOf(EXPRESSION), CODE, PART))

#endif // LORAC_TESTS_SUPPORT_STATUSTEST_H
