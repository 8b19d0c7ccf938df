/* How a unit is worn, and the chain from ideal motion to windows (device.py). */
#include "limb.h"

enum { LENGTH = 64, HOP = 32, RATE_HZ = 50, CHANNELS = 6 };

/* A row of MODELS, with the chances of each way to put it on added up for the spread of the population. */
typedef struct {
    int64_t limb;
    double radius, axes[2][9], left, ways[4], tilt_deg[2], spin_deg[2], fingers, shake, rate_hz, jitter;
    double range[2], bits, noise[2], gain, bias[2], loss_hz, loss_s, reach[ANGLES * GESTURES];
} model;

typedef struct {
    int side;
    double rotation[MOST][9], gain[CHANNELS], bias[CHANNELS], rate_hz, start_s;
} wearing;

INLINE void product(const double *a, const double *b, double *to) {
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) to[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
}

/* Rodrigues' formula. */
static void rotation(double x, double y, double z, double *to) {
    const double angle = sqrt(x * x + y * y + z * z), unit = 1 / fmax(angle, 1e-12), s = sin(angle), c = 1 - cos(angle);
    x *= unit, y *= unit, z *= unit;
    const double k[9] = {0, -z, y, z, 0, -x, -y, x, 0};
    double squared[9];
    product(k, k, squared);
    for (int i = 0; i < 9; i++) to[i] = (i % 4 == 0) + s * k[i] + c * squared[i];
}

static int way(const model *m, double u) {
    int n = 0;
    while (n < 3 && m->ways[n] <= u) n++;
    return n;
}

static void draw_wearing(stream *s, const model *m, int executions, double spread, wearing *w) {
    static const double flips[4][3] = {{1, 1, 1}, {-1, -1, 1}, {-1, 1, -1}, {1, -1, -1}};
    double z[17], u[3], wear[MOST][4];
    for (int i = 0; i < 17; i++) z[i] = spread * normal(s);
    for (int i = 0; i < 3; i++) u[i] = uniform(s);
    for (int i = 0; i < 4 * executions; i++) wear[i / 4][i % 4] = spread * normal(s);
    w->side = u[0] < (1 - m->left) * fmin(spread, 1) ? -1 : 1;
    const int habit = way(m, u[1]);
    for (int e = 0; e < executions; e++) { /* a person's habit, and one wearing in ten otherwise */
        const double odd = uniform(s), drawn = uniform(s);
        const int now = odd < 0.1 ? way(m, drawn) : habit;
        double tilt[3], spin[9], tilted[9], turn[9];
        for (int i = 0; i < 3; i++) tilt[i] = PI / 180 * (m->tilt_deg[0] * z[i] + m->tilt_deg[1] * wear[e][i]);
        rotation(0, 0, PI / 180 * (m->spin_deg[0] * z[3] + m->spin_deg[1] * wear[e][3]), spin);
        rotation(tilt[0], tilt[1], tilt[2], tilted);
        product(spin, tilted, turn);
        product(m->axes[w->side < 0], turn, w->rotation[e]);
        for (int i = 0; i < 9; i++) w->rotation[e][i] *= flips[now][i / 3];
    }
    for (int i = 0; i < CHANNELS; i++) w->gain[i] = 1 + m->gain * z[4 + i], w->bias[i] = m->bias[i / 3] * z[10 + i];
    w->rate_hz = m->rate_hz * (1 + 0.01 * fmin(fmax(z[16], -3), 3)), w->start_s = u[2];
}

/* What is drawn for one execution. */
typedef struct {
    const float *time, *white; /* periods; a channel of noise after the other */
    int64_t readings, row;     /* of a channel of noise, and of what is read out: whole vectors */
} draws;

