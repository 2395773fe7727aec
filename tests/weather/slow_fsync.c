/* fsync and fdatasync that take FSYNC_MILLIS milliseconds longer; to be preloaded. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

#ifndef FSYNC_MILLIS
#error "say how long: -DFSYNC_MILLIS=20"
#endif

static void pause_a_while(void)
{
    struct timespec left = {0, FSYNC_MILLIS * 1000000L};

    /* A signal doesn't shorten it. */
    while (nanosleep(&left, &left) != 0)
        ;
}

static int sync_late(const char *name, int file)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    pause_a_while();
    return sync(file);
}

int fsync(int file)
{
    return sync_late("fsync", file);
}

int fdatasync(int file)
{
    return sync_late("fdatasync", file);
}
