/* Products of small matrices that stay in the cache, and the few functions of vectors that a layer needs.
 *
 * The compiler's vectors of LANES floats stand for what the processor has; rows of the matrices that are written, and of
 * those on the right of a product, are padded to whole vectors.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#define ROWS_1 16 /* rows of a block that is 1, 2, 3, 4 vectors wide: it must fit into the registers */
#define ROWS_2 14
#define ROWS_3 8
#define ROWS_4 6
#elif defined(__AVX__)
enum { LANES = 8 };
#define ROWS_1 8
#define ROWS_2 6
#define ROWS_3 4
#define ROWS_4 3
#else
enum { LANES = 4 };
#define ROWS_1 8
#define ROWS_2 6
#define ROWS_3 4
#define ROWS_4 3
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float half __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t iquad __attribute__((vector_size(16)));
#define MIX(a, b, ...) __builtin_shuffle(a, b, (iquad){__VA_ARGS__})
#endif
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
INLINE vec all(float x) { return (vec){0} + x; }
INLINE vec at(const float *x) { return *(const vec *)x; }
INLINE void put(float *to, vec x) { *(vec *)to = x; }
INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }
INLINE vec positive(vec x) { return (vec)(~(ivec)(x <= 0) & (ivec)x); } /* NaN stays NaN */
INLINE vec where_positive(vec y, vec g) { return (vec)(~(ivec)(y <= 0) & (ivec)g); } /* likewise */

/* 2^n times a polynomial on [-log(2)/2, log(2)/2] (Cephes' expf); relative error below 2e-7. */
INLINE vec exponential(vec x) {
    x = choose(x < -87.3f, all(-87.3f), choose(x > 88.3f, all(88.3f), x));
    const vec n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* to the nearest whole number */
    const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    return p * (vec)((__builtin_convertvector(n, ivec) + 127) << 23);
}

INLINE vec hyperbolic_tangent(vec x) { return 1 - 2 / (exponential(2 * x) + 1); }

