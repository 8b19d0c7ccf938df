/* The first layer of a client whose steps are all on the same inputs X: its weight moves within the span of X's rows.
 *
 * With G_k the gradient in the layer's outputs Z_k = X W_k + b_k, SGD gives W_k = W_0 - lr X'S and b_k = b_0 - lr 1'S with
 * S = G_0 + ... + G_{k-1}, and so Z_{k+1} = Z_k - lr (X X' + 1) G_k: a product with a matrix of samples by samples takes the
 * place of two with the inputs, and W is formed once, at the end. The same numbers but for rounding.
 */
#include "network.h"

typedef struct {
    int64_t rows;
    float *z, *sum, *kernel, *turned; /* Z, S, X X' + 1, X' */
} span;

static int64_t span_numbers(const net *n, int64_t rows) {
    return rows * (2 * padded(n->width[1]) + padded(rows)) + n->width[0] * padded(rows);
}

static span span_in(const net *n, int64_t rows, float *memory) {
    const int64_t outputs = rows * padded(n->width[1]), kernel = rows * padded(rows);
    return (span){rows, memory, memory + outputs, memory + 2 * outputs, memory + 2 * outputs + kernel};
}

static int one_input(int64_t steps, const batch *b) {
    for (int64_t k = 1; k < steps; k++)
        if (b[k].x != b->x || b[k].x_client != b->x_client || b[k].x_row != b->x_row || b[k].samples != b->samples) return 0;
    return 1;
}

/* Whether it takes a quarter less than steps with W; products of bfloat16 round, and stay what they are. */
static int worth_spanning(const net *n, int64_t steps, const batch *b) {
#if defined(BFLOAT16)
    return 0;
#endif
    const int64_t in = n->width[0], out = padded(n->width[1]), rows = b->samples;
    return one_input(steps, b) && 4 * (rows * in + 2 * in * out + steps * rows * out) < 3 * 2 * steps * in * out;
}

static void span_begin(const net *n, span s, view x, const float *w) {
    const int64_t in = n->width[0], out = n->width[1], ld = padded(out), ldr = padded(s.rows);
    turn(s.rows, in, x.at, x.row, s.turned, ldr);
    product(s.rows, s.rows, in, x, s.turned, ldr, s.kernel, ldr, 0, 1, NULL);
    for (int64_t i = 0; i < s.rows * ldr; i += LANES) put(s.kernel + i, at(s.kernel + i) + 1);
    product(s.rows, out, in, x, w, ld, s.z, ld, 0, 1, w + in * ld);
    memset(s.sum, 0, s.rows * ld * sizeof(float));
}

static void span_step(const net *n, span s, const float *g, float lr) {
    const int64_t out = n->width[1], ld = padded(out);
    combine(s.rows * ld, s.sum, 1, g, s.sum);
    product(s.rows, out, s.rows, (view){s.kernel, padded(s.rows), 1}, g, ld, s.z, ld, 1, -lr, NULL);
}

static void span_end(const net *n, span s, float lr, float *w) {
    const int64_t in = n->width[0], out = n->width[1], ld = padded(out);
    product(in, out, s.rows, (view){s.turned, padded(s.rows), 1}, s.sum, ld, w, ld, 1, -lr, NULL);
    add_rows(s.rows, ld, s.sum, 1, -lr, w + in * ld);
}

/* The same for MAML's adjoint: steps on support X, judged on query Y. The adjoint of the first layer is Y'A + X'C, of which
 * a Hessian's product needs U = X (Y'A + X'C) + 1 alone. */
typedef struct {
    span support;                                 /* whose sum becomes C on the way back */
    int64_t rows;
    float *z, *adjoint, *along, *cross, *turned; /* Y's outputs; A; U; X Y' + 1; Y' */
} pair;

static int64_t pair_numbers(const net *n, int64_t support, int64_t query) {
    return span_numbers(n, support) + query * 2 * padded(n->width[1]) + support * padded(n->width[1]) +
           (support + n->width[0]) * padded(query);
}

static pair pair_in(const net *n, int64_t support, int64_t query, float *memory) {
    const int64_t out = padded(n->width[1]);
    float *z = memory + span_numbers(n, support), *adjoint = z + query * out, *along = adjoint + query * out;
    float *cross = along + support * out;
    return (pair){span_in(n, support, memory), query, z, adjoint, along, cross, cross + support * padded(query)};
}

