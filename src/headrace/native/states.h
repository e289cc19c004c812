// What is done to the states of tokens, rows of floats, between and after products.
#ifndef HEADRACE_STATES_H
#define HEADRACE_STATES_H

#include "model.h"

enum { POOL_MEAN, POOL_FIRST, POOL_GREATEST, POOL_NONE, POOL_LAST };  // as encoder.h has them

// Layer norm in place: (x - mean) / sqrt(variance + epsilon) * scale + shift.
void normalize(float *row, int length, const norm *norm, float epsilon);

// Makes one vector of length 1 of the states of a text [tokens][hidden], and returns the length that it had.
float pool_states(const float *states, int tokens, int hidden, int pooling, float *to);

#endif
