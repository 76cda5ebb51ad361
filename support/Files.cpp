#include "support/Files.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lorac {

namespace {

Status ioError(const std::string &path, const char *what) {
  int error = errno;
  Code code = error == ENOENT || error == ENOTDIR ? Code::NotFound
              : error == ENOMEM                   ? Code::OutOfMemory
                                                  : Code::Io;
  Status status = Status(code) << path << ": " << what << ": " << std::strerror(error);
  if (error == ENOSPC || error == EDQUOT)
    status << "; free space on that disk and try again";
  return status;
}

/// A call that a signal interrupts is made again.
template <typename Call> int uninterrupted(Call call) {
  int result = call();
  while (result < 0 && errno == EINTR)
    result = call();
  return result;
}

std::string folderOf(const std::string &path) {
  std::string folder = path.substr(0, path.find_last_of('/') + 1);
  return folder.empty() ? "." : folder;
}

/// Where the kernel shows an open file, so that it can be given a name.
std::string descriptorPath(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

/// Opens a regular file for reading and tells its size.
Result<int> openRegular(const std::string &path, uint64_t &size) {
  // A pipe without a writer would wait for ever; regular files know no such waiting.
  int descriptor = uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (descriptor < 0)
    return ioError(path, "cannot open");
  struct stat info{};
  if (::fstat(descriptor, &info) != 0) {
    Status status = ioError(path, "cannot stat");
    ::close(descriptor);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return Status(Code::InvalidArgument) << path << ": is not a regular file";
  }
  size = uint64_t(info.st_size);
  return descriptor;
}

} // namespace

Result<MappedFile> MappedFile::open(const std::string &path) {
  uint64_t size = 0;
  LORAC_ASSIGN(int descriptor, openRegular(path, size));
  MappedFile file;
  file.filePath = path;
  file.size = size;
  if (size > 0) {
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) {
      Status status = ioError(path, "cannot map");
      ::close(descriptor);
      file.size = 0;
      return status;
    }
    file.data = static_cast<const uint8_t *>(address);
  }
  ::close(descriptor);
  return file;
}

MappedFile::~MappedFile() {
  if (data)
    ::munmap(const_cast<uint8_t *>(data), size);
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data(std::exchange(other.data, nullptr)), size(std::exchange(other.size, 0)),
      filePath(std::move(other.filePath)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data, other.data);
  std::swap(size, other.size);
  std::swap(filePath, other.filePath);
  return *this;
}

void MappedFile::release(uint64_t offset, uint64_t length) const {
  const uint64_t page = uint64_t(::sysconf(_SC_PAGESIZE));
  uint64_t begin = (offset + page - 1) / page * page;
  uint64_t end = std::min(offset + length, size) / page * page;
  if (data && begin < end)
    ::madvise(const_cast<uint8_t *>(data) + begin, end - begin, MADV_DONTNEED);
}

