#include "encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "pool.h"
#include "product.h"

#define MOST_ROWS 96      // of a task: 8 tiles; the activations of so many stay in the second-level cache
#define TASKS_PER_CORE 4  // so that a thread which is held up leaves its share to the others
#define LEAST_NORM 1e-12f

typedef struct {
    float *scale, *shift;
} norm;

typedef struct {
    linear attention_in, attention_out, inner, outer;
    norm attention_norm, outer_norm;
} layer;

// What one thread works with.
typedef struct {
    bf16 *hidden;          // [MOST_ROWS][hidden]: what goes into a product
    bf16 *inner;           // [MOST_ROWS][inner]
    uint8_t *integers;     // int8 only: [MOST_ROWS][inner]
    float *steps, *zeros;  // int8 only: [MOST_ROWS][groups], of the integers
    attention_memory attention;
} workbench;

struct encoder {
    encoder_shape shape;
    const float *words, *positions, *score_bias;
    norm embedding_norm;
    layer *layers;
    workbench *benches;  // [cores - 1]: of the threads that help
    pool *pool;
};

// A product of some rows with a layer.
typedef struct {
    const linear *layer;
    finish how;
    rows from;
    int count;
    void *to;
    long stride;
} product;

struct session {
    encoder *encoder;
    workbench bench;
    job job;

    // The batch that runs now. Rows are the tokens of all texts, one text after the other.
    int texts, rows, rows_per_task, room_texts, room_rows;
    int layer;        // whose attention comes next
    bool is_narrow;   // too few rows to share them out: the columns of each product are shared out instead
    product product;  // the one whose columns are shared out now
    int *starts;      // [texts + 1]: first row of each text
    int *order;       // [texts]: the longest text first
    int32_t *ids;     // [rows]
    int32_t *places;  // [rows]: position in the text
    float *states;    // [rows][hidden]: between the layers, and what the parts of a layer are added to
    bf16 *heads;      // [rows][3 hidden]: queries, keys, values
    bf16 *mixed;      // [rows][hidden]: what attention gives
    float *embedding, *norms;
};

static void *room(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

static bool copy_norm(norm *to, const float *scale, const float *shift, int length) {
    to->scale = room((size_t)length * sizeof(float));
    to->shift = room((size_t)length * sizeof(float));
    if (to->scale == NULL || to->shift == NULL) return false;
    memcpy(to->scale, scale, (size_t)length * sizeof(float));
    memcpy(to->shift, shift, (size_t)length * sizeof(float));
    return true;
}

static void free_norm(norm *norm) {
    free(norm->scale);
    free(norm->shift);
}

#define TENSORS_BEFORE 5
#define TENSORS_IN_LAYER 16

// What the outer product's rows are rounded in: GELU gives few great values and many small ones, which a step that fits
// the great ones would lose. Measured for all-MiniLM-L6-v2 in docs/decisions/0010: 192 is as good as 128.
static int outer_group(const encoder_shape *shape) {
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
    const bool is_int8 = shape->is_int8 != 0;
    // One product for queries, keys and values: a row is read, and rounded to integers, once instead of three times.
    if (!linear_create(&layer->attention_in, hidden, 3 * hidden, is_int8, hidden)) return false;
    if (is_int8) balance(&layer->attention_in, before, tensors[4], hidden);  // errors of values weigh most
    for (int part = 0; part < 3; part++)
        linear_pack(&layer->attention_in, tensors[2 * part], tensors[2 * part + 1], part * hidden, hidden);
    if (!linear_create(&layer->attention_out, hidden, hidden, is_int8, hidden)) return false;
    linear_pack(&layer->attention_out, tensors[6], tensors[7], 0, hidden);
    if (!copy_norm(&layer->attention_norm, tensors[8], tensors[9], hidden)) return false;
    if (!linear_create(&layer->inner, hidden, inner, is_int8, hidden)) return false;
    if (is_int8) balance(&layer->inner, &layer->attention_norm, tensors[10], inner);
    linear_pack(&layer->inner, tensors[10], tensors[11], 0, inner);
    if (!linear_create(&layer->outer, inner, hidden, is_int8, outer_group(shape))) return false;
    linear_pack(&layer->outer, tensors[12], tensors[13], 0, hidden);
    return copy_norm(&layer->outer_norm, tensors[14], tensors[15], hidden);
}

static bool create_bench(workbench *bench, const encoder_shape *shape) {
    const size_t most = MOST_ROWS;
    bench->hidden = room(most * shape->hidden * sizeof(bf16));
    bench->inner = room(most * shape->inner * sizeof(bf16));
    bench->integers = room(most * (shape->inner > shape->hidden ? shape->inner : shape->hidden));
    bench->steps = room(most * most_groups(shape) * sizeof(float));
    bench->zeros = room(most * most_groups(shape) * sizeof(float));
    return bench->hidden && bench->inner && bench->integers && bench->steps && bench->zeros &&
           attention_create(&bench->attention, shape->window, shape->hidden / shape->heads);
}

static bool is_computable(const encoder_shape *shape) {
    const int32_t numbers[] = {shape->hidden,     shape->heads,  shape->inner, shape->layers,
                               shape->vocabulary, shape->window, shape->cores};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] < 1) return false;
    return shape->hidden % shape->heads == 0 && shape->hidden / shape->heads % TILE_COLUMNS == 0 &&
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

