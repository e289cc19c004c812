// Packing weights, tiles in registers, and rounding rows to integers.
#include "product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_STEP 1e-12f
#define MOST_SUM INT32_MAX

void *allocate(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

bool linear_create(linear *layer, int in, int out, bool is_integer, int group) {
    *layer = (linear){.in = in, .out = out, .is_integer = is_integer, .group = group, .most = MOST_INTEGER};
    layer->panels = allocate((size_t)in * out * (is_integer ? sizeof(weight_integer) : sizeof(value)));
    layer->bias = allocate((size_t)out * sizeof(float));
    if (!is_integer) return layer->panels && layer->bias;
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

static void pack_values(linear *layer, const float *weight, int column, int columns, int place) {
    value *panel = (value *)layer->panels + (size_t)(place / TILE_COLUMNS) * TILE_COLUMNS * layer->in;
    for (int k = 0; k < layer->in; k++)
        panel[(k / VALUES_IN_WORD * TILE_COLUMNS + place % TILE_COLUMNS) * VALUES_IN_WORD + k % VALUES_IN_WORD] =
            round_value(weight[(size_t)k * columns + column]);
}

// A column's weights in one group.
typedef struct {
    const float *weight, *shrink;
    int length, stride;
} strip;

static float weight_of(strip strip, int k) { return strip.weight[(size_t)k * strip.stride] / strip.shrink[k]; }

// How many steps the greatest weight gets: as many as the greatest value of a row will, as far as sums of 32 bits have
// room for a row of nothing else.
static float choose_most(strip strip, float greatest) {
    float total = 0;
    for (int k = 0; k < strip.length; k++) total += fabsf(weight_of(strip, k));
    return fminf(MOST_WEIGHT, floorf(sqrtf((float)MOST_SUM / fmaxf(total / greatest, 1.0f))));
}

static void pack_integers(linear *layer, const float *weight, int column, int columns, int place) {
    weight_integer *panel = (weight_integer *)layer->panels + (size_t)(place / TILE_COLUMNS) * TILE_COLUMNS * layer->in;
    for (int first = 0; first < layer->in; first += layer->group) {
        const strip strip = {weight + (size_t)first * columns + column, layer->shrink + first, layer->group, columns};
        float greatest = 0;
        for (int k = 0; k < layer->group; k++) greatest = fmaxf(greatest, fabsf(weight_of(strip, k)));
        const float step = fmaxf(greatest / choose_most(strip, greatest), LEAST_STEP);
        int sum = 0, total = 0;
        for (int k = 0; k < layer->group; k++) {
            const int integer = (int)lrintf(weight_of(strip, k) / step), at = first + k;
            panel[(at / INTEGERS_IN_WORD * TILE_COLUMNS + place % TILE_COLUMNS) * INTEGERS_IN_WORD +
                  at % INTEGERS_IN_WORD] = (weight_integer)integer;
            sum += integer;
            total += abs(integer);
        }
        const size_t at = (size_t)(first / layer->group) * layer->out + place;
        layer->steps[at] = step;
        layer->sums[at] = (float)sum;
        if (total > 0 && MOST_SUM / total < layer->most) layer->most = MOST_SUM / total;
    }
}

void linear_pack(linear *layer, const float *weight, const float *bias, int first, int columns) {
    memcpy(layer->bias + first, bias, (size_t)columns * sizeof *bias);
    for (int column = 0; column < columns; column++)
        (layer->is_integer ? pack_integers : pack_values)(layer, weight, column, columns, first + column);
}

// Ends a tile: its sums are floats now.
INLINE void end_tile(const finish how, const int count, vector sums[TILE_ROWS][TILE_VECTORS], const float *bias,
                     void *to, long stride) {
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vector added = load(bias + LANES * v);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const vector sum = add(sums[r][v], added);
            value *const place = (value *)to + r * stride + LANES * v;
            float *const total = (float *)to + r * stride + LANES * v;
            switch (how) {
                case STORE: narrow(place, sum); break;
                case STORE_GELU: narrow(place, gelu(sum)); break;
                case STORE_GELU_TANH: narrow(place, gelu_tanh(sum)); break;
                case STORE_RELU: narrow(place, relu(sum)); break;
                case ADD: store_any(total, add(load_any(total), sum)); break;
            }
        }
    }
}

