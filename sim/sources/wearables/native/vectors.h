/* Vectors of LANES floats, and sine and cosine of them. */
#include <stdint.h>

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

/* Cephes' sinf and cosf on [-pi/4, pi/4], for |x| < 1e5, where the three parts of pi/2 take off whole quarters exactly. */
INLINE void sine_cosine(vec x, vec *sine, vec *cosine) {
    const vec n = whole(x * 0.636619772367581343f);
    const vec r = ((x - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.54978995489188216e-8f, z = r * r;
    const vec s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    const vec c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1;
    const ivec quarter = __builtin_convertvector(n, ivec), odd = (quarter & 1) != 0;
    *sine = (vec)((ivec)choose(odd, c, s) ^ ((quarter & 2) << 30));
    *cosine = (vec)((ivec)choose(odd, s, c) ^ (((quarter + 1) & 2) << 30));
}
