// Packing weights, tiles in registers, and rounding rows to integers.
#include "product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_WEIGHT 127.0f
#define MOST_VALUE 255.0f
#define LEAST_STEP 1e-12f

void *allocate(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

bool linear_create(linear *layer, int in, int out, bool is_int8, int group) {
    *layer = (linear){.in = in, .out = out, .is_int8 = is_int8, .group = group};
    layer->panels = allocate((size_t)in * out * (is_int8 ? 1 : 2));
    layer->bias = allocate((size_t)out * sizeof(float));
    if (!is_int8) return layer->panels && layer->bias;
    layer->shrink = allocate((size_t)in * sizeof(float));
    layer->steps = allocate((size_t)in / group * out * sizeof(float));
    layer->sums = allocate((size_t)in / group * out * sizeof(float));
    if (!layer->panels || !layer->bias || !layer->shrink || !layer->steps || !layer->sums) return false;
    for (int i = 0; i < in; i++) layer->shrink[i] = 1.0f;
    return true;
}

void linear_destroy(linear *layer) {
    free(layer->panels);
    free(layer->bias);
    free(layer->shrink);
    free(layer->steps);
    free(layer->sums);
}

static bf16 round_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fc0;
    return (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
}

static void pack_bf16(linear *layer, const float *weight, int column, int columns, int place) {
    bf16 *panel = (bf16 *)layer->panels + (size_t)(place / TILE_COLUMNS) * TILE_COLUMNS * layer->in;
    for (int k = 0; k < layer->in; k++)
        panel[(k / 2 * TILE_COLUMNS + place % TILE_COLUMNS) * 2 + k % 2] =
            round_bf16(weight[(size_t)k * columns + column]);
}

static void pack_int8(linear *layer, const float *weight, int column, int columns, int place) {
    int8_t *panel = (int8_t *)layer->panels + (size_t)(place / TILE_COLUMNS) * TILE_COLUMNS * layer->in;
    for (int first = 0; first < layer->in; first += layer->group) {
        const int end = first + layer->group;
        float most = 0;
        for (int k = first; k < end; k++)
            most = fmaxf(most, fabsf(weight[(size_t)k * columns + column] / layer->shrink[k]));
        const float step = fmaxf(most / MOST_WEIGHT, LEAST_STEP);
        int sum = 0;
        for (int k = first; k < end; k++) {
            const int value = (int)lrintf(weight[(size_t)k * columns + column] / layer->shrink[k] / step);
            panel[(k / 4 * TILE_COLUMNS + place % TILE_COLUMNS) * 4 + k % 4] = (int8_t)value;
            sum += value;
        }
        const size_t at = (size_t)(first / layer->group) * layer->out + place;
        layer->steps[at] = step;
        layer->sums[at] = (float)sum;
    }
}

void linear_pack(linear *layer, const float *weight, const float *bias, int first, int columns) {
    memcpy(layer->bias + first, bias, (size_t)columns * sizeof *bias);
    for (int column = 0; column < columns; column++)
        (layer->is_int8 ? pack_int8 : pack_bf16)(layer, weight, column, columns, first + column);
}

// Ends a tile: its sums are floats now.
INLINE void end_tile(const finish how, const int count, __m512 sums[TILE_ROWS][TILE_VECTORS], const float *bias,
                     void *to, long stride) {
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; v++) {
        const __m512 added = _mm512_load_ps(bias + LANES * v);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const __m512 sum = _mm512_add_ps(sums[r][v], added);
            bf16 *const place = (bf16 *)to + r * stride + LANES * v;
            float *const total = (float *)to + r * stride + LANES * v;
            switch (how) {
                case STORE: narrow(place, sum); break;
                case STORE_GELU: narrow(place, gelu(sum)); break;
                case STORE_GELU_TANH: narrow(place, gelu_tanh(sum)); break;
                case STORE_RELU: narrow(place, relu(sum)); break;
                case ADD: _mm512_storeu_ps(total, _mm512_add_ps(_mm512_loadu_ps(total), sum)); break;
            }
        }
    }
}