// Where a tile is computed, and what of the layer goes into it.
typedef struct {
    const void *values;
    long value_stride;
    int steps;  // along the width: words
    const void *panel;
    const float *bias;
    void *to;
    long stride;
    // integers only:
    const float *row_steps, *row_zeros;
    int groups;  // numbers from row to row in these
    const float *column_steps, *column_sums;
} tile;

INLINE void tile_values(const finish how, const int count, const tile *at) {
    vector sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = zeros();
    multiply_values(count, at->values, at->value_stride, at->panel, at->steps, sums);
    end_tile(how, count, sums, at->bias, at->to, at->stride);
}

INLINE void tile_integers(const finish how, const int count, const tile *at) {
    words whole[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) whole[r][0] = whole[r][1] = no_words();
    multiply_integers(count, at->values, at->value_stride, at->panel, at->steps, whole);
    vector sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; v++) {
        const vector column_step = load(at->column_steps + LANES * v);
        const vector column_sum = load(at->column_sums + LANES * v);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            const vector zero = spread(at->row_zeros[r * at->groups]);
            const vector step = spread(at->row_steps[r * at->groups]);
            const vector value = subtract_times(to_floats(whole[r][v]), zero, column_sum);
            sums[r][v] = times(times(value, step), column_step);
        }
    }
    end_tile(how, count, sums, at->bias, at->to, at->stride);
}

// A function for each way to end a tile: all of its branches are decided when it is compiled.
#define DEFINE_TILES(name, how)                                                                 \
    static void name##_values(int count, const tile *at) { WITH_ROWS(count, USE_VALUES_##how) } \
    static void name##_integers(int count, const tile *at) { WITH_ROWS(count, USE_INTEGERS_##how) }
#define USE_VALUES_STORE(n) tile_values(STORE, n, at)
#define USE_INTEGERS_STORE(n) tile_integers(STORE, n, at)
#define USE_VALUES_STORE_GELU(n) tile_values(STORE_GELU, n, at)
#define USE_INTEGERS_STORE_GELU(n) tile_integers(STORE_GELU, n, at)
#define USE_VALUES_STORE_GELU_TANH(n) tile_values(STORE_GELU_TANH, n, at)
#define USE_INTEGERS_STORE_GELU_TANH(n) tile_integers(STORE_GELU_TANH, n, at)
#define USE_VALUES_STORE_RELU(n) tile_values(STORE_RELU, n, at)
#define USE_INTEGERS_STORE_RELU(n) tile_integers(STORE_RELU, n, at)
#define USE_VALUES_ADD(n) tile_values(ADD, n, at)
#define USE_INTEGERS_ADD(n) tile_integers(ADD, n, at)
DEFINE_TILES(store, STORE)
DEFINE_TILES(store_gelu, STORE_GELU)
DEFINE_TILES(store_gelu_tanh, STORE_GELU_TANH)
DEFINE_TILES(store_relu, STORE_RELU)
DEFINE_TILES(add_to, ADD)

typedef void (*tile_fn)(int count, const tile *at);

static const tile_fn TILES[][2] = {
    [STORE] = {store_values, store_integers},
    [STORE_GELU] = {store_gelu_values, store_gelu_integers},
    [STORE_GELU_TANH] = {store_gelu_tanh_values, store_gelu_tanh_integers},
    [STORE_RELU] = {store_relu_values, store_relu_integers},
    [ADD] = {add_to_values, add_to_integers},
};

static const float NO_BIAS[TILE_COLUMNS] __attribute__((aligned(64)));

