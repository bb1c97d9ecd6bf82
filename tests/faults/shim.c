/* Counts system calls below one folder, or large requests for memory, and lets the one asked for fail.
 *
 * Preloaded into a process that forks: `fault_arm` sets the fault of a child, `fault_calls` lives in memory
 * that both share. Reaches Python, SQLite, Arrow, NumPy, torch and Rust alike, since all call through libc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum fault { NONE, IO_ERROR, FULL_DISK, NO_MEMORY, KILL, KILL_BEFORE_SEND, KILL_AFTER_SEND };
enum { LARGE = 1 << 16 };

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static struct { atomic_long calls; } *shared;
static enum fault fault;
static long at;
static char folder[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;
static long clock_offset;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void fault_arm(int kind, long number, const char *below, const char *log) {
    folder_length = strlen(strcpy(folder, below));
    if (*log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    at = number;
    atomic_store(&shared->calls, 0);
    fault = kind;
}
void fault_disarm(void) { fault = NONE; }
long fault_calls(void) { return atomic_load(&shared->calls); }
void fault_clock(long seconds) { clock_offset = seconds; }

/* What lies below the folder */

static int is_below(const char *path) {
    if (!folder_length || strncmp(path, folder, folder_length)) return 0;
    return !path[folder_length] || path[folder_length] == '/';
}
static const char *path_at(int dir, const char *path, char *whole) {
    if (*path == '/' || dir == AT_FDCWD) return path;
    char link[32];
    sprintf(link, "/proc/self/fd/%d", dir);
    ssize_t length = readlink(link, whole, PATH_MAX - 1);
    if (length < 0) return path;
    snprintf(whole + length, PATH_MAX - length, "/%s", path);
    return whole;
}
static const char *path_of(int fd, char *whole) {
    char link[32];
    sprintf(link, "/proc/self/fd/%d", fd);
    ssize_t length = folder_length ? readlink(link, whole, PATH_MAX - 1) : -1;
    whole[length < 0 ? 0 : length] = 0;
    return is_below(whole) ? whole : NULL;
}

/* The log of a power cut: what changed names, and what was on the disk after each sync */

static void note(char what, const char *path, const char *other, const void *data, size_t size) {
    if (log_fd < 0) return;
    unsigned lengths[3] = {strlen(path), strlen(other), size};
    struct iovec parts[] = {{&what, 1}, {lengths, sizeof lengths}, {(void *)path, lengths[0]},
                            {(void *)other, lengths[1]}, {(void *)data, size}};
    pthread_mutex_lock(&log_lock);
    syscall(SYS_writev, log_fd, parts, 5);
    pthread_mutex_unlock(&log_lock);
}
static void note_synced(int fd, const char *path) {
    struct stat facts;
    if (log_fd < 0 || fstat(fd, &facts)) return;
    if (S_ISDIR(facts.st_mode)) { note('d', path, "", "", 0); return; }
    int own = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    char *content = __libc_malloc(facts.st_size + 1);
    ssize_t size = own < 0 ? 0 : syscall(SYS_pread64, own, content, facts.st_size, 0);
    note('s', path, "", content, size < 0 ? 0 : size);
    syscall(SYS_close, own);
    free(content);
}

/* Whether this call fails. What a full disk refuses takes space; a kill comes before what changes something. */

enum { READS = 0, CHANGES = 1, TAKES_SPACE = 2 };

static int next(void) { return atomic_fetch_add(&shared->calls, 1) + 1; }
static int with(int error) { errno = error; return 1; }
static int fails(int how) {
    switch (fault) {
    case IO_ERROR: return next() == at && with(EIO);
    case FULL_DISK: return how == TAKES_SPACE && next() >= at && with(ENOSPC);
    case KILL: return how != READS && next() == at && raise(SIGKILL);
    default: return 0;
    }
}
/* How much of a write is done: a disk that fills, and a kill, cut one in two. */
static ssize_t cut(size_t size) {
    if (fault == FULL_DISK) {
        long number = next();
        if (number < at) return size;
        return number == at && size > 1 ? (ssize_t)size / 2 : -with(ENOSPC);
    }
    if (fault == KILL) return next() == at ? -2 : (ssize_t)size;
    return fails(TAKES_SPACE) ? -1 : (ssize_t)size;
}
#define WRITE(fd, size, call)                                                 \
    char place[PATH_MAX];                                                     \
    const char *path = path_of(fd, place);                                    \
    if (!path) { size_t part = size; return call; }                           \
    ssize_t some = cut(size);                                                 \
    if (some == -1) return -1;                                                \
    size_t part = some == -2 ? (size) / 2 : (size_t)some;                     \
    ssize_t done = call;                                                      \
    if (some == -2) raise(SIGKILL);                                           \
    return done

ssize_t write(int fd, const void *data, size_t size) {
    if (fd == 1) note('a', "", "", data, size);
    WRITE(fd, size, syscall(SYS_write, fd, data, part));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    WRITE(fd, size, syscall(SYS_pwrite64, fd, data, part, offset));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *parts, int number) {
    WRITE(fd, 1, part ? syscall(SYS_writev, fd, parts, number) : 0);
}
size_t fwrite(const void *data, size_t size, size_t number, FILE *file) {
    char place[PATH_MAX];
    if (path_of(fileno(file), place) && fails(TAKES_SPACE)) return 0;
    return REAL(fwrite)(data, size, number, file);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    WRITE(to, size, syscall(SYS_sendfile, to, from, offset, part));
}
ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *place_to, size_t size, unsigned flags) {
    WRITE(to, size, syscall(SYS_copy_file_range, from, start, to, place_to, part, flags));
}

