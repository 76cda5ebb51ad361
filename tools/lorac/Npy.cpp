//===- Npy.cpp - NumPy's array file ---------------------------------------===//
// Format 1.0 (NumPy's NEP 1): magic, version, length of the header as u16, the header as a Python literal
// that ends in a line end and is padded with spaces so that the data start at a multiple of 64.
#include "tools/lorac/Npy.h"

#include <bit>
#include <string>

namespace lorac::cli {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

Status writeNpy(AtomicFile &file, std::span<const float> values, uint64_t rows, uint64_t columns) {
  constexpr size_t Prefix = 10;
  constexpr size_t Alignment = 64;
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns) + "), }";
  size_t unpadded = Prefix + header.size() + 1;
  header.append((Alignment - unpadded % Alignment) % Alignment, ' ');
  header += '\n';
  std::string bytes(NpyMagic);
  bytes.append({'\x01', '\x00'});
  bytes += char(header.size() & 0xff);
  bytes += char(header.size() >> 8);
  bytes += header;
  LORAC_TRY(file.write({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}));
  return file.write({reinterpret_cast<const uint8_t *>(values.data()), values.size_bytes()});
}

} // namespace lorac::cli
