#include "support/Status.h"

namespace lorac {

std::string_view codeName(Code code) {
  switch (code) {
#define CODE(NAME, C_NAME, VALUE, MEANING, REMEDY)                                                           \
  case Code::NAME:                                                                                           \
    return #NAME;
#include "support/codes.def"
#undef CODE
  }
  return "Unknown";
}

} // namespace lorac
