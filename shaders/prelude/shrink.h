// shrink.h - t of one item (a row, an adapter, a rank tile) at SEGMENTS sites that share x, for the bodies
// that make it. One accumulator a rank and segment, k ascending, each step one fma, whatever SEGMENTS is. A
// body defines
//   X_BEGIN(BLOCK)      what the lane has to fetch of a block of 32 values of x, as f32x4 own
//   X_NUMBER(BLOCK, V)  number V of the block's eight f32x4, in all lanes
//   X_PADDED(INDEX)     f32x4 number INDEX of x, with 0 in the place of what lies past K
// and has the bindings pool and t, push.items, and the sites' push constants. Included anew for each body: it
// undefines what it defined before.
#undef RANKS_A_LANE
#undef RANK_STEP
#undef DOT
#undef RANK_PIECE_F32
#undef RANK_PIECE_F16
#undef RANK_TAIL
#undef FURTHER_SITES
#undef SHRINK_SITES
#undef SHRINK_ITEM

// Lanes beyond the eighth repeat the first eight and write nothing; fewer than eight lanes take several ranks
// each.
#if LANES < 8
#define RANKS_A_LANE (8 / LANES)
#define RANK_STEP LANES
#else
#define RANKS_A_LANE 1
#define RANK_STEP 8
#endif
#define DOT(CHAIN, A, B)                                                                                     \
  CHAIN = fma((A).x, (B).x, CHAIN);                                                                          \
  CHAIN = fma((A).y, (B).y, CHAIN);                                                                          \
  CHAIN = fma((A).z, (B).z, CHAIN);                                                                          \
  CHAIN = fma((A).w, (B).w, CHAIN);
#define RANK_PIECE_F32(NUMBER, X0)                                                                           \
  {                                                                                                          \
    f32x4 x0 = X0;                                                                                           \
    UNROLL for (u32 s = 0u; s < SEGMENTS; ++s) UNROLL for (u32 i = 0u; i < RANKS_A_LANE; ++i) {              \
      u32x4 bits = LOAD_U32X4(pool, place[s] + (NUMBER) * 8u + i * RANK_STEP);                               \
      f32x4 a = MAKE_F32X4(AS_F32(bits.x), AS_F32(bits.y), AS_F32(bits.z), AS_F32(bits.w));                  \
      DOT(sum[s][i], a, x0)                                                                                  \
    }                                                                                                        \
  }
#define RANK_PIECE_F16(NUMBER, X0, X1)                                                                       \
  {                                                                                                          \
    f32x4 x0 = X0;                                                                                           \
    f32x4 x1 = X1;                                                                                           \
    UNROLL for (u32 s = 0u; s < SEGMENTS; ++s) UNROLL for (u32 i = 0u; i < RANKS_A_LANE; ++i) {              \
      u32x4 bits = LOAD_U32X4(pool, place[s] + (NUMBER) * 8u + i * RANK_STEP);                               \
      f32x4 a0 = UNPACK_HALVES(bits.x, bits.y);                                                              \
      f32x4 a1 = UNPACK_HALVES(bits.z, bits.w);                                                              \
      DOT(sum[s][i], a0, x0)                                                                                 \
      DOT(sum[s][i], a1, x1)                                                                                 \
    }                                                                                                        \
  }
#if defined(TAIL) && TAIL
#define RANK_TAIL(STATEMENT)                                                                                 \
  u32 pieces16 = SELECT(isF32 || !any, 0u, pieces);                                                          \
  for (u32 piece = endBlock * 4u; piece < pieces16; ++piece)                                                 \
  STATEMENT
#else
#define RANK_TAIL(STATEMENT)
#endif

#if SEGMENTS > 1
#define FURTHER_SITES                                                                                        \
  site[1] = push.site_1;                                                                                     \
  site[2] = push.site_2;                                                                                     \
  site[3] = push.site_3;
