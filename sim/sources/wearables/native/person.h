/* A person and what they did, drawn as person.py does it, number by number. */
#include "draws.h"

enum { ACTIVITIES = 6, JOINTS = 7, HARMONICS = 6, GESTURES = 4 };
enum { MOST_EXECUTIONS = 12, MOST = ACTIVITIES * MOST_EXECUTIONS }; /* beyond, a binomial's mean may exceed 30 */

typedef struct {
    double re, im;
} number;

/* A row of activities.py in the units of gait.py (rad, m/s²); mirrored in compiled.py, as are all that follow. */
typedef struct {
    double omega, rest, loose, vibration, pose[JOINTS], other_arm[3], gesture[3];
    number leg[3][HARMONICS], arm[4][HARMONICS], trunk[3][HARMONICS];
} activity;

typedef struct {
    double person_spread, missing, device_spread, noise;
    int64_t executions, windows;
} setting;

typedef struct {
    double height_m, tempo[ACTIVITIES], vigour, stride, arm_swing, arm_lag, asymmetry;
    number timbre[3][HARMONICS];
    double pose[ACTIVITIES][JOINTS], other_arm[ACTIVITIES], sway, fidget, tremor_hz, tremor_ms2;
    double present[ACTIVITIES], usage[ACTIVITIES];
} person;

typedef struct {
    int64_t activity, windows;
    double tempo, size, phase, wander[3], pose[JOINTS], other_arm, gesture_rad_s[GESTURES];
    number gesture[4][GESTURES];
} execution;

static const double PI = 3.14159265358979323846;

INLINE double rounded(double x) { return (double)(float)x; } /* what NumPy keeps as complex64 */

static void draw_person(stream *s, double spread, double missing, person *p) {
    double z[9], bend[3][HARMONICS], chance[ACTIVITIES], best = -1, second = -1, sum = 0;
    for (int i = 0; i < 9; i++) z[i] = spread * normal(s);
    p->height_m = fmin(fmax(1.70 + 0.10 * z[0], 1.4), 2.1);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < HARMONICS; k++) bend[i][k] = exp(spread * (0.25 * normal(s)));
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < HARMONICS; k++) {
            const double turn = 0.4 * spread * normal(s);
            const number factor = {rounded(bend[i][k] * cos(turn)), rounded(bend[i][k] * sin(turn))};
            p->timbre[i][k] = k ? factor : (number){1, 0};
        }
    for (int a = 0; a < ACTIVITIES; a++) {
        chance[a] = uniform(s);
        if (chance[a] > best) second = best, best = chance[a];
        else if (chance[a] > second) second = chance[a];
    }
    for (int a = 0; a < ACTIVITIES; a++) { /* two activities always remain: those whose chance of staying was best */
        p->present[a] = chance[a] >= missing || chance[a] >= second;
        p->usage[a] = gamma_above_1(s, 2.0) * p->present[a];
        sum += p->usage[a];
    }
    for (int a = 0; a < ACTIVITIES; a++) p->usage[a] /= sum;
    for (int a = 0; a < ACTIVITIES; a++)
        p->tempo[a] = sqrt(1.70 / p->height_m) * exp(0.06 * z[1] + 0.04 * spread * normal(s));
    p->vigour = exp(0.20 * z[2]), p->stride = exp(0.12 * z[3]), p->arm_swing = exp(0.35 * z[4]);
    p->arm_lag = 0.3 * z[5], p->asymmetry = 0.15 * fabs(z[6]);
    p->sway = exp(0.3 * z[7]), p->fidget = exp(0.4 * z[8]);
    for (int a = 0; a < ACTIVITIES; a++)
        for (int j = 0; j < JOINTS; j++) p->pose[a][j] = 6.0 * PI / 180 * spread * normal(s);
    for (int a = 0; a < ACTIVITIES; a++) p->other_arm[a] = 0.5 * uniform(s);
    p->tremor_hz = 10 + 2 * fmin(spread, 1) * (-1 + 2 * uniform(s));
    p->tremor_ms2 = 0.08 * exp(0.5 * spread * normal(s));
}

/* How many executions, in the order in which they happened. */
static int draw_activities(stream *s, const person *p, int64_t executions, execution *done) {
    int64_t present = 0, left, order[MOST];
    int e = 0;
    for (int a = 0; a < ACTIVITIES; a++) present += p->present[a] != 0;
    left = (executions - 2) * present;
    double remaining = 1;
    for (int a = 0; a < ACTIVITIES; a++) {
        const int64_t more = left == 0 ? 0 : a == ACTIVITIES - 1 ? left : binomial(s, p->usage[a] / remaining, left);
        left -= more, remaining -= p->usage[a];
        for (int64_t n = 2 * (p->present[a] != 0) + more; n > 0; n--) order[e++] = a;
    }
    for (int i = e - 1; i > 0; i--) {
        const uint32_t j = place(s, (uint32_t)i);
        const int64_t swapped = order[i];
        order[i] = order[j], order[j] = swapped;
    }
    for (int i = 0; i < e; i++) done[i].activity = order[i];
    return e;
}

/* Numbers of one kind for all executions, then those of the next: the order of person.py's arrays. */
static int draw_executions(stream *s, const activity *table, const setting *set, const person *p, execution *done) {
    const int e = draw_activities(s, p, set->executions, done);
    const int64_t fewest = (set->windows + 1) / 2;
    static const double slowest[GESTURES] = {0.15, 0.5, 2.5, 0}, range[GESTURES] = {0.35, 0.8, 2.5, 0};
    for (int i = 0; i < e; i++) {
        const double z = normal(s), y = normal(s);
        done[i].tempo = exp(0.03 * z), done[i].size = exp(0.08 * y + 0.04 * z); /* faster strides are larger */
    }
    for (int i = 0; i < e; i++) {
        execution *d = done + i;
        d->phase = 2 * PI * uniform(s);
        d->wander[0] = 0.25 * uniform(s), d->wander[1] = 2 * PI * (0.1 + 0.2 * uniform(s));
        d->wander[2] = 2 * PI * uniform(s);
        for (int g = 0; g < GESTURES; g++) d->gesture_rad_s[g] = 2 * PI * (slowest[g] + range[g] * uniform(s));
        d->gesture_rad_s[3] = 2 * PI * p->tremor_hz;
    }
    for (int i = 0; i < e; i++)
        for (int n = 0; n < 4 * GESTURES; n++) done[i].gesture[n / GESTURES][n % GESTURES].re = rounded(normal(s));
    for (int i = 0; i < e; i++)
        for (int n = 0; n < 4 * GESTURES; n++) done[i].gesture[n / GESTURES][n % GESTURES].im = rounded(normal(s));
    for (int i = 0; i < e; i++) {
        const uint32_t more = (uint32_t)(set->windows - fewest);
        done[i].windows = fewest + (more ? at_most(s, more) : 0);
    }
    for (int i = 0; i < e; i++)
        for (int j = 0; j < JOINTS; j++) done[i].pose[j] = table[done[i].activity].loose * normal(s);
    for (int i = 0; i < e; i++) done[i].other_arm = uniform(s) < p->other_arm[done[i].activity];
    return e;
}
