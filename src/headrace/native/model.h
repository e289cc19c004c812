// What a loaded model consists of, for the two files that work with it.
#ifndef HEADRACE_MODEL_H
#define HEADRACE_MODEL_H

#include "attention.h"
#include "encoder.h"
#include "pool.h"
#include "product.h"

typedef struct {
    float *scale, *shift;
} norm;

typedef struct {
    linear attention_in, attention_out, inner, outer;
    norm attention_norm, outer_norm;
} layer;

// What one thread works with.
typedef struct {
    value *hidden;          // [MOST_ROWS][hidden]: what goes into a product
    value *inner;           // [MOST_ROWS][inner]
    row_integer *integers;  // integers only: [MOST_ROWS][inner]
    float *steps, *zeros;   // integers only: [MOST_ROWS][groups], of the integers
    attention_memory attention;
} workbench;

struct encoder {
    encoder_shape shape;
    const float *words, *positions, *score_bias, *segment;
    norm embedding_norm;
    layer *layers;
    workbench *benches;  // [cores - 1]: of the threads that help
    pool *pool;
};

bool create_bench(workbench *bench, const encoder_shape *shape);
void destroy_bench(workbench *bench);

#endif
