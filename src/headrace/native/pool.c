// The threads of a pool, and how they share out the tasks of a step without locks.
#include "pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

// A task takes 10 us to 1 ms, so who waits for one looks for some 50 us at full speed; then it gives the core away at
// each look, because the one it waits for may need it.
#define LOOKS_AT_FULL_SPEED 2000
#define NO_TASK 0xffffffffull

struct pool {
    int cores, threads;
    pthread_t *handles;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_int busy;  // threads that compute, callers included; may be more than there are cores for a moment
    bool is_over;
    job *jobs;
};

typedef struct {
    pool *pool;
    void *memory;
} helper;

static void wait_a_little(int *looks) {
    if (++*looks < LOOKS_AT_FULL_SPEED)
        _mm_pause();
    else
        sched_yield();
}

// Takes tasks of a step until none is left.
static void work(job *job, unsigned step, void *memory) {
    for (;;) {
        unsigned long long seen = atomic_load_explicit(&job->ticket, memory_order_acquire);
        if ((unsigned)(seen >> 32) != step) return;
        const unsigned task = (unsigned)seen;
        const unsigned tasks = atomic_load_explicit(&job->tasks, memory_order_relaxed);
        const task_fn run = atomic_load_explicit(&job->run, memory_order_relaxed);
        void *context = atomic_load_explicit(&job->context, memory_order_relaxed);
        if (task >= tasks) return;
        // What was read above belongs to this step if the ticket is still the one seen.
        if (!atomic_compare_exchange_weak_explicit(&job->ticket, &seen, seen + 1, memory_order_acq_rel,
                                                   memory_order_relaxed))
            continue;
        run(context, (int)task, memory);
        atomic_fetch_add_explicit(&job->finished, 1, memory_order_release);
    }
}

// Helps with a job until it is over, or until a caller needs the core.
static void help(pool *pool, job *job, void *memory) {
    unsigned done = 0;
    int looks = 0;
    while (!atomic_load_explicit(&job->is_over, memory_order_acquire) &&
           atomic_load_explicit(&pool->busy, memory_order_relaxed) <= pool->cores) {
        const unsigned step = (unsigned)(atomic_load_explicit(&job->ticket, memory_order_acquire) >> 32);
        if (step == done) {
            wait_a_little(&looks);
            continue;
        }
        work(job, step, memory);
        done = step;
        looks = 0;
    }
}

// Returns the job with the fewest helpers, NULL if no core is free for another.
static job *find_job(const pool *pool) {
    if (atomic_load_explicit(&pool->busy, memory_order_relaxed) >= pool->cores) return NULL;
    job *found = pool->jobs;
    for (job *other = pool->jobs; other != NULL; other = other->next)
        if (other->helpers < found->helpers) found = other;
    return found;
}

static void *live(void *argument) {
    const helper self = *(helper *)argument;
    free(argument);
    pool *pool = self.pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->is_over) {
        job *job = find_job(pool);
        if (job == NULL) {
            pthread_cond_wait(&pool->changed, &pool->lock);
            continue;
        }
        atomic_fetch_add(&job->helpers, 1);
        atomic_fetch_add(&pool->busy, 1);
        pthread_mutex_unlock(&pool->lock);
        help(pool, job, self.memory);
        atomic_fetch_sub(&pool->busy, 1);
        atomic_fetch_sub(&job->helpers, 1);  // from here on the job may be gone
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

pool *pool_create(int cores, void *const *memories) {
    pool *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->cores = cores;
    made->handles = calloc((size_t)cores, sizeof *made->handles);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the threads of the program
    while (made->handles != NULL && made->threads < cores - 1) {
        helper *self = malloc(sizeof *self);
        if (self == NULL) break;
        *self = (helper){made, memories[made->threads]};
        if (pthread_create(&made->handles[made->threads], NULL, live, self) != 0) {
            free(self);
            break;
        }
        made->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made->handles != NULL && made->threads == cores - 1) return made;
    pool_destroy(made);
    return NULL;
}

void pool_destroy(pool *pool) {
    pthread_mutex_lock(&pool->lock);
    pool->is_over = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->handles);
    free(pool);
}

void pool_enter(pool *pool, job *job) {
    atomic_store(&job->is_over, false);
    atomic_store(&job->ticket, NO_TASK);
    pthread_mutex_lock(&pool->lock);
    job->next = pool->jobs;
    pool->jobs = job;
    if (atomic_fetch_add(&pool->busy, 1) + 1 < pool->cores) pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

void pool_leave(pool *pool, job *job) {
    pthread_mutex_lock(&pool->lock);
    struct job **place = &pool->jobs;
    while (*place != job) place = &(*place)->next;
    *place = job->next;
    atomic_store(&job->is_over, true);
    atomic_fetch_sub(&pool->busy, 1);
    if (pool->jobs != NULL) pthread_cond_broadcast(&pool->changed);  // there is a core for another helper
    pthread_mutex_unlock(&pool->lock);
    int looks = 0;
    while (atomic_load_explicit(&job->helpers, memory_order_acquire) > 0) wait_a_little(&looks);
}

void job_run(job *job, int tasks, task_fn run, void *context) {
    const unsigned long long last = atomic_load_explicit(&job->ticket, memory_order_relaxed) >> 32;
    // The ticket of the last step is closed first: who still looks at that step must not take one of its tasks because
    // it finds the number of this one's.
    atomic_store_explicit(&job->ticket, last << 32 | NO_TASK, memory_order_seq_cst);
    atomic_store_explicit(&job->tasks, (unsigned)tasks, memory_order_release);
    atomic_store_explicit(&job->run, run, memory_order_release);
    atomic_store_explicit(&job->context, context, memory_order_release);
    atomic_store_explicit(&job->finished, 0, memory_order_relaxed);
    const unsigned step = (unsigned)last + 1;
    atomic_store_explicit(&job->ticket, (unsigned long long)step << 32, memory_order_release);
    work(job, step, job->memory);
    int looks = 0;
    while (atomic_load_explicit(&job->finished, memory_order_acquire) < (unsigned)tasks) wait_a_little(&looks);
}
