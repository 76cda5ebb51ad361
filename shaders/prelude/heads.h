// heads.h - how heads are rotated, and where a page of one layer's cache holds them, for the bodies that
// write it. A page: for each kv head K `[D/c][16 tokens][c]`, then V `[16 tokens][D]`, c = 4 (CACHE_F32) or 8
// (f16), D = HEAD rounded up to 8. Places are in values from the head's part on. Source: Su et al., RoFormer
// (2021); halves split as in GPT-NeoX. Included anew for each body: it undefines what it defined before.
#undef PAGE_TOKENS
#undef CACHE_HEAD
#undef CACHE_PIECE
#undef HEAD_PLACE
#undef KEY_PLACE
#undef VALUE_PLACE

#define PAGE_TOKENS 16u
#define CACHE_HEAD ((HEAD + 7u) / 8u * 8u)
#define CACHE_PIECE (8u >> CACHE_F32)
#define HEAD_PLACE(PAGE, KV_HEADS, KV_HEAD)                                                                  \
  (((PAGE) * (KV_HEADS) + (KV_HEAD)) * (2u * PAGE_TOKENS * CACHE_HEAD))
#define KEY_PLACE(D, TOKEN) (((D) / CACHE_PIECE * PAGE_TOKENS + (TOKEN)) * CACHE_PIECE + (D) % CACHE_PIECE)
#define VALUE_PLACE(D, TOKEN) ((PAGE_TOKENS + (TOKEN)) * CACHE_HEAD + (D))

// x'[d] of a head: own is x[d]; in the lower half other is x[d + h] and the sine negative, in the upper half
// other is x[d - h].
FUNCTION f32 rotated(f32 own, f32 other, f32 cosine, f32 signedSine) {
  EXACT f32 product = other * signedSine;
  return fma(own, cosine, product);
}