static void destroy_bench(workbench *bench) {
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

session *session_create(encoder *encoder) {
    session *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->encoder = encoder;
    made->job.memory = &made->bench;
    if (create_bench(&made->bench, &encoder->shape)) return made;
    session_destroy(made);
    return NULL;
}

static void free_batch(session *session) {
    void *all[] = {session->starts, session->order, session->ids,  session->places,
                   session->states, session->heads, session->mixed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    session->starts = session->order = NULL;
    session->ids = session->places = NULL;
    session->states = NULL;
    session->heads = session->mixed = NULL;
    session->room_texts = session->room_rows = 0;
}

void session_destroy(session *session) {
    destroy_bench(&session->bench);
    free_batch(session);
    free(session);
}

// Layer norm in place: (x - mean) / sqrt(variance + epsilon) * scale + shift.
static void normalize(float *row, int length, const norm *norm, float epsilon) {
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < length; i += LANES) total = _mm512_add_ps(total, _mm512_load_ps(row + i));
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / (float)length);
    __m512 squares = _mm512_setzero_ps();
    for (int i = 0; i < length; i += LANES) {
        const __m512 away = _mm512_sub_ps(_mm512_load_ps(row + i), mean);
        squares = _mm512_fmadd_ps(away, away, squares);
    }
    const __m512 factor = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)length + epsilon));
    for (int i = 0; i < length; i += LANES) {
        const __m512 unit = _mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(row + i), mean), factor);
        _mm512_store_ps(row + i,
                        _mm512_fmadd_ps(unit, _mm512_load_ps(norm->scale + i), _mm512_load_ps(norm->shift + i)));
    }
}

// Prepares rows of floats for a product.
static rows prepare_floats(const linear *layer, workbench *bench, const float *from, int count) {
    const int length = layer->in;
    if (!layer->is_int8) {
        for (size_t i = 0; i < (size_t)count * length; i += LANES) narrow(bench->hidden + i, _mm512_load_ps(from + i));
        return (rows){.values = bench->hidden, .stride = length * (long)sizeof(bf16)};
    }
    const int groups = length / layer->group;
    for (int r = 0; r < count; r++)
        quantize_floats(layer, from + (size_t)r * length, bench->integers + (size_t)r * length,
                        bench->steps + r * groups, bench->zeros + r * groups);
    return (rows){bench->integers, length, bench->steps, bench->zeros};
}

