// packed.h - what the codes of a packed type mean (docs/formats/packed.md), in the common subset; the
// preludes and the constants WEIGHT, GROUP, HAS_PAIRS and NESTED come before it. Included anew for each body:
// it undefines what it defined before.
#undef PIECE_VALUES
#undef UNPACK
#undef SIGNED_BYTE
#undef SIGNED_NIBBLE
#undef NIBBLE
#undef NIBBLE_IN_PLACE
#undef UNPACK_IN_PLACE
#undef IN_PLACE_X
#undef HAS_TABLE
#undef TABLE_BEGIN
#undef TABLE_VALUE
#undef HALF_OF

// PIECE_VALUES: in 16 bytes. UNPACK(BITS, J) is f32x4 number J, a literal, of the codes.
#if WEIGHT == 0
#define PIECE_VALUES 4u
#define UNPACK(BITS, J) MAKE_F32X4(AS_F32((BITS).x), AS_F32((BITS).y), AS_F32((BITS).z), AS_F32((BITS).w))
#elif WEIGHT == 1
#define PIECE_VALUES 8u
#define UNPACK(BITS, J) UNPACK_HALVES((J) == 0u ? (BITS).x : (BITS).z, (J) == 0u ? (BITS).y : (BITS).w)
#elif WEIGHT == 2
#define PIECE_VALUES 8u
#define UNPACK(BITS, J)                                                                                      \
  MAKE_F32X4(AS_F32(((J) == 0u ? (BITS).x : (BITS).z) << 16u),                                               \
             AS_F32(((J) == 0u ? (BITS).x : (BITS).z) & 0xffff0000u),                                        \
             AS_F32(((J) == 0u ? (BITS).y : (BITS).w) << 16u),                                               \
             AS_F32(((J) == 0u ? (BITS).y : (BITS).w) & 0xffff0000u))
#elif WEIGHT == 3
#define PIECE_VALUES 16u
#define SIGNED_BYTE(WORD, J) f32(i32((WORD) << (24u - 8u * (J))) >> 24u)
#define UNPACK(BITS, J)                                                                                      \
  MAKE_F32X4(SIGNED_BYTE((BITS).x, J), SIGNED_BYTE((BITS).y, J), SIGNED_BYTE((BITS).z, J),                   \
             SIGNED_BYTE((BITS).w, J))
#else
#define PIECE_VALUES 32u
#endif

#if WEIGHT == 4 && HAS_PAIRS
#define NIBBLE(WORD, J) f32(i32(((WORD) >> (4u * (J))) & 15u))
#define UNPACK(BITS, J)                                                                                      \
  MAKE_F32X4(NIBBLE((BITS).x, J), NIBBLE((BITS).y, J), NIBBLE((BITS).z, J), NIBBLE((BITS).w, J))
// The codes where they stand in their words, that is times 16^J (the last: as they are), for an x that lane J
// has multiplied by 16^-J: a mask each, where a code of its own takes a shift too. Powers of two are exact,
// so the products' bits are the same for every x from 2^-102 on.
#define NIBBLE_IN_PLACE(WORD, J)                                                                             \
  SELECT((J) == 7u, f32(i32((WORD) >> 28u)), f32(i32((WORD) & (15u << (4u * (J))))))
#define UNPACK_IN_PLACE(BITS, J)                                                                             \
  MAKE_F32X4(NIBBLE_IN_PLACE((BITS).x, J), NIBBLE_IN_PLACE((BITS).y, J), NIBBLE_IN_PLACE((BITS).z, J),       \
             NIBBLE_IN_PLACE((BITS).w, J))
#define IN_PLACE_X(LANE) AS_F32((127u - 4u * SELECT((LANE) == 7u, 0u, LANE)) << 23u)
#elif WEIGHT == 4
// q - 8 is the nibble with its highest bit flipped, as a signed number.
#define SIGNED_NIBBLE(WORD, J) f32(i32(((WORD) ^ 0x88888888u) << (28u - 4u * (J))) >> 28u)
#define UNPACK(BITS, J)                                                                                      \
  MAKE_F32X4(SIGNED_NIBBLE((BITS).x, J), SIGNED_NIBBLE((BITS).y, J), SIGNED_NIBBLE((BITS).z, J),             \
             SIGNED_NIBBLE((BITS).w, J))
