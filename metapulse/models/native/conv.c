/* Convolutions over time, ReLU and max-pooling by two between them, mean over time, linear: one window after the other.
 *
 * A window's own forward and backward pass follow each other while it is in the cache. It is held time by time with its
 * channels side by side, so the samples that one output reads lie one behind the other, and the matrix of all of them
 * needs no memory of its own: its rows overlap. The formulas are those of metapulse/models/kernels/conv.py, against which
 * this is tested.
 */
#include "stacks.h"

/* Mirrored in conv.py. */
typedef struct {
    int64_t blocks, time, outputs, loss;
    const int64_t *channels; /* blocks + 1, the input's first */
    const int64_t *width;    /* of each convolution */
} net;

/* One convolution; matrices are padded in their columns, all but the input in their channels. */
typedef struct {
    int64_t in, out, width, time, steps, pooled; /* steps: outputs; pooled: those after pooling */
    int64_t ldi, ldo;                            /* numbers from one time to the next, in and out */
    float *w, *bias, *dw, *dbias, *turned;       /* (width * ldi) x ldo, its gradient, its transpose for the way back */
    float *x, *y, *dx, *dy;                      /* dy has width - 1 rows of zeros in front and behind */
} layer;

enum { MOST_BLOCKS = 16 };

typedef struct {
    layer conv[MOST_BLOCKS];
    int64_t blocks, size, features, ld; /* numbers of the parameters; the head's inputs, and its outputs with padding */
    float *w, *dw, *head, *dhead, *mean, *dmean, *head_turned, *z, *dz, *scratch;
} space;

static float *take(float **from, int64_t count) {
    float *taken = *from;
    *from += count;
    return taken;
}

/* Where everything is in one piece of memory; with NULL, how much it must hold is what is returned. */
static int64_t lay_out(const net *n, space *s, float *memory) {
    float *next = memory;
    s->blocks = n->blocks, s->features = padded(n->channels[n->blocks]), s->ld = padded(n->outputs);
    for (int pass = 0; pass < 2; pass++) { /* parameters first, then their gradients, in the same order */
        float *begin = next;
        for (int64_t l = 0; l < n->blocks; l++) {
            layer *c = s->conv + l;
            c->in = n->channels[l], c->out = n->channels[l + 1], c->width = n->width[l];
            c->ldi = l ? padded(c->in) : c->in, c->ldo = padded(c->out);
            *(pass ? &c->dw : &c->w) = take(&next, c->width * c->ldi * c->ldo);
            *(pass ? &c->dbias : &c->bias) = take(&next, c->ldo);
        }
        *(pass ? &s->dhead : &s->head) = take(&next, (s->features + 1) * s->ld);
        *(pass ? &s->dw : &s->w) = begin;
        s->size = next - begin;
    }
    int64_t time = n->time;
    for (int64_t l = 0; l < n->blocks; l++) {
        layer *c = s->conv + l;
        c->time = time, c->steps = time - c->width + 1, c->pooled = l + 1 < n->blocks ? c->steps / 2 : c->steps;
        c->turned = take(&next, c->width * c->ldo * padded(c->ldi));
        c->x = take(&next, time * c->ldi + LANES), c->dx = take(&next, time * padded(c->ldi));
        c->y = take(&next, c->steps * c->ldo), c->dy = take(&next, (c->steps + 2 * c->width) * c->ldo);
        time = c->pooled;
    }
    s->mean = take(&next, s->features), s->dmean = take(&next, s->features);
    s->head_turned = take(&next, s->ld * s->features);
    s->z = take(&next, s->ld), s->dz = take(&next, s->ld), s->scratch = take(&next, s->ld * LANES);
    return next - memory;
}