static rows prepare_bf16(const linear *layer, workbench *bench, const bf16 *from, int count) {
    const int length = layer->in;
    if (!layer->is_int8) return (rows){.values = from, .stride = length * (long)sizeof(bf16)};
    const int groups = length / layer->group;
    for (int r = 0; r < count; r++)
        quantize_bf16(layer, from + (size_t)r * length, bench->integers + (size_t)r * length, bench->steps + r * groups,
                      bench->zeros + r * groups);
    return (rows){bench->integers, length, bench->steps, bench->zeros};
}

typedef struct {
    int first, count;
} span;

static span rows_of(const session *session, int task) {
    const int first = task * session->rows_per_task, left = session->rows - first;
    return (span){first, left < session->rows_per_task ? left : session->rows_per_task};
}

static int tasks_of(const session *session, int most) {
    const int tasks = TASKS_PER_CORE * session->encoder->shape.cores;
    return most < tasks ? most : tasks;
}

static void multiply_columns(void *context, int task, void *memory) {
    (void)memory;
    const session *session = context;
    const product *all = &session->product;
    const int panels = all->layer->out / TILE_COLUMNS, tasks = tasks_of(session, panels);
    linear_run(all->layer, all->how, all->from, all->count, task * panels / tasks, (task + 1) * panels / tasks, all->to,
               all->stride);
}

static void multiply(session *session, product all) {
    const int panels = all.layer->out / TILE_COLUMNS;
    if (!session->is_narrow) {
        linear_run(all.layer, all.how, all.from, all.count, 0, panels, all.to, all.stride);
        return;
    }
    session->product = all;
    job_run(&session->job, tasks_of(session, panels), multiply_columns, session);
}

// The rows' queries, keys and values for the layer that comes.
static void project(session *session, workbench *bench, span part) {
    const encoder *encoder = session->encoder;
    const int hidden = encoder->shape.hidden;
    const linear *linear = &encoder->layers[session->layer].attention_in;
    const rows from = prepare_floats(linear, bench, session->states + (size_t)part.first * hidden, part.count);
    bf16 *heads = session->heads + (size_t)part.first * 3 * hidden;
    multiply(session, (product){linear, STORE, from, part.count, heads, 3L * hidden});
}

static void embed_rows(void *context, int task, void *memory) {
    session *session = context;
    const encoder *encoder = session->encoder;
    const int hidden = encoder->shape.hidden;
    const span part = rows_of(session, task);
    for (int row = part.first; row < part.first + part.count; row++) {
        const float *word = encoder->words + (size_t)session->ids[row] * hidden;
        const float *position = encoder->positions + (size_t)session->places[row] * hidden;
        float *state = session->states + (size_t)row * hidden;
        for (int i = 0; i < hidden; i += LANES)
            _mm512_store_ps(state + i, _mm512_add_ps(_mm512_loadu_ps(word + i), _mm512_loadu_ps(position + i)));
        normalize(state, hidden, &encoder->embedding_norm, encoder->shape.epsilon);
    }
    project(session, memory, part);
}

static void attend_head(void *context, int task, void *memory) {
    session *session = context;
    const encoder *encoder = session->encoder;
    const encoder_shape *shape = &encoder->shape;
    const int text = session->order[task / shape->heads], number = task % shape->heads;
    const int depth = shape->hidden / shape->heads, start = session->starts[text];
    const bf16 *queries = session->heads + (size_t)start * 3 * shape->hidden + number * depth;
    const head head = {
        .queries = queries,
        .keys = queries + shape->hidden,
        .values = queries + 2 * shape->hidden,
        .stride = 3L * shape->hidden,
        .tokens = session->starts[text + 1] - start,
        .depth = depth,
        .bias =
            encoder->score_bias == NULL ? NULL : encoder->score_bias + (size_t)number * shape->window * shape->window,
        .bias_stride = shape->window,
    };
    attend(&head, &((workbench *)memory)->attention, session->mixed + (size_t)start * shape->hidden + number * depth,
           shape->hidden);
}

