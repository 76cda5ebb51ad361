//===- TensorSource.cpp - one tensor's bytes in a file, as f32 -------------===//
#include "compiler/import/TensorSource.h"

#include "compiler/import/Shown.h"
#include "support/Checked.h"
#include "support/Finite.h"
#include "support/Half.h"
#include "support/Halves.h"
#include "support/Threads.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <numeric>

namespace lorac {
namespace {

// Files are little-endian, and so is every machine that this compiler is built for: values are copied, not
// swapped.
static_assert(std::endian::native == std::endian::little);

template <typename T> T load(const uint8_t *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// The 6-bit scale and minimum of sub-block `j` (of 8) in the 12 bytes that Q4_K and Q5_K pack them into.
std::pair<uint32_t, uint32_t> scaleAndMinimum(const uint8_t *packed, uint32_t j) {
  if (j < 4)
    return {packed[j] & 63u, packed[j + 4] & 63u};
  return {(packed[j + 4] & 15u) | (uint32_t(packed[j - 4]) >> 6 << 4),
          (uint32_t(packed[j + 4]) >> 4) | (uint32_t(packed[j]) >> 6 << 4)};
}

/// One block to its values. Formulas and bit layouts are those of ggml's block types; d, m and dmin are
/// f16, and what is rounded is rounded once a step in f32, as there.
void decodeQ4_0(const uint8_t *bytes, float *out) {
  float d = halfToFloat(load<uint16_t>(bytes));
  for (uint32_t i = 0; i < 16; ++i) {
    uint8_t pair = bytes[2 + i];
    out[i] = d * float(int(pair & 15) - 8);
    out[i + 16] = d * float(int(pair >> 4) - 8);
  }
}

void decodeQ4_1(const uint8_t *bytes, float *out) {
  float d = halfToFloat(load<uint16_t>(bytes)), m = halfToFloat(load<uint16_t>(bytes + 2));
  for (uint32_t i = 0; i < 16; ++i) {
    uint8_t pair = bytes[4 + i];
    out[i] = d * float(pair & 15) + m;
    out[i + 16] = d * float(pair >> 4) + m;
  }
}

void decodeQ5_0(const uint8_t *bytes, float *out) {
  float d = halfToFloat(load<uint16_t>(bytes));
  uint32_t fifth = load<uint32_t>(bytes + 2);
  for (uint32_t i = 0; i < 16; ++i) {
    uint32_t pair = bytes[6 + i];
    out[i] = d * float(int((pair & 15) | (fifth >> i & 1) << 4) - 16);
    out[i + 16] = d * float(int(pair >> 4 | (fifth >> (i + 16) & 1) << 4) - 16);
  }
}

void decodeQ5_1(const uint8_t *bytes, float *out) {
  float d = halfToFloat(load<uint16_t>(bytes)), m = halfToFloat(load<uint16_t>(bytes + 2));
  uint32_t fifth = load<uint32_t>(bytes + 4);
  for (uint32_t i = 0; i < 16; ++i) {
    uint32_t pair = bytes[8 + i];
    out[i] = d * float((pair & 15) | (fifth >> i & 1) << 4) + m;
    out[i + 16] = d * float(pair >> 4 | (fifth >> (i + 16) & 1) << 4) + m;
  }
}

void decodeQ8_0(const uint8_t *bytes, float *out) {
  float d = halfToFloat(load<uint16_t>(bytes));
  for (uint32_t i = 0; i < 32; ++i)
    out[i] = d * float(int8_t(bytes[2 + i]));
}

/// Q4_K, and with `fifths` (32 bytes; bit j of byte i belongs to value i of sub-block j) Q5_K.
void decodeScaledNibbles(const uint8_t *head, const uint8_t *fifths, const uint8_t *nibbles, float *out) {
  float d = halfToFloat(load<uint16_t>(head)), dmin = halfToFloat(load<uint16_t>(head + 2));
  for (uint32_t j = 0; j < 8; ++j) {
    auto [scale, minimum] = scaleAndMinimum(head + 4, j);
    float step = d * float(scale), base = dmin * float(minimum);
    for (uint32_t i = 0; i < 32; ++i) {
      // 64 values in 32 bytes: the even sub-block in the low nibbles.
      uint32_t code = uint32_t(nibbles[j / 2 * 32 + i]) >> (j % 2 * 4) & 15;
      if (fifths)
        code |= (uint32_t(fifths[i]) >> j & 1) << 4;
      out[j * 32 + i] = step * float(code) - base;
    }
  }
}
void decodeQ4_K(const uint8_t *bytes, float *out) { decodeScaledNibbles(bytes, nullptr, bytes + 16, out); }
void decodeQ5_K(const uint8_t *bytes, float *out) { decodeScaledNibbles(bytes, bytes + 16, bytes + 48, out); }

void decodeQ6_K(const uint8_t *bytes, float *out) {
  const uint8_t *low = bytes, *high = bytes + 128, *scales = bytes + 192;
  float d = halfToFloat(load<uint16_t>(bytes + 208));
  for (uint32_t value = 0; value < 256; ++value) {
    uint32_t half = value / 128, chunk = value / 32 % 4, i = value % 32;
    uint32_t nibble = uint32_t(low[half * 64 + 32 * (chunk & 1) + i]) >> (chunk / 2 * 4) & 15;
    uint32_t code = nibble | (uint32_t(high[half * 32 + i]) >> (2 * chunk) & 3) << 4;
    out[value] = d * float(int8_t(scales[value / 16])) * float(int(code) - 32);
  }
}

/// A table row for each encoding, by its number; plain types have no decoder of blocks.
struct Coding {
  EncodingInfo info;
  void (*decode)(const uint8_t *block, float *values);
};
constexpr Coding kCodings[] = {
    {{"f32", 1, 4}, nullptr},         {{"f16", 1, 2}, nullptr},        {{"bf16", 1, 2}, nullptr},
    {{"q4_0", 32, 18}, decodeQ4_0},   {{"q4_1", 32, 20}, decodeQ4_1},  {{"q8_0", 32, 34}, decodeQ8_0},
    {{"q5_0", 32, 22}, decodeQ5_0},   {{"q5_1", 32, 24}, decodeQ5_1},  {{"q4_k", 256, 144}, decodeQ4_K},
    {{"q5_k", 256, 176}, decodeQ5_K}, {{"q6_k", 256, 210}, decodeQ6_K}};
static_assert(std::size(kCodings) == size_t(Encoding::Q6_K) + 1);

/// One row of `cols` values from its bytes to f32. Blocks run along the row.
void decodeRow(Encoding encoding, const uint8_t *bytes, uint64_t cols, float *out) {
  switch (encoding) {
  case Encoding::F32:
    std::memcpy(out, bytes, cols * sizeof(float));
    return;
  case Encoding::F16:
    halvesToFloats(bytes, cols, out);
    return;
  case Encoding::BF16:
    bfloatsToFloats(bytes, cols, out);
    return;
  default:
    const Coding &coding = kCodings[size_t(encoding)];
    for (uint64_t k = 0; k < cols; k += coding.info.blockValues, bytes += coding.info.blockBytes)
      coding.decode(bytes, out + k);
  }
}

} // namespace

const EncodingInfo &encodingInfo(Encoding encoding) { return kCodings[size_t(encoding)].info; }

Result<TensorSource> TensorSource::open(FileCache &files, const TensorLocation &location, std::string name) {
  const EncodingInfo &info = encodingInfo(location.encoding);
  auto fail = [&](Code code) { return Status(code) << location.file << ": tensor " << shown(name) << ' '; };
  if (location.rows == 0 || location.cols == 0) // and no loop over 2^63 rows of nothing
    return fail(Code::CorruptFile) << "has no values (" << location.rows << " x " << location.cols
                                   << "); use the file that belongs to the model";
  if (location.cols % info.blockValues != 0)
    return fail(Code::Unsupported) << "has rows of " << location.cols << " values, which blocks of "
                                   << info.blockValues << " do not divide";
  std::optional<uint64_t> values = checkedMul(location.rows, location.cols);
  std::optional<uint64_t> bytes =
      values ? checkedMul(*values / info.blockValues, info.blockBytes) : std::nullopt;
  if (!bytes || *bytes != location.size)
    return fail(Code::CorruptFile) << "has " << location.size << " bytes, " << location.rows << " x "
                                   << location.cols << " as " << info.name << " needs "
                                   << (bytes ? std::to_string(*bytes) : "more than 2^64");
  uint64_t heads = location.interleavedHeads;
  if (heads && (location.rows % heads != 0 || location.rows / heads % 2 != 0))
    return fail(Code::Unsupported) << "has " << location.rows << " rows, which " << heads
                                   << " rotary heads of even size do not divide";
  TensorSource source;
  LORAC_ASSIGN(source.file, files.open(location.file));
  if (!rangeInside(location.offset, location.size, source.file->bytes().size()))
    return fail(Code::CorruptFile) << "lies at bytes " << location.offset << " to "
                                   << location.offset + location.size << " of " << source.file->bytes().size()
                                   << "; fetch the file again";
  source.where = location;
  source.tensorName = std::move(name);
  return source;
}

const uint8_t *TensorSource::storedRow(uint64_t row) const {
  const EncodingInfo &info = encodingInfo(where.encoding);
  if (where.interleavedHeads) {
    const uint64_t headRows = where.rows / where.interleavedHeads;
    const uint64_t inHead = row % headRows, j = inHead / (headRows / 2), i = inHead % (headRows / 2);
    row = row - inHead + 2 * i + j;
  }
  return file->bytes().data() + where.offset + row * (where.cols / info.blockValues * info.blockBytes);
}

Status TensorSource::readRows(uint64_t rowBegin, uint64_t rowCount, float *out) const {
  if (!rangeInside(rowBegin, rowCount, where.rows))
    return Status(Code::Internal) << "tensor " << shown(tensorName) << ": rows " << rowBegin << " + "
                                  << rowCount << " of " << where.rows << " were asked for";
  for (uint64_t row = rowBegin; row < rowBegin + rowCount; ++row, out += where.cols) {
    decodeRow(where.encoding, storedRow(row), where.cols, out);
    if (!allFinite(out, where.cols))
      return Status(Code::Unsupported) << where.file << ": tensor " << shown(tensorName)
                                       << " holds a value that is NaN or infinite in row " << row
                                       << "; results would be no numbers, use a file without such values";
  }
  return Status::ok();
}

Result<Digest> TensorSource::digest(const std::function<void(uint64_t)> &progress) const {
  // Some 256 KiB at a time: they stay in the second-level cache between decoding and hashing.
  const uint64_t rowsAtOnce = std::max<uint64_t>(1, (uint64_t(64) << 10) / std::max<uint64_t>(1, where.cols));
  std::vector<float> values(std::min(rowsAtOnce, where.rows) * where.cols);
  Sha256 hash;
  for (uint64_t row = 0; row < where.rows; row += rowsAtOnce) {
    uint64_t count = std::min(rowsAtOnce, where.rows - row);
    LORAC_TRY(readRows(row, count, values.data()));
    hash.update(values.data(), count * where.cols * sizeof(float));
    if (progress)
      progress(count * where.cols);
  }
  return hash.finish();
}

Result<std::vector<Digest>> digestTensors(std::span<const TensorSource> tensors, unsigned threads,
                                          const std::function<void(uint64_t, uint64_t)> &progress) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t(0));
  auto values = [&](size_t i) { return tensors[i].rows() * tensors[i].cols(); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values(a) > values(b); });
  uint64_t total = 0;
  for (size_t i : order)
    total += values(i);

  std::vector<Digest> digests(tensors.size());
  std::vector<Status> errors(tensors.size());
  std::atomic<bool> failed{false};
  std::mutex mutex;
  uint64_t done = 0; // under the mutex
  forEachOnThreads(order.size(), threads, [&](size_t turn) {
    if (failed)
      return;
    const size_t at = order[turn];
    Result<Digest> digest = tensors[at].digest([&](uint64_t count) {
      if (!progress)
        return;
      std::lock_guard lock(mutex);
      progress(done += count, total);
    });
    tensors[at].release();
    if (digest) {
      digests[at] = *digest;
    } else {
      errors[at] = digest.status();
      failed = true;
    }
  });
  for (const Status &error : errors)
    if (!error)
      return error;
  return digests;
}

} // namespace lorac
