/* What networks of all kinds share: where a stack's tensors and samples are, what is asked, and the losses (whose
 * formulas are those of metapulse/models/kernels/losses.py). */
#include "product.h"

enum { CROSS_ENTROPY, SQUARED_ERROR };
enum { GRADIENT, END, DISPLACEMENT, SUM };

/* Weight and bias of each layer of a stack; stride 0 where all clients share one. Mirrored in stacks.py. */
typedef struct {
    float *const *tensor;
    const int64_t *stride;
} tree;

/* The samples of a stack; strides in numbers. Mirrored in stacks.py. */
typedef struct {
    int64_t samples;
    const float *x;
    int64_t x_client, x_row;
    const void *y; /* int64 labels, or float targets */
    int64_t y_client;
    const float *weight; /* of each sample in its client's mean */
    int64_t weight_client;
} batch;

/* Some samples' predictions y: their share of the loss, and its gradient g. Samples lie along the vectors of t. */
static float softmax(int64_t samples, int64_t classes, const float *y, float *g, int64_t ld, const int64_t *label,
                     const float *weight, float *t) {
    float sums[LANES], mosts[LANES], weights[LANES] = {0}, loss = 0;
    turn(samples, classes, y, ld, t, LANES);
    vec most = at(t), sum = all(0);
    for (int64_t k = 1; k < classes; k++) most = larger(at(t + k * LANES), most);
    for (int64_t k = 0; k < classes; k++) {
        const vec p = exponential(at(t + k * LANES) - most);
        put(t + k * LANES, p);
        sum += p;
    }
    put(sums, sum), put(mosts, most);
    memcpy(weights, weight, samples * sizeof(float));
    const vec share = at(weights) / sum;
    for (int64_t k = 0; k < classes; k++) put(t + k * LANES, share * at(t + k * LANES));
    turn(classes, samples, t, LANES, g, ld);
    for (int64_t i = 0; i < samples; i++, y += ld, g += ld) {
        for (int64_t k = classes; k < ld; k++) g[k] = 0;
        if (label[i] < 0 || label[i] >= classes) { /* then nothing of this client is a number */
            g[0] = loss = NAN;
            continue;
        }
        g[label[i]] -= weight[i];
        loss += weight[i] * (logf(sums[i]) + mosts[i] - y[label[i]]);
    }
    return loss;
}

/* Some of a client's samples with predictions y: their share of its mean loss, and the gradient g in them. */
static float judge(int64_t kind, int64_t out, const batch *b, int64_t client, int64_t first, int64_t samples,
                   const float *y, float *g, float *scratch) {
    const int64_t ld = padded(out);
    const float *weight = b->weight + client * b->weight_client + first;
    float total = 0;
    if (kind == CROSS_ENTROPY) {
        const int64_t *label = (const int64_t *)b->y + client * b->y_client + first;
        for (int64_t i = 0; i < samples; i += LANES) {
            const int64_t now = samples - i < LANES ? samples - i : LANES;
            total += softmax(now, out, y + i * ld, g + i * ld, ld, label + i, weight + i, scratch);
        }
        return total;
    }
    const float *target = (const float *)b->y + client * b->y_client + first * out;
    for (int64_t i = 0; i < samples; i++, y += ld, g += ld, target += out) {
        const float share = weight[i] / out;
        for (int64_t k = 0; k < out; k++) {
            const float error = y[k] - target[k];
            total += share * error * error;
            g[k] = 2 * share * error;
        }
        for (int64_t k = out; k < ld; k++) g[k] = 0;
    }
    return total;
}

/* How that gradient moves when the predictions move along dy. */
static void judge_tangent(int64_t kind, int64_t out, const batch *b, int64_t client, const float *g, const float *dy,
                          float *dg) {
    const int64_t ld = padded(out);
    const float *weight = b->weight + client * b->weight_client;
    const int64_t *label = (const int64_t *)b->y + client * b->y_client;
    for (int64_t i = 0; i < b->samples; i++, g += ld, dy += ld, dg += ld) {
        for (int64_t k = out; k < ld; k++) dg[k] = 0;
        if (kind == SQUARED_ERROR) {
            for (int64_t k = 0; k < out; k++) dg[k] = 2 * weight[i] / out * dy[k];
            continue;
        }
        float pull = 0; /* with q = weight p, which is g but for the label's share: q dy - q (q dy) / weight */
        for (int64_t k = 0; k < out; k++) {
            dg[k] = g[k] + (k == label[i] ? weight[i] : 0);
            pull += dg[k] * dy[k];
        }
        if (weight[i] > 0) pull /= weight[i];
        for (int64_t k = 0; k < out; k++) dg[k] *= dy[k] - pull;
    }
}

/* Whether all clients share one θ: it is then brought into form once. */
static int shared(int64_t layers, tree start) {
    for (int64_t i = 0; i < 2 * layers; i++)
        if (start.stride[i] != 0) return 0;
    return 1;
}