// Where a tile is computed, and what of the layer goes into it.
typedef struct {
    const void *values;
    long value_stride;
    int steps;  // along the width: pairs or quads
    const void *panel;
    const float *bias;
    void *to;
    long stride;
    // int8 only:
    const float *row_steps, *row_zeros;
    int groups;  // numbers from row to row in these
    const float *column_steps, *column_sums;
} tile;

INLINE void tile_bf16(const finish how, const int count, const tile *at) {
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    add_bf16(count, at->values, at->value_stride, at->panel, at->steps, sums);
    end_tile(how, count, sums, at->bias, at->to, at->stride);
}

INLINE void tile_int8(const finish how, const int count, const tile *at) {
    __m512i whole[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) whole[r][0] = whole[r][1] = _mm512_setzero_si512();
    add_int8(count, at->values, at->value_stride, at->panel, at->steps, whole);
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; v++) {
        const __m512 column_step = _mm512_load_ps(at->column_steps + LANES * v);
        const __m512 column_sum = _mm512_load_ps(at->column_sums + LANES * v);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const __m512 zero = _mm512_set1_ps(at->row_zeros[r * at->groups]);
            const __m512 step = _mm512_set1_ps(at->row_steps[r * at->groups]);
            const __m512 value = _mm512_fnmadd_ps(zero, column_sum, _mm512_cvtepi32_ps(whole[r][v]));
            sums[r][v] = _mm512_mul_ps(_mm512_mul_ps(value, step), column_step);
        }
    }
    end_tile(how, count, sums, at->bias, at->to, at->stride);
}

// A function for each way to end a tile: all of its branches are decided when it is compiled.
#define DEFINE_TILES(name, how)                                                             \
    static void name##_bf16(int count, const tile *at) { WITH_ROWS(count, USE_BF16_##how) } \
    static void name##_int8(int count, const tile *at) { WITH_ROWS(count, USE_INT8_##how) }
#define USE_BF16_STORE(n) tile_bf16(STORE, n, at)
#define USE_INT8_STORE(n) tile_int8(STORE, n, at)
#define USE_BF16_STORE_GELU(n) tile_bf16(STORE_GELU, n, at)
#define USE_INT8_STORE_GELU(n) tile_int8(STORE_GELU, n, at)
#define USE_BF16_STORE_GELU_TANH(n) tile_bf16(STORE_GELU_TANH, n, at)
#define USE_INT8_STORE_GELU_TANH(n) tile_int8(STORE_GELU_TANH, n, at)
#define USE_BF16_STORE_RELU(n) tile_bf16(STORE_RELU, n, at)
#define USE_INT8_STORE_RELU(n) tile_int8(STORE_RELU, n, at)
#define USE_BF16_ADD(n) tile_bf16(ADD, n, at)
#define USE_INT8_ADD(n) tile_int8(ADD, n, at)
DEFINE_TILES(store, STORE)
DEFINE_TILES(store_gelu, STORE_GELU)
DEFINE_TILES(store_gelu_tanh, STORE_GELU_TANH)
DEFINE_TILES(store_relu, STORE_RELU)
DEFINE_TILES(add_to, ADD)

typedef void (*tile_fn)(int count, const tile *at);

static const tile_fn TILES[][2] = {
    [STORE] = {store_bf16, store_int8},
    [STORE_GELU] = {store_gelu_bf16, store_gelu_int8},
    [STORE_GELU_TANH] = {store_gelu_tanh_bf16, store_gelu_tanh_int8},
    [STORE_RELU] = {store_relu_bf16, store_relu_int8},
    [ADD] = {add_to_bf16, add_to_int8},
};

static const float NO_BIAS[TILE_COLUMNS] __attribute__((aligned(64)));

static tile place_bf16(const linear *layer, rows from, int row, int column) {
    return (tile){
        .values = (const char *)from.values + row * from.stride,
        .value_stride = from.stride,
        .steps = layer->in / 2,
        .panel = (const bf16 *)layer->panels + (size_t)column * layer->in,
        .bias = layer->bias + column,
    };
}

