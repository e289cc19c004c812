// Packs a model's weights, and makes what its threads work with.
#include "encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static bool copy_norm(norm *to, const float *scale, const float *shift, int length) {
    to->scale = allocate((size_t)length * sizeof(float));
    to->shift = allocate((size_t)length * sizeof(float));
    if (to->scale == NULL || to->shift == NULL) return false;
    memcpy(to->scale, scale, (size_t)length * sizeof(float));
    memcpy(to->shift, shift, (size_t)length * sizeof(float));
    return true;
}

static void free_norm(norm *norm) {
    free(norm->scale);
    free(norm->shift);
}

#define HEAD_MULTIPLE 32
#define TENSORS_BEFORE 6
#define TENSORS_IN_LAYER 16

// What the outer product's rows are rounded in: GELU gives few great values and many small ones, which a step that fits
// the great ones would lose. Measured for all-MiniLM-L6-v2 in docs/decisions/0010: 192 is as good as 128.
static int outer_group(const encoder_shape *shape) {
    if (!IS_COARSE) return shape->inner;
    static const int sizes[] = {192, 256, 128};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (shape->inner % sizes[i] == 0) return sizes[i];
    return 64;
}

static size_t most_groups(const encoder_shape *shape) { return (size_t)(shape->inner / outer_group(shape)); }

// Moves what is hard to round from the rows to the weights, as SmoothQuant does (https://arxiv.org/abs/2211.10438): a
// column of the rows that is great for all texts is divided, and the weights that it meets are multiplied. How great it
// becomes is guessed from the norm before, three deviations from its mean, so no text is needed.
static void balance(linear *layer, const norm *before, const float *weight, int columns) {
    double logarithms = 0;
    for (int k = 0; k < layer->in; k++) {
        const float reach = fmaxf(fabsf(before->shift[k]) + 3 * fabsf(before->scale[k]), 1e-3f);
        float most = 1e-4f;
        for (int column = 0; column < columns; column++)
            most = fmaxf(most, fabsf(weight[(size_t)k * columns + column]));
        layer->shrink[k] = sqrtf(most / reach);
        logarithms += log(layer->shrink[k]);
    }
    const float mean = (float)exp(logarithms / layer->in);
    for (int k = 0; k < layer->in; k++) layer->shrink[k] /= mean;
}

// `before` is the norm whose output goes into the layer.
static bool pack_layer(layer *layer, const encoder_shape *shape, const norm *before, const float *const *tensors) {
    const int hidden = shape->hidden, inner = shape->inner;
    const bool is_integer = shape->is_integer != 0;
    // One product for queries, keys and values: a row is read, and rounded to integers, once instead of three times.
    if (!linear_create(&layer->attention_in, hidden, 3 * hidden, is_integer, hidden)) return false;
    if (is_integer && IS_COARSE)
        balance(&layer->attention_in, before, tensors[4], hidden);  // errors of values weigh most
    for (int part = 0; part < 3; part++)
        linear_pack(&layer->attention_in, tensors[2 * part], tensors[2 * part + 1], part * hidden, hidden);
    if (!linear_create(&layer->attention_out, hidden, hidden, is_integer, hidden)) return false;
    linear_pack(&layer->attention_out, tensors[6], tensors[7], 0, hidden);
    if (!copy_norm(&layer->attention_norm, tensors[8], tensors[9], hidden)) return false;
    if (!linear_create(&layer->inner, hidden, inner, is_integer, hidden)) return false;
    if (is_integer && IS_COARSE) balance(&layer->inner, &layer->attention_norm, tensors[10], inner);
    linear_pack(&layer->inner, tensors[10], tensors[11], 0, inner);
    if (!linear_create(&layer->outer, inner, hidden, is_integer, outer_group(shape))) return false;
    linear_pack(&layer->outer, tensors[12], tensors[13], 0, hidden);
    return copy_norm(&layer->outer_norm, tensors[14], tensors[15], hidden);
}

