// Eight floats at a time: processors with AVX2 and FMA, which is nearly every one since 2015.
#ifndef HEADRACE_AVX2_H
#define HEADRACE_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 8

typedef __m256 vector;  // floats
typedef __m256i words;  // as many words of 32 bits: integers, or small numbers side by side
typedef __m256i lanes;  // some of them: all bits of a lane are set, or none

// A tile of 6 rows and 16 columns is summed in 12 of the 16 registers; two more hold a step of the matrix, one the
// value of a row, and one a product of integers.
#define TILE_ROWS 6
#define MOST_ROWS 48  // of a task: 8 tiles; the activations of so many stay in the second-level cache

// Calls `use` with the number of rows as a constant, so that each number gets code of its own, all in registers.
#define WITH_ROWS(rows, use)    \
    switch (rows) {             \
        case 1: use(1); break;  \
        case 2: use(2); break;  \
        case 3: use(3); break;  \
        case 4: use(4); break;  \
        case 5: use(5); break;  \
        default: use(6); break; \
    }

// Between products, numbers are floats.
typedef float value;
#define VALUES_IN_WORD 1

// Integers of up to 16 bits: as many as sums of 32 bits have room for, some 12 (docs/decisions/0020).
typedef int16_t row_integer;
typedef int16_t weight_integer;
#define INTEGERS_IN_WORD 2
#define LEAST_INTEGER(most) (-(most))
#define MOST_INTEGER INT16_MAX
#define MOST_WEIGHT INT16_MAX
#define IS_COARSE false

INLINE vector zeros(void) { return _mm256_setzero_ps(); }
INLINE vector spread(float x) { return _mm256_set1_ps(x); }
INLINE vector load(const float *from) { return _mm256_load_ps(from); }
INLINE vector load_any(const float *from) { return _mm256_loadu_ps(from); }  // at any address
INLINE void store(float *to, vector x) { _mm256_store_ps(to, x); }
INLINE void store_any(float *to, vector x) { _mm256_storeu_ps(to, x); }
INLINE vector add(vector x, vector y) { return _mm256_add_ps(x, y); }
INLINE vector subtract(vector x, vector y) { return _mm256_sub_ps(x, y); }
INLINE vector times(vector x, vector y) { return _mm256_mul_ps(x, y); }
INLINE vector divide(vector x, vector y) { return _mm256_div_ps(x, y); }
INLINE vector times_add(vector x, vector y, vector z) { return _mm256_fmadd_ps(x, y, z); }        // x y + z
INLINE vector subtract_times(vector x, vector y, vector z) { return _mm256_fnmadd_ps(y, z, x); }  // x - y z
INLINE vector lesser(vector x, vector y) { return _mm256_min_ps(x, y); }
INLINE vector greater(vector x, vector y) { return _mm256_max_ps(x, y); }
INLINE vector round_whole(vector x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// Where the power is too small for a float, the product is 0. It must not be too great.
INLINE vector times_power_of_2(vector x, vector whole) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23);
    const vector product = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
    return _mm256_andnot_ps(_mm256_cmp_ps(whole, spread(-125.0f), _CMP_LT_OQ), product);
}

INLINE float sum_of(vector x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float greatest_of(vector x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE float least_of(vector x) { return -greatest_of(subtract(zeros(), x)); }

INLINE words no_words(void) { return _mm256_setzero_si256(); }
INLINE words spread_word(int32_t x) { return _mm256_set1_epi32(x); }
INLINE words load_words(const void *from) { return _mm256_load_si256(from); }
INLINE words load_any_words(const void *from) { return _mm256_loadu_si256(from); }
INLINE void store_words(void *to, words x) { _mm256_store_si256(to, x); }
INLINE words add_words(words x, words y) { return _mm256_add_epi32(x, y); }
INLINE words lesser_word(words x, words y) { return _mm256_min_epi32(x, y); }
INLINE words greater_word(words x, words y) { return _mm256_max_epi32(x, y); }
INLINE words to_words(vector x) { return _mm256_cvtps_epi32(x); }  // rounds
INLINE vector to_floats(words x) { return _mm256_cvtepi32_ps(x); }

// The first `count` lanes; none if it is negative.
INLINE lanes first_lanes(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vector keep(lanes some, vector x) { return _mm256_and_ps(_mm256_castsi256_ps(some), x); }  // 0 elsewhere
INLINE vector load_some(lanes some, const float *from) { return _mm256_maskload_ps(from, some); }
// The greater of both in some lanes, x elsewhere.
INLINE vector greater_in(lanes some, vector x, vector y) {
    return _mm256_blendv_ps(x, _mm256_max_ps(x, y), _mm256_castsi256_ps(some));
}

INLINE vector widen(const value *from) { return load_any(from); }
INLINE void narrow(value *to, vector x) { store_any(to, x); }
INLINE value round_value(float x) { return x; }

// sums + x y, where each word of x and y is one number, or two integers whose products are added up.
INLINE vector add_values(vector sums, words x, words y) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(y), sums);
}
INLINE words add_integers(words sums, words x, words y) { return _mm256_add_epi32(sums, _mm256_madd_epi16(x, y)); }

// Stores integers, of 16 bits.
INLINE void narrow_integers(row_integer *to, words x) {
    _mm_storeu_si128((__m128i *)to, _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)));
}

// Swaps rows and columns of a square of 8 by 8 words, 2 x 2 squares first, then 4 x 4.
INLINE void transpose(words square[LANES]) {
    words half[LANES];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        half[i] = _mm256_unpacklo_epi32(square[i], square[i + 1]);
        half[i + 1] = _mm256_unpackhi_epi32(square[i], square[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            square[i + 2 * j] = _mm256_unpacklo_epi64(half[i + j], half[i + 2 + j]);
            square[i + 2 * j + 1] = _mm256_unpackhi_epi64(half[i + j], half[i + 2 + j]);
        }
    // Each 128-bit part of square[4 i + c] is a column c, c + 4 of the rows 4 i to 4 i + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        half[c] = _mm256_permute2x128_si256(square[c], square[4 + c], 0x20);
        half[4 + c] = _mm256_permute2x128_si256(square[c], square[4 + c], 0x31);
    }
    __builtin_memcpy(square, half, sizeof half);
}

// Writes a row of 16 columns as it lies in the panel of a matrix, or zeros for one that does not exist.
INLINE void pack_rows(const value *from, long stride, int count, value *panel) {
    (void)stride;
    store(panel, count > 0 ? load_any(from) : zeros());
    store(panel + LANES, count > 0 ? load_any(from + LANES) : zeros());
}

#endif
