/* Multilayer perceptrons, one client after the other: what one needs stays in the cache from its first step to its last.
 *
 * Five loops over network.h and spanned.h: SGD, what it answers on its way, guarded steps, the outer gradient of MAML, the local steps of Per-FedAvg. Everything here is tested
 * against the kernels in metapulse/models/kernels. A function returns 1 where there is no memory.
 */
#include "spanned.h"

/* SGD with rate lr, a step on each batch: where it ends, or how far it went (the start minus the end), or the sum of
 * that over the clients, each times its share; or the gradient of one batch. Adds to each client's loss that of the
 * batches on the way. */
int descend(const net *n, int64_t clients, tree start, int64_t steps, const batch *batches, float lr, int64_t wanted,
            const float *share, tree to, float *loss) {
    const int64_t size = parameters(n), rows = outputs(n) * most_samples(steps, batches);
    const int spanned = wanted != GRADIENT && worth_spanning(n, steps, batches);
    const int64_t more = spanned ? span_numbers(n, batches->samples) : 0;
    float *const memory = zeros(3 * size + 2 * rows + scratch(n) + more);
    if (!memory) return 1;
    float *w = memory, *theta = w + size, *other = theta + size, *h = other + size, *g = h + rows, *turned = g + rows;
    const span s = span_in(n, batches->samples, turned + scratch(n));
    const int same = shared(n->layers, start);
    if (same) load(n, start, 0, theta);
    for (int64_t c = 0; c < clients; c++) {
        if (!same) load(n, start, c, theta);
        memcpy(w, theta, size * sizeof(float));
        if (spanned) span_begin(n, s, input(batches, c), w);
        for (int64_t k = 0; k < steps; k++) {
            const place p = {w, input(batches + k, c), batches[k].samples, h, g, NULL, spanned ? s.z : NULL};
            loss[c] += judged(n, p, batches + k, c, turned);
            if (wanted == GRADIENT) backward(n, p, 0, 1, other, turned);
            else backward(n, p, 1, -lr, w, turned);
            if (spanned) span_step(n, s, g, lr);
        }
        if (spanned) span_end(n, s, lr, w);
        if (wanted >= DISPLACEMENT) combine(size, theta, -1, w, w);
        if (wanted == SUM) combine(size, other, share[c], w, other);
        else store(n, wanted == GRADIENT ? other : w, to, c);
    }
    if (wanted == SUM) store(n, other, to, 0);
    free(memory);
    return 0;
}

/* What SGD answers to other inputs at some points of its way, after stop[0] ≤ stop[1] … of its steps, each on a batch:
 * to is (stops, clients, inputs, answers). Adds to each client's loss that of the batches on the way. */
int answer(const net *n, int64_t clients, tree start, const batch *batches, float lr, int64_t stops, const int64_t *stop,
           const batch *query, float *to, float *loss) {
    const int64_t size = parameters(n), steps = stop[stops - 1], count = query->samples, out = answers(n);
    const int64_t rows = outputs(n) * larger_of(most_samples(steps, batches), count);
    const int spanned = worth_answering(n, steps, stops, batches, query);
    const int64_t more = spanned ? pair_numbers(n, batches->samples, count) : 0;
    float *const memory = zeros(2 * size + 2 * rows + scratch(n) + more);
    if (!memory) return 1;
    float *w = memory, *theta = w + size, *h = theta + size, *g = h + rows, *turned = g + rows;
    const pair s = pair_in(n, spanned ? batches->samples : 0, spanned ? count : 0, turned + scratch(n));
    const int same = shared(n->layers, start);
    if (same) load(n, start, 0, theta);
    for (int64_t c = 0; c < clients; c++) {
        if (same) memcpy(w, theta, size * sizeof(float));
        else load(n, start, c, w);
        if (spanned) pair_begin(n, s, input(batches, c), input(query, c), w);
        for (int64_t i = 0, k = 0; i < stops; i++) {
            for (; k < stop[i]; k++) {
                const place p = {w, input(batches + k, c), batches[k].samples, h, g, NULL, spanned ? s.support.z : NULL};
                loss[c] += judged(n, p, batches + k, c, turned);
                backward(n, p, 1, -lr, w, turned);
                if (spanned) span_step(n, s.support, g, lr);
            }
            if (spanned) {
                pair_query(n, s, lr);
                memset(s.support.sum, 0, s.support.rows * padded(n->width[1]) * sizeof(float));
            }
            forward(n, (place){w, input(query, c), count, h, g, NULL, spanned ? s.z : NULL});
            copy_rows(count, out, h + count * hidden(n), padded(out), to + (i * clients + c) * count * out, out);
        }
    }
    free(memory);
    return 0;
}

