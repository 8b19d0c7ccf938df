/* One stream of random numbers, the very numbers that NumPy's generator draws at the same address (metapulse/rng.py).
 *
 * Philox4x64 with ten rounds (Salmon et al. 2011); normals by the ziggurat of Marsaglia and Tsang 2000 with the 256 layers
 * and the bits that NumPy takes, gammas by Marsaglia and Tsang 2000 ("a simple method"), whole numbers below a bound by
 * Lemire 2019. Bits matter here: to be compiled without contraction to fused operations, as NumPy is.
 */
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

INLINE double uniform(stream *s) { return (double)(next64(s) >> 11) * 0x1p-53; }
INLINE float uniform_float(stream *s) { return (float)(next32(s) >> 8) * 0x1p-24f; }

/* The ziggurat's layers: width over the unit of a draw, what a draw must stay below to be accepted at once, density. */
static struct {
    double w[256], f[256];
    uint64_t k[256];
    float w_float[256], f_float[256];
    uint32_t k_float[256];
} layer;
static const double START = 3.6541528853610087963519472518; /* of the tail */

__attribute__((constructor)) static void build_layers(void) {
    const double density = exp(-0.5 * START * START);
    const double area = START * density + sqrt(acos(0.0)) * erfc(START / sqrt(2.0));
    double x[256] = {area / density};
    x[255] = START;
    for (int i = 255; i > 1; i--) x[i - 1] = sqrt(-2 * log(area / x[i] + exp(-0.5 * x[i] * x[i])));
    for (int i = 0; i < 256; i++) {
        const double share = i == 0 ? START / x[0] : i == 1 ? 0 : x[i - 1] / x[i];
        const double f = i == 0 ? 1 : exp(-0.5 * x[i] * x[i]);
        layer.w[i] = x[i] * 0x1p-52, layer.w_float[i] = (float)(x[i] * 0x1p-23);
        layer.k[i] = (uint64_t)(share * 0x1p52), layer.k_float[i] = (uint32_t)rint(share * 0x1p23);
        layer.f[i] = f, layer.f_float[i] = (float)f;
    }
}

static double normal(stream *s) {
    for (;;) {
        const uint64_t r = next64(s), size = r >> 9 & 0xFFFFFFFFFFFFF;
        const int i = r & 0xFF;
        const double x = (r >> 8 & 1 ? -1.0 : 1.0) * ((double)size * layer.w[i]);
        if (size < layer.k[i]) return x;
        if (i == 0)
            for (;;) {
                const double out = -1 / START * log1p(-uniform(s)), y = -log1p(-uniform(s));
                if (y + y > out * out) return size >> 8 & 1 ? -(START + out) : START + out;
            }
        if ((layer.f[i - 1] - layer.f[i]) * uniform(s) + layer.f[i] < exp(-0.5 * x * x)) return x;
    }
}

