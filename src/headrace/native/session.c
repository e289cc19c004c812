// Computes batches: what happens to the rows of texts from layer to layer.
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "model.h"
#include "states.h"

#define TASKS_PER_CORE 4  // so that a thread which is held up leaves its share to the others

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
    bool *seconds;    // [rows]: whether it is a token of a second text
    float *states;    // [rows][hidden]: between the layers, and what the parts of a layer are added to
    value *heads;     // [rows][3 hidden]: queries, keys, values
    value *mixed;     // [rows][hidden]: what attention gives
    float *embedding, *norms;
};

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
    void *all[] = {session->starts,  session->order,  session->ids,   session->places,
                   session->seconds, session->states, session->heads, session->mixed};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    session->starts = session->order = NULL;
    session->ids = session->places = NULL;
    session->seconds = NULL;
    session->states = NULL;
    session->heads = session->mixed = NULL;
    session->room_texts = session->room_rows = 0;
}

void session_destroy(session *session) {
    destroy_bench(&session->bench);
    free_batch(session);
    free(session);
}

// Prepares rows of floats for a product.
static rows prepare_floats(const linear *layer, workbench *bench, const float *from, int count) {
    const int length = layer->in;
    if (!layer->is_integer) {
        for (size_t i = 0; i < (size_t)count * length; i += LANES) narrow(bench->hidden + i, load(from + i));
        return (rows){.values = bench->hidden, .stride = length * (long)sizeof(value)};
    }
    const int groups = length / layer->group;
    for (int r = 0; r < count; r++)
        quantize_floats(layer, from + (size_t)r * length, bench->integers + (size_t)r * length,
                        bench->steps + r * groups, bench->zeros + r * groups);
    return (rows){bench->integers, length * (long)sizeof(row_integer), bench->steps, bench->zeros};
}

static rows prepare_values(const linear *layer, workbench *bench, const value *from, int count) {
    const int length = layer->in;
    if (!layer->is_integer) return (rows){.values = from, .stride = length * (long)sizeof(value)};
    const int groups = length / layer->group;
    for (int r = 0; r < count; r++)
        quantize_values(layer, from + (size_t)r * length, bench->integers + (size_t)r * length,
                        bench->steps + r * groups, bench->zeros + r * groups);
    return (rows){bench->integers, length * (long)sizeof(row_integer), bench->steps, bench->zeros};
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
    value *heads = session->heads + (size_t)part.first * 3 * hidden;
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
        for (int i = 0; i < hidden; i += LANES) store(state + i, add(load_any(word + i), load_any(position + i)));
        if (encoder->segment != NULL && session->seconds[row])
            for (int i = 0; i < hidden; i += LANES)
                store(state + i, add(load(state + i), load_any(encoder->segment + i)));
        normalize(state, hidden, &encoder->embedding_norm, encoder->shape.epsilon);
    }
    project(session, memory, part);
}

// The tokens of a text that a layer works out: all of them, but in the last layer only the one that becomes the vector,
// if one does. The others give it their keys and values, and nobody asks for more of them.
static span tokens_of(const session *session, int text) {
    const encoder_shape *shape = &session->encoder->shape;
    const int tokens = session->starts[text + 1] - session->starts[text];
    if (session->layer + 1 < shape->layers) return (span){0, tokens};
    if (shape->pooling == POOL_FIRST) return (span){0, 1};
    return shape->pooling == POOL_LAST ? (span){tokens - 1, 1} : (span){0, tokens};
}