/* to = a - b c, number by number */
static void scaled_step(int64_t size, const float *a, const float *b, const float *c, float *to) {
    for (int64_t i = 0; i < size; i += LANES) put(to + i, at(a + i) - at(b + i) * at(c + i));
}

/* Steps w -= rates * gradient on one batch, of which those from ``free_steps`` on are only taken where the loss does
 * not rise (meta_sgd.py); a step that is refused is a client's last, as the next would be the same. The loss is that
 * where it ends. */
int guarded(const net *n, int64_t clients, tree start, tree rates, int64_t steps, int64_t free_steps, const batch *b,
            tree to, float *loss) {
    const int64_t size = parameters(n), rows = outputs(n) * b->samples;
    float *const memory = zeros(4 * size + 2 * rows + scratch(n));
    if (!memory) return 1;
    float *w = memory, *next = w + size, *alpha = next + size, *gradient = alpha + size, *h = gradient + size;
    float *g = h + rows, *turned = g + rows;
    const int even = shared(n->layers, rates);
    if (even) load(n, rates, 0, alpha);
    for (int64_t c = 0; c < clients; c++) {
        load(n, start, c, w);
        if (!even) load(n, rates, c, alpha);
        place p = {w, input(b, c), b->samples, h, g};
        loss[c] = judged(n, p, b, c, turned);
        for (int64_t k = 0; k < steps; k++) {
            backward(n, p, 0, 1, gradient, turned);
            scaled_step(size, w, alpha, gradient, next);
            p.w = next;
            const float value = judged(n, p, b, c, turned);
            if (k >= free_steps && !(value <= loss[c])) break; /* also where it is no number */
            loss[c] = value;
            float *const before = w;
            w = next, next = before;
        }
        store(n, w, to, c);
    }
    free(memory);
    return 0;
}

/* Local steps of Per-FedAvg (per_fedavg.py): w -= beta (I - alpha H) g, with g the gradient at w - alpha times the
 * gradient at w, each on a batch of its own, and H g by a difference of relative width delta (0: left out). */
int per_fedavg(const net *n, int64_t clients, tree start, int64_t steps, const batch *inner, const batch *outer,
               const batch *curve, float alpha, float beta, float delta, tree to, float *loss) {
    const int64_t size = parameters(n), most = larger_of(most_samples(steps, inner), most_samples(steps, outer));
    const int64_t rows = outputs(n) * larger_of(most, delta > 0 ? most_samples(steps, curve) : 0);
    float *const memory = zeros(5 * size + 2 * rows + scratch(n));
    if (!memory) return 1;
    float *theta = memory, *w = theta + size, *near = w + size, *g = near + size, *difference = g + size;
    float *h = difference + size, *s = h + rows, *turned = s + rows;
    for (int64_t c = 0; c < clients; c++) {
        load(n, start, c, theta);
        memcpy(w, theta, size * sizeof(float));
        for (int64_t k = 0; k < steps; k++) {
            place p = {w, input(inner + k, c), inner[k].samples, h, s, NULL};
            judged(n, p, inner + k, c, turned);
            backward(n, p, 0, 1, g, turned);
            combine(size, w, -alpha, g, near);
            p = (place){near, input(outer + k, c), outer[k].samples, h, s, NULL};
            loss[c] += judged(n, p, outer + k, c, turned);
            backward(n, p, 0, 1, g, turned);
            const float width = delta / fmaxf((float)norm(size, g), 1e-12f);
            for (int side = 1; delta > 0 && side >= -1; side -= 2) {
                combine(size, w, side * width, g, near);
                p = (place){near, input(curve + k, c), curve[k].samples, h, s, NULL};
                judged(n, p, curve + k, c, turned);
                backward(n, p, side < 0, side, difference, turned);
            }
            if (delta > 0) combine(size, g, -alpha / (2 * width), difference, g);
            combine(size, w, -beta, g, w);
        }
        combine(size, theta, -1, w, near);
        store(n, near, to, c);
    }
    free(memory);
    return 0;
}

