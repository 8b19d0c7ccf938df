/* A multilayer perceptron of one client: its outputs, its gradient, and how both move along a direction.
 *
 * The formulas are those of the kernels in metapulse/models/kernels/dense.py. Inside, a layer's weight
 * is held as (inputs, outputs) with rows padded to whole vectors and the bias as one more row, the layers one behind the
 * other: so what is done to all parameters is one loop. The last layer's weight is (outputs, inputs) where it has so few
 * outputs that a row of them would be mostly padding. The rows of a batch are held likewise: of every layer's output,
 * of its gradient and of its movement, one matrix behind the other. Padding is zero and stays zero.
 */
#include "stacks.h"

enum { RELU, TANH };

/* The structures are mirrored in dense.py. */
typedef struct {
    int64_t layers, activation, loss;
    const int64_t *width; /* layers + 1, the input first */
} net;

/* A client's batch at one point of its path; matrices of all layers' outputs, see above. With ``z``, the first layer's
 * weight is not looked at, nor its gradient formed (see spanned.h). */
typedef struct {
    const float *w;
    view x;
    int64_t rows;
    float *h, *g, *e; /* outputs; gradient before, and after the nonlinearity */
    const float *z;   /* the first layer's outputs before the nonlinearity, where they are known */
} place;

/* Whether layer l is the one with few outputs. */
static int few(const net *n, int64_t l) { return l > 0 && l + 1 == n->layers && 4 * n->width[l + 1] <= LANES; }

/* Numbers in front of layer l's bias. */
static int64_t weights(const net *n, int64_t l) {
    const int64_t in = n->width[l], out = n->width[l + 1];
    return few(n, l) ? out * padded(in) : in * padded(out);
}

static int64_t numbers(const net *n, int64_t l) { return weights(n, l) + padded(n->width[l + 1]); }

static int64_t parameters(const net *n) {
    int64_t size = 0;
    for (int64_t l = 0; l < n->layers; l++) size += numbers(n, l);
    return size;
}

static int64_t outputs(const net *n) {
    int64_t columns = 0;
    for (int64_t l = 1; l <= n->layers; l++) columns += padded(n->width[l]);
    return columns;
}

static int64_t answers(const net *n) { return n->width[n->layers]; }

/* Columns in front of the predictions. */
static int64_t hidden(const net *n) { return outputs(n) - padded(answers(n)); }

static void load(const net *n, tree from, int64_t client, float *to) {
    for (int64_t l = 0; l < n->layers; l++) {
        const int64_t in = n->width[l], out = n->width[l + 1];
        const float *w = from.tensor[2 * l] + client * from.stride[2 * l];
        if (few(n, l)) copy_rows(out, in, w, in, to, padded(in));
        else turn(out, in, w, in, to, padded(out));
        memcpy(to + weights(n, l), from.tensor[2 * l + 1] + client * from.stride[2 * l + 1], out * sizeof(float));
        to += numbers(n, l);
    }
}

static void store(const net *n, const float *from, tree to, int64_t client) {
    for (int64_t l = 0; l < n->layers; l++) {
        const int64_t in = n->width[l], out = n->width[l + 1];
        float *w = to.tensor[2 * l] + client * to.stride[2 * l];
        if (few(n, l)) copy_rows(out, in, from, padded(in), w, in);
        else turn(in, out, from, padded(out), w, in);
        memcpy(to.tensor[2 * l + 1] + client * to.stride[2 * l + 1], from + weights(n, l), out * sizeof(float));
        from += numbers(n, l);
    }
}

/* g times the slope of the nonlinearity, which its output tells. */
static void slope(const net *n, int64_t count, const float *y, float *g) {
    for (int64_t i = 0; i < count; i += LANES) {
        const vec out = at(y + i), in = at(g + i);
        if (n->activation == RELU) put(g + i, where_positive(out, in));
        else put(g + i, (1 - out * out) * in);
    }
}

static void forward(const net *n, place p) {
    view x = p.x;
    for (int64_t l = 0; l < n->layers; l++) {
        const int64_t in = n->width[l], out = n->width[l + 1], ld = padded(out), count = p.rows * ld;
        const float *const bias = p.w + weights(n, l);
        if (l == 0 && p.z) memcpy(p.h, p.z, count * sizeof(float));
        else if (few(n, l)) dots(p.rows, out, padded(in), x.at, p.w, NULL, NULL, bias, p.h);
        else product(p.rows, out, in, x, p.w, ld, p.h, ld, 0, 1, bias);
        if (l + 1 < n->layers)
            for (int64_t i = 0; i < count; i += LANES) {
                if (n->activation == RELU) put(p.h + i, positive(at(p.h + i)));
                else put(p.h + i, hyperbolic_tangent(at(p.h + i)));
            }
        x = (view){p.h, ld, 1};
        p.w += numbers(n, l), p.h += count;
    }
}

static const float *turn_weight(int64_t in, int64_t out, const float *w, float *turned) {
    for (int64_t o = 1; o <= out && in < padded(in); o++) put(turned + o * padded(in) - LANES, all(0));
    turn(in, out, w, padded(out), turned, padded(in));
    return turned;
}

/* With the gradient of the predictions in place: to = keep to + alpha times the gradient of the parameters. ``to`` may
 * be w itself: nothing is written before it has been read. */
