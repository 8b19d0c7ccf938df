/* The course of a limb in one execution (gait.py), and what an ideal sensor on it reads (motion.py). */
#include "person.h"
#include "vectors.h"

enum { PROXIMAL, DISTAL, ROLL, TWIST, ANGLES, SURGE = ANGLES, SWAY, HEAVE, SIGNALS };
enum { LEG, ARM, FOREARM };
static const double GRAVITY = 9.81, UPPER_ARM = 0.186, WRIST = 0.14;

/* Amplitudes as motion.py keeps them: rounded to complex64. */
typedef struct {
    float re[SIGNALS][HARMONICS], im[SIGNALS][HARMONICS];
    float gesture_re[ANGLES][GESTURES], gesture_im[ANGLES][GESTURES], gesture_rad_s[GESTURES];
    float omega, phase, wander[3], pose[ANGLES], proximal_m, radius_m;
    int angle_harmonics, trunk_harmonics, gestures; /* how many are not zero */
} course;

INLINE number times(number a, number b) { return (number){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
INLINE number scaled(double a, number b) { return (number){a * b.re, a * b.im}; }
INLINE number plus(number a, number b) { return (number){a.re + b.re, a.im + b.im}; }

/* Timbre of a person's arms, which run behind the legs. */
static void swing_arms(const person *p, number swung[HARMONICS]) {
    for (int k = 0; k < HARMONICS; k++) {
        const double lag = (k + 1) * p->arm_lag;
        swung[k] = times(p->timbre[1][k], (number){cos(lag), -sin(lag)});
    }
}

/* Harmonics of the four angles, of a limb on the left. */
static void angles(const person *p, const number *swung, const execution *d, const activity *a, int limb,
                   number wave[][HARMONICS]) {
    const double factor = limb == LEG ? p->stride : p->arm_swing;
    const double swing = limb != LEG && d->other_arm ? 0.5 : 1; /* an arm that holds something swings less */
    const double size = (a->rest ? p->sway : factor) * d->size * swing;
    for (int k = 0; k < HARMONICS; k++) {
        if (limb == LEG) {
            wave[PROXIMAL][k] = (number){0, 0};
            for (int i = 0; i < 3; i++) wave[1 + i][k] = scaled(size, times(a->leg[i][k], p->timbre[0][k]));
            continue;
        }
        number joint[4];
        for (int i = 0; i < 4; i++) joint[i] = scaled(size, times(a->arm[i][k], swung[k]));
        wave[PROXIMAL][k] = joint[0], wave[DISTAL][k] = limb == FOREARM ? plus(joint[0], joint[1]) : joint[0];
        wave[ROLL][k] = joint[2], wave[TWIST][k] = joint[3];
    }
}

static void trunk(const person *p, const execution *d, const activity *a, number wave[][HARMONICS]) {
    const double size = (a->rest ? p->sway : p->vigour) * d->size;
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < HARMONICS; k++) wave[i][k] = scaled(size, times(a->trunk[i][k], p->timbre[2][k]));
        /* Unequal steps: part of every even harmonic (steps) appears one below it (strides), up and forward. */
        for (int k = 0; k < HARMONICS && i != 1; k += 2)
            wave[i][k] = plus(wave[i][k], scaled(p->asymmetry, wave[i][k + 1]));
    }
}

static void poses(const person *p, const execution *d, const activity *a, int limb, int side, float *to) {
    double joint[JOINTS]; /* thigh, leg roll, leg twist, upper arm, elbow, arm roll, arm twist */
    for (int j = 0; j < JOINTS; j++) joint[j] = a->pose[j];
    if (d->other_arm) joint[3] = a->other_arm[0], joint[4] = a->other_arm[1], joint[6] = a->other_arm[2];
    for (int j = 0; j < JOINTS; j++) joint[j] += p->pose[d->activity][j] + d->pose[j];
    to[PROXIMAL] = limb == FOREARM ? (float)joint[3] : 0;
    to[DISTAL] = (float)(limb == LEG ? joint[0] : limb == ARM ? joint[3] : joint[3] + joint[4]);
    to[ROLL] = (float)(side * joint[limb == LEG ? 1 : 5]);
    to[TWIST] = (float)(limb == LEG ? side * joint[2] : limb == ARM ? 0.3 * side * joint[6] : side * joint[6]);
}