static void load(const net *n, tree from, int64_t client, const space *s, float *to) {
    for (int64_t l = 0; l < n->blocks; l++) {
        const layer *c = s->conv + l;
        const float *w = from.tensor[2 * l] + client * from.stride[2 * l];
        for (int64_t o = 0; o < c->out; o++)
            for (int64_t i = 0; i < c->in; i++)
                for (int64_t k = 0; k < c->width; k++) to[(k * c->ldi + i) * c->ldo + o] = *w++;
        to += c->width * c->ldi * c->ldo;
        memcpy(to, from.tensor[2 * l + 1] + client * from.stride[2 * l + 1], c->out * sizeof(float));
        to += c->ldo;
    }
    const int64_t l = n->blocks, in = n->channels[l];
    turn(n->outputs, in, from.tensor[2 * l] + client * from.stride[2 * l], in, to, s->ld);
    memcpy(to + s->features * s->ld, from.tensor[2 * l + 1] + client * from.stride[2 * l + 1], n->outputs * sizeof(float));
}

static void store(const net *n, const space *s, const float *from, tree to, int64_t client) {
    for (int64_t l = 0; l < n->blocks; l++) {
        const layer *c = s->conv + l;
        float *w = to.tensor[2 * l] + client * to.stride[2 * l];
        for (int64_t o = 0; o < c->out; o++)
            for (int64_t i = 0; i < c->in; i++)
                for (int64_t k = 0; k < c->width; k++) *w++ = from[(k * c->ldi + i) * c->ldo + o];
        from += c->width * c->ldi * c->ldo;
        memcpy(to.tensor[2 * l + 1] + client * to.stride[2 * l + 1], from, c->out * sizeof(float));
        from += c->ldo;
    }
    const int64_t l = n->blocks, in = n->channels[l];
    turn(in, n->outputs, from, s->ld, to.tensor[2 * l] + client * to.stride[2 * l], in);
    memcpy(to.tensor[2 * l + 1] + client * to.stride[2 * l + 1], from + s->features * s->ld, n->outputs * sizeof(float));
}

/* The larger of two neighbours, and ReLU; an odd last one is left out. */
static void pool(const layer *c, float *to) {
    for (int64_t t = 0; t < c->pooled; t++)
        for (int64_t j = 0; j < c->ldo; j += LANES)
            put(to + t * c->ldo + j, positive(larger(at(c->y + 2 * t * c->ldo + j), at(c->y + (2 * t + 1) * c->ldo + j))));
}

/* dy from the gradient g after pooling: to the larger neighbour, of equal ones the second. */
static void unpool(const layer *c, const float *g, float *dy) {
    for (int64_t t = 0; t < c->pooled; t++)
        for (int64_t j = 0; j < c->ldo; j += LANES) {
            const vec one = at(c->y + 2 * t * c->ldo + j), two = at(c->y + (2 * t + 1) * c->ldo + j);
            const vec alive = where_positive(larger(one, two), at(g + t * c->ldo + j));
            const vec first = where_positive(one - two, alive);
            put(dy + 2 * t * c->ldo + j, first);
            put(dy + (2 * t + 1) * c->ldo + j, alive - first);
        }
}

