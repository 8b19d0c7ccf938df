/* What NumPy's generator draws from a stream, number by number.
 *
 * Normals by the ziggurat of Marsaglia and Tsang 2000 with NumPy's 256 layers and bits, gammas by "a simple method" of
 * the same two, whole numbers below a bound by Lemire 2019. NumPy is compiled without contraction to fused operations,
 * which would round otherwise, and so must this be.
 */
#include "stream.h"

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

/* The sign that a draw's bit 8 says, without a branch that would be guessed wrong half the time. */
INLINE float with_sign(float x, uint32_t r) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits ^= (r & 0x100) << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The normal that begins with a draw. */
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
