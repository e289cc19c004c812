// Products of rows with packed matrices: bfloat16 with float sums, and 8-bit integers with 32-bit sums.
//
// A tile of up to 12 rows and 32 columns is summed in 24 of the 32 vector registers; two more hold a step of the
// matrix, and one value of each row is spread from memory. A packed matrix is cut into panels of 32 columns, which lie
// in the order in which they are read.
#ifndef HEADRACE_PRODUCT_H
#define HEADRACE_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

#include "vector.h"

#define TILE_ROWS 12
#define TILE_COLUMNS 32
#define TILE_VECTORS 2

// Memory aligned to a cache line, which is a vector; NULL if there is none.
void *allocate(size_t bytes);

// Calls `use` with the number of rows as a constant, so that each number gets code of its own, all in registers.
#define WITH_ROWS(rows, use)     \
    switch (rows) {              \
        case 1: use(1); break;   \
        case 2: use(2); break;   \
        case 3: use(3); break;   \
        case 4: use(4); break;   \
        case 5: use(5); break;   \
        case 6: use(6); break;   \
        case 7: use(7); break;   \
        case 8: use(8); break;   \
        case 9: use(9); break;   \
        case 10: use(10); break; \
        case 11: use(11); break; \
        default: use(12); break; \
    }

// sums[r][v] += rows[r] x panel, over `pairs` pairs of values. The stride between rows is in bytes.
INLINE void add_bf16(const int count, const void *rows, long stride, const bf16 *panel, int pairs,
                     __m512 sums[TILE_ROWS][TILE_VECTORS]) {
    const char *row = rows;
    for (int pair = 0; pair < pairs; pair++) {
        const __m512bh left = (__m512bh)_mm512_load_si512(panel), right = (__m512bh)_mm512_load_si512(panel + 32);
        panel += 2 * TILE_COLUMNS;
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const __m512bh value = (__m512bh)_mm512_set1_epi32(*(const int *)(row + r * stride));
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], value, left);
            sums[r][1] = _mm512_dpbf16_ps(sums[r][1], value, right);
        }
        row += 4;
    }
}

// The same for rows of unsigned and a panel of signed 8-bit integers, over `quads` of four values.
INLINE void add_int8(const int count, const void *rows, long stride, const int8_t *panel, int quads,
                     __m512i sums[TILE_ROWS][TILE_VECTORS]) {
    const char *row = rows;
    for (int quad = 0; quad < quads; quad++) {
        const __m512i left = _mm512_load_si512(panel), right = _mm512_load_si512(panel + 64);
        panel += 4 * TILE_COLUMNS;
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const __m512i value = _mm512_set1_epi32(*(const int *)(row + r * stride));
            sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], value, left);
            sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], value, right);
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
    bool is_int8;
    int group;      // int8 only: divides `in`; the whole of it unless how == ADD
    void *panels;   // bf16 [out / 32][in / 2][32][2] or int8 [out / 32][in / 4][32][4]
    float *bias;    // [out]
    float *shrink;  // int8 only: [in], what a row is multiplied with before it is rounded
    float *steps;   // int8 only: [in / group][out], what one step of a column's weights is worth
    float *sums;    // int8 only: [in / group][out], of a column's integers
} linear;

// Rows that go into a linear layer.
typedef struct {
    const void *values;  // bf16, or unsigned 8-bit integers
    long stride;         // bytes from row to row
    const float *steps;  // int8 only: [count][in / group], what one step of a row's values is worth
    const float *zeros;  // int8 only: the same, the integer that stands for 0
} rows;

bool linear_create(linear *layer, int in, int out, bool is_int8, int group);
void linear_destroy(linear *layer);

// Packs `weight` [in][columns] as the columns from `first` on, so that several layers can be packed side by side. For
// integers, `shrink` is set before.
void linear_pack(linear *layer, const float *weight, const float *bias, int first, int columns);

// to[r] = finish(from[r] x weight + bias) for the columns of the panels from `first` to before `end`. `to` is bf16
// [count][stride], but for ADD, which adds to float [count][stride].
void linear_run(const linear *layer, finish how, rows from, int count, int first, int end, void *to, long stride);

// Rounds a row to the integers that the layer takes.
void quantize_floats(const linear *layer, const float *from, uint8_t *to, float *steps, float *zeros);
void quantize_bf16(const linear *layer, const bf16 *from, uint8_t *to, float *steps, float *zeros);

#endif
