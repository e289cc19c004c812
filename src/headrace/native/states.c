// Layer norm, and pooling.
#include "states.h"

#include <math.h>

#include "vector.h"

#define LEAST_NORM 1e-12f

void normalize(float *row, int length, const norm *norm, float epsilon) {
    vector total = zeros();
    for (int i = 0; i < length; i += LANES) total = add(total, load(row + i));
    const vector mean = spread(sum_of(total) / (float)length);
    vector squares = zeros();
    for (int i = 0; i < length; i += LANES) {
        const vector away = subtract(load(row + i), mean);
        squares = times_add(away, away, squares);
    }
    const vector factor = spread(1.0f / sqrtf(sum_of(squares) / (float)length + epsilon));
    for (int i = 0; i < length; i += LANES) {
        const vector unit = times(subtract(load(row + i), mean), factor);
        store(row + i, times_add(unit, load(norm->scale + i), load(norm->shift + i)));
    }
}

INLINE vector pool_lanes(const float *states, int tokens, int hidden, int pooling) {
    vector pooled = load(states);
    if (pooling == POOL_FIRST) return pooled;
    if (pooling == POOL_LAST) return load(states + (size_t)(tokens - 1) * hidden);
    for (int row = 1; row < tokens; row++) {
        const vector state = load(states + (size_t)row * hidden);
        pooled = pooling == POOL_GREATEST ? greater(pooled, state) : add(pooled, state);
    }
    return pooling == POOL_GREATEST ? pooled : times(pooled, spread(1.0f / (float)tokens));
}

float pool_states(const float *states, int tokens, int hidden, int pooling, float *to) {
    vector squares = zeros();
    for (int i = 0; i < hidden; i += LANES) {
        const vector pooled = pool_lanes(states + i, tokens, hidden, pooling);
        store_any(to + i, pooled);
        squares = times_add(pooled, pooled, squares);
    }
    const float length = sqrtf(sum_of(squares));
    const vector factor = spread(1.0f / (length < LEAST_NORM ? LEAST_NORM : length));
    for (int i = 0; i < hidden; i += LANES) store_any(to + i, times(load_any(to + i), factor));
    return length;
}
