#include "support/Files.h"

#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace lorac {
namespace {

using test::TempFolder;

std::vector<uint8_t> bytesOf(std::string_view text) { return {text.begin(), text.end()}; }

TEST(Files, MapsAWholeFile) {
  TempFolder folder;
  folder.write("a", "hello");
  auto file = MappedFile::open(folder.path("a"));
  ASSERT_OK(file);
  EXPECT_EQ(std::string(file->bytes().begin(), file->bytes().end()), "hello");
  EXPECT_EQ(file->path(), folder.path("a"));
  const uint8_t *address = file->bytes().data();
  MappedFile moved = *std::move(file);
  EXPECT_EQ(moved.bytes().data(), address) << "moves keep addresses";
}

TEST(Files, MapsAnEmptyFile) {
  TempFolder folder;
  folder.write("empty", "");
  auto file = MappedFile::open(folder.path("empty"));
  ASSERT_OK(file);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(Files, ReleasedPagesComeBack) {
  TempFolder folder;
  const std::string text(3 * 65536 + 17, 'x');
  folder.write("a", text);
  auto file = MappedFile::open(folder.path("a"));
  ASSERT_OK(file);
  file->release(100, 2 * 65536);
  file->release(0, UINT64_MAX / 2);
  EXPECT_EQ(std::string(file->bytes().begin(), file->bytes().end()), text);
}

TEST(Files, RefusesWhatIsNoRegularFile) {
  TempFolder folder;
  EXPECT_STATUS(MappedFile::open(folder.path("none")), Code::NotFound, folder.path("none") + ": cannot open");
  EXPECT_STATUS(MappedFile::open(folder.path("")), Code::InvalidArgument, "is not a regular file");
}

TEST(Files, ReadsTextUpToALimit) {
  TempFolder folder;
  folder.write("a", "12345");
  auto text = readTextFile(folder.path("a"), 5);
  ASSERT_OK(text);
  EXPECT_EQ(*text, "12345");
  EXPECT_STATUS(readTextFile(folder.path("a"), 4), Code::InvalidArgument, "has 5 bytes, at most 4 are read");
}

TEST(ResultPath, ReplacesOnlyItsOwnKind) {
  TempFolder folder;
  auto path = [&](const char *name) { return resultPath(folder.path(name), "LRCM", "a model file"); };
  ASSERT_OK(path("none"));
  EXPECT_EQ(*path("none"), folder.path("none"));
  for (const char *content : {"", "LRCM", "LRCM and more"}) {
    std::ofstream(folder.path("own"), std::ios::trunc) << content;
    EXPECT_OK(path("own"));
  }
  for (const char *content : {"L", "LRC", "GGUF and more", "#!/bin/sh"}) {
    std::ofstream(folder.path("other"), std::ios::trunc) << content;
    EXPECT_STATUS(path("other"), Code::InvalidArgument,
                  "is there and is not a model file, so it is not replaced");
  }
  EXPECT_STATUS(resultPath("", "LRCM", "a model file"), Code::InvalidArgument, "empty name");
}

TEST(ResultPath, RefusesWhatIsNoRegularFile) {
  TempFolder folder;
  ASSERT_EQ(mkfifo(folder.path("pipe").c_str(), 0600), 0);
  std::filesystem::create_directory(folder.path("folder"));
  for (const std::string &path : {folder.path("pipe"), folder.path("folder"), std::string("/dev/null")})
    EXPECT_STATUS(resultPath(path, "LRCM", "a model file"), Code::InvalidArgument, "is no regular file");
}

TEST(ResultPath, FollowsLinks) {
  TempFolder folder;
  std::filesystem::create_directory(folder.path("folder"));
  std::filesystem::create_symlink("folder/file", folder.path("a"));
  std::filesystem::create_symlink(folder.path("a"), folder.path("folder/b"));
  Result<std::string> path = resultPath(folder.path("folder/b"), "LRCM", "a model file");
  ASSERT_OK(path);
  EXPECT_EQ(*path, folder.path("folder/file"));
  std::ofstream(folder.path("folder/file")) << "GGUF";
  EXPECT_STATUS(resultPath(folder.path("a"), "LRCM", "a model file"), Code::InvalidArgument,
                "is not a model file");
  std::filesystem::create_symlink("loop", folder.path("loop"));
  EXPECT_OK(resultPath(folder.path("loop"), "LRCM", "a model file")); // whoever opens it says what it is
}

TEST(AtomicFile, ReplacesTheOldFileOnlyAtCommit) {
  TempFolder folder;
  folder.write("a", "old");
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ASSERT_OK(file->write(bytesOf("new!")));
  ASSERT_OK(file->writeAt(0, bytesOf("NEW")));
  EXPECT_EQ(file->position(), 4u);
  EXPECT_EQ(folder.read("a"), "old");
  ASSERT_OK(file->commit());
  EXPECT_EQ(folder.read("a"), "NEW!");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, WithoutCommitNothingRemains) {
  TempFolder folder;
  folder.write("a", "old");
  {
    auto file = AtomicFile::create(folder.path("a"));
    ASSERT_OK(file);
    ASSERT_OK(file->write(bytesOf("half of the new")));
    AtomicFile moved = *std::move(file); // a move hands the temporary file on
    EXPECT_EQ(folder.read("a"), "old");
  }
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, AFailedWriteLeavesTheOldFile) {
  TempFolder folder;
  folder.write("a", "old");
  // The file-size limit makes the kernel refuse the write, as a full disk would.
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(sigaction(SIGXFSZ, &ignore, &before), 0);
  rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit small = old;
  small.rlim_cur = 4096;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    auto file = AtomicFile::create(folder.path("a"));
    EXPECT_OK(file);
    EXPECT_OK(file->write(std::vector<uint8_t>(4096, 'x')));
    EXPECT_STATUS(file->write(bytesOf("y")), Code::Io, folder.path("a") + ": cannot write");
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_EQ(sigaction(SIGXFSZ, &before, nullptr), 0);
  EXPECT_EQ(folder.read("a"), "old");
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, AFailedCommitLeavesNoTemporaryFile) {
  TempFolder folder;
  ASSERT_EQ(mkdir(folder.path("a").c_str(), 0755), 0); // a folder cannot be replaced by a file
  {
    auto file = AtomicFile::create(folder.path("a"));
    ASSERT_OK(file);
    EXPECT_STATUS(file->commit(), Code::Io, "cannot replace");
  }
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
}

TEST(AtomicFile, RefusesAFolderThatDoesNotExist) {
  TempFolder folder;
  EXPECT_STATUS(AtomicFile::create(folder.path("none/a")), Code::NotFound,
                "cannot create a temporary file beside it");
}

TEST(AtomicFile, RefusesATooLongNameBeforeAnythingIsWritten) {
  TempFolder folder;
  EXPECT_STATUS(AtomicFile::create(folder.path(std::string(250, 'a'))), Code::Io, "File name too long");
  auto file = AtomicFile::create(folder.path(std::string(200, 'a')));
  ASSERT_OK(file);
  ASSERT_OK(file->commit());
}

TEST(AtomicFile, PadsWithZeros) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ASSERT_OK(file->padTo(4096)); // nothing to pad
  EXPECT_EQ(file->position(), 0u);
  ASSERT_OK(file->write(bytesOf("x")));
  ASSERT_OK(file->padTo(3 * 4096));
  ASSERT_OK(file->commit());
  EXPECT_EQ(folder.read("a"), "x" + std::string(3 * 4096 - 1, '\0'));
}

TEST(AtomicFile, HasTheModeOfAnOrdinaryNewFile) {
  TempFolder folder;
  auto file = AtomicFile::create(folder.path("a"));
  ASSERT_OK(file);
  ASSERT_OK(file->commit());
  mode_t mask = umask(0);
  umask(mask);
  struct stat info{};
  ASSERT_EQ(stat(folder.path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666 & ~mask);
}

} // namespace
} // namespace lorac