static tile place_values(const linear *layer, rows from, int row, int column) {
    return (tile){
        .values = (const char *)from.values + row * from.stride,
        .value_stride = from.stride,
        .steps = layer->in / VALUES_IN_WORD,
        .panel = (const value *)layer->panels + (size_t)column * layer->in,
        .bias = layer->bias + column,
    };
}

// The group's part of the sum; the first one brings the bias.
static tile place_integers(const linear *layer, rows from, int row, int column, int group) {
    const int groups = layer->in / layer->group;
    return (tile){
        .values = (const char *)from.values + row * from.stride + group * layer->group * (long)sizeof(row_integer),
        .value_stride = from.stride,
        .steps = layer->group / INTEGERS_IN_WORD,
        .panel = (const weight_integer *)layer->panels + (size_t)column * layer->in +
                 (size_t)group * layer->group * TILE_COLUMNS,
        .bias = group == 0 ? layer->bias + column : NO_BIAS,
        .row_steps = from.steps + row * groups + group,
        .row_zeros = from.zeros + row * groups + group,
        .groups = groups,
        .column_steps = layer->steps + (size_t)group * layer->out + column,
        .column_sums = layer->sums + (size_t)group * layer->out + column,
    };
}

void linear_run(const linear *layer, finish how, rows from, int count, int first, int end, void *to, long stride) {
    const tile_fn run = TILES[how][layer->is_integer];
    const size_t item = how == ADD ? sizeof(float) : sizeof(value);
    const int groups = layer->is_integer ? layer->in / layer->group : 1;
    // Panel by panel: a panel stays in the first-level cache while all rows pass it.
    for (int column = first * TILE_COLUMNS; column < end * TILE_COLUMNS; column += TILE_COLUMNS)
        for (int row = 0; row < count; row += TILE_ROWS)
            for (int group = 0; group < groups; group++) {
                tile at = layer->is_integer ? place_integers(layer, from, row, column, group)
                                            : place_values(layer, from, row, column);
                at.to = (char *)to + (row * stride + column) * item;
                at.stride = stride;
                run(count - row < TILE_ROWS ? count - row : TILE_ROWS, &at);
            }
}

INLINE vector load_number(const float *floats, const value *values, int i) {
    return floats != NULL ? load(floats + i) : widen(values + i);
}

// Rounds a group of a row. The integers span its values and 0, which is one of them exactly.
INLINE void quantize_group(const linear *layer, const float *floats, const value *values, int first, row_integer *to,
                           float *step, float *zero) {
    const float *shrink = layer->shrink + first;
    const int length = layer->group, most = layer->most, least = LEAST_INTEGER(most);
    vector low = zeros(), high = zeros();
    for (int i = 0; i < length; i += LANES) {
        const vector number = times(load_number(floats, values, first + i), load(shrink + i));
        low = lesser(low, number);
        high = greater(high, number);
    }
    const float lowest = least_of(low);
    *step = fmaxf((greatest_of(high) - lowest) / (float)(most - least), LEAST_STEP);
    const float steps_in_one = 1.0f / *step;
    *zero = rintf((float)least - lowest * steps_in_one);
    const vector factor = spread(steps_in_one);
    const words shift = spread_word((int)*zero);
    for (int i = 0; i < length; i += LANES) {
        const vector number = times(load_number(floats, values, first + i), load(shrink + i));
        const words whole = add_words(to_words(times(number, factor)), shift);
        narrow_integers(to + i, greater_word(lesser_word(whole, spread_word(most)), spread_word(least)));
    }
}

void quantize_floats(const linear *layer, const float *from, row_integer *to, float *steps, float *zeros) {
    for (int first = 0; first < layer->in; first += layer->group)
        quantize_group(layer, from, NULL, first, to + first, steps++, zeros++);
}

void quantize_values(const linear *layer, const value *from, row_integer *to, float *steps, float *zeros) {
    for (int first = 0; first < layer->in; first += layer->group)
        quantize_group(layer, NULL, from, first, to + first, steps++, zeros++);
}
