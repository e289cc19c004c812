// Callers come and go while helpers help; every task must run exactly once, and no memory must be shared by two.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool.h"

#define CORES 3
#define CALLERS 4
#define JOBS 200
#define STEPS 12
#define MOST_TASKS 40

typedef struct {
    int in_use;  // not atomic on purpose: two threads in it at once are a race that the sanitizer reports
} memory;

static pool *shared;
static atomic_int failures;

typedef struct {
    atomic_int runs[MOST_TASKS];
    int sum;  // written by one task of each step, read by the caller after it
} work;

static void run(void *context, int task, void *argument) {
    work *work = context;
    memory *own = argument;
    if (own->in_use++ != 0) atomic_fetch_add(&failures, 1);
    atomic_fetch_add(&work->runs[task], 1);
    if (task == 0) work->sum++;
    own->in_use--;
}

static void *call(void *argument) {
    const int seed = *(int *)argument;
    memory own = {0};
    job job = {.memory = &own};
    for (int i = 0; i < JOBS; i++) {
        work work = {0};
        int expected[MOST_TASKS] = {0};
        pool_enter(shared, &job);
        for (int step = 0; step < STEPS; step++) {
            const int tasks = 1 + (seed * 31 + i * 7 + step * 13) % MOST_TASKS;
            job_run(&job, tasks, run, &work);
            for (int task = 0; task < tasks; task++) expected[task]++;
            if (work.sum != step + 1) atomic_fetch_add(&failures, 1);
        }
        pool_leave(shared, &job);
        for (int task = 0; task < MOST_TASKS; task++)
            if (atomic_load(&work.runs[task]) != expected[task]) atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

int main(void) {
    memory helpers[CORES - 1] = {0};
    void *memories[CORES - 1];
    for (int i = 0; i < CORES - 1; i++) memories[i] = &helpers[i];
    for (int round = 0; round < 3; round++) {
        shared = pool_create(CORES, memories);
        if (shared == NULL) return 2;
        pthread_t callers[CALLERS];
        int seeds[CALLERS];
        for (int i = 0; i < CALLERS; i++) {
            seeds[i] = i + round * CALLERS;
            if (pthread_create(&callers[i], NULL, call, &seeds[i]) != 0) return 2;
        }
        for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
        pool_destroy(shared);
    }
    printf("%d failures\n", atomic_load(&failures));
    return atomic_load(&failures) != 0;
}