/* What the converter puts out at the first ``count`` times, with white noise. */
INLINE void read_out_from(const int FIRST, const model *m, const wearing *w, const course *limb, int e,
                          double vibration, double noise, draws d, int64_t count, float *value) {
    float mix[CHANNELS][3], scale[2], range[2], step[2], per_step[2], bias[CHANNELS];
    for (int i = 0; i < CHANNELS; i++) {
        for (int j = 0; j < 3; j++) mix[i][j] = (float)(w->gain[i] * w->rotation[e][3 * (i % 3) + j]);
        bias[i] = (float)w->bias[i];
    }
    for (int kind = 0; kind < 2; kind++) {
        range[kind] = (float)m->range[kind], step[kind] = range[kind] / (float)((int64_t)1 << ((int)m->bits - 1));
        per_step[kind] = 1 / step[kind];
        const double own = noise * m->noise[kind], shaken = (kind ? 0.1 : 1) * m->shake * vibration;
        scale[kind] = (float)sqrt(own * own + shaken * shaken);
    }
    const float start = (float)w->start_s, rate = (float)w->rate_hz;
    for (int64_t n = 0; n < count; n += LANES) {
        vec ideal[CHANNELS];
        sense_ideal(limb, FIRST, at(d.time + n) / rate + start, ideal);
        UNROLL for (int i = 0; i < CHANNELS; i++) {
            const vec *seen = ideal + i / 3 * 3;
            vec v = at(d.white + i * d.readings + n) * scale[i / 3];
            v += fused(all(mix[i][0]), seen[0], fused(all(mix[i][1]), seen[1], mix[i][2] * seen[2]));
            v = whole((v + bias[i]) * per_step[i / 3]) * step[i / 3];
            put(value + i * d.row + n, within(v, range[i / 3]));
        }
    }
}

static void read_out(const model *m, const wearing *w, const course *limb, int e, double vibration, double noise,
                     draws d, int64_t count, float *value) {
    if (m->limb == FOREARM) /* only then does the upper arm move by itself */
        read_out_from(PROXIMAL, m, w, limb, e, vibration, noise, d, count, value);
    else
        read_out_from(DISTAL, m, w, limb, e, vibration, noise, d, count, value);
}

/* Where the times of 50 Hz lie between two readings: the one before, and how far it is behind. */
static void place_stamps(double rate_hz, int64_t count, int32_t *before, float *share) {
    for (int64_t n = 0; n < count; n++) {
        const double position = (double)n * (rate_hz / RATE_HZ);
        before[n] = (int32_t)position, share[n] = (float)(position - (double)before[n]);
    }
}

/* The same between readings that were kept; share_kept: of the gap between them. */
static void bridge(const char *lost, double rate_hz, int64_t count, const int32_t *before, const float *share,
                   int32_t *left, int32_t *right, float *share_kept) {
    for (int64_t n = 0; n < count; n++) {
        int32_t from = before[n], to = from + 1;
        share_kept[n] = share[n];
        if (lost[from] | lost[to]) {
            while (lost[from]) from--;
            while (lost[to]) to++;
            share_kept[n] = (float)(((double)n * (rate_hz / RATE_HZ) - from) / (to - from));
        }
        left[n] = from, right[n] = to;
    }
}

/* Linear between what was kept, cut into windows that overlap by half. */
static void cut(const float *value, int64_t row, const int32_t *left, const int32_t *right, const float *share,
                int64_t windows, float *x) {
    for (int i = 0; i < CHANNELS; i++, value += row)
        for (int64_t half = 0; half <= windows; half++) { /* the first of one window and the second of the one before */
            float between[HOP];
            for (int64_t j = 0, n = half * HOP; j < HOP; j++, n++) {
                const float low = value[left[n]];
                between[j] = low + share[n] * (value[right[n]] - low);
            }
            if (half < windows) memcpy(x + (half * CHANNELS + i) * LENGTH, between, sizeof between);
            if (half > 0) memcpy(x + ((half - 1) * CHANNELS + i) * LENGTH + HOP, between, sizeof between);
        }
}