INLINE float with_sign(float x, uint32_t r) { /* bit 8 of a draw, without a branch that would be guessed wrong half the time */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits ^= (r & 0x100) << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static __attribute__((noinline)) float normal_float_of(stream *s, uint32_t r) {
    const float start = (float)START, step = (float)(1 / START);
    for (;; r = next32(s)) {
        const uint32_t i = r & 0xFF, size = r >> 9;
        const float x = with_sign((float)size * layer.w_float[i], r);
        if (size < layer.k_float[i]) return x;
        if (i == 0)
            for (;;) {
                const float out = -step * log1pf(-uniform_float(s)), y = -log1pf(-uniform_float(s));
                if (y + y > out * out) return size >> 8 & 1 ? -(start + out) : start + out;
            }
        const float height = (layer.f_float[i - 1] - layer.f_float[i]) * uniform_float(s) + layer.f_float[i];
        if (height < exp(-0.5 * (double)x * (double)x)) return x;
    }
}

/* Where a stream is in halves of words, and back; where the half that is to come is that of the last word, as in the middle
 * of draws of halves. */
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

/* Draws of halves without the tests that each makes by itself. */
static void uniforms_float(stream *s, int64_t count, float *to) {
    for (; count > 0 && s->has_half; count--) *to++ = uniform_float(s);
    while (count > 0) {
        if (s->at == WORDS) refill(s);
        const int first = 2 * s->at, left = 2 * WORDS - first, n = left < count ? left : (int)count;
        for (int i = 0; i < n; i++) to[i] = (float)(int32_t)(half_at(s, first + i) >> 8) * 0x1p-24f;
        go_to(s, first + n);
        to += n, count -= n;
    }
}

/* All of a piece as if each draw were accepted at once; from one of the few that are not, things go on behind it. */
static void normals_float(stream *s, int64_t count, float *to) {
    uint8_t refused[2 * WORDS];
    float x[2 * WORDS];
    for (; count > 0 && s->has_half; count--) *to++ = normal_float_of(s, next32(s));
    while (count > 0) {
        if (s->at == WORDS) refill(s);
        const uint64_t block = s->block;
        for (int i = 0; i < 2 * WORDS; i++) {
            const uint32_t r = half_at(s, i), size = r >> 9;
            x[i] = with_sign((float)(int32_t)size * layer.w_float[r & 0xFF], r);
            refused[i] = size >= layer.k_float[r & 0xFF];
        }
        for (int i = halves_taken(s); count > 0 && s->block == block && i < 2 * WORDS; i = halves_taken(s)) {
            const uint8_t *next = memchr(refused + i, 1, (size_t)(2 * WORDS - i));
            const int64_t left = (next ? next - refused : 2 * WORDS) - i, run = left < count ? left : count;
            memcpy(to, x + i, (size_t)run * sizeof *to);
            to += run, count -= run;
            go_to(s, i + (int)run);
            if (next && count > 0) *to++ = normal_float_of(s, next32(s)), count--;
        }
    }
}

/* Gamma with a shape above 1. */
static double gamma_above_1(stream *s, double shape) {
    const double b = shape - 1.0 / 3.0, c = 1 / sqrt(9 * b);
    for (;;) {
        double x, v;
        do x = normal(s), v = 1 + c * x;
        while (v <= 0);
        v = v * v * v;
        const double u = uniform(s);
        if (u < 1 - 0.0331 * (x * x) * (x * x) || log(u) < 0.5 * x * x + b * (1 - v + log(v))) return b * v;
    }
}

/* 0 … last, all alike. */
static uint32_t at_most(stream *s, uint32_t last) {
    const uint32_t bound = last + 1;
    uint64_t m = (uint64_t)next32(s) * bound;
    if ((uint32_t)m < bound)
        while ((uint32_t)m < (UINT32_MAX - last) % bound) m = (uint64_t)next32(s) * bound;
    return (uint32_t)(m >> 32);
}

/* The same as NumPy's shuffle has it: draws of as many bits as it takes, until one is not above the last. */
static uint32_t place(stream *s, uint32_t last) {
    uint32_t mask = last, drawn;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do drawn = next32(s) & mask;
    while (drawn > last);
    return drawn;
}

/* Binomial by inversion, for n min(p, 1 - p) up to 30: beyond it NumPy goes another way. */
static int64_t binomial(stream *s, double p, int64_t n) {
    if (n == 0 || p == 0) return 0;
    const double small = p <= 0.5 ? p : 1 - p, q = 1 - small, none = exp((double)n * log1p(-small));
    const double mean = (double)n * small, most = mean + 10 * sqrt(mean * q + 1);
    const int64_t bound = (int64_t)((double)n < most ? (double)n : most);
    int64_t x = 0;
    double chance = none, u = uniform(s);
    while (u > chance)
        if (++x > bound) x = 0, chance = none, u = uniform(s);
        else u -= chance, chance = ((double)(n - x + 1) * small * chance) / ((double)x * q);
    return p <= 0.5 ? x : n - x;
}