// The group's part of the sum; the first one brings the bias.
static tile place_int8(const linear *layer, rows from, int row, int column, int group) {
    const int groups = layer->in / layer->group;
    return (tile){
        .values = (const char *)from.values + row * from.stride + group * layer->group,
        .value_stride = from.stride,
        .steps = layer->group / 4,
        .panel =
            (const int8_t *)layer->panels + (size_t)column * layer->in + (size_t)group * layer->group * TILE_COLUMNS,
        .bias = group == 0 ? layer->bias + column : NO_BIAS,
        .row_steps = from.steps + row * groups + group,
        .row_zeros = from.zeros + row * groups + group,
        .groups = groups,
        .column_steps = layer->steps + (size_t)group * layer->out + column,
        .column_sums = layer->sums + (size_t)group * layer->out + column,
    };
}

void linear_run(const linear *layer, finish how, rows from, int count, int first, int end, void *to, long stride) {
    const tile_fn run = TILES[how][layer->is_int8];
    const size_t item = how == ADD ? sizeof(float) : sizeof(bf16);
    const int groups = layer->is_int8 ? layer->in / layer->group : 1;
    // Panel by panel: a panel stays in the first-level cache while all rows pass it.
    for (int column = first * TILE_COLUMNS; column < end * TILE_COLUMNS; column += TILE_COLUMNS)
        for (int row = 0; row < count; row += TILE_ROWS)
            for (int group = 0; group < groups; group++) {
                tile at =
                    layer->is_int8 ? place_int8(layer, from, row, column, group) : place_bf16(layer, from, row, column);
                at.to = (char *)to + (row * stride + column) * item;
                at.stride = stride;
                run(count - row < TILE_ROWS ? count - row : TILE_ROWS, &at);
            }
}

INLINE __m512 load_value(const float *floats, const bf16 *halves, int i) {
    return floats != NULL ? _mm512_load_ps(floats + i) : widen(halves + i);
}

// Rounds a group of a row. The integers span its values and 0, which is one of them exactly.
INLINE void quantize_group(const float *floats, const bf16 *halves, const float *shrink, int length, uint8_t *to,
                           float *step, float *zero) {
    __m512 least = _mm512_setzero_ps(), most = _mm512_setzero_ps();
    for (int i = 0; i < length; i += LANES) {
        const __m512 value = _mm512_mul_ps(load_value(floats, halves, i), _mm512_load_ps(shrink + i));
        least = _mm512_min_ps(least, value);
        most = _mm512_max_ps(most, value);
    }
    const float low = _mm512_reduce_min_ps(least);
    *step = fmaxf((_mm512_reduce_max_ps(most) - low) / MOST_VALUE, LEAST_STEP);
    const float steps_in_one = 1.0f / *step;
    *zero = rintf(-low * steps_in_one);
    const __m512 factor = _mm512_set1_ps(steps_in_one);
    const __m512i shift = _mm512_set1_epi32((int)*zero);
    for (int i = 0; i < length; i += LANES) {
        const __m512 value = _mm512_mul_ps(load_value(floats, halves, i), _mm512_load_ps(shrink + i));
        const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(value, factor)), shift);
        const __m512i bounded = _mm512_max_epi32(whole, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(to + i), _mm512_cvtusepi32_epi8(bounded));
    }
}

void quantize_floats(const linear *layer, const float *from, uint8_t *to, float *steps, float *zeros) {
    for (int first = 0; first < layer->in; first += layer->group)
        quantize_group(from + first, NULL, layer->shrink + first, layer->group, to + first, steps++, zeros++);
}

void quantize_bf16(const linear *layer, const bf16 *from, uint8_t *to, float *steps, float *zeros) {
    for (int first = 0; first < layer->in; first += layer->group)
        quantize_group(NULL, from + first, layer->shrink + first, layer->group, to + first, steps++, zeros++);
}
