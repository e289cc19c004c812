#include "product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define MOST 127.0f

static void *aligned(size_t bytes) { return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT); }

bool linear_create(linear *layer, int in, int out, bool is_int8) {
    *layer = (linear){.in = in, .out = out, .is_int8 = is_int8};
    layer->panels = aligned((size_t)in * out * (is_int8 ? 1 : 2));
    layer->bias = aligned((size_t)out * sizeof(float));
    if (is_int8) {
        layer->scales = aligned((size_t)out * sizeof(float));
        layer->corrections = aligned((size_t)out * sizeof(int32_t));
    }
    return layer->panels && layer->bias && (!is_int8 || (layer->scales && layer->corrections));
}

void linear_destroy(linear *layer) {
    free(layer->panels);
    free(layer->bias);
    free(layer->scales);
    free(layer->corrections);
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
    float most = 0;
    for (int k = 0; k < layer->in; k++) most = fmaxf(most, fabsf(weight[(size_t)k * columns + column]));
    const float step = most > 0 ? most / MOST : 1.0f;
    int sum = 0;
    for (int k = 0; k < layer->in; k++) {
        const int value = (int)lrintf(weight[(size_t)k * columns + column] / step);
        panel[(k / 4 * TILE_COLUMNS + place % TILE_COLUMNS) * 4 + k % 4] = (int8_t)value;
        sum += value;
    }
    layer->scales[place] = step;
    layer->corrections[place] = -ZERO * sum;
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

INLINE void tile_bf16(const finish how, const int count, const linear *layer, rows from, int panel, void *to,
                      long stride) {
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    const bf16 *packed = (const bf16 *)layer->panels + (size_t)panel * TILE_COLUMNS * layer->in;
    add_bf16(count, from.values, from.stride, packed, layer->in / 2, sums);
    end_tile(how, count, sums, layer->bias + panel * TILE_COLUMNS, to, stride);
}

INLINE void tile_int8(const finish how, const int count, const linear *layer, rows from, int panel, void *to,
                      long stride) {
    __m512i whole[TILE_ROWS][TILE_VECTORS];
    const int column = panel * TILE_COLUMNS;
#pragma GCC unroll 12
    for (int r = 0; r < count; r++)
        for (int v = 0; v < TILE_VECTORS; v++) whole[r][v] = _mm512_load_si512(layer->corrections + column + LANES * v);
    const int8_t *packed = (const int8_t *)layer->panels + (size_t)column * layer->in;
    add_int8(count, from.values, from.stride, packed, layer->in / 4, whole);
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        const __m512 step = _mm512_set1_ps(from.scales[r]);
        for (int v = 0; v < TILE_VECTORS; v++) {
            const __m512 worth = _mm512_mul_ps(step, _mm512_load_ps(layer->scales + column + LANES * v));
            sums[r][v] = _mm512_mul_ps(_mm512_cvtepi32_ps(whole[r][v]), worth);
        }
    }
    end_tile(how, count, sums, layer->bias + column, to, stride);
}

typedef struct {
    const linear *layer;
    rows from;
    int panel;
    void *to;
    long stride;
} place;

// A function for each way to end a tile: all of its branches are decided when it is compiled.
#define DEFINE_TILES(name, how)                           \
    static void name##_bf16(int count, const place *at) { \
        const place p = *at;                              \
        WITH_ROWS(count, USE_BF16_##how)                  \
    }                                                     \
    static void name##_int8(int count, const place *at) { \
        const place p = *at;                              \
        WITH_ROWS(count, USE_INT8_##how)                  \
    }
#define USE_BF16_STORE(n) tile_bf16(STORE, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_INT8_STORE(n) tile_int8(STORE, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_BF16_STORE_GELU(n) tile_bf16(STORE_GELU, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_INT8_STORE_GELU(n) tile_int8(STORE_GELU, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_BF16_STORE_GELU_TANH(n) tile_bf16(STORE_GELU_TANH, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_INT8_STORE_GELU_TANH(n) tile_int8(STORE_GELU_TANH, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_BF16_STORE_RELU(n) tile_bf16(STORE_RELU, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_INT8_STORE_RELU(n) tile_int8(STORE_RELU, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_BF16_ADD(n) tile_bf16(ADD, n, p.layer, p.from, p.panel, p.to, p.stride)
#define USE_INT8_ADD(n) tile_int8(ADD, n, p.layer, p.from, p.panel, p.to, p.stride)
DEFINE_TILES(store, STORE)
DEFINE_TILES(store_gelu, STORE_GELU)
DEFINE_TILES(store_gelu_tanh, STORE_GELU_TANH)
DEFINE_TILES(store_relu, STORE_RELU)
DEFINE_TILES(add_to, ADD)

typedef void (*tile_fn)(int count, const place *at);

static const tile_fn TILES[][2] = {
    [STORE] = {store_bf16, store_int8},
    [STORE_GELU] = {store_gelu_bf16, store_gelu_int8},
    [STORE_GELU_TANH] = {store_gelu_tanh_bf16, store_gelu_tanh_int8},
    [STORE_RELU] = {store_relu_bf16, store_relu_int8},
    [ADD] = {add_to_bf16, add_to_int8},
};

void linear_run(const linear *layer, finish how, rows from, int count, int first_panel, int panels, void *to,
                long stride) {
    const tile_fn tile = TILES[how][layer->is_int8];
    const size_t item = how == ADD ? sizeof(float) : sizeof(bf16);
    // Panel by panel: a panel stays in the first-level cache while all rows pass it.
    for (int panel = first_panel; panel < first_panel + panels; panel++)
        for (int first = 0; first < count; first += TILE_ROWS) {
            const place at = {
                .layer = layer,
                .from = {(const char *)from.values + first * from.stride, from.stride, from.scales + first},
                .panel = panel,
                .to = (char *)to + (first * stride + panel * TILE_COLUMNS) * item,
                .stride = stride,
            };
            tile(count - first < TILE_ROWS ? count - first : TILE_ROWS, &at);
        }
}

// Returns what a step is worth if the greatest of the row is to be the greatest integer.
INLINE float step_of(__m512 greatest) {
    const float most = _mm512_reduce_max_ps(greatest);
    return most > 0 ? most / MOST : 1.0f;
}

INLINE void store_rounded(uint8_t *to, __m512 value, __m512 steps_in_one) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(value, steps_in_one));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(ZERO))));
}

float quantize_floats(const float *from, int length, uint8_t *to) {
    __m512 greatest = _mm512_setzero_ps();
    for (int i = 0; i < length; i += LANES)
        greatest = _mm512_max_ps(greatest, _mm512_abs_ps(_mm512_loadu_ps(from + i)));
    const float step = step_of(greatest);
    const __m512 steps_in_one = _mm512_set1_ps(1.0f / step);
    for (int i = 0; i < length; i += LANES) store_rounded(to + i, _mm512_loadu_ps(from + i), steps_in_one);
    return step;
}

float quantize_bf16(const bf16 *from, int length, uint8_t *to) {
    __m512 greatest = _mm512_setzero_ps();
    for (int i = 0; i < length; i += LANES) greatest = _mm512_max_ps(greatest, _mm512_abs_ps(widen(from + i)));
    const float step = step_of(greatest);
    const __m512 steps_in_one = _mm512_set1_ps(1.0f / step);
    for (int i = 0; i < length; i += LANES) store_rounded(to + i, widen(from + i), steps_in_one);
    return step;
}
