/* People who wear devices, a client at a call: what population.py simulates with NumPy, against which this is tested.
 *
 * Random numbers are NumPy's own, at the same addresses (draws.h). What follows from them is the same up to rounding,
 * which now and then brings a reading to the next step of its converter.
 */
#include "device.h"

/* The person of the first key's stream, what they did of the second's; how many windows, and of how many executions. */
int64_t people(const uint64_t keys[4], uint64_t user, const setting *set, const activity *table, person *p,
               execution *done, int64_t *executions) {
    stream s;
    int64_t windows = 0;
    open_stream(&s, keys, user);
    draw_person(&s, set->person_spread, set->missing, p);
    open_stream(&s, keys + 2, user);
    *executions = draw_executions(&s, table, set, p, done);
    for (int64_t e = 0; e < *executions; e++) windows += done[e].windows;
    return windows;
}

/* What a device draws while it records, and room for one execution. */
typedef struct {
    int64_t readings, row, stamps; /* of an execution; the same up to whole vectors; times of 50 Hz */
    float *time, *white;           /* (executions x row), (executions x channels x readings) */
    float *value, *fate, *between, *share;
    int32_t *before, *left, *right;
    char *lost;
} space;

/* Where everything is in one piece of memory; with NULL, how many bytes it takes is what is returned. */
static size_t lay_out(space *s, int64_t executions, char *memory) {
    char *from = memory;
    const size_t word = sizeof(float), stamps = (size_t)s->stamps * word, row = (size_t)s->row * word;
    s->time = (float *)from, from += (size_t)executions * row;
    s->white = (float *)from, from += (size_t)(executions * CHANNELS * s->readings + LANES) * word; /* whole vectors */
    s->value = (float *)from, from += CHANNELS * row;
    s->fate = (float *)from, from += row;
    s->between = (float *)from, from += stamps;
    s->share = (float *)from, from += stamps;
    s->before = (int32_t *)from, from += stamps;
    s->left = (int32_t *)from, from += stamps;
    s->right = (int32_t *)from, from += stamps;
    s->lost = from, from += s->row;
    return (size_t)(from - memory);
}

/* Regular stamps, each off by at most the jitter, in periods; then all white noise. */
static void draw_readings(stream *random, const model *m, int64_t executions, space *s) {
    const float jitter = (float)m->jitter;
    for (int64_t e = 0; e < executions; e++) {
        float *time = s->time + e * s->row;
        uniforms_float(random, s->readings, time);
        for (int64_t n = 0; n < s->readings; n++) time[n] = (float)n + jitter * (time[n] * 2 - 1);
        for (int64_t n = s->readings; n < s->row; n++) time[n] = 0;
    }
    normals_float(random, executions * CHANNELS * s->readings, s->white);
}

/* Bursts of lost readings of one execution. */
static void draw_losses(stream *random, const model *m, double rate_hz, space *s) {
    const float chance = (float)(m->loss_hz / rate_hz);
    const int64_t burst = llrint(fmax(m->loss_s * rate_hz, 1));
    uniforms_float(random, s->readings, s->fate);
    memset(s->lost, 0, (size_t)s->readings);
    for (int64_t n = 0; n < s->readings; n++)
        if (s->fate[n] < chance) memset(s->lost + n, 1, (size_t)(burst < s->readings - n ? burst : s->readings - n));
    s->lost[0] = s->lost[s->readings - 1] = 0;
}

/* All windows that a person's device recorded, labels and executions; 1: no memory. */
int64_t record(const uint64_t key[2], uint64_t user, const setting *set, const activity *table, const model *m,
               const person *p, const execution *done, int64_t executions, float *x, int64_t *label, int64_t *group) {
    stream random;
    wearing w;
    course limb;
    number swung[HARMONICS];
    open_stream(&random, key, user);
    draw_wearing(&random, m, (int)executions, set->device_spread, &w);
    space s = {.stamps = LENGTH + HOP * (set->windows - 1)};
    s.readings = (int64_t)ceil((double)(s.stamps - 1) / RATE_HZ * w.rate_hz) + 2;
    s.row = (s.readings + LANES - 1) / LANES * LANES;
    char *memory = malloc(lay_out(&s, executions, NULL));
    if (!memory) return 1;
    lay_out(&s, executions, memory);
    draw_readings(&random, m, executions, &s);
    swing_arms(p, swung);
    place_stamps(w.rate_hz, s.stamps, s.before, s.between);
    for (int64_t e = 0, n = 0; e < executions; e++) {
        const execution *d = done + e;
        const activity *a = table + d->activity;
        const int64_t wanted = HOP * (d->windows + 1);
        draw_losses(&random, m, w.rate_hz, &s);
        bridge(s.lost, w.rate_hz, wanted, s.before, s.between, s.left, s.right, s.share);
        set_course(p, swung, d, a, (int)m->limb, w.side, m->radius, m->fingers, m->reach, &limb);
        const draws drawn = {s.time + e * s.row, s.white + e * CHANNELS * s.readings, s.readings, s.row};
        read_out(m, &w, &limb, (int)e, a->vibration, set->noise, drawn, s.right[wanted - 1] + 1, s.value);
        cut(s.value, s.row, s.left, s.right, s.share, d->windows, x + n * CHANNELS * LENGTH);
        for (int64_t i = 0; i < d->windows; i++, n++) label[n] = d->activity, group[n] = e;
    }
    free(memory);
    return 0;
}