Result<std::vector<uint8_t>> readFile(const std::string &path, uint64_t limit) {
  uint64_t size = 0;
  LORAC_ASSIGN(int descriptor, openRegular(path, size));
  std::vector<uint8_t> bytes;
  Status status;
  if (size > limit)
    status = Status(Code::InvalidArgument)
             << path << ": has " << size << " bytes, at most " << limit << " are read";
  else
    bytes.resize(size);
  for (uint64_t done = 0; status.isOk() && done < size;) {
    ssize_t count = ::pread(descriptor, bytes.data() + done, size - done, off_t(done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      status = ioError(path, "cannot read");
    if (count == 0) { // it became shorter
      bytes.resize(done);
      break;
    }
    done += uint64_t(std::max<ssize_t>(count, 0));
  }
  ::close(descriptor);
  LORAC_TRY(status);
  return bytes;
}

Result<std::string> readTextFile(const std::string &path, uint64_t limit) {
  LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > limit)
    return Status(Code::InvalidArgument)
           << path << ": has " << file.bytes().size() << " bytes, at most " << limit << " are read";
  return std::string(reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size());
}

Result<std::string> resultPath(const std::string &path, std::string_view magic, std::string_view kind) {
  namespace fs = std::filesystem;
  constexpr int MaxLinks = 40; // as many as Linux follows
  if (path.empty())
    return Status(Code::InvalidArgument) << "the file to write has an empty name; name " << kind;
  fs::path target = path;
  std::error_code error;
  for (int links = 0; links < MaxLinks && fs::is_symlink(target, error); ++links) {
    const fs::path next = fs::read_symlink(target, error);
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  const fs::file_status there = fs::status(target, error);
  if (!fs::exists(there))
    return target.string();
  if (!fs::is_regular_file(there))
    return Status(Code::InvalidArgument) << path << ": is no regular file, which " << kind
                                         << " would take the place of; choose another name";
  uint64_t size = 0;
  LORAC_ASSIGN(int descriptor, openRegular(target.string(), size));
  std::string begin(magic.size(), '\0');
  const ssize_t count = uninterrupted([&] { return ::pread(descriptor, begin.data(), begin.size(), 0); });
  ::close(descriptor);
  if (size > 0 && (count < 0 || std::string_view(begin).substr(0, size_t(count)) != magic))
    return Status(Code::InvalidArgument) << path << ": is there and is not " << kind
                                         << ", so it is not replaced; choose another name or remove it";
  return target.string();
}

Result<AtomicFile> AtomicFile::create(const std::string &path) {
  // Found now and not after all has been written: whether its folder takes a name of that length.
  if (::access((path + ".tmp-4194304-999").c_str(), F_OK) != 0 && errno == ENAMETOOLONG)
    return ioError(path, "cannot create a temporary file beside it");
  AtomicFile file;
  file.finalPath = path;
  file.descriptor =
      uninterrupted([&] { return ::open(folderOf(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666); });
  if (file.descriptor >= 0 && ::access(descriptorPath(file.descriptor).c_str(), F_OK) == 0)
    return file;
  if (file.descriptor >= 0)
    ::close(file.descriptor); // it could never be given a name
  // Why there is none does not matter: what stands in the way of a file with a name too is told below.
  file.temporaryPath = path + ".tmp-XXXXXX";
  file.descriptor = uninterrupted([&] { return ::mkostemp(file.temporaryPath.data(), O_CLOEXEC); });
  if (file.descriptor < 0) {
    file.temporaryPath.clear();
    return ioError(path, "cannot create a temporary file beside it");
  }
  // mkostemp makes it private; give it what an ordinary new file would have.
  mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(file.descriptor, 0666 & ~mask);
  return file;
}

/// Gives the file a name in its folder, from which rename can take it: a link never replaces what is there.
Status AtomicFile::nameTemporary() {
  constexpr int MaxTries = 1000;
  const std::string source = descriptorPath(descriptor),
                    base = finalPath + ".tmp-" + std::to_string(::getpid()) + "-";
  for (int number = 0; number < MaxTries; ++number) {
    std::string name = base + std::to_string(number);
    if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporaryPath = std::move(name);
      return Status::ok();
    }
    if (errno != EEXIST && errno != EINTR)
      break;
  }
  return ioError(finalPath, "cannot name the file beside it");
}

AtomicFile::~AtomicFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  if (!temporaryPath.empty())
    ::unlink(temporaryPath.c_str());
}

AtomicFile::AtomicFile(AtomicFile &&other) noexcept
    : descriptor(std::exchange(other.descriptor, -1)), written(other.written),
      finalPath(std::move(other.finalPath)),
      temporaryPath(std::exchange(other.temporaryPath, std::string())) {}

AtomicFile &AtomicFile::operator=(AtomicFile &&other) noexcept {
  std::swap(descriptor, other.descriptor);
  std::swap(written, other.written);
  std::swap(finalPath, other.finalPath);
  std::swap(temporaryPath, other.temporaryPath);
  return *this;
}

Status AtomicFile::write(std::span<const uint8_t> bytes) {
  LORAC_TRY(writeAt(written, bytes));
  written += bytes.size();
  return Status::ok();
}

Status AtomicFile::writeAt(uint64_t offset, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor, bytes.data(), bytes.size(), off_t(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count == 0)
      errno = EIO; // would repeat for ever
    if (count <= 0)
      return ioError(finalPath, "cannot write");
    bytes = bytes.subspan(size_t(count));
    offset += uint64_t(count);
  }
  return Status::ok();
}

Status AtomicFile::padTo(uint64_t alignment) {
  static constexpr uint8_t Zeros[4096] = {};
  uint64_t missing = (alignment - written % alignment) % alignment;
  while (missing > 0) {
    uint64_t piece = std::min<uint64_t>(missing, sizeof(Zeros));
    LORAC_TRY(write({Zeros, size_t(piece)}));
    missing -= piece;
  }
  return Status::ok();
}

Status AtomicFile::commit() {
  if (uninterrupted([&] { return ::fsync(descriptor); }) != 0)
    return ioError(finalPath, "cannot flush");
  if (temporaryPath.empty())
    LORAC_TRY(nameTemporary());
  // An interrupted close has closed.
  if (::close(std::exchange(descriptor, -1)) != 0 && errno != EINTR)
    return ioError(finalPath, "cannot close");
  if (::rename(temporaryPath.c_str(), finalPath.c_str()) != 0)
    return ioError(finalPath, "cannot replace");
  temporaryPath.clear();
  int directory = ::open(folderOf(finalPath).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) { // the file is whole already; this makes the name durable
    ::fsync(directory);
    ::close(directory);
  }
  return Status::ok();
}

} // namespace lorac
