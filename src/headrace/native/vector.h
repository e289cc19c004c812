// Arithmetic on 16 floats at a time.
//
// It is as exact as what follows can hold: results are rounded to bfloat16 (8 bits) or to 8-bit integers.
#ifndef HEADRACE_VECTOR_H
#define HEADRACE_VECTOR_H

#include <immintrin.h>
#include <stdint.h>

typedef uint16_t bf16;

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

INLINE __m512 widen(const bf16 *from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16));
}

INLINE void narrow(bf16 *to, __m512 value) { _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(value)); }

// The first `count` of 16 lanes.
INLINE __mmask16 first_lanes(int count) { return count >= LANES ? 0xffff : (__mmask16)((1u << count) - 1); }

// exp(x) with a relative error of 3e-6: 2^n times a polynomial for 2^f, |f| <= 1/2. Underflows to 0.
INLINE __m512 exponential(__m512 x) {
    const __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f));
    const __m512 whole = _mm512_roundscale_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(scaled, whole);
    __m512 power = _mm512_set1_ps(0.00957001746f);
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.0559177995f));
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.240247458f));
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.69312185f));
    power = _mm512_fmadd_ps(power, part, _mm512_set1_ps(0.999999285f));
    return _mm512_scalef_ps(power, whole);
}

INLINE __m512 relu(__m512 x) { return _mm512_max_ps(x, _mm512_setzero_ps()); }

// x * Phi(x), the Gaussian's distribution function, with an absolute error of 5e-5: Phi(x) - 1/2 is x times a
// polynomial in x^2 on [-4.5, 4.5], and 1/2 beyond.
INLINE __m512 gelu(__m512 x) {
    static const float factors[] = {0.8584970831871033f,  -4.628036022186279f, 10.970008850097656f,
                                    -15.158127784729004f, 13.691588401794434f, -8.615865707397461f,
                                    3.930523633956909f,   -1.336188554763794f, 0.3987125754356384f};
    const __m512 limit = _mm512_set1_ps(4.5f);
    const __m512 near = _mm512_max_ps(_mm512_min_ps(x, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
    const __m512 scaled = _mm512_mul_ps(near, _mm512_set1_ps(1.0f / 4.5f));
    const __m512 square = _mm512_mul_ps(scaled, scaled);
    __m512 sum = _mm512_set1_ps(factors[0]);
#pragma GCC unroll 8
    for (int i = 1; i < 9; i++) sum = _mm512_fmadd_ps(sum, square, _mm512_set1_ps(factors[i]));
    return _mm512_mul_ps(x, _mm512_fmadd_ps(near, sum, _mm512_set1_ps(0.5f)));
}

// GELU by the logistic function: x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
INLINE __m512 gelu_tanh(__m512 x) {
    const __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f));
    const __m512 twice = _mm512_mul_ps(_mm512_mul_ps(x, cubic), _mm512_set1_ps(-1.59576912f));
    const __m512 bounded =
        _mm512_min_ps(twice, _mm512_set1_ps(80.0f));  // beyond, exp would be infinite, and 0 / inf lost
    return _mm512_div_ps(x, _mm512_add_ps(exponential(bounded), _mm512_set1_ps(1.0f)));
}

#endif
