/*
 * Writes down what a process does to the files of one folder, and when: preloaded (LD_PRELOAD), it stands before the functions of
 * the C library by which files are changed.
 *
 * KINETAIL_SHIM_FOLDER names the folder, by its absolute path; KINETAIL_SHIM_LOG the file in which it is written down. What is
 * written there stands in `recorder.rs`. Changes are made and written down one at a time. A flush is written down when it begins
 * and when it ends, and others go on meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPENED = 1, WRITTEN, TRUNCATED, RENAMED, REMOVED, MADE_FOLDER, FLUSH_BEGINS, FLUSH_ENDS };

/* All that is known of an event but names and data, which follow. */
struct head {
    uint64_t at_ns;
    uint64_t inode;
    uint64_t offset;
    uint64_t byte_count;
    uint32_t kind;
    uint32_t name_bytes;
    uint32_t flags;
    uint32_t flush;
};

#define FILES_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_bytes;
static int log_file = -1;
static uint32_t flush_count;
/* Of files and folders that were opened in the folder. */
static uint64_t inodes[FILES_MAX];
static size_t inode_count;

static void give_up(const char *what) {
    dprintf(2, "shim: %s\n", what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("KINETAIL_SHIM_LOG");
    folder = getenv("KINETAIL_SHIM_FOLDER");
    if (!path || !folder)
        return;
    folder_bytes = strlen(folder);
    int opened = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_file = fcntl(opened, F_DUPFD_CLOEXEC, 200);
    if (log_file < 0)
        give_up("no log");
    close(opened);
}

/* The absolute path of `path` if it is in the folder, or is the folder. */
static int is_inside(int parent, const char *path, char *absolute) {
    if (log_file < 0)
        return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX)
            return 0;
        strcpy(absolute, path);
    } else {
        char link[64], parent_path[PATH_MAX];
        snprintf(link, sizeof link, parent == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", parent);
        ssize_t length = readlink(link, parent_path, sizeof parent_path - 1);
        if (length < 0)
            return 0;
        parent_path[length] = 0;
        if (snprintf(absolute, PATH_MAX, "%.2000s/%.2000s", parent_path, path) >= PATH_MAX)
            return 0;
    }
    return strncmp(absolute, folder, folder_bytes) == 0 && (absolute[folder_bytes] == '/' || absolute[folder_bytes] == 0);
}

static void write_down(struct head head, const char *name, const void *data) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    head.at_ns = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    size_t data_bytes = head.kind == WRITTEN ? head.byte_count : 0;
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)data, data_bytes}};
    if (syscall(SYS_writev, log_file, parts, 3) != (long)(sizeof head + head.name_bytes + data_bytes))
        give_up("cannot write to the log");
}

/* Whether it is a file of the folder; then its inode. */
static int is_watched(int file, uint64_t *inode) {
    struct stat status;
    if (log_file < 0 || file == log_file || fstat(file, &status) != 0)
        return 0;
    *inode = status.st_ino;
    for (size_t index = 0; index < inode_count; index++)
        if (inodes[index] == *inode)
            return 1;
    return 0;
}

static void watch(uint64_t inode) {
    for (size_t index = 0; index < inode_count; index++)
        if (inodes[index] == inode)
            return;
    if (inode_count == FILES_MAX)
        give_up("too many files");
    inodes[inode_count++] = inode;
}

