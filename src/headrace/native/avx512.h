// Sixteen floats at a time: processors with AVX-512, its bfloat16 and its products of integers (VNNI).
#ifndef HEADRACE_AVX512_H
#define HEADRACE_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 16

typedef __m512 vector;    // floats
typedef __m512i words;    // as many words of 32 bits: integers, or small numbers side by side
typedef __mmask16 lanes;  // some of them

// A tile of 12 rows and 32 columns is summed in 24 of the 32 registers; two more hold a step of the matrix, and one
// value of each row is spread from memory.
#define TILE_ROWS 12
#define MOST_ROWS 96  // of a task: 8 tiles; the activations of so many stay in the second-level cache

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

// Between products, numbers are bfloat16.
typedef uint16_t value;
#define VALUES_IN_WORD 2

// Integers: rows of 0 to 255, and weights of -127 to 127. Careful rounding pays (docs/decisions/0010).
typedef uint8_t row_integer;
typedef int8_t weight_integer;
#define INTEGERS_IN_WORD 4
#define LEAST_INTEGER(most) 0
#define MOST_INTEGER 255
#define MOST_WEIGHT 127
#define IS_COARSE true

INLINE vector zeros(void) { return _mm512_setzero_ps(); }
INLINE vector spread(float x) { return _mm512_set1_ps(x); }
INLINE vector load(const float *from) { return _mm512_load_ps(from); }
INLINE vector load_any(const float *from) { return _mm512_loadu_ps(from); }  // at any address
INLINE void store(float *to, vector x) { _mm512_store_ps(to, x); }
INLINE void store_any(float *to, vector x) { _mm512_storeu_ps(to, x); }
INLINE vector add(vector x, vector y) { return _mm512_add_ps(x, y); }
INLINE vector subtract(vector x, vector y) { return _mm512_sub_ps(x, y); }
INLINE vector times(vector x, vector y) { return _mm512_mul_ps(x, y); }
INLINE vector divide(vector x, vector y) { return _mm512_div_ps(x, y); }
INLINE vector times_add(vector x, vector y, vector z) { return _mm512_fmadd_ps(x, y, z); }        // x y + z
INLINE vector subtract_times(vector x, vector y, vector z) { return _mm512_fnmadd_ps(y, z, x); }  // x - y z
INLINE vector lesser(vector x, vector y) { return _mm512_min_ps(x, y); }
INLINE vector greater(vector x, vector y) { return _mm512_max_ps(x, y); }
INLINE vector round_whole(vector x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vector times_power_of_2(vector x, vector whole) { return _mm512_scalef_ps(x, whole); }
INLINE float sum_of(vector x) { return _mm512_reduce_add_ps(x); }
INLINE float least_of(vector x) { return _mm512_reduce_min_ps(x); }
INLINE float greatest_of(vector x) { return _mm512_reduce_max_ps(x); }

INLINE words no_words(void) { return _mm512_setzero_si512(); }
INLINE words spread_word(int32_t x) { return _mm512_set1_epi32(x); }
INLINE words load_words(const void *from) { return _mm512_load_si512(from); }
INLINE words load_any_words(const void *from) { return _mm512_loadu_si512(from); }
INLINE void store_words(void *to, words x) { _mm512_store_si512(to, x); }
INLINE words add_words(words x, words y) { return _mm512_add_epi32(x, y); }
INLINE words lesser_word(words x, words y) { return _mm512_min_epi32(x, y); }
INLINE words greater_word(words x, words y) { return _mm512_max_epi32(x, y); }
INLINE words to_words(vector x) { return _mm512_cvtps_epi32(x); }  // rounds
INLINE vector to_floats(words x) { return _mm512_cvtepi32_ps(x); }

// The first `count` lanes; none if it is negative.
INLINE lanes first_lanes(int count) { return count >= LANES ? 0xffff : count > 0 ? (lanes)((1u << count) - 1) : 0; }
INLINE vector keep(lanes some, vector x) { return _mm512_maskz_mov_ps(some, x); }  // 0 elsewhere
INLINE vector load_some(lanes some, const float *from) { return _mm512_maskz_loadu_ps(some, from); }
// The greater of both in some lanes, x elsewhere.
INLINE vector greater_in(lanes some, vector x, vector y) { return _mm512_mask_max_ps(x, some, x, y); }

INLINE vector widen(const value *from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}
INLINE void narrow(value *to, vector x) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x)); }
INLINE value round_value(float x) {
    union {
        float number;
        uint32_t bits;
    } both = {.number = x};
    if (x != x) return 0x7fc0;
    return (value)((both.bits + 0x7fff + (both.bits >> 16 & 1)) >> 16);  // to nearest, ties to even
}

// sums + x y, where each word of x and y is a few numbers, whose products are added up.
INLINE vector add_values(vector sums, words x, words y) { return _mm512_dpbf16_ps(sums, (__m512bh)x, (__m512bh)y); }
INLINE words add_integers(words sums, words x, words y) { return _mm512_dpbusd_epi32(sums, x, y); }

// Stores integers, of 0 to 255.
INLINE void narrow_integers(row_integer *to, words x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(x)); }

// Swaps rows and columns of a square of 16 by 16 words, 2 x 2 squares first, then 4 x 4, and so on.
INLINE void transpose(words square[LANES]) {
    words half[LANES];
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
        const words low = _mm512_shuffle_i32x4(square[c], square[4 + c], 0x88);
        const words high = _mm512_shuffle_i32x4(square[c], square[4 + c], 0xdd);
        const words low2 = _mm512_shuffle_i32x4(square[8 + c], square[12 + c], 0x88);
        const words high2 = _mm512_shuffle_i32x4(square[8 + c], square[12 + c], 0xdd);
        half[c] = _mm512_shuffle_i32x4(low, low2, 0x88);
        half[8 + c] = _mm512_shuffle_i32x4(low, low2, 0xdd);
        half[4 + c] = _mm512_shuffle_i32x4(high, high2, 0x88);
        half[12 + c] = _mm512_shuffle_i32x4(high, high2, 0xdd);
    }
    __builtin_memcpy(square, half, sizeof half);
}

// Writes two rows of 32 columns side by side, as they lie in the panel of a matrix. Of the rows `count` exist.
INLINE void pack_rows(const value *from, long stride, int count, value *panel) {
    // Word i of the first row, then word i of the second (from 32 on), for the first and the last 16 words.
    const words low = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a, 0x290009, 0x280008,
                                       0x270007, 0x260006, 0x250005, 0x240004, 0x230003, 0x220002, 0x210001, 0x200000);
    const words high = add_words(low, spread_word(0x100010));
    const words even = count > 0 ? load_any_words(from) : no_words();
    const words odd = count > 1 ? load_any_words(from + stride) : no_words();
    store_words(panel, _mm512_permutex2var_epi16(even, low, odd));
    store_words(panel + 2 * LANES, _mm512_permutex2var_epi16(even, high, odd));
}

#endif
