//===- StepTable.h - what the runtime writes for each step ------*- C++ -*-===//
// Each Step buffer of a program (fbs::StepInput) is one of these tables. All values are
// 32-bit little-endian. A slot is an adapter in the pool: a directory of SiteRecord
// (one a site in the model file's order, then the null record), then its image.
#ifndef LORAC_SCHEMAS_STEPTABLE_H
#define LORAC_SCHEMAS_STEPTABLE_H

#include <cstdint>

namespace lorac::step {

/// Rows: one a row of the step.
struct RowRecord {
  uint32_t token;     ///< token id
  uint32_t position;  ///< position in its sequence; it attends to keys 0..position
  uint32_t firstPage; ///< index into Pages of its sequence's first page
  uint32_t outRow;    ///< its place among OutRows, or NoOutRow
};
constexpr uint32_t NoOutRow = 0xffffffffu;
/// OutRows: one for each row whose logits are asked for.
struct OutRecord {
  uint32_t row;
  uint32_t reserved[3];
};
// Pages: u32 page numbers; page p of a sequence holds its tokens [p * page_tokens, ...).
// Angles: f32, for each row the cosines [n] then the sines [n], n = number of frequencies; the row
// stride is 2 * n rounded up to 4.

/// Stacks: one a row.
struct StackRecord {
  uint32_t firstEntry; ///< index into Entries
  uint32_t entryCount; ///< 0: the base
  uint32_t firstItem;  ///< index into Items: the row's items stand side by side, rows in order
  uint32_t itemCount;  ///< bits 0-30; bit 31: some adapter of this step's rows is kept in f32
};
constexpr uint32_t StepFloat32Bit = 0x80000000u;
/// Entries: one for each adapter in a row's stack, in stack order.
struct EntryRecord {
  uint32_t slotBase;  ///< of the slot in the pool, in 16-byte units
  uint32_t firstItem; ///< its first item; item firstItem + j is rank tile j
  uint32_t reserved[2];
};
/// Items: one a rank tile of an entry; as many for an entry as its slot's largest site has tiles.
struct ItemRecord {
  uint32_t row;
  uint32_t slotBase;
  uint32_t tile;         ///< bits 0-15: the tile; bits 16-31: how many tiles its entry has
  uint32_t strengthBits; ///< f32 bits of the user's strength
};
/// One a site in a slot's directory. Offsets in 16-byte units from the slot's base.
struct SiteRecord {
  uint32_t aOffset;
  uint32_t bOffset;
  uint32_t tiles; ///< bits 0-15: rank tiles (0: the adapter leaves the site alone); bits 16-30: 1 + the bias
                  ///< rank, or 0; bit 31: A and B are f32
  uint32_t scalingBits; ///< f32 bits of the adapter's scaling
};
static_assert(sizeof(RowRecord) == 16 && sizeof(OutRecord) == 16 && sizeof(StackRecord) == 16 &&
              sizeof(EntryRecord) == 16 && sizeof(ItemRecord) == 16 && sizeof(SiteRecord) == 16);

constexpr uint32_t TileCountMask = 0xffffu;
constexpr uint32_t EntryTilesShift = 16;
constexpr uint32_t BiasRankShift = 16;
constexpr uint32_t BiasRankMask = 0x7fffu;
constexpr uint32_t Float32Bit = 0x80000000u;

} // namespace lorac::step

#endif // LORAC_SCHEMAS_STEPTABLE_H
