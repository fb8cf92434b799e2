/*
 * Records what one process does to the files of one folder, in order, into a log.
 *
 * Preloaded (LD_PRELOAD) it stands before the C library's calls that write, sync, cut, make and
 * remove files. tests/faults/power_cut.py reads the log and works out what a power cut at any point
 * of it may leave. FOLDER and LOG are told by POWER_CUT_FOLDER and POWER_CUT_LOG.
 *
 * A record: kind (1 byte), inode, position, length of what follows (8 bytes each, of this machine's
 * order), then the bytes: what was written, or a name.
 *
 *   C  a file was made; its name follows        W  bytes were written at a position
 *   T  a file was cut or grown to a size        S  a file, or the folder, was synced
 *   U  a name was removed                       R  a name was changed: "old/new"
 *
 * SQLite's -shm files are left out: they are mapped, and made anew by whoever comes first.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_FILES = 4096 };

static char folder[PATH_MAX];
static size_t folder_length;
static struct stat folder_is;
static int log_fd = -1;
static ino_t watched[MOST_FILES];
static int watching;
static pthread_mutex_t order = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    const char *place = getenv("POWER_CUT_FOLDER"), *log = getenv("POWER_CUT_LOG");

    if (!place || !log || !realpath(place, folder) || stat(folder, &folder_is))
        return;
    folder_length = strlen(folder);
    log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, uint64_t file, uint64_t position, const void *bytes, uint64_t length)
{
    char head[25];
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, length}};

    head[0] = kind;
    memcpy(head + 1, &file, 8);
    memcpy(head + 9, &position, 8);
    memcpy(head + 17, &length, 8);
    if (REAL(writev)(log_fd, parts, 2) != (ssize_t)(sizeof head + length))
        abort(); /* a log with a hole proves nothing */
}

/* The name of a path in the folder; NULL for any other path. */
static const char *name_of(const char *path)
{
    const char *name;

    if (log_fd < 0 || !path || strncmp(path, folder, folder_length) || path[folder_length] != '/')
        return NULL;
    name = path + folder_length + 1;
    if (!*name || strchr(name, '/'))
        return NULL;
    if (strlen(name) > 4 && !strcmp(name + strlen(name) - 4, "-shm"))
        return NULL;
    return name;
}

/* The inode of an open file that is watched, or of the folder; 0 for any other. */
static ino_t watched_as(int fd, off_t *size)
{
    struct stat is;

    if (log_fd < 0 || fd == log_fd || fstat(fd, &is) || is.st_dev != folder_is.st_dev)
        return 0;
    if (size)
        *size = is.st_size;
    if (is.st_ino == folder_is.st_ino)
        return is.st_ino;
    for (int i = 0; i < watching; i++)
        if (watched[i] == is.st_ino)
            return is.st_ino;
    return 0;
}

static int opened(const char *path, int flags, mode_t mode)
{
    const char *name = name_of(path);
    struct stat is;
    int fd, was_there;

    if (!name)
        return REAL(open)(path, flags, mode);
    pthread_mutex_lock(&order);
    was_there = !lstat(path, &is);
    fd = REAL(open)(path, flags, mode);
    if (fd >= 0 && !fstat(fd, &is)) {
        if (!watched_as(fd, NULL)) {
            if (watching == MOST_FILES)
                abort();
            watched[watching++] = is.st_ino;
        }
        if (!was_there)
            note('C', is.st_ino, 0, name, strlen(name));
        else if (flags & O_TRUNC)
            note('T', is.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    return fd;
}

#define MODE(last) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags)
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return opened(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return name_of(path) ? opened(path, flags, mode) : REAL(openat)(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return name_of(path) ? opened(path, flags, mode) : REAL(openat64)(at, path, flags, mode);
}

static ssize_t written(int fd, const void *bytes, size_t length, off_t position, int moves)
{
    off_t size = 0;
    ino_t file;
    ssize_t done;

    pthread_mutex_lock(&order);
    file = watched_as(fd, &size);
    if (file && moves)
        position = fcntl(fd, F_GETFL) & O_APPEND ? size : lseek(fd, 0, SEEK_CUR);
    done = moves ? REAL(write)(fd, bytes, length) : REAL(pwrite)(fd, bytes, length, position);
    if (file && done > 0)
        note('W', file, position, bytes, done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (log_fd < 0 || !watched_as(fd, NULL)) /* pipes may block: never under the lock */
        return REAL(write)(fd, bytes, length);
    return written(fd, bytes, length, 0, 1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t position)
{
    return written(fd, bytes, length, position, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t position)
{
    return written(fd, bytes, length, position, 0);
}

static int cut(int fd, off_t size)
{
    ino_t file;
    int failed;

    pthread_mutex_lock(&order);
    file = watched_as(fd, NULL);
    failed = REAL(ftruncate)(fd, size);
    if (file && !failed)
        note('T', file, size, NULL, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

static int synced(int fd, int (*call)(int))
{
    ino_t file;
    int failed;

    pthread_mutex_lock(&order);
    file = watched_as(fd, NULL);
    failed = file ? 0 : call(fd); /* nothing here is meant to outlive a real power cut */
    if (file && !failed)
        note('S', file, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

int unlink(const char *path)
{
    const char *name = name_of(path);
    int failed;

    pthread_mutex_lock(&order);
    failed = REAL(unlink)(path);
    if (name && !failed)
        note('U', 0, 0, name, strlen(name));
    pthread_mutex_unlock(&order);
    return failed;
}

int rename(const char *from, const char *to)
{
    const char *old = name_of(from), *new = name_of(to);
    char both[2 * NAME_MAX + 2];
    int failed;

    pthread_mutex_lock(&order);
    failed = REAL(rename)(from, to);
    if (!failed && old && new)
        note('R', 0, 0, both, snprintf(both, sizeof both, "%s/%s", old, new));
    else if (!failed && (old || new))
        abort(); /* into the folder, or out of it: not told apart yet */
    pthread_mutex_unlock(&order);
    return failed;
}
