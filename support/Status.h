//===- Status.h - typed errors that say what to do --------------*- C++ -*-===//
// The code tells a program what to do, the text tells a person: file, what, why,
// remedy. Neither aborts nor throws.
#ifndef LORAC_SUPPORT_STATUS_H
#define LORAC_SUPPORT_STATUS_H

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lorac {

enum class Code : uint32_t {
#define CODE(NAME, C_NAME, VALUE, MEANING, REMEDY) NAME = VALUE,
#include "support/codes.def"
#undef CODE
};

/// The enumerator's own name ("CorruptFile").
std::string_view codeName(Code code);

/// Ok, or a code with one line of text and optional notes (printed as `note:` lines).
class [[nodiscard]] Status {
public:
  Status() = default;
  explicit Status(Code code) : errorCode(code) {}
  Status(Code code, std::string text) : errorCode(code), text(std::move(text)) {}
  static Status ok() { return {}; }

  bool isOk() const { return errorCode == Code::Ok; }
  explicit operator bool() const { return isOk(); }
  Code code() const { return errorCode; }
  const std::string &message() const { return text; }
  const std::vector<std::string> &notes() const { return noteLines; }

  Status &addNote(std::string note) & {
    noteLines.push_back(std::move(note));
    return *this;
  }
  Status &&addNote(std::string note) && {
    noteLines.push_back(std::move(note));
    return std::move(*this);
  }

  template <typename T> Status &operator<<(const T &value) & {
    append(value);
    return *this;
  }
  template <typename T> Status &&operator<<(const T &value) && {
    append(value);
    return std::move(*this);
  }

private:
  template <typename T> void append(const T &value) {
    if constexpr (std::is_convertible_v<const T &, std::string_view>) {
      text += std::string_view(value);
    } else {
      std::ostringstream out;
      out << value;
      text += out.str();
    }
  }

  Code errorCode = Code::Ok;
  std::string text;
  std::vector<std::string> noteLines;
};

/// A value or the Status that says why there is none.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : state(std::in_place_index<0>, std::move(value)) {}
  Result(Status status) : state(std::in_place_index<1>, std::move(status)) {}

  bool isOk() const { return state.index() == 0; }
  explicit operator bool() const { return isOk(); }
  T &operator*() & { return std::get<0>(state); }
  const T &operator*() const & { return std::get<0>(state); }
  T &&operator*() && { return std::get<0>(std::move(state)); }
  T *operator->() { return &std::get<0>(state); }
  const T *operator->() const { return &std::get<0>(state); }
  /// Ok where there is a value.
  Status status() const { return isOk() ? Status() : std::get<1>(state); }

private:
  std::variant<T, Status> state;
};

#define LORAC_CONCAT_IMPL(A, B) A##B
#define LORAC_CONCAT(A, B) LORAC_CONCAT_IMPL(A, B)

/// Leaves the function with the Status of EXPRESSION unless it is Ok.
#define LORAC_TRY(EXPRESSION)                                                                                \
  do {                                                                                                       \
    if (::lorac::Status tryStatus = (EXPRESSION); !tryStatus.isOk())                                         \
      return tryStatus;                                                                                      \
  } while (false)

/// DECLARATION = the value of EXPRESSION (a Result), or leaves with its Status.
#define LORAC_ASSIGN_IMPL(RESULT, DECLARATION, EXPRESSION)                                                   \
  auto RESULT = (EXPRESSION);                                                                                \
  if (!RESULT.isOk())                                                                                        \
    return RESULT.status();                                                                                  \
  DECLARATION = *std::move(RESULT)
#define LORAC_ASSIGN(DECLARATION, EXPRESSION)                                                                \
  LORAC_ASSIGN_IMPL(LORAC_CONCAT(tryResult, __LINE__), DECLARATION, EXPRESSION)

} // namespace lorac

#endif // LORAC_SUPPORT_STATUS_H
