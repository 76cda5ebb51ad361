#include "support/Status.h"

#include "tests/support/StatusTest.h"

#include <memory>

namespace lorac {
namespace {

Status twice(int value) {
  return value < 0 ? Status(Code::InvalidArgument) << "value " << value : Status::ok();
}
Result<int> half(int value) {
  if (value % 2 != 0)
    return Status(Code::Unsupported) << value << " is odd";
  return value / 2;
}
Result<int> quarter(int value) {
  LORAC_TRY(twice(value));
  LORAC_ASSIGN(int first, half(value));
  LORAC_ASSIGN(int second, half(first));
  return second;
}

TEST(Status, CarriesCodeTextAndNotes) {
  Status status = Status(Code::Io) << "file" << ": " << 7;
  status.addNote("first");
  EXPECT_FALSE(status.isOk());
  EXPECT_EQ(status.code(), Code::Io);
  EXPECT_EQ(status.message(), "file: 7");
  EXPECT_EQ(status.notes(), std::vector<std::string>{"first"});
  EXPECT_TRUE(Status().isOk());
}

TEST(Status, CodeNamesAndValuesAreStable) {
  EXPECT_EQ(codeName(Code::Ok), "Ok");
  EXPECT_EQ(codeName(Code::CorruptFile), "CorruptFile");
  EXPECT_EQ(codeName(Code(999)), "Unknown");
  EXPECT_EQ(uint32_t(Code::Ok), 0u);
  EXPECT_EQ(uint32_t(Code::CorruptFile), 3u);
  EXPECT_EQ(uint32_t(Code::Internal), 11u);
}

TEST(Status, MacrosLeaveWithTheFirstFailure) {
  Result<int> good = quarter(12);
  ASSERT_OK(good);
  EXPECT_EQ(*good, 3);
  EXPECT_STATUS(quarter(-4), Code::InvalidArgument, "value -4");
  EXPECT_STATUS(quarter(6), Code::Unsupported, "3 is odd");
}

TEST(Status, ResultMovesWhatItHolds) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 5);
}

} // namespace
} // namespace lorac