static void backward(const net *n, place p, float keep, float alpha, float *to, float *turned) {
    const int64_t end = p.rows * hidden(n);
    const float *w = p.w + parameters(n);
    float *h = p.h + end, *g = p.g + end, *e = p.e ? p.e + end : NULL;
    to += parameters(n);
    for (int64_t l = n->layers - 1; l >= 0; l--) {
        const int64_t in = n->width[l], out = n->width[l + 1], ldi = padded(in), ldo = padded(out), count = p.rows * ldi;
        if (l == 0 && p.z) break;
        w -= numbers(n, l), to -= numbers(n, l);
        view x = p.x;
        if (l > 0) {
            h -= count, x = (view){h, ldi, 1};
            const float *const back = few(n, l) ? w : turn_weight(in, out, w, turned);
            product(p.rows, in, out, (view){g, ldo, 1}, back, ldi, g - count, ldi, 0, 1, NULL);
        }
        if (few(n, l)) product(out, in, p.rows, (view){g, 1, ldo}, h, ldi, to, ldi, keep, alpha, NULL);
        else product(in, out, p.rows, (view){x.at, x.column, x.row}, g, ldo, to, ldo, keep, alpha, NULL);
        add_rows(p.rows, ldo, g, keep, alpha, to + weights(n, l));
        if (l > 0) {
            g -= count;
            if (e) e -= count, memcpy(e, g, count * sizeof(float));
            slope(n, count, h, g);
        }
    }
}

/* dh, the movement of all outputs when w moves along v; with ``z``, the first layer's, before the nonlinearity, is there. */
static void forward_tangent(const net *n, place p, const float *v, float *dh) {
    view x = p.x, dx = {NULL, 0, 0};
    for (int64_t l = 0; l < n->layers; l++) {
        const int64_t in = n->width[l], out = n->width[l + 1], ld = padded(out), count = p.rows * ld;
        const term along = {in, x, v, ld}, moved = {in, dx, p.w, ld};
        const float *const bias = v + weights(n, l);
        if (few(n, l)) dots(p.rows, out, padded(in), x.at, v, dx.at, p.w, bias, dh);
        else if (l > 0) two_products(p.rows, out, along, moved, dh, ld, 0, 1, bias);
        else if (!p.z) product(p.rows, out, in, x, v, ld, dh, ld, 0, 1, bias);
        if (l + 1 < n->layers) slope(n, count, p.h, dh);
        x = (view){p.h, ld, 1}, dx = (view){dh, ld, 1};
        p.w += numbers(n, l), v += numbers(n, l), p.h += count, dh += count;
    }
}

/* With the movement dg of the predictions' gradient in place: to -= the movement of the parameters' gradient. */
static void backward_tangent(const net *n, place p, const float *v, float *dh, float *dg, float *to, float *turned) {
    const int64_t end = p.rows * hidden(n);
    const float *w = p.w + parameters(n), *e = p.e ? p.e + end : NULL;
    float *h = p.h + end, *g = p.g + end;
    v += parameters(n), to += parameters(n), dh += end, dg += end;
    for (int64_t l = n->layers - 1; l >= 0; l--) {
        const int64_t in = n->width[l], out = n->width[l + 1], ldi = padded(in), ldo = padded(out), count = p.rows * ldi;
        if (l == 0 && p.z) break;
        w -= numbers(n, l), v -= numbers(n, l), to -= numbers(n, l);
        if (l > 0) {
            h -= count, dh -= count;
            const float *const back = few(n, l) ? w : turn_weight(in, out, w, turned);
            const float *const moved = few(n, l) ? v : turn_weight(in, out, v, turned + out * ldi);
            two_products(p.rows, in, (term){out, {dg, ldo, 1}, back, ldi}, (term){out, {g, ldo, 1}, moved, ldi},
                         dg - count, ldi, 0, 1, NULL);
        }
        if (l == 0) product(in, out, p.rows, (view){p.x.at, p.x.column, p.x.row}, dg, ldo, to, ldo, 1, -1, NULL);
        else if (few(n, l))
            two_products(out, in, (term){p.rows, {g, 1, ldo}, dh, ldi}, (term){p.rows, {dg, 1, ldo}, h, ldi}, to, ldi, 1,
                         -1, NULL);
        else
            two_products(in, out, (term){p.rows, {dh, 1, ldi}, g, ldo}, (term){p.rows, {h, 1, ldi}, dg, ldo}, to, ldo, 1,
                         -1, NULL);
        add_rows(p.rows, ldo, dg, 1, -1, to + weights(n, l));
        if (l > 0) {
            dg -= count, g -= count;
            slope(n, count, h, dg);
            if (e) {
                e -= count;
                for (int64_t i = 0; i < count; i += LANES)
                    put(dg + i, at(dg + i) - 2 * at(h + i) * at(dh + i) * at(e + i));
            }
        }
    }
}

static float judged(const net *n, place p, const batch *b, int64_t client, float *scratch) {
    const int64_t end = p.rows * hidden(n);
    forward(n, p);
    return judge(n->loss, answers(n), b, client, 0, p.rows, p.h + end, p.g + end, scratch);
}

/* Numbers that two turned weights, which the first layer never is, or a softmax may take. */
static int64_t scratch(const net *n) {
    int64_t most = padded(n->width[n->layers]) * LANES;
    for (int64_t l = 1; l < n->layers; l++) most = larger_of(most, 2 * padded(n->width[l]) * padded(n->width[l + 1]));
    return most;
}

static int64_t most_samples(int64_t steps, const batch *b) {
    int64_t most = 0;
    for (int64_t k = 0; k < steps; k++) most = b[k].samples > most ? b[k].samples : most;
    return most;
}

static view input(const batch *b, int64_t client) { return (view){b->x + client * b->x_client, b->x_row, 1}; }