/* MAML's outer gradient, by its adjoint (adjoint.py), with a rate per parameter; ``to_rates`` may be empty. With shares,
 * ``to`` is the sum of the gradients over the clients, each times its share. */
int adjoint(const net *n, int64_t clients, tree start, tree rates, int64_t steps, const batch *support,
            const batch *query, const float *share, tree to, tree to_rates, float *loss) {
    const int64_t size = parameters(n), steepest = larger_of(most_samples(steps, support), query->samples);
    const int64_t rows = outputs(n) * steepest, kept = n->activation == TANH ? 3 : 2;
    const int spanned = !to_rates.tensor && worth_a_pair(n, steps, support, query) && one_rate(n, rates);
    const int64_t more = spanned ? pair_numbers(n, support->samples, query->samples) : 0;
    float *const memory =
        zeros((2 * steps + 7) * size + ((steps + 1) * kept + 2) * rows + scratch(n) + more);
    if (!memory) return 1;
    float *path = memory, *gradients = path + (steps + 1) * size, *theta = gradients + steps * size, *alpha = theta + size;
    float *lambda = alpha + size, *v = lambda + size, *slow = v + size, *total = slow + size, *visited = total + size;
    float *dh = visited + (steps + 1) * kept * rows, *dg = dh + rows, *turned = dg + rows;
    const pair s = pair_in(n, support->samples, query->samples, turned + scratch(n));
    const int64_t from = spanned ? (n->width[0] + 1) * padded(n->width[1]) : 0, moved = size - from;
    const int same = shared(n->layers, start), even = shared(n->layers, rates);
    if (same) load(n, start, 0, theta);
    if (even) load(n, rates, 0, alpha);
    for (int64_t c = 0; c < clients; c++) {
        if (same) memcpy(path, theta, size * sizeof(float));
        else load(n, start, c, path);
        if (!even) load(n, rates, c, alpha);
        if (spanned) pair_begin(n, s, input(support, c), input(query, c), path);
        for (int64_t k = 0; k <= steps; k++) {
            const batch *b = k < steps ? support + k : query;
            float *h = visited + k * kept * rows, *g = h + rows, *w = path + k * size, *gradient = gradients + k * size;
            const float *z = !spanned ? NULL : k < steps ? s.support.z : s.z;
            const place p = {w, input(b, c), b->samples, h, g, kept == 3 ? g + rows : NULL, z};
            const float value = judged(n, p, b, c, turned);
            backward(n, p, 0, 1, k < steps ? gradient : lambda, turned);
            if (k == steps) loss[c] = value;
            else scaled_step(moved, w + from, alpha + from, gradient + from, w + size + from);
            if (spanned && k < steps) span_step(n, s.support, g, *alpha);
            if (spanned && k + 1 == steps) pair_query(n, s, *alpha);
            if (spanned && k == steps) pair_turn(n, s, g);
        }
        if (to_rates.tensor) memset(slow, 0, size * sizeof(float));
        for (int64_t k = steps - 1; k >= 0; k--) {
            const batch *b = support + k;
            float *h = visited + k * kept * rows, *g = h + rows;
            const float *z = spanned ? s.support.z : NULL;
            const place p = {path + k * size, input(b, c), b->samples, h, g, kept == 3 ? g + rows : NULL, z};
            const int64_t before = b->samples * hidden(n);
            if (to_rates.tensor) scaled_step(size, slow, gradients + k * size, lambda, slow);
            for (int64_t i = from; i < size; i += LANES) put(v + i, at(alpha + i) * at(lambda + i));
            if (spanned) pair_tangent(n, s, *alpha, dh);
            forward_tangent(n, p, v, dh);
            judge_tangent(n->loss, answers(n), b, c, g + before, dh + before, dg + before);
            backward_tangent(n, p, v, dh, dg, lambda, turned);
            if (spanned) pair_back(n, s, dg);
        }
        if (spanned) pair_end(n, s, lambda);
        if (share) combine(size, total, share[c], lambda, total);
        else store(n, lambda, to, c);
        if (to_rates.tensor) store(n, slow, to_rates, c);
    }
    if (share) store(n, total, to, 0);
    free(memory);
    return 0;
}
