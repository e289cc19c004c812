// Threads that help where there is room.
//
// A batch is computed by the thread that brings it, alone while there are as many batches as cores, and with the help
// of the pool's threads while there are fewer. So many batches at a time run without ever waiting for each other, and a
// lone text is computed on all cores.
#ifndef HEADRACE_POOL_H
#define HEADRACE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>

// `memory` is the working memory of the thread that runs the task.
typedef void (*task_fn)(void *context, int task, void *memory);

typedef struct pool pool;

// What one caller computes, step by step. Zeroed before its first use.
typedef struct job {
    // `ticket` has the number of the step in its upper half and the step's next task in its lower half, so that a
    // thread which comes late takes no task of another step.
    atomic_ullong ticket;
    atomic_uint tasks, finished;
    _Atomic(task_fn) run;
    _Atomic(void *) context;
    void *memory;  // of the caller's thread

    atomic_bool is_over;
    atomic_int helpers;
    struct job *next;
} job;

// A pool that keeps at most `cores` threads busy, callers included, so it has cores - 1 of its own. `memories` has one
// for each of them. NULL if they cannot be started.
pool *pool_create(int cores, void *const *memories);
void pool_destroy(pool *pool);

void pool_enter(pool *pool, job *job);
void pool_leave(pool *pool, job *job);

// Calls run(context, task, memory) once for each task from 0 to tasks - 1, and returns when all have returned. Between
// pool_enter and pool_leave.
void job_run(job *job, int tasks, task_fn run, void *context);

#endif