static finish activation_of(const encoder_shape *shape) {
    return shape->activation == 0 ? STORE_GELU : shape->activation == 1 ? STORE_GELU_TANH : STORE_RELU;
}

// All of a layer that follows attention, and the product that the next layer begins with: nothing in it looks at
// other rows.
static void finish_rows(void *context, int task, void *memory) {
    session *session = context;
    const encoder *encoder = session->encoder;
    workbench *bench = memory;
    const int hidden = encoder->shape.hidden, inner = encoder->shape.inner;
    const layer *layer = &encoder->layers[session->layer - 1];
    const span part = rows_of(session, task);
    float *states = session->states + (size_t)part.first * hidden;
    rows from = prepare_bf16(&layer->attention_out, bench, session->mixed + (size_t)part.first * hidden, part.count);
    multiply(session, (product){&layer->attention_out, ADD, from, part.count, states, hidden});
    for (int r = 0; r < part.count; r++)
        normalize(states + (size_t)r * hidden, hidden, &layer->attention_norm, encoder->shape.epsilon);
    from = prepare_floats(&layer->inner, bench, states, part.count);
    multiply(session, (product){&layer->inner, activation_of(&encoder->shape), from, part.count, bench->inner, inner});
    from = prepare_bf16(&layer->outer, bench, bench->inner, part.count);
    multiply(session, (product){&layer->outer, ADD, from, part.count, states, hidden});
    for (int r = 0; r < part.count; r++)
        normalize(states + (size_t)r * hidden, hidden, &layer->outer_norm, encoder->shape.epsilon);
    if (session->layer < encoder->shape.layers) project(session, bench, part);
}

INLINE __m512 pool_lanes(const float *states, int tokens, int hidden, int pooling) {
    __m512 pooled = _mm512_load_ps(states);
    if (pooling == 1) return pooled;
    for (int row = 1; row < tokens; row++) {
        const __m512 state = _mm512_load_ps(states + (size_t)row * hidden);
        pooled = pooling == 2 ? _mm512_max_ps(pooled, state) : _mm512_add_ps(pooled, state);
    }
    return pooling == 2 ? pooled : _mm512_mul_ps(pooled, _mm512_set1_ps(1.0f / (float)tokens));
}

static void pool_text(void *context, int task, void *memory) {
    (void)memory;
    session *session = context;
    const encoder *encoder = session->encoder;
    const int hidden = encoder->shape.hidden, start = session->starts[task];
    float *vector = session->embedding + (size_t)task * hidden;
    __m512 squares = _mm512_setzero_ps();
    for (int i = 0; i < hidden; i += LANES) {
        const float *states = session->states + (size_t)start * hidden + i;
        const __m512 pooled = pool_lanes(states, session->starts[task + 1] - start, hidden, encoder->shape.pooling);
        _mm512_storeu_ps(vector + i, pooled);
        squares = _mm512_fmadd_ps(pooled, pooled, squares);
    }
    const float length = sqrtf(_mm512_reduce_add_ps(squares));
    const __m512 factor = _mm512_set1_ps(1.0f / (length < LEAST_NORM ? LEAST_NORM : length));
    for (int i = 0; i < hidden; i += LANES)
        _mm512_storeu_ps(vector + i, _mm512_mul_ps(_mm512_loadu_ps(vector + i), factor));
    session->norms[task] = length;
}

static bool make_room(session *session, int texts, int rows) {
    if (texts <= session->room_texts && rows <= session->room_rows) return true;
    free_batch(session);
    const size_t hidden = (size_t)session->encoder->shape.hidden;
    session->starts = room(((size_t)texts + 1) * sizeof(int));
    session->order = room((size_t)texts * sizeof(int));
    session->ids = room((size_t)rows * sizeof(int32_t));
    session->places = room((size_t)rows * sizeof(int32_t));
    session->states = room(rows * hidden * sizeof(float));
    session->heads = room(rows * 3 * hidden * sizeof(bf16));
    session->mixed = room(rows * hidden * sizeof(bf16));
    if (!session->starts || !session->order || !session->ids || !session->places || !session->states ||
        !session->heads || !session->mixed) {
        free_batch(session);
        return false;
    }
    session->room_texts = texts;
    session->room_rows = rows;
    return true;
}