static void attend_head(void *context, int task, void *memory) {
    session *session = context;
    const encoder *encoder = session->encoder;
    const encoder_shape *shape = &encoder->shape;
    const int text = session->order[task / shape->heads], number = task % shape->heads;
    const int depth = shape->hidden / shape->heads, start = session->starts[text];
    const value *queries = session->heads + (size_t)start * 3 * shape->hidden + number * depth;
    const span asked = tokens_of(session, text);
    const head head = {
        .queries = queries,
        .keys = queries + shape->hidden,
        .values = queries + 2 * shape->hidden,
        .stride = 3L * shape->hidden,
        .tokens = session->starts[text + 1] - start,
        .depth = depth,
        .first = asked.first,
        .end = asked.first + asked.count,
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
    rows from = prepare_values(&layer->attention_out, bench, session->mixed + (size_t)part.first * hidden, part.count);
    multiply(session, (product){&layer->attention_out, ADD, from, part.count, states, hidden});
    for (int r = 0; r < part.count; r++)
        normalize(states + (size_t)r * hidden, hidden, &layer->attention_norm, encoder->shape.epsilon);
    from = prepare_floats(&layer->inner, bench, states, part.count);
    multiply(session, (product){&layer->inner, activation_of(&encoder->shape), from, part.count, bench->inner, inner});
    from = prepare_values(&layer->outer, bench, bench->inner, part.count);
    multiply(session, (product){&layer->outer, ADD, from, part.count, states, hidden});
    for (int r = 0; r < part.count; r++)
        normalize(states + (size_t)r * hidden, hidden, &layer->outer_norm, encoder->shape.epsilon);
    if (session->layer < encoder->shape.layers) project(session, bench, part);
}

static void pool_text(void *context, int task, void *memory) {
    (void)memory;
    session *session = context;
    const encoder *encoder = session->encoder;
    const int hidden = encoder->shape.hidden, start = session->starts[task];
    if (encoder->shape.pooling == POOL_NONE) {
        const size_t tokens = (size_t)(session->starts[task + 1] - start);
        memcpy(session->embedding + (size_t)start * hidden, session->states + (size_t)start * hidden,
               tokens * hidden * sizeof(float));
        return;
    }
    const float *states = session->states + (size_t)start * hidden;
    session->norms[task] = pool_states(states, session->starts[task + 1] - start, hidden, encoder->shape.pooling,
                                       session->embedding + (size_t)task * hidden);
}

static bool make_room(session *session, int texts, int rows) {
    if (texts <= session->room_texts && rows <= session->room_rows) return true;
    free_batch(session);
    const size_t hidden = (size_t)session->encoder->shape.hidden;
    session->starts = allocate(((size_t)texts + 1) * sizeof(int));
    session->order = allocate((size_t)texts * sizeof(int));
    session->ids = allocate((size_t)rows * sizeof(int32_t));
    session->places = allocate((size_t)rows * sizeof(int32_t));
    session->seconds = allocate((size_t)rows * sizeof(bool));
    session->states = allocate(rows * hidden * sizeof(float));
    session->heads = allocate(rows * 3 * hidden * sizeof(value));
    session->mixed = allocate(rows * hidden * sizeof(value));
    if (!session->starts || !session->order || !session->ids || !session->places || !session->seconds ||
        !session->states || !session->heads || !session->mixed) {
        free_batch(session);
        return false;
    }
    session->room_texts = texts;
    session->room_rows = rows;
    return true;
}

// Lays the tokens of all texts one after the other. Returns whether all ids are the vocabulary's.
static bool lay_out(session *session, const int64_t *ids, const int64_t *types, const int64_t *lengths, int stride) {
    int row = 0;
    for (int text = 0; text < session->texts; text++) {
        session->starts[text] = row;
        for (int place = 0; place < lengths[text]; place++, row++) {
            const int64_t id = ids[(size_t)text * stride + place];
            if (id < 0 || id >= session->encoder->shape.vocabulary) return false;
            session->ids[row] = (int32_t)id;
            session->places[row] = place;
            session->seconds[row] = types != NULL && types[(size_t)text * stride + place] != 0;
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

static void share_out(session *session, int rows) {
    const int cores = session->encoder->shape.cores;
    session->rows = rows;
    session->is_narrow = is_narrow(rows, cores);
    session->rows_per_task = session->is_narrow ? rows : choose_rows(rows, cores);
}

// Moves the rows that attention has worked out to the front, if it has left some out.
static void keep_asked(session *session) {
    const size_t hidden = (size_t)session->encoder->shape.hidden;
    int kept = 0;
    for (int text = 0; text < session->texts; text++) {
        const span asked = tokens_of(session, text);
        const int from = session->starts[text] + asked.first;
        if (from > kept) {
            memmove(session->states + kept * hidden, session->states + from * hidden,
                    asked.count * hidden * sizeof(float));
            memmove(session->mixed + kept * hidden, session->mixed + from * hidden,
                    asked.count * hidden * sizeof(value));
        }
        session->starts[text] = kept;
        kept += asked.count;
    }
    session->starts[session->texts] = kept;
    if (kept < session->rows) share_out(session, kept);
}

static void run_layer(session *session) {
    if (session->layer == 0) run_rows(session, embed_rows);
    job_run(&session->job, session->texts * session->encoder->shape.heads, attend_head, session);
    keep_asked(session);
    session->layer++;
    run_rows(session, finish_rows);
}

int32_t session_begin(session *session, const int64_t *ids, const int64_t *types, const int64_t *lengths, int32_t texts,
                      int32_t stride, float *embedding, float *norm) {
    const encoder_shape *shape = &session->encoder->shape;
    int64_t rows = 0;
    for (int i = 0; i < texts; i++) {
        if (lengths[i] < 1 || lengths[i] > stride || lengths[i] > shape->window) return -2;
        rows += lengths[i];
    }
    if (rows > INT32_MAX || !make_room(session, texts, (int)rows)) return -1;
    session->texts = texts;
    session->embedding = embedding;
    session->norms = norm;
    if (!lay_out(session, ids, types, lengths, stride)) return -2;
    sort_texts(session, lengths);
    share_out(session, (int)rows);
    session->layer = 0;
    return 0;
}

int32_t session_step(session *session, const int32_t *bell) {
    const int layers = session->encoder->shape.layers;
    pool_enter(session->encoder->pool, &session->job);
    do run_layer(session);
    while (session->layer < layers && (bell == NULL || __atomic_load_n(bell, __ATOMIC_RELAXED) == 0));
    if (session->layer == layers) job_run(&session->job, session->texts, pool_text, session);
    pool_leave(session->encoder->pool, &session->job);
    return layers - session->layer;
}
