/* The words at one address of metapulse/rng.py: Philox4x64 with ten rounds (Salmon et al. 2011), in NumPy's order. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
__extension__ typedef unsigned __int128 wide;

enum { BLOCKS = 32, WORDS = 4 * BLOCKS }; /* made at once: multiplications of one block wait for each other */

typedef struct {
    uint64_t key[2], client, block; /* counters: block, page 0, client, round 0 */
    uint64_t word[WORDS];
    int at, has_half; /* words taken; whether the upper half of one that was halved is still to come */
    uint32_t half;
} stream;

#if defined(__AVX512F__) /* a block in each of eight lanes, wide products of their halves */
#include <immintrin.h>
typedef uint64_t lanes __attribute__((vector_size(64)));
INLINE lanes halves_product(lanes a, lanes b) { return (lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
INLINE void wide_product(uint64_t m, lanes x, lanes *high, lanes *low) {
    const lanes m_low = (lanes){0} + (m & 0xFFFFFFFF), m_high = (lanes){0} + (m >> 32), upper = x >> 32;
    const lanes least = halves_product(x, m_low), carry = halves_product(x, m_high) + (least >> 32);
    const lanes middle = halves_product(upper, m_low) + (carry & 0xFFFFFFFF);
    *high = halves_product(upper, m_high) + (carry >> 32) + (middle >> 32);
    *low = (middle << 32) | (least & 0xFFFFFFFF);
}

/* Words of a block side by side, from pairs of words of every other block. */
INLINE void put_blocks(const lanes c[4], uint64_t *word) {
    const __m512i a = (__m512i)c[0], b = (__m512i)c[1], d = (__m512i)c[2], e = (__m512i)c[3];
    const __m512i even = _mm512_unpacklo_epi64(a, b), odd = _mm512_unpackhi_epi64(a, b);
    const __m512i even_end = _mm512_unpacklo_epi64(d, e), odd_end = _mm512_unpackhi_epi64(d, e);
    const __m512i first[2] = {_mm512_shuffle_i64x2(even, even_end, 0x44), _mm512_shuffle_i64x2(odd, odd_end, 0x44)};
    const __m512i last[2] = {_mm512_shuffle_i64x2(even, even_end, 0xEE), _mm512_shuffle_i64x2(odd, odd_end, 0xEE)};
    _mm512_storeu_si512(word, _mm512_shuffle_i64x2(first[0], first[1], 0x88));
    _mm512_storeu_si512(word + 8, _mm512_shuffle_i64x2(first[0], first[1], 0xDD));
    _mm512_storeu_si512(word + 16, _mm512_shuffle_i64x2(last[0], last[1], 0x88));
    _mm512_storeu_si512(word + 24, _mm512_shuffle_i64x2(last[0], last[1], 0xDD));
}

enum { AT_ONCE = 8 };
#else
typedef uint64_t lanes;
INLINE void wide_product(uint64_t m, lanes x, lanes *high, lanes *low) {
    *high = (uint64_t)((wide)m * x >> 64), *low = m * x;
}
INLINE void put_blocks(const lanes c[4], uint64_t *word) { memcpy(word, c, 4 * sizeof *c); }
enum { AT_ONCE = 1 };
#endif

static void refill(stream *s) {
    static const uint64_t ahead[8] = {1, 2, 3, 4, 5, 6, 7, 8}; /* NumPy counts up before its first */
    for (int i = 0; i < BLOCKS; i += AT_ONCE, s->block += AT_ONCE) {
        lanes c[4] = {0}, x, y, low_x, low_y;
        uint64_t a = s->key[0], b = s->key[1];
        memcpy(c, ahead, sizeof *c);
        c[0] += s->block, c[2] += s->client;
        for (int n = 0; n < 10; n++, a += 0x9E3779B97F4A7C15, b += 0xBB67AE8584CAA73B) {
            wide_product(0xD2E7470EE14C6C93, c[0], &x, &low_x);
            wide_product(0xCA5A826395121157, c[2], &y, &low_y);
            c[0] = y ^ c[1] ^ a, c[2] = x ^ c[3] ^ b, c[1] = low_y, c[3] = low_x;
        }
        put_blocks(c, s->word + 4 * i);
    }
    s->at = 0;
}

static void open_stream(stream *s, const uint64_t key[2], uint64_t client) {
    s->key[0] = key[0], s->key[1] = key[1], s->client = client, s->block = 0;
    s->at = WORDS, s->has_half = 0;
}

INLINE uint64_t next64(stream *s) {
    if (s->at == WORDS) refill(s);
    return s->word[s->at++];
}

INLINE uint32_t next32(stream *s) {
    if (s->has_half) return s->has_half = 0, s->half;
    const uint64_t word = next64(s);
    s->has_half = 1, s->half = (uint32_t)(word >> 32);
    return (uint32_t)word;
}

/* Where a stream is in halves of words, and back, if the half that is to come is that of the last word: after draws of
 * halves. */
INLINE int halves_taken(const stream *s) { return 2 * s->at - s->has_half; }
INLINE void go_to(stream *s, int taken) {
    s->at = (taken + 1) / 2, s->has_half = taken % 2;
    if (s->has_half) s->half = (uint32_t)(s->word[s->at - 1] >> 32);
}

/* A half of a word by its place among all halves that are made at once. */
INLINE uint32_t half_at(const stream *s, int place) {
    uint32_t half;
    memcpy(&half, (const char *)s->word + 4 * (place ^ (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)), sizeof half);
    return half;
}
