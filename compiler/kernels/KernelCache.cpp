// KernelCache.cpp - one file an entry: the SHA-256 of key and words, then the words.
#include "compiler/kernels/KernelCache.h"

#include "support/Files.h"

#include <cstring>
#include <filesystem>

namespace lorac {
namespace {

Digest digestOf(const Digest &key, std::span<const uint8_t> words) {
  Sha256 hash;
  hash.update(key.data(), key.size());
  hash.update(words.data(), words.size());
  return hash.finish();
}

} // namespace

Result<KernelCache> KernelCache::open(const std::string &folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder, error))
    return Status(Code::Io) << folder << ": cannot be the folder of the kernel cache"
                            << (error ? ": " + error.message() : ": is not a folder") << "; name another";
  return KernelCache(folder);
}

std::optional<std::vector<uint32_t>> KernelCache::find(const Digest &key) const {
  Result<MappedFile> file = MappedFile::open(entryPath(key));
  if (!file)
    return std::nullopt;
  std::span<const uint8_t> bytes = file->bytes();
  if (bytes.size() <= sizeof(Digest) || bytes.size() % sizeof(uint32_t) != 0)
    return std::nullopt;
  std::span<const uint8_t> body = bytes.subspan(sizeof(Digest));
  Digest stored = digestOf(key, body);
  if (std::memcmp(stored.data(), bytes.data(), stored.size()) != 0)
    return std::nullopt;
  std::vector<uint32_t> words(body.size() / sizeof(uint32_t));
  std::memcpy(words.data(), body.data(), body.size());
  return words;
}

void KernelCache::store(const Digest &key, const std::vector<uint32_t> &words) const {
  std::span<const uint8_t> body(reinterpret_cast<const uint8_t *>(words.data()),
                                words.size() * sizeof(uint32_t));
  Digest digest = digestOf(key, body);
  Result<AtomicFile> file = AtomicFile::create(entryPath(key));
  if (file && file->write(digest) && file->write(body))
    (void)file->commit();
}

} // namespace lorac
