/* People who wear devices: what population.py simulates with NumPy, against which this is tested, for one client at a call.
 *
 * Random numbers are NumPy's own, at the same addresses (stream.h). What follows from them is the same to rounding, and a
 * reading falls now and then on the next step of its converter.
 */
#include "device.h"

/* The person of a stream's first key, what they did of its second; how many executions. */
int64_t people(const uint64_t keys[4], uint64_t user, const setting *set, const activity *table, person *p,
               execution *done) {
    stream s;
    open_stream(&s, keys, user);
    draw_person(&s, set->person_spread, set->missing, p);
    open_stream(&s, keys + 2, user);
    return draw_executions(&s, table, set, p, done);
}

/* All windows that a person's device recorded, labels and executions; 1: no memory. */
int64_t record(const uint64_t key[2], uint64_t user, const setting *set, const activity *table, const model *m,
               const person *p, const execution *done, int64_t executions, float *x, int64_t *label, int64_t *group) {
    stream s;
    wearing w;
    course limb;
    open_stream(&s, key, user);
    draw_wearing(&s, m, (int)executions, set->device_spread, &w);
    const int64_t stamps = LENGTH + HOP * (set->windows - 1);
    const int64_t readings = (int64_t)ceil((double)(stamps - 1) / RATE_HZ * w.rate_hz) + 2;
    const int64_t row = (readings + LANES - 1) / LANES * LANES, burst = llrint(fmax(m->loss_s * w.rate_hz, 1));
    float *memory = malloc((size_t)((executions + 1) * (1 + CHANNELS) * row + 3 * stamps + 3 * row) * sizeof *memory);
    if (!memory) return 1;
    float *time = memory, *value = time + executions * row, *fate = value + CHANNELS * row, *share = fate + row;
    int32_t *left = (int32_t *)(share + stamps), *right = left + stamps;
    float *white = (float *)(right + stamps); /* a vector may be read beyond its end */
    char *lost = (char *)(white + executions * CHANNELS * readings + LANES);

    const float jitter = (float)m->jitter, chance = (float)(m->loss_hz / w.rate_hz);
    for (int64_t e = 0; e < executions; e++) {
        uniforms_float(&s, readings, time + e * row);
        for (int64_t n = 0; n < row; n++)
            time[e * row + n] = n < readings ? (float)n + jitter * (time[e * row + n] * 2 - 1) : 0;
    }
    normals_float(&s, executions * CHANNELS * readings, white);
    for (int64_t e = 0, n = 0; e < executions; e++) {
        const execution *d = done + e;
        const activity *a = table + d->activity;
        uniforms_float(&s, readings, fate);
        memset(lost, 0, (size_t)readings);
        for (int64_t j = 0; j < readings; j++)
            if (fate[j] < chance) memset(lost + j, 1, (size_t)(burst < readings - j ? burst : readings - j));
        lost[0] = lost[readings - 1] = 0;
        const int64_t wanted = HOP * (d->windows + 1);
        bridge(lost, w.rate_hz / RATE_HZ, wanted, left, right, share);
        set_course(p, d, a, (int)m->limb, w.side, m->radius, m->fingers, m->reach, &limb);
        read_out(m, &w, &limb, (int)e, a->vibration, set->noise, time + e * row,
                 white + e * CHANNELS * readings, readings, right[wanted - 1] + 1, value, row);
        cut(value, row, left, right, share, d->windows, x + n * CHANNELS * LENGTH);
        for (int64_t i = 0; i < d->windows; i++, n++) label[n] = d->activity, group[n] = e;
    }
    free(memory);
    return 0;
}