#if defined(BFLOAT16) /* then what is multiplied are pairs of numbers, rounded to eight bits, in the place of one number */
#if !defined(__AVX512BF16__)
#error "this processor has no dot products of bfloat16"
#endif
#include <immintrin.h>
enum { ROUNDED = 1 };
typedef int32_t whole __attribute__((may_alias));
INLINE vec everywhere(const float *x) { return (vec)_mm512_set1_epi32(*(const whole *)x); }
INLINE vec multiply_add(vec sum, vec a, vec b) { return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
#else
enum { ROUNDED = 0 };
INLINE vec everywhere(const float *x) { return all(*x); }
INLINE vec multiply_add(vec sum, vec a, vec b) { return sum + a * b; }
#endif

/* A matrix that is read number by number, so that its transpose costs nothing. */
typedef struct {
    const float *at;
    int64_t row, column; /* strides */
} view;

/* A product A B of two matrices that ``inner`` numbers of a row and a column meet in; two of them make one sum. */
typedef struct {
    int64_t inner;
    view a;
    const float *b;
    int64_t ldb;
} term;

/* C = keep C + alpha (sum of products) + bias on a block of ROWS rows, WIDTH vectors wide, held in registers. Where the
 * last of these vectors is NARROW, numbers fill no more than half of it: some processors multiply half a vector in less
 * time. The other half is zero. */
INLINE void block(const int ROWS, const int WIDTH, const int NARROW, int64_t terms, const term *t, float *c, int64_t ldc,
                  float keep, float alpha, const float *bias) {
    enum { MOST = 4 };
    const int FULL = WIDTH - NARROW;
    vec sum[16][MOST], right[MOST];
    half narrow[16], rest = {0};
    UNROLL for (int i = 0; i < ROWS; i++) {
        UNROLL for (int j = 0; j < FULL; j++) sum[i][j] = all(0);
        narrow[i] = rest;
    }
    for (const term *end = t + terms; t < end; t++) {
        const float *const a = t->a.at, *const b = t->b;
        const int64_t inner = t->inner, row = t->a.row, column = t->a.column, ldb = t->ldb;
        for (int64_t k = 0; k < inner; k++) {
            UNROLL for (int j = 0; j < FULL; j++) right[j] = at(b + k * ldb + j * LANES);
            if (NARROW) rest = *(const half *)(b + k * ldb + FULL * LANES);
            UNROLL for (int i = 0; i < ROWS; i++) {
                const vec left = everywhere(a + i * row + k * column);
                UNROLL for (int j = 0; j < FULL; j++) sum[i][j] = multiply_add(sum[i][j], left, right[j]);
                if (NARROW) narrow[i] += a[i * row + k * column] * rest;
            }
        }
    }
    UNROLL for (int i = 0; i < ROWS; i++, c += ldc) {
        UNROLL for (int j = 0; j < FULL; j++) {
            vec value = alpha * sum[i][j];
            if (bias) value += at(bias + j * LANES);
            if (keep != 0) value += keep * at(c + j * LANES);
            put(c + j * LANES, value);
        }
        if (!NARROW) continue;
        half value = alpha * narrow[i], *to = (half *)(c + FULL * LANES);
        if (bias) value += *(const half *)(bias + FULL * LANES);
        if (keep != 0) value += keep * *to;
        to[0] = value, to[1] = (half){0};
    }
}

/* A strip WIDTH vectors wide, in blocks as alike as can be. */
#define STRIP(WIDTH, NARROW)                                                                                      \
    static __attribute__((noinline)) void strip_##WIDTH##_##NARROW(                                               \
        int64_t rows, int64_t terms, const term *given, int64_t column, float *c, int64_t ldc, float keep,        \
        float alpha, const float *bias) {                                                                         \
        term t[2];                                                                                                \
        for (int64_t k = 0; k < terms; k++) t[k] = given[k], t[k].b += column;                                    \
        for (int64_t blocks = (rows + ROWS_##WIDTH - 1) / ROWS_##WIDTH; blocks > 0; blocks--) {                   \
            const int64_t now = (rows + blocks - 1) / blocks;                                                     \
            UNROLL for (int n = 1; n <= ROWS_##WIDTH; n++) if (n == now)                                          \
                block(n, WIDTH, NARROW, terms, t, c, ldc, keep, alpha, bias);                                     \
            for (int64_t k = 0; k < terms; k++) t[k].a.at += now * t[k].a.row;                                    \
            c += now * ldc, rows -= now;                                                                          \
        }                                                                                                         \
    }
STRIP(1, 0)
STRIP(2, 0)
STRIP(3, 0)
STRIP(4, 0)
STRIP(1, 1)
STRIP(2, 1)
STRIP(3, 1)
STRIP(4, 1)
typedef void strip(int64_t, int64_t, const term *, int64_t, float *, int64_t, float, float, const float *);
static strip *const strips[2][4] = {{strip_1_0, strip_2_0, strip_3_0, strip_4_0},
                                    {strip_1_1, strip_2_1, strip_3_1, strip_4_1}};

/* C = keep C + alpha (sum of products) + bias, C of rows x columns; where keep is 0, C need hold nothing. */
static void multiply(int64_t rows, int64_t columns, int64_t terms, const term *t, float *c, int64_t ldc, float keep,
                     float alpha, const float *bias) {
    const int narrow = columns % LANES > 0 && columns % LANES <= LANES / 2 && LANES > 4 && !ROUNDED;
    for (int64_t vectors = padded(columns) / LANES, column = 0; vectors > 0;) {
        const int64_t now = vectors == 5 ? 3 : vectors > 4 ? 4 : vectors; /* 3 + 2 is better than 4 + 1 */
        strips[narrow && now == vectors][now - 1](rows, terms, t, column, c + column, ldc, keep, alpha,
                                                  bias ? bias + column : NULL);
        column += now * LANES, vectors -= now;
    }
}

/* Zeros from the beginning of a cache line on, which a vector then never crosses; NULL where there is no memory. */
static float *zeros(int64_t count) {
    const size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    float *memory = aligned_alloc(64, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

static int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }

#if defined(BFLOAT16)
enum { SLAB = 128 }; /* rows, columns and inner numbers that are rounded at a time */

/* Up to LANES numbers, zero where there are no more. */
INLINE __m512 some(const float *x, int64_t count) {
    return _mm512_maskz_loadu_ps(count >= LANES ? 0xffff : count > 0 ? (1 << count) - 1 : 0, x);
}

/* Pairs of each row's neighbours. */
static void pair_columns(int64_t rows, int64_t columns, const float *from, int64_t ldf, float *to, int64_t ldt) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j += 2 * LANES) {
            const float *x = from + i * ldf + j;
            put(to + i * ldt + j / 2, (vec)_mm512_cvtne2ps_pbh(some(x + LANES, columns - j - LANES), some(x, columns - j)));
        }
}

/* Pairs of one row's number and the next row's. */
static void pair_rows(int64_t rows, int64_t columns, const float *from, int64_t ldf, float *to, int64_t ldt) {
    for (int64_t i = 0; i < rows; i += 2, from += 2 * ldf, to += ldt)
        for (int64_t j = 0; j < columns; j += LANES) {
            const __m512 second = i + 1 < rows ? some(from + ldf + j, columns - j) : _mm512_setzero_ps();
            const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(some(from + j, columns - j)));
            const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second));
            put(to + j, (vec)_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

/* One product more, with A and B rounded to bfloat16, summed in float; of A, rows or columns lie one behind the other. */
static void rounded(int64_t rows, int64_t columns, term t, float *c, int64_t ldc, float keep, float alpha,
                    const float *bias) {
    float left[SLAB * SLAB / 2], right[SLAB * SLAB / 2];
    for (int64_t k = 0; k < t.inner; k += SLAB, keep = 1, bias = NULL)
        for (int64_t j = 0; j < columns; j += SLAB) {
            const int64_t deep = smaller_of(t.inner - k, SLAB), wide = smaller_of(columns - j, SLAB);
            pair_rows(deep, wide, t.b + k * t.ldb + j, t.ldb, right, padded(wide));
            for (int64_t i = 0; i < rows; i += SLAB) {
                const int64_t high = smaller_of(rows - i, SLAB);
                const view a = t.a;
                const float *from = a.at + i * a.row + k * a.column;
                const view pairs = a.column == 1 ? (view){left, padded((deep + 1) / 2), 1} : (view){left, 1, padded(high)};
                if (a.column == 1) pair_columns(high, deep, from, a.row, left, pairs.row);
                else pair_rows(deep, high, from, a.column, left, pairs.column);
                const term both = {(deep + 1) / 2, pairs, right, padded(wide)};
                multiply(high, wide, 1, &both, c + i * ldc + j, ldc, keep, alpha, bias ? bias + j : NULL);
            }
        }
}
#endif

/* C = keep C + alpha A B + bias. */
static void product(int64_t rows, int64_t columns, int64_t inner, view a, const float *b, int64_t ldb, float *c,
                    int64_t ldc, float keep, float alpha, const float *bias) {
    const term t = {inner, a, b, ldb};
#if defined(BFLOAT16)
    rounded(rows, columns, t, c, ldc, keep, alpha, bias);
#else
    multiply(rows, columns, 1, &t, c, ldc, keep, alpha, bias);
#endif
}

/* C = keep C + alpha (A B + A' B') + bias. */
static void two_products(int64_t rows, int64_t columns, term first, term second, float *c, int64_t ldc, float keep,
                         float alpha, const float *bias) {
#if defined(BFLOAT16)
    rounded(rows, columns, first, c, ldc, keep, alpha, bias);
    rounded(rows, columns, second, c, ldc, 1, alpha, NULL);
#else
    const term both[] = {first, second};
    multiply(rows, columns, 2, both, c, ldc, keep, alpha, bias);
#endif
}

/* Transpose of rows x columns. */
static void turn(int64_t rows, int64_t columns, const float *from, int64_t ldf, float *to, int64_t ldt) {
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        const float *f = from + i * ldf;
        float *t = to + i;
        int64_t j = 0;
        for (; j + 4 <= columns; j += 4, f += 4, t += 4 * ldt) {
            const quad a = *(const quad *)f, b = *(const quad *)(f + ldf);
            const quad c = *(const quad *)(f + 2 * ldf), d = *(const quad *)(f + 3 * ldf);
            const quad ab = MIX(a, b, 0, 4, 1, 5), cd = MIX(c, d, 0, 4, 1, 5);
            const quad AB = MIX(a, b, 2, 6, 3, 7), CD = MIX(c, d, 2, 6, 3, 7);
            *(quad *)t = MIX(ab, cd, 0, 1, 4, 5);
            *(quad *)(t + ldt) = MIX(ab, cd, 2, 3, 6, 7);
            *(quad *)(t + 2 * ldt) = MIX(AB, CD, 0, 1, 4, 5);
            *(quad *)(t + 3 * ldt) = MIX(AB, CD, 2, 3, 6, 7);
        }
        for (; j < columns; j++, f++, t += ldt)
            for (int64_t k = 0; k < 4; k++) t[k] = f[k * ldf];
    }
    for (; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) to[j * ldt + i] = from[i * ldf + j];
}