#else
#define FURTHER_SITES
#endif
// What the item's adapter has at the sites: record, has, any (of them), isF32 and itemTile.
#define SHRINK_SITES(ITEM)                                                                                   \
  u32 site[4];                                                                                               \
  site[0] = push.site_0;                                                                                     \
  FURTHER_SITES                                                                                              \
  u32 itemTile = ITEM.z & 0xffffu;                                                                           \
  u32x4 record[SEGMENTS];                                                                                    \
  bool has[SEGMENTS];                                                                                        \
  bool any = false;                                                                                          \
  bool isF32 = false;                                                                                        \
  u32 some = 0u;                                                                                             \
  UNROLL for (u32 s = 0u; s < SEGMENTS; ++s) {                                                               \
    record[s] = LOAD_U32X4(pool, ITEM.y + site[s]);                                                          \
    has[s] = itemTile < (record[s].z & 0xffffu);                                                             \
    any = any || has[s];                                                                                     \
    isF32 = isF32 || (has[s] && (record[s].z >> 31) != 0u);                                                  \
    some = SELECT(has[s], ITEM.y + record[s].x, some);                                                       \
  }

// t of the item as number NUMBER of a segment's, after SHRINK_SITES: of x's values [FROM, TO) among FEATURES,
// in whole blocks but for the last ones. Nothing is written at a site whose adapter lacks the tile. Adapters
// are f32 or f16 as a whole. A bias is the first value's.
#define SHRINK_ITEM(NUMBER, ITEM, FEATURES, FROM, TO)                                                        \
  {                                                                                                          \
    u32 pieces = SELECT(isF32, (FEATURES + 3u) / 4u, (FEATURES + 7u) / 8u);                                  \
    u32 place[SEGMENTS];                                                                                     \
    f32 sum[SEGMENTS][RANKS_A_LANE];                                                                         \
    UNROLL for (u32 s = 0u; s < SEGMENTS; ++s) {                                                             \
      /* A site without the tile reads another's: no branch, and nothing out of bounds. */                   \
      place[s] = SELECT(has[s], ITEM.y + record[s].x + itemTile * pieces * 8u, some) + (LANE & 7u);          \
      UNROLL for (u32 i = 0u; i < RANKS_A_LANE; ++i) sum[s][i] = 0.0f;                                       \
    }                                                                                                        \
    /* One loop after the other: on CPU devices a branch costs a pass of both sides. f32 piece by piece. */  \
    u32 pieces32 = SELECT(isF32 && any, (TO + 3u) / 4u, 0u);                                                 \
    for (u32 piece = FROM / 4u; piece < pieces32; ++piece)                                                   \
      RANK_PIECE_F32(piece, X_PADDED(piece))                                                                 \
    u32 endBlock = SELECT(isF32 || !any, 0u, TO / 32u);                                                      \
    for (u32 block = FROM / 32u; block < endBlock; ++block) {                                                \
      X_BEGIN(block)                                                                                         \
      UNROLL_LATE for (u32 p = 0u; p < 4u; ++p)                                                              \
          RANK_PIECE_F16(block * 4u + p, X_NUMBER(block, 2u * p), X_NUMBER(block, 2u * p + 1u))              \
    }                                                                                                        \
    RANK_TAIL(RANK_PIECE_F16(piece, X_PADDED(piece * 2u), X_PADDED(piece * 2u + 1u)))                        \
                                                                                                             \
    UNROLL for (u32 s = 0u; s < SEGMENTS; ++s) {                                                             \
      EXACT f32 scale = AS_F32(ITEM.w) * AS_F32(record[s].w);                                                \
      u32 biasRank = (record[s].z >> 16) & 0x7fffu; /* one more than it is; 0: none */                       \
      if (LANE < 8u && has[s]) {                                                                             \
        UNROLL for (u32 i = 0u; i < RANKS_A_LANE; ++i) {                                                     \
          u32 r = LANE + i * RANK_STEP;                                                                      \
          EXACT f32 product = sum[s][i] * scale;                                                             \
          f32 value = SELECT(itemTile * 8u + r + 1u == biasRank && FROM == 0u, scale, product);              \
          STORE(t, (s * push.items + NUMBER) * 8u + r, value);                                               \
        }                                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
  }