#endif

#define HAS_TABLE (WEIGHT >= 5)
#if HAS_TABLE
// The value of a code: bitsandbytes' tables.
FUNCTION f32 codeValue(u32 code) {
#if WEIGHT == 5
  f32 low = SELECT((code & 1u) != 0u, -0.6961928009986877f, -1.0f);
  low =
      SELECT((code & 6u) == 2u, SELECT((code & 1u) != 0u, -0.39491748809814453f, -0.5250730514526367f), low);
  low =
      SELECT((code & 6u) == 4u, SELECT((code & 1u) != 0u, -0.18477343022823334f, -0.28444138169288635f), low);
  low = SELECT((code & 6u) == 6u, SELECT((code & 1u) != 0u, 0.0f, -0.09105003625154495f), low);
  f32 high = SELECT((code & 1u) != 0u, 0.16093020141124725f, 0.07958029955625534f);
  high =
      SELECT((code & 6u) == 2u, SELECT((code & 1u) != 0u, 0.33791524171829224f, 0.24611230194568634f), high);
  high =
      SELECT((code & 6u) == 4u, SELECT((code & 1u) != 0u, 0.5626170039176941f, 0.44070982933044434f), high);
  high = SELECT((code & 6u) == 6u, SELECT((code & 1u) != 0u, 1.0f, 0.7229568362236023f), high);
  return SELECT((code & 8u) != 0u, high, low);
#else
  f32 size = SELECT((code & 1u) != 0u, 0.0052083334885537624f, 0.0f);
  size = SELECT((code & 6u) == 2u, SELECT((code & 1u) != 0u, 1.0f, 0.6666666865348816f), size);
  size = SELECT((code & 6u) == 4u, SELECT((code & 1u) != 0u, 0.5f, 0.3333333432674408f), size);
  size = SELECT((code & 6u) == 6u, SELECT((code & 1u) != 0u, 0.25f, 0.1666666716337204f), size);
  return SELECT((code & 8u) != 0u, -size, size);
#endif
}
// TABLE_BEGIN stands at the start of the body; TABLE_VALUE(CODE) is then the value of the low four bits.
#if SUBGROUP
// A lane holds two entries, and a code's value is one shuffle of each half: on CPU devices one permutation,
// where a table in memory would be read lane by lane.
#if WEIGHT == 5
#define TABLE_BEGIN                                                                                          \
  f32 tableLow = codeValue(LANE & 7u);                                                                       \
  f32 tableHigh = codeValue((LANE & 7u) + 8u);
#define TABLE_VALUE(CODE) tableValue(tableLow, tableHigh, CODE)
FUNCTION f32 tableValue(f32 low, f32 high, u32 code) {
  // Both before the choice: all lanes take part in a shuffle.
  f32 fromLow = SHUFFLE(low, code & 7u);
  f32 fromHigh = SHUFFLE(high, code & 7u);
  return SELECT((code & 8u) != 0u, fromHigh, fromLow);
}
#else
// The second half is the first with its sign turned.
#define TABLE_BEGIN f32 tableLow = codeValue(LANE & 7u);
#define TABLE_VALUE(CODE) tableValue(tableLow, CODE)
FUNCTION f32 tableValue(f32 low, u32 code) {
  f32 size = SHUFFLE(low, code & 7u);
  return AS_F32(AS_U32(size) ^ ((code & 8u) << 28u));
}
#endif
#else
SHARED f32 codeTable[16];
#define TABLE_BEGIN                                                                                          \
  for (u32 code = LANE; code < 16u; code += LANES)                                                           \
    codeTable[code] = codeValue(code);                                                                       \
  BARRIER();
#define TABLE_VALUE(CODE) codeTable[(CODE) & 15u]
#endif
#define UNPACK(BITS, J)                                                                                      \
  MAKE_F32X4(TABLE_VALUE((BITS).x >> (4u * (J))), TABLE_VALUE((BITS).y >> (4u * (J))),                       \
             TABLE_VALUE((BITS).z >> (4u * (J))), TABLE_VALUE((BITS).w >> (4u * (J))))
#else
#define TABLE_BEGIN
#endif

// Half number I (0 or 1) of a word.
#define HALF_OF(WORD, I) UNPACK_HALF((WORD) >> (16u * (I)))