static void copy_rows(int64_t rows, int64_t columns, const float *from, int64_t ldf, float *to, int64_t ldt) {
    for (int64_t i = 0; i < rows; i++) memcpy(to + i * ldt, from + i * ldf, columns * sizeof(float));
}

/* The sum of a vector's numbers. */
INLINE float added(vec x) {
    const quad *part = (const quad *)&x;
    quad sum = part[0];
    UNROLL for (int i = 1; i < LANES / 4; i++) sum += part[i];
    return sum[0] + sum[2] + (sum[1] + sum[3]);
}

/* C = A B + D E + bias of so few columns that a vector holds them, with B and E column by column; D E may be left out.
 * Rows of A and D and columns of B and E are of ``inner`` numbers, whole vectors. */
static void dots(int64_t rows, int64_t columns, int64_t inner, const float *a, const float *b, const float *d,
                 const float *e, const float *bias, float *c) {
    for (int64_t i = 0; i < rows; i++, a += inner, c += LANES) {
        put(c, all(0));
        for (int64_t j = 0; j < columns; j++) {
            vec sum = all(0);
            for (int64_t k = 0; k < inner; k += LANES) sum += at(a + k) * at(b + j * inner + k);
            for (int64_t k = 0; d && k < inner; k += LANES) sum += at(d + i * inner + k) * at(e + j * inner + k);
            c[j] = added(sum) + bias[j];
        }
    }
}

/* to = a + factor b */
static void combine(int64_t size, const float *a, float factor, const float *b, float *to) {
    for (int64_t i = 0; i < size; i += LANES) put(to + i, at(a + i) + factor * at(b + i));
}

/* Adds up some dozens of squares in float, which vectors do, and those sums in double: right to six digits. What float
 * cannot square is infinite. */
static double norm(int64_t size, const float *a) {
    enum { RUN = 32 * LANES };
    double total = 0;
    for (int64_t from = 0; from < size; from += RUN) {
        float lanes[LANES];
        vec squares = all(0);
        for (int64_t i = from; i < size && i < from + RUN; i += LANES) squares += at(a + i) * at(a + i);
        put(lanes, squares);
        for (int k = 0; k < LANES; k++) total += lanes[k];
    }
    return sqrt(total);
}

/* to = keep to + alpha times the sum of the rows of g */
static void add_rows(int64_t rows, int64_t ld, const float *g, float keep, float alpha, float *to) {
    for (int64_t j = 0; j < ld; j += LANES) {
        vec sum = all(0);
        for (int64_t i = 0; i < rows; i++) sum += at(g + i * ld + j);
        put(to + j, keep != 0 ? keep * at(to + j) + alpha * sum : alpha * sum);
    }
}