bool create_bench(workbench *bench, const encoder_shape *shape) {
    const size_t most = MOST_ROWS;
    bench->hidden = allocate(most * shape->hidden * sizeof(value));
    bench->inner = allocate(most * shape->inner * sizeof(value));
    bench->integers =
        allocate(most * (shape->inner > shape->hidden ? shape->inner : shape->hidden) * sizeof(row_integer));
    bench->steps = allocate(most * most_groups(shape) * sizeof(float));
    bench->zeros = allocate(most * most_groups(shape) * sizeof(float));
    return bench->hidden && bench->inner && bench->integers && bench->steps && bench->zeros &&
           attention_create(&bench->attention, shape->window, shape->hidden / shape->heads);
}

static bool is_computable(const encoder_shape *shape) {
    const int32_t numbers[] = {shape->hidden,     shape->heads,  shape->inner, shape->layers,
                               shape->vocabulary, shape->window, shape->cores};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] < 1) return false;
    return shape->hidden % shape->heads == 0 && shape->hidden / shape->heads % HEAD_MULTIPLE == 0 &&
           shape->hidden % 64 == 0 && shape->inner % 64 == 0;
}

static pool *start_pool(encoder *encoder) {
    const int helpers = encoder->shape.cores - 1;
    void **memories = calloc((size_t)helpers + 1, sizeof *memories);
    if (memories == NULL) return NULL;
    for (int i = 0; i < helpers; i++) memories[i] = &encoder->benches[i];
    pool *made = pool_create(encoder->shape.cores, memories);
    free(memories);
    return made;
}

encoder *encoder_create(const encoder_shape *shape, const float *const *tensors) {
    encoder *made = is_computable(shape) ? calloc(1, sizeof *made) : NULL;
    if (made == NULL) return NULL;
    made->shape = *shape;
    made->words = tensors[0];
    made->positions = tensors[1];
    made->score_bias = tensors[4];
    made->segment = tensors[5];
    made->layers = calloc((size_t)shape->layers, sizeof *made->layers);
    made->benches = calloc((size_t)shape->cores, sizeof *made->benches);
    bool is_whole =
        made->layers && made->benches && copy_norm(&made->embedding_norm, tensors[2], tensors[3], shape->hidden);
    for (int i = 0; is_whole && i < shape->layers; i++)
        is_whole = pack_layer(&made->layers[i], shape, i == 0 ? &made->embedding_norm : &made->layers[i - 1].outer_norm,
                              tensors + TENSORS_BEFORE + TENSORS_IN_LAYER * i);
    for (int i = 0; is_whole && i < shape->cores - 1; i++) is_whole = create_bench(&made->benches[i], shape);
    if (is_whole) made->pool = start_pool(made);
    if (made->pool != NULL) return made;
    encoder_destroy(made);
    return NULL;
}

void destroy_bench(workbench *bench) {
    free(bench->hidden);
    free(bench->inner);
    free(bench->integers);
    free(bench->steps);
    free(bench->zeros);
    attention_destroy(&bench->attention);
}

static void destroy_layer(layer *layer) {
    linear_destroy(&layer->attention_in);
    linear_destroy(&layer->attention_out);
    linear_destroy(&layer->inner);
    linear_destroy(&layer->outer);
    free_norm(&layer->attention_norm);
    free_norm(&layer->outer_norm);
}

void encoder_destroy(encoder *encoder) {
    if (encoder->pool != NULL) pool_destroy(encoder->pool);
    for (int i = 0; encoder->benches != NULL && i < encoder->shape.cores - 1; i++) destroy_bench(&encoder->benches[i]);
    for (int i = 0; encoder->layers != NULL && i < encoder->shape.layers; i++) destroy_layer(&encoder->layers[i]);
    free_norm(&encoder->embedding_norm);
    free(encoder->benches);
    free(encoder->layers);
    free(encoder);
}
