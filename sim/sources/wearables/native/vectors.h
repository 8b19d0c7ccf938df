/* Vectors of LANES floats, and sine and cosine of them. */
#include <stdint.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec all(float x) { return (vec){0} + x; }
INLINE vec at(const float *x) { return *(const vec *)x; }
INLINE void put(float *to, vec x) { *(vec *)to = x; }
INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
INLINE vec within(vec x, float range) { return choose(x > range, all(range), choose(x < -range, all(-range), x)); }
INLINE vec whole(vec x) { return (x + 12582912.0f) - 12582912.0f; } /* the nearest whole number, for |x| < 2^22 */

/* a b + c, fused where that can be had: for sums whose last bit does not matter. */
INLINE vec fused(vec a, vec b, vec c) {
#if defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Cephes' sinf and cosf on [-pi/4, pi/4]. For |x| < 1e5 the three parts of pi/2 take off whole quarters exactly. */
INLINE void sine_cosine(vec x, vec *sine, vec *cosine) {
    const vec n = whole(x * 0.636619772367581343f);
    const vec r = ((x - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.54978995489188216e-8f, z = r * r;
    const vec rise = fused(all(-1.9515295891e-4f), z, all(8.3321608736e-3f));
    const vec s = fused(fused(rise, z, all(-1.6666654611e-1f)), z * r, r);
    const vec bow = fused(all(2.443315711809948e-5f), z, all(-1.388731625493765e-3f));
    const vec c = fused(fused(bow, z, all(4.166664568298827e-2f)), z * z, 1 - 0.5f * z);
    const ivec quarter = __builtin_convertvector(n, ivec), odd = (quarter & 1) != 0;
    *sine = (vec)((ivec)choose(odd, c, s) ^ ((quarter & 2) << 30));
    *cosine = (vec)((ivec)choose(odd, s, c) ^ (((quarter + 1) & 2) << 30));
}
