// Arithmetic on several floats at a time, for the instructions that the library is built for.
//
// It is as exact as what follows can hold: results are rounded to bfloat16 (8 bits) or to integers.
#ifndef HEADRACE_VECTOR_H
#define HEADRACE_VECTOR_H

#ifdef __AVX512BF16__
#include "avx512.h"
#else
#include "avx2.h"
#endif

#define TILE_VECTORS 2
#define TILE_COLUMNS (TILE_VECTORS * LANES)

// exp(x) with a relative error of 3e-6: 2^n times a polynomial for 2^f, |f| <= 1/2. Underflows to 0.
INLINE vector exponential(vector x) {
    const vector scaled = times(x, spread(1.44269504f));
    const vector whole = round_whole(scaled);
    const vector part = subtract(scaled, whole);
    vector power = spread(0.00957001746f);
    power = times_add(power, part, spread(0.0559177995f));
    power = times_add(power, part, spread(0.240247458f));
    power = times_add(power, part, spread(0.69312185f));
    power = times_add(power, part, spread(0.999999285f));
    return times_power_of_2(power, whole);
}

INLINE vector relu(vector x) { return greater(x, zeros()); }

// x * Phi(x), the Gaussian's distribution function, with an absolute error of 5e-5: Phi(x) - 1/2 is x times a
// polynomial in x^2 on [-4.5, 4.5], and 1/2 beyond.
INLINE vector gelu(vector x) {
    static const float factors[] = {0.8584970831871033f,  -4.628036022186279f, 10.970008850097656f,
                                    -15.158127784729004f, 13.691588401794434f, -8.615865707397461f,
                                    3.930523633956909f,   -1.336188554763794f, 0.3987125754356384f};
    const vector limit = spread(4.5f);
    const vector near = greater(lesser(x, limit), subtract(zeros(), limit));
    const vector scaled = times(near, spread(1.0f / 4.5f));
    const vector square = times(scaled, scaled);
    vector sum = spread(factors[0]);
#pragma GCC unroll 8
    for (int i = 1; i < 9; i++) sum = times_add(sum, square, spread(factors[i]));
    return times(x, times_add(near, sum, spread(0.5f)));
}

// GELU by the logistic function: x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
INLINE vector gelu_tanh(vector x) {
    const vector cubic = times_add(times(x, x), spread(0.044715f), spread(1.0f));
    const vector twice = times(times(x, cubic), spread(-1.59576912f));
    const vector bounded = lesser(twice, spread(80.0f));  // beyond, exp would be infinite, and 0 / inf lost
    return divide(x, add(exponential(bounded), spread(1.0f)));
}

#endif