/* reach: size of each gesture at each angle. */
static void gestures(const person *p, const execution *d, const activity *a, double fingers, const double *reach,
                     course *c) {
    const double pace = 2 * PI * p->tremor_hz, arc = WRIST * p->height_m * (pace * pace);
    const double size[GESTURES] = {a->gesture[0] * p->fidget, a->gesture[1] * p->fidget,
                                   a->gesture[2] * p->fidget * fingers, fingers * p->tremor_ms2 / arc};
    c->gestures = 0;
    for (int g = 0; g < GESTURES; g++) {
        c->gesture_rad_s[g] = (float)d->gesture_rad_s[g];
        for (int i = 0; i < ANGLES; i++) {
            const number n = scaled(size[g] * reach[i * GESTURES + g] / sqrt(2), d->gesture[i][g]);
            c->gesture_re[i][g] = (float)n.re, c->gesture_im[i][g] = (float)n.im;
            if (reach[i * GESTURES + g] != 0) c->gestures = g + 1;
        }
    }
}

static void set_course(const person *p, const number *swung, const execution *d, const activity *a, int limb, int side,
                       double radius, double fingers, const double *reach, course *c) {
    number wave[SIGNALS][HARMONICS];
    angles(p, swung, d, a, limb, wave);
    trunk(p, d, a, wave + SURGE);
    c->angle_harmonics = c->trunk_harmonics = 0;
    for (int i = 0; i < SIGNALS; i++)
        for (int k = 0; k < HARMONICS; k++) {
            int sign = i < ANGLES && side < 0 && k % 2 == 0 ? -1 : 1; /* the right limb runs half a stride behind */
            if (i == ROLL || i == TWIST) sign *= side;
            c->re[i][k] = (float)(sign * wave[i][k].re), c->im[i][k] = (float)(sign * wave[i][k].im);
            int *last = i < ANGLES ? &c->angle_harmonics : &c->trunk_harmonics;
            if ((c->re[i][k] != 0 || c->im[i][k] != 0) && k >= *last) *last = k + 1;
        }
    poses(p, d, a, limb, side, c->pose);
    gestures(p, d, a, fingers, reach, c);
    c->omega = (float)(a->omega * p->tempo[d->activity] * d->tempo), c->phase = (float)d->phase;
    for (int i = 0; i < 3; i++) c->wander[i] = (float)d->wander[i];
    c->proximal_m = limb == FOREARM ? (float)(UPPER_ARM * p->height_m) : 0, c->radius_m = (float)(radius * p->height_m);
}

/* Re (re + i im) e^{i phi}; with (im, -re) it is the imaginary part. */
INLINE vec wave_of(float re, float im, vec cosine, vec sine) { return fused(all(re), cosine, -im * sine); }