static int open_at(int parent, const char *path, int flags, mode_t mode) {
    char absolute[PATH_MAX];
    if (!is_inside(parent, path, absolute))
        return syscall(SYS_openat, parent, path, flags, mode);
    pthread_mutex_lock(&lock);
    int file = syscall(SYS_openat, parent, path, flags, mode);
    int error = errno;
    struct stat status;
    if (file >= 0 && fstat(file, &status) == 0) {
        watch(status.st_ino);
        struct head head = {.kind = OPENED, .inode = status.st_ino, .flags = (flags & O_TRUNC) != 0};
        head.flags |= S_ISDIR(status.st_mode) ? 2 : 0;
        head.name_bytes = strlen(absolute);
        write_down(head, absolute, NULL);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return file;
}

#define MODE(flags)                                    \
    mode_t mode = 0;                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {             \
        va_list more;                                  \
        va_start(more, flags);                         \
        mode = va_arg(more, mode_t);                   \
        va_end(more);                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int parent, const char *path, int flags, ...) {
    MODE(flags)
    return open_at(parent, path, flags, mode);
}

int openat64(int parent, const char *path, int flags, ...) {
    MODE(flags)
    return open_at(parent, path, flags, mode);
}

/* `offset` is negative for where the file is. */
static ssize_t write_at(int file, const void *data, size_t byte_count, off_t offset) {
    uint64_t inode;
    int is_here = offset < 0;
    pthread_mutex_lock(&lock);
    int watched = is_watched(file, &inode);
    if (!watched)
        pthread_mutex_unlock(&lock);
    ssize_t written = is_here ? syscall(SYS_write, file, data, byte_count) : syscall(SYS_pwrite64, file, data, byte_count, offset);
    if (!watched)
        return written;
    int error = errno;
    if (written > 0) {
        struct head head = {.kind = WRITTEN, .inode = inode, .byte_count = written};
        head.offset = is_here ? lseek(file, 0, SEEK_CUR) - written : offset;
        write_down(head, NULL, data);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t write(int file, const void *data, size_t byte_count) {
    return write_at(file, data, byte_count, -1);
}

ssize_t pwrite(int file, const void *data, size_t byte_count, off_t offset) {
    return write_at(file, data, byte_count, offset);
}

ssize_t pwrite64(int file, const void *data, size_t byte_count, off64_t offset) {
    return write_at(file, data, byte_count, offset);
}

ssize_t writev(int file, const struct iovec *parts, int part_count) {
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int watched = is_watched(file, &inode);
    pthread_mutex_unlock(&lock);
    /* Less than was asked for may be written. */
    for (int index = 0; watched && index < part_count; index++)
        if (parts[index].iov_len > 0)
            return write_at(file, parts[index].iov_base, parts[index].iov_len, -1);
    return syscall(SYS_writev, file, parts, part_count);
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t byte_count, unsigned flags) {
    (void)from, (void)from_offset, (void)to, (void)to_offset, (void)byte_count, (void)flags;
    /* Who copies then reads and writes. */
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t byte_count) {
    (void)to, (void)from, (void)offset, (void)byte_count;
    errno = ENOSYS;
    return -1;
}

int ftruncate(int file, off_t byte_count) {
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int watched = is_watched(file, &inode);
    int result = syscall(SYS_ftruncate, file, byte_count);
    int error = errno;
    if (watched && result == 0)
        write_down((struct head){.kind = TRUNCATED, .inode = inode, .byte_count = byte_count}, NULL, NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate64(int file, off64_t byte_count) {
    return ftruncate(file, byte_count);
}

static int flush(int file, long call) {
    uint64_t inode;
    pthread_mutex_lock(&lock);
    int watched = is_watched(file, &inode);
    struct head head = {.kind = FLUSH_BEGINS, .inode = inode, .flush = (uint32_t)getpid() << 12 ^ ++flush_count};
    if (watched)
        write_down(head, NULL, NULL);
    pthread_mutex_unlock(&lock);
    int result = syscall(call, file);
    if (!watched || result != 0)
        return result;
    pthread_mutex_lock(&lock);
    head.kind = FLUSH_ENDS;
    write_down(head, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int file) {
    return flush(file, SYS_fsync);
}

int fdatasync(int file) {
    return flush(file, SYS_fdatasync);
}

int rename(const char *from, const char *to) {
    char paths[2 * PATH_MAX], absolute[PATH_MAX];
    if (!is_inside(AT_FDCWD, from, paths) || !is_inside(AT_FDCWD, to, absolute))
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int error = errno;
    if (result == 0) {
        size_t from_bytes = strlen(paths) + 1;
        strcpy(paths + from_bytes, absolute);
        write_down((struct head){.kind = RENAMED, .name_bytes = from_bytes + strlen(absolute)}, paths, NULL);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static int remove_at(int parent, const char *path, int flags) {
    char absolute[PATH_MAX];
    if (!is_inside(parent, path, absolute))
        return syscall(SYS_unlinkat, parent, path, flags);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_unlinkat, parent, path, flags);
    int error = errno;
    if (result == 0)
        write_down((struct head){.kind = REMOVED, .name_bytes = strlen(absolute)}, absolute, NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path) {
    return remove_at(AT_FDCWD, path, 0);
}

int unlinkat(int parent, const char *path, int flags) {
    return remove_at(parent, path, flags);
}

int rmdir(const char *path) {
    return remove_at(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode) {
    char absolute[PATH_MAX];
    if (!is_inside(AT_FDCWD, path, absolute))
        return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    if (result == 0)
        write_down((struct head){.kind = MADE_FOLDER, .name_bytes = strlen(absolute)}, absolute, NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
