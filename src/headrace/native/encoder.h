// A text encoder of the BERT kind: token ids in, one vector for each text or token out. The only functions that Python
// calls.
#ifndef HEADRACE_ENCODER_H
#define HEADRACE_ENCODER_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

// The shape of a model and how it is run; all numbers are positive unless said otherwise.
typedef struct {
    int32_t hidden, heads, inner, layers, vocabulary, window;
    int32_t activation;  // 0 GELU, 1 GELU by tanh, 2 ReLU
    int32_t pooling;     // 0 mean, 1 first token, 2 maximum, 3 none: a vector for each token, 4 last token
    int32_t is_integer;  // whether linear layers compute with integers; else with values of avx512.h or avx2.h
    int32_t cores;       // most threads that compute at a time
    float epsilon;
} encoder_shape;

typedef struct encoder encoder;  // a model's weights, and the threads that help to compute with them
typedef struct session session;  // what one caller needs to compute with them

// Packs the weights and returns an encoder, NULL if there is no memory or no thread for it, or if the shape is none
// that it computes: `hidden` and `inner` multiples of 64, heads of a multiple of 32.
//
// `tensors` are float arrays, in this order: words [vocabulary][hidden], positions [window][hidden], scale and shift of
// their layer norm [hidden], what is added to all scores [heads][window][window] or NULL, what is added to a token of a
// second text [hidden] or NULL; then for each layer weight and bias of query, key, value, output, the norm's scale and
// shift, weight and bias of inner and outer, and again the norm's. Weights are [in][out], and the query's are divided
// by the root of a head's width already. The words, the positions and what is added to scores are not copied, and must
// live as long as the encoder.
EXPORT encoder *encoder_create(const encoder_shape *shape, const float *const *tensors);
EXPORT void encoder_destroy(encoder *encoder);  // after its sessions

// NULL if there is no memory for it.
EXPORT session *session_create(encoder *encoder);
EXPORT void session_destroy(session *session);

// Takes texts of `ids` [texts][stride] to encode, at least one, of which the first lengths[i] ids belong to text i, at
// least 1 and at most the window. Where `types` [texts][stride] is not 0, a token is one of a second text; NULL if
// there are none. What a session had taken before is forgotten. Returns 0, -1 if there is no memory for it, or -2 if an
// id or a length is out of bounds.
EXPORT int32_t session_begin(session *session, const int64_t *ids, const int64_t *types, const int64_t *lengths,
                             int32_t texts, int32_t stride, float *embedding, float *norm);

// Computes layers, at least one, until `*bell` is not 0, and returns how many are left; NULL if it is to stop nowhere.
// Others may change the bell meanwhile. With the last layer it writes vectors of length 1 to the `embedding`
// [texts][hidden] that was given, and the lengths they had to `norm` [texts]; without pooling those of all tokens as
// they are to `embedding` [sum of lengths][hidden], and no lengths. After a session_begin that returned 0, and until
// nothing is left. A session may rest in between while others compute. One call at a time.
EXPORT int32_t session_step(session *session, const int32_t *bell);

#endif
