// Attention of one head over one text, twelve queries at a time.
#include "attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "product.h"

static int padded(int tokens) { return (tokens + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS; }

bool attention_create(attention_memory *memory, int window, int depth) {
    const size_t room = (size_t)padded(window);
    *memory = (attention_memory){
        .keys = allocate(room * depth * sizeof(bf16)),
        .values = allocate(room * depth * sizeof(bf16)),
        .scores = allocate(room * TILE_ROWS * sizeof(float)),
        .shares = allocate(room * TILE_ROWS * sizeof(bf16)),
    };
    return memory->keys && memory->values && memory->scores && memory->shares;
}

void attention_destroy(attention_memory *memory) {
    free(memory->keys);
    free(memory->values);
    free(memory->scores);
    free(memory->shares);
}

// Swaps rows and columns of a square of 16 by 16 32-bit values, 2 x 2 squares first, then 4 x 4, and so on.
INLINE void transpose(__m512i square[16]) {
    __m512i half[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        half[i] = _mm512_unpacklo_epi32(square[i], square[i + 1]);
        half[i + 1] = _mm512_unpackhi_epi32(square[i], square[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            square[i + 2 * j] = _mm512_unpacklo_epi64(half[i + j], half[i + 2 + j]);
            square[i + 2 * j + 1] = _mm512_unpackhi_epi64(half[i + j], half[i + 2 + j]);
        }
    // Each 128-bit part of square[4 i + c] is a column c, c + 4, c + 8, c + 12 of the rows 4 i to 4 i + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const __m512i low = _mm512_shuffle_i32x4(square[c], square[4 + c], 0x88);
        const __m512i high = _mm512_shuffle_i32x4(square[c], square[4 + c], 0xdd);
        const __m512i low2 = _mm512_shuffle_i32x4(square[8 + c], square[12 + c], 0x88);
        const __m512i high2 = _mm512_shuffle_i32x4(square[8 + c], square[12 + c], 0xdd);
        half[c] = _mm512_shuffle_i32x4(low, low2, 0x88);
        half[8 + c] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        half[4 + c] = _mm512_shuffle_i32x4(high, high2, 0x88);
        half[12 + c] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
    memcpy(square, half, sizeof half);
}

// Packs keys as the columns of a matrix, pairs of dimensions in one 32-bit value; columns without a key are 0.
static void pack_keys(const head *head, bf16 *packed) {
    const int pairs = head->depth / 2;
    for (int first = 0; first < padded(head->tokens); first += LANES) {
        int32_t *panel =
            (int32_t *)packed + (size_t)(first / TILE_COLUMNS) * TILE_COLUMNS * pairs + first % TILE_COLUMNS;
        for (int pair = 0; pair < pairs; pair += LANES) {
            __m512i square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = first + i < head->tokens
                                ? _mm512_loadu_si512(head->keys + (first + i) * head->stride + 2 * pair)
                                : _mm512_setzero_si512();
            transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) _mm512_store_si512(panel + (size_t)(pair + i) * TILE_COLUMNS, square[i]);
        }
    }
}

// Packs values as the rows of a matrix, pairs of tokens side by side; rows without a token are 0.
static void pack_values(const head *head, bf16 *packed) {
    // Word i of the first row, then word i of the second (from 32 on), for the first and the last 16 words.
    __m512i low = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a, 0x290009, 0x280008,
                                   0x270007, 0x260006, 0x250005, 0x240004, 0x230003, 0x220002, 0x210001, 0x200000);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(0x100010));
    const int rows = padded(head->tokens);
    for (int column = 0; column < head->depth; column += TILE_COLUMNS) {
        bf16 *panel = packed + (size_t)column * rows;
        for (int row = 0; row < rows; row += 2) {
            const bf16 *from = head->values + row * head->stride + column;
            const __m512i none = _mm512_setzero_si512();
            const __m512i even = row < head->tokens ? _mm512_loadu_si512(from) : none;
            const __m512i odd = row + 1 < head->tokens ? _mm512_loadu_si512(from + head->stride) : none;
            _mm512_store_si512(panel + (size_t)row * TILE_COLUMNS, _mm512_permutex2var_epi16(even, low, odd));
            _mm512_store_si512(panel + (size_t)row * TILE_COLUMNS + 32, _mm512_permutex2var_epi16(even, high, odd));
        }
    }
}

INLINE void score_tile(const int count, const bf16 *queries, long stride, const bf16 *panel, int depth, float *scores,
                       int width) {
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    add_bf16(count, queries, stride, panel, depth / 2, sums);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        _mm512_store_ps(scores + r * width, sums[r][0]);
        _mm512_store_ps(scores + r * width + LANES, sums[r][1]);
    }
}

INLINE void mix_tile(const int count, const bf16 *shares, const bf16 *panel, int width, const float *totals, bf16 *to,
                     long stride) {
    __m512 sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    add_bf16(count, shares, width * (long)sizeof(bf16), panel, width / 2, sums);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        const __m512 share = _mm512_set1_ps(1.0f / totals[r]);
        narrow(to + r * stride, _mm512_mul_ps(sums[r][0], share));
        narrow(to + r * stride + LANES, _mm512_mul_ps(sums[r][1], share));
    }
}

// Returns the sum of the exponentials, which are written as bf16; those past the text are 0.
static float soften(float *scores, bf16 *shares, int tokens, int width, const float *bias) {
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int i = 0; i < tokens; i += LANES) {
        const __mmask16 here = first_lanes(tokens - i);
        __m512 score = _mm512_load_ps(scores + i);
        if (bias != NULL) {
            score = _mm512_add_ps(score, _mm512_maskz_loadu_ps(here, bias + i));
            _mm512_store_ps(scores + i, score);
        }
        most = _mm512_mask_max_ps(most, here, most, score);
    }
    const __m512 greatest = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < width; i += LANES) {
        const __mmask16 here = tokens > i ? first_lanes(tokens - i) : 0;
        const __m512 power =
            _mm512_maskz_mov_ps(here, exponential(_mm512_sub_ps(_mm512_load_ps(scores + i), greatest)));
        narrow(shares + i, power);
        total = _mm512_add_ps(total, power);
    }
    return _mm512_reduce_add_ps(total);
}

void attend(const head *head, attention_memory *memory, bf16 *to, long stride) {
    const int width = padded(head->tokens), depth = head->depth;
    pack_keys(head, memory->keys);
    pack_values(head, memory->values);
    for (int first = 0; first < head->tokens; first += TILE_ROWS) {
        const int count = head->tokens - first < TILE_ROWS ? head->tokens - first : TILE_ROWS;
        const bf16 *queries = head->queries + first * head->stride;
        for (int key = 0; key < width; key += TILE_COLUMNS) {
            const bf16 *panel = memory->keys + (size_t)key * depth;
#define SCORE(n) score_tile(n, queries, head->stride *(long)sizeof(bf16), panel, depth, memory->scores + key, width)
            WITH_ROWS(count, SCORE)
        }
        float totals[TILE_ROWS];
        for (int r = 0; r < count; r++) {
            const float *bias = head->bias == NULL ? NULL : head->bias + (first + r) * head->bias_stride;
            totals[r] = soften(memory->scores + r * width, memory->shares + r * width, head->tokens, width, bias);
        }
        for (int column = 0; column < depth; column += TILE_COLUMNS) {
            const bf16 *panel = memory->values + (size_t)column * width;
#define MIX(n) mix_tile(n, memory->shares, panel, width, totals, to + first * stride + column, stride)
            WITH_ROWS(count, MIX)
        }
    }
}