static int worth_a_pair(const net *n, int64_t steps, const batch *support, const batch *query) {
#if defined(BFLOAT16)
    return 0;
#endif
    const int64_t in = n->width[0], out = padded(n->width[1]), rows = support->samples, more = query->samples;
    if (steps < 1 || !one_input(steps, support)) return 0;
    const int64_t spanned = rows * (rows + more) * in + 2 * (rows + more) * in * out + 2 * rows * (steps * rows + more) * out;
    return 4 * spanned < 3 * 2 * (2 * steps * rows + more) * in * out;
}

/* Whether what steps on the support make of the query is cheaper so, some of the points on the way being looked at. */
static int worth_answering(const net *n, int64_t steps, int64_t looks, const batch *support, const batch *query) {
#if defined(BFLOAT16)
    return 0;
#endif
    const int64_t in = n->width[0], out = padded(n->width[1]), rows = support->samples, more = query->samples;
    if (steps < 1 || !one_input(steps, support)) return 0;
    const int64_t spanned = (rows + more) * (rows + out) * in + rows * (steps * rows + looks * more) * out;
    return 4 * spanned < 3 * (2 * steps * rows + looks * more) * in * out;
}

/* Whether all of the first layer has one rate, the same for all clients. */
static int one_rate(const net *n, tree rates) {
    const float *weight = rates.tensor[0], *bias = rates.tensor[1];
    if (rates.stride[0] || rates.stride[1]) return 0;
    for (int64_t i = 0; i < n->width[0] * n->width[1]; i++)
        if (weight[i] != *bias) return 0;
    for (int64_t i = 0; i < n->width[1]; i++)
        if (bias[i] != *bias) return 0;
    return 1;
}

static void pair_begin(const net *n, pair p, view x, view y, const float *w) {
    const int64_t in = n->width[0], out = n->width[1], ld = padded(out), ldr = padded(p.rows);
    span_begin(n, p.support, x, w);
    turn(p.rows, in, y.at, y.row, p.turned, ldr);
    product(p.support.rows, p.rows, in, x, p.turned, ldr, p.cross, ldr, 0, 1, NULL);
    for (int64_t i = 0; i < p.support.rows * ldr; i += LANES) put(p.cross + i, at(p.cross + i) + 1);
    product(p.rows, out, in, y, w, ld, p.z, ld, 0, 1, w + in * ld);
}

/* What the query's outputs become by the steps that the sum has; for the steps up to here, it is begun anew. */
static void pair_query(const net *n, pair p, float lr) {
    const int64_t out = n->width[1], ld = padded(out);
    product(p.rows, out, p.support.rows, (view){p.cross, 1, padded(p.rows)}, p.support.sum, ld, p.z, ld, 1, -lr, NULL);
}

/* Back from the query, with its gradient g: A = g, C = 0. */
static void pair_turn(const net *n, pair p, const float *g) {
    const int64_t out = n->width[1], ld = padded(out);
    memcpy(p.adjoint, g, p.rows * ld * sizeof(float));
    memset(p.support.sum, 0, p.support.rows * ld * sizeof(float));
    product(p.support.rows, out, p.rows, (view){p.cross, padded(p.rows), 1}, g, ld, p.along, ld, 0, 1, NULL);
}

/* The movement of the support's outputs when the layer moves along lr times its adjoint. */
static void pair_tangent(const net *n, pair p, float lr, float *dh) {
    combine(p.support.rows * padded(n->width[1]), p.along, lr - 1, p.along, dh);
}

/* The movement dg of the support's gradient goes out of the adjoint. */
static void pair_back(const net *n, pair p, const float *dg) {
    const int64_t out = n->width[1], ld = padded(out), rows = p.support.rows;
    combine(rows * ld, p.support.sum, -1, dg, p.support.sum);
    product(rows, out, rows, (view){p.support.kernel, padded(rows), 1}, dg, ld, p.along, ld, 1, -1, NULL);
}

static void pair_end(const net *n, pair p, float *to) {
    const int64_t in = n->width[0], out = n->width[1], ld = padded(out);
    product(in, out, p.rows, (view){p.turned, padded(p.rows), 1}, p.adjoint, ld, to, ld, 0, 1, NULL);
    product(in, out, p.support.rows, (view){p.support.turned, padded(p.support.rows), 1}, p.support.sum, ld, to, ld, 1, 1, NULL);
    add_rows(p.rows, ld, p.adjoint, 0, 1, to + in * ld);
    add_rows(p.support.rows, ld, p.support.sum, 1, 1, to + in * ld);
}
