// Attention of one head over one text, a tile of queries at a time.
#include "attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "product.h"

static int padded(int tokens) { return (tokens + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS; }

bool attention_create(attention_memory *memory, int window, int depth) {
    const size_t room = (size_t)padded(window);
    *memory = (attention_memory){
        .keys = allocate(room * depth * sizeof(value)),
        .values = allocate(room * depth * sizeof(value)),
        .scores = allocate(room * TILE_ROWS * sizeof(float)),
        .shares = allocate(room * TILE_ROWS * sizeof(value)),
    };
    return memory->keys && memory->values && memory->scores && memory->shares;
}

void attention_destroy(attention_memory *memory) {
    free(memory->keys);
    free(memory->values);
    free(memory->scores);
    free(memory->shares);
}

// Packs keys as the columns of a matrix; columns without a key are 0.
static void pack_keys(const head *head, value *packed) {
    const int steps = head->depth / VALUES_IN_WORD;
    for (int first = 0; first < padded(head->tokens); first += LANES) {
        int32_t *panel =
            (int32_t *)packed + (size_t)(first / TILE_COLUMNS) * TILE_COLUMNS * steps + first % TILE_COLUMNS;
        for (int step = 0; step < steps; step += LANES) {
            words square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = first + i < head->tokens
                                ? load_any_words(head->keys + (first + i) * head->stride + VALUES_IN_WORD * step)
                                : no_words();
            transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) store_words(panel + (size_t)(step + i) * TILE_COLUMNS, square[i]);
        }
    }
}

// Packs values as the rows of a matrix; rows without a token are 0.
static void pack_values(const head *head, value *packed) {
    const int rows = padded(head->tokens);
    for (int column = 0; column < head->depth; column += TILE_COLUMNS) {
        value *panel = packed + (size_t)column * rows;
        for (int row = 0; row < rows; row += VALUES_IN_WORD)
            pack_rows(head->values + row * head->stride + column, head->stride, head->tokens - row,
                      panel + (size_t)row * TILE_COLUMNS);
    }
}

INLINE void score_tile(const int count, const value *queries, long stride, const value *panel, int depth, float *scores,
                       int width) {
    vector sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = zeros();
    multiply_values(count, queries, stride, panel, depth / VALUES_IN_WORD, sums);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        store(scores + r * width, sums[r][0]);
        store(scores + r * width + LANES, sums[r][1]);
    }
}

INLINE void mix_tile(const int count, const value *shares, const value *panel, int width, const float *totals,
                     value *to, long stride) {
    vector sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = zeros();
    multiply_values(count, shares, width * (long)sizeof(value), panel, width / VALUES_IN_WORD, sums);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        const vector share = spread(1.0f / totals[r]);
        narrow(to + r * stride, times(sums[r][0], share));
        narrow(to + r * stride + LANES, times(sums[r][1], share));
    }
}

// Returns the sum of the exponentials, which are written as values; those past the text are 0.
static float soften(float *scores, value *shares, int tokens, int width, const float *bias) {
    vector most = spread(-INFINITY);
    for (int i = 0; i < tokens; i += LANES) {
        const lanes here = first_lanes(tokens - i);
        vector score = load(scores + i);
        if (bias != NULL) {
            score = add(score, load_some(here, bias + i));
            store(scores + i, score);
        }
        most = greater_in(here, most, score);
    }
    const vector greatest = spread(greatest_of(most));
    vector total = zeros();
    for (int i = 0; i < width; i += LANES) {
        const lanes here = first_lanes(tokens - i);
        const vector power = keep(here, exponential(subtract(load(scores + i), greatest)));
        narrow(shares + i, power);
        total = add(total, power);
    }
    return sum_of(total);
}

void attend(const head *head, attention_memory *memory, value *to, long stride) {
    const int width = padded(head->tokens), depth = head->depth;
    pack_keys(head, memory->keys);
    pack_values(head, memory->values);
    for (int first = head->first; first < head->end; first += TILE_ROWS) {
        const int count = head->end - first < TILE_ROWS ? head->end - first : TILE_ROWS;
        const value *queries = head->queries + first * head->stride;
        for (int key = 0; key < width; key += TILE_COLUMNS) {
            const value *panel = memory->keys + (size_t)key * depth;
#define SCORE(n) score_tile(n, queries, head->stride *(long)sizeof(value), panel, depth, memory->scores + key, width)
            WITH_ROWS(count, SCORE)
        }
        float totals[TILE_ROWS];
        for (int r = 0; r < count; r++) {
            const float *bias = head->bias == NULL ? NULL : head->bias + (first + r) * head->bias_stride;
            totals[r] = soften(memory->scores + r * width, memory->shares + r * width, head->tokens, width, bias);
        }
        for (int column = 0; column < depth; column += TILE_COLUMNS) {
            const value *panel = memory->values + (size_t)column * width;
#define MIX(n) mix_tile(n, memory->shares, panel, width, totals, to + first * stride + column, stride)
            WITH_ROWS(count, MIX)
        }
    }
}