// Lays the tokens of all texts one after the other. Returns whether all ids are the vocabulary's.
static bool lay_out(session *session, const int64_t *ids, const int64_t *lengths, int stride) {
    int row = 0;
    for (int text = 0; text < session->texts; text++) {
        session->starts[text] = row;
        for (int place = 0; place < lengths[text]; place++, row++) {
            const int64_t id = ids[(size_t)text * stride + place];
            if (id < 0 || id >= session->encoder->shape.vocabulary) return false;
            session->ids[row] = (int32_t)id;
            session->places[row] = place;
        }
    }
    session->starts[session->texts] = row;
    return true;
}

// Puts the longest text first, so that no core is left with it at the end. Texts come with the shortest first or nearly
// so, and then this looks at each of them once.
static void sort_texts(session *session, const int64_t *lengths) {
    for (int placed = 0; placed < session->texts; placed++) {
        const int text = session->texts - 1 - placed;
        int rank = placed;
        for (; rank > 0 && lengths[session->order[rank - 1]] < lengths[text]; rank--)
            session->order[rank] = session->order[rank - 1];
        session->order[rank] = text;
    }
}

// Whether there are fewer tiles than cores, so that whole tiles would leave cores idle.
static bool is_narrow(int rows, int cores) { return cores > 1 && rows <= MOST_ROWS && rows <= TILE_ROWS * cores; }

// Whole tiles for each task.
static int choose_rows(int rows, int cores) {
    const int share = (rows + TASKS_PER_CORE * cores - 1) / (TASKS_PER_CORE * cores);
    const int whole = (share + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    return whole > MOST_ROWS ? MOST_ROWS : whole;
}

// Calls a step for all rows, in tasks that share them out. A narrow batch is one task, which shares out its columns.
static void run_rows(session *session, task_fn step) {
    if (session->is_narrow)
        step(session, 0, &session->bench);
    else
        job_run(&session->job, (session->rows + session->rows_per_task - 1) / session->rows_per_task, step, session);
}

static void run_layers(session *session) {
    const encoder_shape *shape = &session->encoder->shape;
    session->layer = 0;
    run_rows(session, embed_rows);
    while (session->layer < shape->layers) {
        job_run(&session->job, session->texts * shape->heads, attend_head, session);
        session->layer++;
        run_rows(session, finish_rows);
    }
    job_run(&session->job, session->texts, pool_text, session);
}

int32_t session_run(session *session, const int64_t *ids, const int64_t *lengths, int32_t texts, int32_t stride,
                    float *embedding, float *norm) {
    const encoder_shape *shape = &session->encoder->shape;
    int64_t rows = 0;
    for (int i = 0; i < texts; i++) {
        if (lengths[i] < 1 || lengths[i] > stride || lengths[i] > shape->window) return -2;
        rows += lengths[i];
    }
    if (texts < 1) return 0;
    if (rows > INT32_MAX || !make_room(session, texts, (int)rows)) return -1;
    session->texts = texts;
    session->rows = (int)rows;
    session->embedding = embedding;
    session->norms = norm;
    if (!lay_out(session, ids, lengths, stride)) return -2;
    sort_texts(session, lengths);
    session->is_narrow = is_narrow(session->rows, shape->cores);
    session->rows_per_task = session->is_narrow ? session->rows : choose_rows(session->rows, shape->cores);
    pool_enter(session->encoder->pool, &session->job);
    run_layers(session);
    pool_leave(session->encoder->pool, &session->job);
    return 0;
}
