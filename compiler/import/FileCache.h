//===- FileCache.h - each file of a checkpoint is mapped once ---*- C++ -*-===//
#ifndef LORAC_COMPILER_IMPORT_FILECACHE_H
#define LORAC_COMPILER_IMPORT_FILECACHE_H

#include "support/Files.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace lorac {

/// Files by the path they were asked for. Safe from several threads. What it gave lives on after it is gone.
class FileCache {
public:
  Result<std::shared_ptr<const MappedFile>> open(const std::string &path) {
    std::lock_guard lock(mutex);
    if (auto found = files.find(path); found != files.end())
      return found->second;
    LORAC_ASSIGN(MappedFile file, MappedFile::open(path));
    return files.emplace(path, std::make_shared<const MappedFile>(std::move(file))).first->second;
  }

private:
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const MappedFile>> files;
};

} // namespace lorac

#endif // LORAC_COMPILER_IMPORT_FILECACHE_H