/* The signals at times t, first and second derivative of the angles; harmonics by the angle-addition recurrence. */
INLINE void signals(const course *c, const int FIRST, vec t, vec q[SIGNALS], vec q_1[ANGLES], vec q_2[ANGLES]) {
    const float m = c->wander[0], nu = c->wander[1];
    vec sine, cosine, first_sine, first_cosine;
    sine_cosine(nu * t + c->wander[2], &sine, &cosine);
    const vec phi = c->omega * t + c->phase + m * sine; /* to the bit as in motion.py */
    const vec phi_1 = c->omega + m * nu * cosine, phi_2 = -m * nu * nu * sine;
    sine_cosine(phi, &sine, &cosine);
    first_sine = sine, first_cosine = cosine;
    vec slope[ANGLES], bend[ANGLES];
    UNROLL for (int i = 0; i < SIGNALS; i++) q[i] = all(i < ANGLES ? c->pose[i] : 0);
    UNROLL for (int i = 0; i < ANGLES; i++) slope[i] = bend[i] = all(0);
    for (int k = 0; k < HARMONICS && (k < c->angle_harmonics || k < c->trunk_harmonics); k++) {
        if (k) {
            const vec next = fused(cosine, first_cosine, -sine * first_sine);
            sine = fused(sine, first_cosine, cosine * first_sine), cosine = next;
        }
        const float number = (float)(k + 1);
        if (k < c->angle_harmonics) UNROLL for (int i = FIRST; i < ANGLES; i++) {
            const vec wave = wave_of(c->re[i][k], c->im[i][k], cosine, sine);
            q[i] += wave, bend[i] = fused(all(-number * number), wave, bend[i]);
            slope[i] = fused(all(-number), wave_of(c->im[i][k], -c->re[i][k], cosine, sine), slope[i]);
        }
        if (k < c->trunk_harmonics) UNROLL for (int i = SURGE; i < SIGNALS; i++)
            q[i] += wave_of(c->re[i][k], c->im[i][k], cosine, sine);
    }
    UNROLL for (int i = 0; i < ANGLES; i++) {
        q_1[i] = slope[i] * phi_1;
        q_2[i] = fused(bend[i], phi_1 * phi_1, slope[i] * phi_2);
    }
    for (int g = 0; g < c->gestures; g++) {
        const float w = c->gesture_rad_s[g];
        sine_cosine(w * t, &sine, &cosine);
        UNROLL for (int i = FIRST; i < ANGLES; i++) {
            const vec wave = wave_of(c->gesture_re[i][g], c->gesture_im[i][g], cosine, sine);
            q[i] += wave, q_2[i] = fused(all(-w * w), wave, q_2[i]);
            q_1[i] = fused(all(-w), wave_of(c->gesture_im[i][g], -c->gesture_re[i][g], cosine, sine), q_1[i]);
        }
    }
}

/* Specific force and angular rate in the axes f, y, l of the twisted segment: the formulas at the head of motion.py. */
INLINE void sense_ideal(const course *limb, const int FIRST, vec t, vec to[6]) {
    vec q[SIGNALS], q_1[ANGLES], q_2[ANGLES], s, c;
    signals(limb, FIRST, t, q, q_1, q_2);
    vec x = q[SURGE], y = q[SWAY], z = q[HEAVE] + (float)GRAVITY;
    if (FIRST == PROXIMAL) {
        sine_cosine(q[PROXIMAL], &s, &c);
        const vec tangential = limb->proximal_m * q_2[PROXIMAL];
        const vec central = limb->proximal_m * (q_1[PROXIMAL] * q_1[PROXIMAL]);
        x += tangential * c - central * s, z += tangential * s + central * c;
    }
    sine_cosine(q[DISTAL], &s, &c);
    const vec upright = z * c - x * s;
    vec forward = x * c + z * s;
    sine_cosine(q[ROLL], &s, &c);
    vec left = y * c + upright * s, along = upright * c - y * s;

    const float r = limb->radius_m;
    const vec pitch = q_1[DISTAL], rate_f = q_1[ROLL], rate_y = -pitch * c, rate_l = pitch * s;
    const vec turn_f = q_2[ROLL], turn_y = pitch * rate_f * s - q_2[DISTAL] * c;
    forward -= r * (turn_y + rate_f * rate_l);
    left += r * (turn_f - rate_y * rate_l);
    along += r * (rate_f * rate_f + rate_y * rate_y);

    sine_cosine(q[TWIST], &s, &c);
    to[0] = forward * c + left * s, to[1] = left * c - forward * s, to[2] = along;
    to[3] = rate_f * c + rate_y * s, to[4] = rate_y * c - rate_f * s, to[5] = rate_l + q_1[TWIST];
}