#define FD_CALL(how, fd, call, ...)                                           \
    char place[PATH_MAX];                                                     \
    const char *path = path_of(fd, place);                                    \
    if (path && fails(how)) return -1;                                        \
    ssize_t done = call;                                                      \
    if (path && done >= 0) { __VA_ARGS__; }                                   \
    return done

ssize_t read(int fd, void *data, size_t size) { FD_CALL(READS, fd, syscall(SYS_read, fd, data, size)); }
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    FD_CALL(READS, fd, syscall(SYS_pread64, fd, data, size, offset));
}
ssize_t pread(int fd, void *data, size_t size, off_t offset) { return pread64(fd, data, size, offset); }
int fsync(int fd) { FD_CALL(TAKES_SPACE, fd, syscall(SYS_fsync, fd), note_synced(fd, path)); }
int fdatasync(int fd) { FD_CALL(TAKES_SPACE, fd, syscall(SYS_fdatasync, fd), note_synced(fd, path)); }
int ftruncate64(int fd, off64_t size) {
    FD_CALL(TAKES_SPACE, fd, syscall(SYS_ftruncate, fd, size), if (!size) note('t', path, "", "", 0));
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    char place[PATH_MAX];
    return path_of(fd, place) && fails(TAKES_SPACE) ? errno : REAL(posix_fallocate64)(fd, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }

#define PATH_CALL(how, dir, name, call, ...)                                  \
    char place[PATH_MAX];                                                     \
    const char *path = path_at(dir, name, place);                             \
    int watched = is_below(path);                                             \
    if (watched && fails(how)) return -1;                                     \
    int done = call;                                                          \
    if (watched && done >= 0) { __VA_ARGS__; }                                \
    return done

static int opened(int dir, const char *name, int flags, mode_t mode) {
    char whole[PATH_MAX];
    int is_new = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path_at(dir, name, whole), F_OK);
    int how = is_new ? TAKES_SPACE : flags & O_TRUNC ? CHANGES : READS;
    PATH_CALL(how, dir, name, (int)syscall(SYS_openat, dir, name, flags, mode),
              if (is_new || flags & O_TRUNC) note(is_new ? 'c' : 't', path, "", "", 0));
}
#define MODE                                                                  \
    va_list more;                                                             \
    va_start(more, flags);                                                    \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
    va_end(more)
int open(const char *name, int flags, ...) { MODE; return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE; return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int dir, const char *name, int flags, ...) { MODE; return opened(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { MODE; return opened(dir, name, flags | O_LARGEFILE, mode); }

static FILE *fopened(const char *name, const char *mode, FILE *(*call)(const char *, const char *)) {
    if (is_below(name) && fails(*mode == 'r' ? READS : TAKES_SPACE)) return NULL;
    if (is_below(name) && *mode == 'w') note('c', name, "", "", 0);
    return call(name, mode);
}
FILE *fopen(const char *name, const char *mode) { return fopened(name, mode, REAL(fopen)); }
FILE *fopen64(const char *name, const char *mode) { return fopened(name, mode, REAL(fopen64)); }

int mkdirat(int dir, const char *name, mode_t mode) {
    PATH_CALL(TAKES_SPACE, dir, name, syscall(SYS_mkdirat, dir, name, mode), note('m', path, "", "", 0));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
int unlinkat(int dir, const char *name, int flags) {
    PATH_CALL(CHANGES, dir, name, syscall(SYS_unlinkat, dir, name, flags), note('u', path, "", "", 0));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int renameat(int dir, const char *name, int to, const char *other) {
    char whole[PATH_MAX];
    PATH_CALL(TAKES_SPACE, dir, name, syscall(SYS_renameat, dir, name, to, other),
              note('r', path, path_at(to, other, whole), "", 0));
}
int rename(const char *name, const char *other) { return renameat(AT_FDCWD, name, AT_FDCWD, other); }

/* Memory */

static int refused(size_t size) {
    return fault == NO_MEMORY && size >= LARGE && next() == at && with(ENOMEM);
}
void *malloc(size_t size) { return refused(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t number, size_t size) { return refused(number * size) ? NULL : __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { return refused(size) ? NULL : __libc_realloc(old, size); }
void *memalign(size_t side, size_t size) { return refused(size) ? NULL : __libc_memalign(side, size); }
void *aligned_alloc(size_t side, size_t size) { return memalign(side, size); }
int posix_memalign(void **got, size_t side, size_t size) {
    void *made = memalign(side, size);
    if (made) *got = made;
    return made ? 0 : ENOMEM;
}
void *mmap64(void *near, size_t size, int protection, int flags, int fd, off64_t offset) {
    if (refused(size)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, near, size, protection, flags, fd, offset);
}
void *mmap(void *near, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap64(near, size, protection, flags, fd, offset);
}

/* A database on the other end of a socket, and a clock that was set */

ssize_t send(int fd, const void *data, size_t size, int flags) {
    int is_last = fault >= KILL_BEFORE_SEND && next() == at;
    if (is_last && fault == KILL_BEFORE_SEND) raise(SIGKILL);
    ssize_t done = syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    if (is_last) raise(SIGKILL);
    return done;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && which == CLOCK_REALTIME) now->tv_sec += clock_offset;
    return failed;
}
