//===- Compression.cpp ----------------------------------------------------===//
#include "support/Compression.h"

#include <zstd.h>

#include <memory>

namespace lorac {

Result<std::vector<uint8_t>> compress(std::span<const uint8_t> content, int level) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (!context)
    return Status(Code::OutOfMemory) << "no memory to compress " << content.size() << " bytes";
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::vector<uint8_t> frame(ZSTD_compressBound(content.size()));
  size_t size = ZSTD_compress2(context.get(), frame.data(), frame.size(), content.data(), content.size());
  if (ZSTD_isError(size) != 0)
    return Status(Code::OutOfMemory) << "cannot compress " << content.size()
                                     << " bytes: " << ZSTD_getErrorName(size);
  frame.resize(size);
  return frame;
}

Result<std::vector<uint8_t>> decompress(std::span<const uint8_t> frame, uint64_t maximum) {
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_ERROR)
    return Status(Code::CorruptFile) << "is no frame of Zstandard";
  if (size == ZSTD_CONTENTSIZE_UNKNOWN)
    return Status(Code::CorruptFile) << "is a frame of Zstandard that does not say how long its content is";
  if (size > maximum)
    return Status(Code::CorruptFile) << "decompresses to " << uint64_t(size) << " bytes, at most " << maximum
                                     << " are allowed";
  if (ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size())
    return Status(Code::CorruptFile) << "is not one whole frame of Zstandard";
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!context)
    return Status(Code::OutOfMemory) << "has no memory to be decompressed";
  std::vector<uint8_t> content(size);
  size_t made =
      ZSTD_decompressDCtx(context.get(), content.data(), content.size(), frame.data(), frame.size());
  if (ZSTD_isError(made) != 0)
    return Status(Code::CorruptFile) << "cannot be decompressed: " << ZSTD_getErrorName(made);
  if (made != size)
    return Status(Code::CorruptFile) << "decompresses to " << made << " bytes and says " << uint64_t(size);
  return content;
}

} // namespace lorac
