/* A clock that is moved: what a process takes for the time, and for the time at which a file was written.
 *
 * Loaded with LD_PRELOAD. The file that YEAR_CLOCK names has how many steps there are, and for each the real time from
 * which on it counts and by how much the clock is ahead then, in nanoseconds. A file has the time that the clock showed
 * when it was really written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

struct step {
    int64_t from;
    int64_t ahead;
};

struct clock {
    int64_t steps;
    int64_t reserved;
    struct step step[];
};

static const struct clock *moved;

__attribute__((constructor)) static void open_clock(void)
{
    const char *name = getenv("YEAR_CLOCK");
    if (name == NULL)
        return;
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        abort();
    off_t size = lseek(file, 0, SEEK_END);
    void *found = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, 0);
    if (found == MAP_FAILED)
        abort();
    moved = found;
    close(file);
}

static int64_t ahead_at(int64_t real)
{
    if (moved == NULL)
        return 0;
    int64_t low = 0, high = __atomic_load_n(&moved->steps, __ATOMIC_ACQUIRE);
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (moved->step[middle].from <= real)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : moved->step[low - 1].ahead;
}

static void move(struct timespec *time)
{
    int64_t real = time->tv_sec * SECOND + time->tv_nsec;
    int64_t shown = real + ahead_at(real);
    time->tv_sec = shown / SECOND;
    time->tv_nsec = shown % SECOND;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    long failed = syscall(SYS_clock_gettime, id, time);
    if (failed == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        move(time);
    return (int)failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

static int move_file(int failed, struct stat *about)
{
    if (failed == 0)
        move(&about->st_mtim);
    return failed;
}

int fstatat(int folder, const char *restrict name, struct stat *restrict about, int flags)
{
    return move_file((int)syscall(SYS_newfstatat, folder, name, about, flags), about);
}

int stat(const char *restrict name, struct stat *restrict about)
{
    return fstatat(AT_FDCWD, name, about, 0);
}

int lstat(const char *restrict name, struct stat *restrict about)
{
    return fstatat(AT_FDCWD, name, about, AT_SYMLINK_NOFOLLOW);
}

int fstat(int file, struct stat *about)
{
    return move_file((int)syscall(SYS_fstat, file, about), about);
}

int stat64(const char *restrict name, struct stat64 *restrict about)
{
    return stat(name, (struct stat *)about);
}

int lstat64(const char *restrict name, struct stat64 *restrict about)
{
    return lstat(name, (struct stat *)about);
}

int fstat64(int file, struct stat64 *about)
{
    return fstat(file, (struct stat *)about);
}

int fstatat64(int folder, const char *restrict name, struct stat64 *restrict about, int flags)
{
    return fstatat(folder, name, (struct stat *)about, flags);
}

int statx(int folder, const char *restrict name, int flags, unsigned int mask, struct statx *restrict about)
{
    long failed = syscall(SYS_statx, folder, name, flags, mask, about);
    if (failed == 0) {
        struct timespec time = {about->stx_mtime.tv_sec, about->stx_mtime.tv_nsec};
        move(&time);
        about->stx_mtime.tv_sec = time.tv_sec;
        about->stx_mtime.tv_nsec = (unsigned int)time.tv_nsec;
    }
    return (int)failed;
}
