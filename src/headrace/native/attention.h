// Attention of one head over one text: the softmax of the scores, times the values.
#ifndef HEADRACE_ATTENTION_H
#define HEADRACE_ATTENTION_H

#include <stdbool.h>

#include "vector.h"

// Memory for one head of one text; each thread has its own.
typedef struct {
    value *keys;    // packed like a linear layer: columns are the keys
    value *values;  // the same: columns are a head's dimensions
    float *scores;  // [TILE_ROWS][padded]
    value *shares;  // [TILE_ROWS][padded]
} attention_memory;

// Makes room for texts of up to `window` tokens and heads of `depth` dimensions.
bool attention_create(attention_memory *memory, int window, int depth);
void attention_destroy(attention_memory *memory);

// Where a head's rows lie in the product of queries, keys and values.
typedef struct {
    const value *queries, *keys, *values;
    long stride;        // numbers from token to token
    int tokens, depth;  // depth is a multiple of 32
    int first, end;     // tokens whose queries are asked, from the first to before the end
    const float *bias;  // [tokens][bias_stride], added to the scores, or NULL
    long bias_stride;
} head;

// Writes the rows of the tokens that are asked to [tokens][stride] of value.
void attend(const head *head, attention_memory *memory, value *to, long stride);

#endif
