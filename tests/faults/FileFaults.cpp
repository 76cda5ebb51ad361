// Every file call of a session and of a written file fails once, with each error that its manual page names
// and that can come about here.
#include "tests/faults/FaultSession.h"
#include "tests/faults/FileCalls.h"
#include "tests/runtime/engine/FakeDevice.h"
#include "tests/support/StatusTest.h"
#include "tests/support/TempFolder.h"

#include "runtime/CApi.h"
#include "runtime/engine/Engine.h"
#include "support/Files.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace lorac::test {
namespace {

lorac_code codeFor(int error) {
  switch (error) {
  case ENOENT:
  case ENOTDIR:
    return LORAC_NOT_FOUND;
  case ENOMEM:
    return LORAC_OUT_OF_MEMORY;
  default:
    return LORAC_IO;
  }
}

class ReadFaults : public testing::Test {
protected:
  void SetUp() override {
    auto write = [this](const char *name, const Bytes &bytes) {
      folder.write(name, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
      return folder.path(name);
    };
    options.model = write("model.lorac", tinyModel().bytes());
    options.bundle = write("adapter.lora", tinyAdapter("fault").bytes());
    auto opened = ModelFile::open(options.model);
    ASSERT_OK(opened);
    file = *opened;
    options.makeEngine = [this](lorac_model *, lorac_engine **engine, lorac_error *) {
      EngineOptions wanted;
      wanted.sequences = 4;
      wanted.poolBytes = 16384;
      auto plan = planEngine(*file, wanted);
      if (!plan)
        return LORAC_INTERNAL;
      auto made = Engine::create(file, wanted, std::make_unique<FakeDevice>(*file, plan->symbols));
      if (!made)
        return LORAC_INTERNAL;
      *engine = wrapEngine(*made, nullptr);
      return LORAC_OK;
    };
    expected = runSession(options);
    ASSERT_EQ(expected.code, LORAC_OK) << expected.call << ": " << expected.message;
  }

  TempFolder folder;
  SessionOptions options;
  std::shared_ptr<const ModelFile> file;
  SessionResult expected;
};

TEST_F(ReadFaults, EveryCallWithEveryError) {
  const std::vector<std::pair<std::string, std::vector<int>>> calls = {
      {"open", {EACCES, EINTR, EIO, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR, EPERM}},
      {"fstat", {EIO, ENOMEM}},
      {"mmap", {EACCES, EAGAIN, ENFILE, ENODEV, ENOMEM, EPERM}}};
  size_t faults = 0;
  for (const auto &[function, errors] : calls)
    for (int error : errors)
      for (uint64_t call = 0;; ++call) {
        SCOPED_TRACE(function + " " + std::to_string(call) + ": " + std::strerror(error));
        failFile(function, call, error);
        SessionResult result = runSession(options);
        if (!fileFailed()) {
          EXPECT_EQ(call, 2u) << "the model and the bundle";
          break;
        }
        ++faults;
        const std::string path = call == 0 ? options.model : options.bundle;
        if (error == EINTR) {
          EXPECT_EQ(result.code, LORAC_OK) << result.message;
        } else {
          EXPECT_EQ(result.code, codeFor(error)) << result.message;
          EXPECT_EQ(result.call, call == 0 ? "model_open" : "adapter_load");
          EXPECT_EQ(result.message.find(path + ": cannot "), 0u) << result.message;
          EXPECT_NE(result.message.find(std::strerror(error)), std::string::npos) << result.message;
        }
        EXPECT_EQ(result.again, LORAC_OK) << result.againMessage;
        EXPECT_TRUE(result.logits == expected.logits);
        EXPECT_EQ(result.tokens, expected.tokens);
      }
  EXPECT_EQ(faults, 2u * 18);
}

/// Writes a file as the compiler does. Closed, whatever became of it, when this returns.
Status writeWhole(const std::string &path) {
  const std::vector<uint8_t> body(5000, 'b'), head(100, 'h');
  LORAC_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LORAC_TRY(file.padTo(64));
  LORAC_TRY(file.write(body));
  LORAC_TRY(file.padTo(4096));
  LORAC_TRY(file.write(body));
  LORAC_TRY(file.writeAt(0, head));
  return file.commit();
}

class WriteFaults : public testing::TestWithParam<bool> {
protected:
  void SetUp() override { hideTemporaryFiles(GetParam()); }
  void TearDown() override { hideTemporaryFiles(false); }
};

TEST_P(WriteFaults, TheOldFileOrTheWholeNewOne) {
  TempFolder folder;
  const std::string path = folder.path("a");
  ASSERT_OK(writeWhole(path));
  const std::string whole = folder.read("a"), old = "the old file";
  ASSERT_EQ(whole.size(), 8192u + 5000);
  ASSERT_EQ(whole.substr(0, 101), std::string(100, 'h') + "b");

  const std::vector<std::pair<std::string, std::vector<int>>> calls = {
      {"open", {EACCES, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS}},
      {"mkostemp", {EACCES, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS, EDQUOT}},
      {"pwrite", {EDQUOT, EFBIG, EINTR, EIO, ENOSPC, ShortWrite, ZeroWrite}},
      {"fsync", {EDQUOT, EINTR, EIO, ENOSPC}},
      {"linkat", {EACCES, EDQUOT, EEXIST, EIO, ENOMEM, ENOSPC, EROFS}},
      {"close", {EDQUOT, EINTR, EIO, ENOSPC}},
      {"rename", {EACCES, EBUSY, EDQUOT, EIO, ENOMEM, ENOSPC, EROFS}}};
  size_t faults = 0, seen = 0;
  for (const auto &[function, errors] : calls)
    for (int error : errors)
      for (uint64_t call = 0; call < 20; ++call) {
        SCOPED_TRACE(function + " " + std::to_string(call) + ": " + std::to_string(error));
        folder.write("a", old);
        failFile(function, call, error);
        Status status = writeWhole(path);
        if (!fileFailed())
          break;
        ++faults;
        seen += call == 0 && error == errors.front();
        // Interrupted, short and taken names are overcome; the second fsync and close, and what opens the
        // folder, only make the name durable; a file without a name that cannot be had is replaced by one
        // with a name.
        bool folderOnly = (function == "fsync" || function == "close" || function == "open") && call > 0;
        bool otherWay = function == "open" && call == 0;
        bool overcome = error == EINTR || error == ShortWrite || error == EEXIST || folderOnly || otherWay;
        EXPECT_EQ(status.isOk(), overcome) << status.message();
        EXPECT_EQ(folder.read("a"), status.isOk() ? whole : old);
        EXPECT_EQ(folder.files(), std::vector<std::string>{"a"});
        if (overcome)
          continue;
        EXPECT_EQ(lorac_code(uint32_t(status.code())), codeFor(error)) << status.message();
        EXPECT_EQ(status.message().find(path + ": cannot "), 0u) << status.message();
        EXPECT_NE(status.message().find(std::strerror(error == ZeroWrite ? EIO : error)), std::string::npos)
            << status.message();
        if (error == ENOSPC || error == EDQUOT) {
          EXPECT_NE(status.message().find("free space on that disk"), std::string::npos) << status.message();
        }
      }
  std::printf("%zu faults of writing\n", faults);
  // A file with a name from the start needs no link; one without asks mkostemp for none.
  EXPECT_EQ(seen, 6u) << "a function was never called";
}

INSTANTIATE_TEST_SUITE_P(FileSystems, WriteFaults, testing::Values(false, true), [](const auto &info) {
  return info.param ? "WithoutTemporaryFiles" : "WithTemporaryFiles";
});

} // namespace
} // namespace lorac::test
