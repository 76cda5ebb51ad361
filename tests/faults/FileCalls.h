//===- FileCalls.h - file calls that can fail -------------------*- C++ -*-===//
// The calls of support/Files.cpp, each handed to the C library unless it is the one that shall fail. The same
// source is linked into fault_tests (the linker's --wrap) and made a library to preload before `lorac`, where
// the environment says what fails:
//   LORAC_FILE_FAULT=pwrite:3:28   the fourth pwrite fails with errno 28; "write" in place of a name is any
//   call that
//                                  AtomicFile makes; in place of the errno: short, zero, kill (SIGKILL before
//                                  the call)
//   LORAC_FILE_SHRINK=.lorac       a file of which a path so ends is cut to nothing as soon as it is mapped
#ifndef LORAC_TESTS_FAULTS_FILECALLS_H
#define LORAC_TESTS_FAULTS_FILECALLS_H

#include <cstdint>
#include <string>

namespace lorac::test {

/// Besides errno values, what a call may be told to do.
enum FileFault : int { ShortWrite = -1, ZeroWrite = -2, Kill = -3 };

/// From now on the call number `count` (from 0) of `function` fails with `fault`.
void failFile(const std::string &function, uint64_t count, int fault);
/// No call fails any more. True where the armed call came.
bool fileFailed();
/// Makes O_TMPFILE unknown, as some file systems have it.
void hideTemporaryFiles(bool hide);

} // namespace lorac::test

#endif // LORAC_TESTS_FAULTS_FILECALLS_H
