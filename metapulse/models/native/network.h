/* A multilayer perceptron of one client: its outputs, its gradient, and how both move along a direction.
 *
 * The formulas are those of the kernels in metapulse/models/kernels/dense.py. Inside, a layer's weight
 * is held as (inputs, outputs) with rows padded to whole vectors and the bias as one more row, the layers one behind the
 * other: so what is done to all parameters is one loop. The rows of a batch are held likewise: of every layer's output,
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

static int64_t parameters(const net *n) {
    int64_t size = 0;
    for (int64_t l = 0; l < n->layers; l++) size += (n->width[l] + 1) * padded(n->width[l + 1]);
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
        const int64_t in = n->width[l], out = n->width[l + 1], ld = padded(out);
        turn(out, in, from.tensor[2 * l] + client * from.stride[2 * l], in, to, ld);
        memcpy(to + in * ld, from.tensor[2 * l + 1] + client * from.stride[2 * l + 1], out * sizeof(float));
        to += (in + 1) * ld;
    }
}

static void store(const net *n, const float *from, tree to, int64_t client) {
    for (int64_t l = 0; l < n->layers; l++) {
        const int64_t in = n->width[l], out = n->width[l + 1], ld = padded(out);
        turn(in, out, from, ld, to.tensor[2 * l] + client * to.stride[2 * l], in);
        memcpy(to.tensor[2 * l + 1] + client * to.stride[2 * l + 1], from + in * ld, out * sizeof(float));
        from += (in + 1) * ld;
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
        if (l == 0 && p.z) memcpy(p.h, p.z, count * sizeof(float));
        else product(p.rows, out, in, x, p.w, ld, p.h, ld, 0, 1, p.w + in * ld);
        if (l + 1 < n->layers)
            for (int64_t i = 0; i < count; i += LANES) {
                if (n->activation == RELU) put(p.h + i, positive(at(p.h + i)));
                else put(p.h + i, hyperbolic_tangent(at(p.h + i)));
            }
        x = (view){p.h, ld, 1};
        p.w += (in + 1) * ld, p.h += count;
    }
}

static void turn_weight(int64_t in, int64_t out, const float *w, float *turned) {
    if (in < padded(in)) memset(turned, 0, out * padded(in) * sizeof(float));
    turn(in, out, w, padded(out), turned, padded(in));
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
        w -= (in + 1) * ldo, to -= (in + 1) * ldo;
        view x = p.x;
        if (l > 0) {
            h -= count, x = (view){h, ldi, 1};
            turn_weight(in, out, w, turned);
            product(p.rows, in, out, (view){g, ldo, 1}, turned, ldi, g - count, ldi, 0, 1, NULL);
        }
        product(in, out, p.rows, (view){x.at, x.column, x.row}, g, ldo, to, ldo, keep, alpha, NULL);
        add_rows(p.rows, ldo, g, keep, alpha, to + in * ldo);
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
        if (l > 0 || !p.z) product(p.rows, out, in, x, v, ld, dh, ld, 0, 1, v + in * ld);
        if (l > 0) product(p.rows, out, in, dx, p.w, ld, dh, ld, 1, 1, NULL);
        if (l + 1 < n->layers) slope(n, count, p.h, dh);
        x = (view){p.h, ld, 1}, dx = (view){dh, ld, 1};
        p.w += (in + 1) * ld, v += (in + 1) * ld, p.h += count, dh += count;
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
        w -= (in + 1) * ldo, v -= (in + 1) * ldo, to -= (in + 1) * ldo;
        view x = p.x;
        if (l > 0) {
            h -= count, dh -= count, x = (view){h, ldi, 1};
            turn_weight(in, out, w, turned);
            product(p.rows, in, out, (view){dg, ldo, 1}, turned, ldi, dg - count, ldi, 0, 1, NULL);
            turn_weight(in, out, v, turned);
            product(p.rows, in, out, (view){g, ldo, 1}, turned, ldi, dg - count, ldi, 1, 1, NULL);
            product(in, out, p.rows, (view){dh, 1, ldi}, g, ldo, to, ldo, 1, -1, NULL);
        }
        product(in, out, p.rows, (view){x.at, x.column, x.row}, dg, ldo, to, ldo, 1, -1, NULL);
        add_rows(p.rows, ldo, dg, 1, -1, to + in * ldo);
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

/* Numbers that a turned weight, which the first layer never is, or a softmax may take. */
static int64_t scratch(const net *n) {
    int64_t most = padded(n->width[n->layers]) * LANES;
    for (int64_t l = 1; l < n->layers; l++) most = larger_of(most, padded(n->width[l]) * padded(n->width[l + 1]));
    return most;
}

static int64_t most_samples(int64_t steps, const batch *b) {
    int64_t most = 0;
    for (int64_t k = 0; k < steps; k++) most = b[k].samples > most ? b[k].samples : most;
    return most;
}

static view input(const batch *b, int64_t client) { return (view){b->x + client * b->x_client, b->x_row, 1}; }