/* One window's loss; adds its gradient. */
static float window(const net *n, space *s, const batch *b, int64_t client, int64_t sample) {
    turn(n->channels[0], n->time, b->x + client * b->x_client + sample * b->x_row, n->time, s->conv[0].x, n->channels[0]);
    for (int64_t l = 0; l < n->blocks; l++) {
        const layer *c = s->conv + l;
        product(c->steps, c->out, c->width * c->ldi, (view){c->x, c->ldi, 1}, c->w, c->ldo, c->y, c->ldo, 0, 1, c->bias);
        if (l + 1 < n->blocks) pool(c, c[1].x);
    }
    const layer *last = s->conv + n->blocks - 1;
    const float share = 1.0f / last->steps;
    for (int64_t j = 0; j < s->features; j += LANES) {
        vec sum = all(0);
        for (int64_t t = 0; t < last->steps; t++) sum += positive(at(last->y + t * s->features + j));
        put(s->mean + j, share * sum);
    }
    product(1, n->outputs, s->features, (view){s->mean, 0, 1}, s->head, s->ld, s->z, s->ld, 0, 1,
            s->head + s->features * s->ld);
    const float loss = judge(n->loss, n->outputs, b, client, sample, 1, s->z, s->dz, s->scratch);
    product(s->features, n->outputs, 1, (view){s->mean, 1, 0}, s->dz, s->ld, s->dhead, s->ld, 1, 1, NULL);
    combine(s->ld, s->dhead + s->features * s->ld, 1, s->dz, s->dhead + s->features * s->ld);
    product(1, s->features, n->outputs, (view){s->dz, 0, 1}, s->head_turned, s->features, s->dmean, s->features, 0, share,
            NULL);
    for (int64_t l = n->blocks - 1; l >= 0; l--) {
        const layer *c = s->conv + l;
        float *dy = c->dy + (c->width - 1) * c->ldo;
        if (l + 1 < n->blocks) unpool(c, c[1].dx, dy);
        else
            for (int64_t t = 0; t < c->steps; t++)
                for (int64_t j = 0; j < c->ldo; j += LANES)
                    put(dy + t * c->ldo + j, where_positive(at(c->y + t * c->ldo + j), at(s->dmean + j)));
        product(c->width * c->ldi, c->out, c->steps, (view){c->x, 1, c->ldi}, dy, c->ldo, c->dw, c->ldo, 1, 1, NULL);
        add_rows(c->steps, c->ldo, dy, 1, 1, c->dbias);
        if (l > 0)
            product(c->time, c->in, c->width * c->ldo, (view){c->dy, c->ldo, 1}, c->turned, c->ldi, c->dx, c->ldi, 0, 1,
                    NULL);
    }
    return loss;
}

/* The gradient of one batch, in dw; its loss is returned. */
static float gradient(const net *n, space *s, const batch *b, int64_t client) {
    memset(s->dw, 0, s->size * sizeof(float));
    turn(s->features, s->ld, s->head, s->ld, s->head_turned, s->features);
    for (int64_t l = 1; l < n->blocks; l++) {
        const layer *c = s->conv + l;
        for (int64_t k = 0; k < c->width; k++) /* the last sample that an output reads was the first to read it */
            turn(c->ldi, c->ldo, c->w + (c->width - 1 - k) * c->ldi * c->ldo, c->ldo, c->turned + k * c->ldo * c->ldi, c->ldi);
    }
    float loss = 0;
    for (int64_t i = 0; i < b->samples; i++)
        if (b->weight[client * b->weight_client + i] > 0) loss += window(n, s, b, client, i);
    return loss;
}

/* As in dense.c. */
int descend(const net *n, int64_t clients, tree start, int64_t steps, const batch *batches, float lr, int64_t wanted,
            const float *share, tree to, float *loss) {
    space s;
    if (n->blocks > MOST_BLOCKS) return 1;
    float *const memory = zeros(lay_out(n, &s, NULL));
    if (!memory) return 1;
    lay_out(n, &s, memory);
    float *theta = zeros(2 * s.size), *total = theta + s.size;
    if (!theta) return free(memory), 1;
    const int same = shared(n->blocks + 1, start);
    if (same) load(n, start, 0, &s, theta);
    for (int64_t c = 0; c < clients; c++) {
        if (!same) load(n, start, c, &s, theta);
        memcpy(s.w, theta, s.size * sizeof(float));
        for (int64_t k = 0; k < steps; k++) {
            loss[c] += gradient(n, &s, batches + k, c);
            if (wanted != GRADIENT) combine(s.size, s.w, -lr, s.dw, s.w);
        }
        if (wanted >= DISPLACEMENT) combine(s.size, theta, -1, s.w, s.w);
        if (wanted == SUM) combine(s.size, total, share[c], s.w, total);
        else store(n, &s, wanted == GRADIENT ? s.dw : s.w, to, c);
    }
    if (wanted == SUM) store(n, &s, total, to, 0);
    free(theta);
    free(memory);
    return 0;
}
