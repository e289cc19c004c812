// Products of rows with packed matrices: values with float sums, and integers with 32-bit sums.
//
// A tile of a few rows and columns is summed in registers. A packed matrix is cut into panels, of as many columns as a
// tile, which lie in the order in which they are read: words of 32 bits, each some neighbours of a column.
#ifndef HEADRACE_PRODUCT_H
#define HEADRACE_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

#include "vector.h"

// Memory aligned to a cache line, which is a vector; NULL if there is none.
void *allocate(size_t bytes);

// sums[r][v] += rows[r] x panel, over so many words. The stride between rows is in bytes.
INLINE void multiply_values(const int count, const void *rows, long stride, const value *panel, int steps,
                            vector sums[TILE_ROWS][TILE_VECTORS]) {
    const char *row = rows;
    for (int step = 0; step < steps; step++) {
        const words left = load_words(panel), right = load_words(panel + VALUES_IN_WORD * LANES);
        panel += VALUES_IN_WORD * TILE_COLUMNS;
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const words spread = spread_word(*(const int *)(row + r * stride));
            sums[r][0] = add_values(sums[r][0], spread, left);
            sums[r][1] = add_values(sums[r][1], spread, right);
        }
        row += 4;
    }
}

// The same for integers.
INLINE void multiply_integers(const int count, const void *rows, long stride, const weight_integer *panel, int steps,
                              words sums[TILE_ROWS][TILE_VECTORS]) {
    const char *row = rows;
    for (int step = 0; step < steps; step++) {
        const words left = load_words(panel), right = load_words(panel + INTEGERS_IN_WORD * LANES);
        panel += INTEGERS_IN_WORD * TILE_COLUMNS;
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const words spread = spread_word(*(const int *)(row + r * stride));
            sums[r][0] = add_integers(sums[r][0], spread, left);
            sums[r][1] = add_integers(sums[r][1], spread, right);
        }
        row += 4;
    }
}

typedef enum { STORE, STORE_GELU, STORE_GELU_TANH, STORE_RELU, ADD } finish;

// A linear layer, packed. Its width `in` is a multiple of 64, `out` one of 32.
//
// Integers: a column's weights are rounded to steps of its own, a row's values to steps of its own from a zero of its
// own, both for each `group` of the width. So a value is near its integer however great its neighbours are, and what a
// row gives does not depend on other rows.
typedef struct {
    int in, out;
    bool is_integer;
    int group;      // integers only: divides `in`; the whole of it unless how == ADD
    int most;       // integers only: the greatest one of a row, for which no sum overflows
    void *panels;   // [out / columns of a tile][in / numbers in a word][columns of a tile][numbers in a word]
    float *bias;    // [out]
    float *shrink;  // integers only: [in], what a row is multiplied with before it is rounded
    float *steps;   // integers only: [in / group][out], what one step of a column's weights is worth
    float *sums;    // integers only: [in / group][out], of a column's integers
} linear;

// Rows that go into a linear layer.
typedef struct {
    const void *values;  // or integers
    long stride;         // bytes from row to row
    const float *steps;  // integers only: [count][in / group], what one step of a row's values is worth
    const float *zeros;  // integers only: the same, the integer that stands for 0
} rows;

bool linear_create(linear *layer, int in, int out, bool is_integer, int group);
void linear_destroy(linear *layer);

// Packs `weight` [in][columns] as the columns from `first` on, so that several layers can be packed side by side. For
// integers, `shrink` is set before.
void linear_pack(linear *layer, const float *weight, const float *bias, int first, int columns);

// to[r] = finish(from[r] x weight + bias) for the columns of the panels from `first` to before `end`. `to` is value
// [count][stride], but for ADD, which adds to float [count][stride].
void linear_run(const linear *layer, finish how, rows from, int count, int first, int end, void *to, long stride);

// Rounds a row to the integers that the layer takes.
void quantize_floats(const linear *layer, const float *from, row_integer *to, float *steps, float *zeros);
void quantize_values(const linear *layer, const value *from, row_integer *to, float *steps, float *zeros);

#endif
