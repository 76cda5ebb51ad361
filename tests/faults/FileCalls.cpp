//===- FileCalls.cpp - file calls that can fail -----------------------------===//
#include "tests/faults/FileCalls.h"

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef LORAC_FILE_PRELOAD
#include <dlfcn.h>
#define REAL(NAME) (reinterpret_cast<decltype(&::NAME)>(dlsym(RTLD_NEXT, #NAME)))
#define WRAPPED(NAME) NAME
#else
#define REAL(NAME) __real_##NAME
#define WRAPPED(NAME) __wrap_##NAME
extern "C" {
decltype(::open) __real_open;
decltype(::fstat) __real_fstat;
decltype(::mmap) __real_mmap;
decltype(::pwrite) __real_pwrite;
decltype(::fsync) __real_fsync;
decltype(::close) __real_close;
decltype(::rename) __real_rename;
decltype(::linkat) __real_linkat;
decltype(::mkostemp) __real_mkostemp;
}
#endif

namespace lorac::test {
namespace {

struct Plan {
  char function[32] = "";
  uint64_t left = 0;
  int fault = 0;
  bool armed = false, failed = false, hideTemporary = false;
};
Plan plan;

#ifdef LORAC_FILE_PRELOAD
[[maybe_unused]] const bool planned = [] {
  const char *text = std::getenv("LORAC_FILE_FAULT");
  unsigned long long count = 0;
  char what[16] = "";
  if (!text || std::sscanf(text, "%31[^:]:%llu:%15s", plan.function, &count, what) != 3)
    return false;
  plan.left = count;
  plan.fault = std::strcmp(what, "short") == 0  ? int(ShortWrite)
               : std::strcmp(what, "zero") == 0 ? int(ZeroWrite)
               : std::strcmp(what, "kill") == 0 ? int(Kill)
                                                : std::atoi(what);
  plan.armed = true;
  return true;
}();
#endif

/// 0, or what this call shall do. errno is set where it is one.
int faultOf(const char *function, bool writes) {
  bool named =
      std::strcmp(plan.function, function) == 0 || (writes && std::strcmp(plan.function, "write") == 0);
  if (!plan.armed || plan.failed || !named || plan.left-- != 0)
    return 0;
  plan.failed = true;
  if (plan.fault == Kill)
    std::raise(SIGKILL);
  if (plan.fault > 0)
    errno = plan.fault;
  return plan.fault;
}

/// Cuts the file behind a descriptor, if its name is one of those that the environment says.
void shrink(int descriptor) {
  const char *suffix = std::getenv("LORAC_FILE_SHRINK");
  if (!suffix || descriptor < 0)
    return;
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = ::readlink(link, path, sizeof path - 1);
  if (size < ssize_t(std::strlen(suffix)))
    return;
  path[size] = '\0';
  if (std::strcmp(path + size - std::strlen(suffix), suffix) == 0)
    static_cast<void>(!::truncate(path, 0));
}

} // namespace

void failFile(const std::string &function, uint64_t count, int fault) {
  bool hide = plan.hideTemporary;
  plan = {};
  std::snprintf(plan.function, sizeof plan.function, "%s", function.c_str());
  plan.left = count;
  plan.fault = fault;
  plan.armed = true;
  plan.hideTemporary = hide;
}

bool fileFailed() {
  plan.armed = false;
  return plan.failed;
}

void hideTemporaryFiles(bool hide) { plan.hideTemporary = hide; }

} // namespace lorac::test

using lorac::test::faultOf;
using lorac::test::plan;

extern "C" {

int WRAPPED(open)(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, int) : 0;
  va_end(list);
  bool temporary = (flags & O_TMPFILE) == O_TMPFILE;
  if (temporary && plan.hideTemporary) {
    errno = EOPNOTSUPP;
    return -1;
  }
  if (faultOf("open", temporary) > 0)
    return -1;
  return REAL(open)(path, flags, mode);
}

int WRAPPED(fstat)(int descriptor, struct stat *info) {
  return faultOf("fstat", false) > 0 ? -1 : REAL(fstat)(descriptor, info);
}

void *WRAPPED(mmap)(void *address, size_t size, int protection, int flags, int descriptor, off_t offset) {
  if (descriptor >= 0 && faultOf("mmap", false) > 0)
    return MAP_FAILED;
  void *result = REAL(mmap)(address, size, protection, flags, descriptor, offset);
  lorac::test::shrink(descriptor);
  return result;
}

ssize_t WRAPPED(pwrite)(int descriptor, const void *data, size_t size, off_t offset) {
  int fault = faultOf("pwrite", true);
  if (fault > 0)
    return -1;
  if (fault == lorac::test::ZeroWrite)
    return 0;
  return REAL(pwrite)(descriptor, data, fault == lorac::test::ShortWrite ? (size + 1) / 2 : size, offset);
}

int WRAPPED(fsync)(int descriptor) { return faultOf("fsync", true) > 0 ? -1 : REAL(fsync)(descriptor); }

int WRAPPED(close)(int descriptor) {
  // What close reports, it reports of a descriptor that is gone.
  bool fails = faultOf("close", false) > 0;
  int error = errno;
  int result = REAL(close)(descriptor);
  if (!fails)
    return result;
  errno = error;
  return -1;
}

int WRAPPED(rename)(const char *from, const char *to) {
  return faultOf("rename", true) > 0 ? -1 : REAL(rename)(from, to);
}

int WRAPPED(linkat)(int fromFolder, const char *from, int toFolder, const char *to, int flags) {
  return faultOf("linkat", true) > 0 ? -1 : REAL(linkat)(fromFolder, from, toFolder, to, flags);
}

int WRAPPED(mkostemp)(char *pattern, int flags) {
  return faultOf("mkostemp", true) > 0 ? -1 : REAL(mkostemp)(pattern, flags);
}

} // extern "C"
