/*
 * virtio-fs: FUSE messages on a real folder, most of them as a driver would write them, while the host
 * changes the folder, too.
 *
 * covers: vmcore/virtio/fs.c vmcore/virtio/share_device.c vmcore/fs/fuse.c vmcore/fs/fuse_node.c
 * vmcore/fs/fuse_file.c vmcore/fs/fuse_dir.c
 *
 * The folder is in memory where there is such a file system, as a guest may ask for all of the host's disks
 * to be synced. Beside it lies a file that nothing may change. Files cannot grow beyond FILE_MAX: the
 * process's limit sees to that, so that no input fills the host.
 */
#include "tests/fuzz/device.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  (256u << 10)
#define SECRET    "nobody may change this"
#define NODES     16u
#define FILES     8u
#define PATH_SIZE 256

static char base[PATH_SIZE - 64], inside[PATH_SIZE - 32], secret[PATH_SIZE - 32];
static int host_lock = -1;

/* ---- the folder ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

static void remove_all(void)
{
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fuzz_finding("%s cannot be written", path);
    close(fd);
}

static const char *at(const char *name)
{
    static char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/%s", inside, name);
    return path;
}

/* Once for the process. */
static void make_base(void)
{
    const char *where = access("/dev/shm", W_OK) ? g_get_tmp_dir() : "/dev/shm";

    snprintf(base, sizeof(base), "%s/fuzz-fs-XXXXXX", where);
    if (!mkdtemp(base))
        fuzz_finding("no folder in %s", where);
    snprintf(inside, sizeof(inside), "%s/inside", base);
    snprintf(secret, sizeof(secret), "%s/secret", base);
    put(secret, SECRET);
    signal(SIGXFSZ, SIG_IGN);
    atexit(remove_all);
}

static void limit_files(rlim_t most)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_FSIZE, &limit)) {
        limit.rlim_cur = MIN(most, limit.rlim_max);
        setrlimit(RLIMIT_FSIZE, &limit);
    }
}

static void make_folder(void)
{
    char target[PATH_SIZE];

    if (mkdir(inside, 0755))
        fuzz_finding("%s cannot be made", inside);
    put(at("a"), "text");
    if (mkdir(at("d"), 0755) || mkfifo(at("p"), 0644) || symlink(secret, at("l")))
        fuzz_finding("%s cannot be filled", inside);
    snprintf(target, sizeof(target), "%s/d/b", inside);
    put(target, "more");
}

static void check_secret(void)
{
    char text[sizeof(SECRET) + 1] = {0};
    struct stat st;
    int fd = open(secret, O_RDONLY);

    if (fd < 0 || read(fd, text, sizeof(text)) < 0 || strcmp(text, SECRET) || fstat(fd, &st) ||
        st.st_nlink != 1 || (st.st_mode & 07777) != 0644)
        fuzz_finding("the file outside the shared folder has changed");
    close(fd);
}

/* ---- the device ---- */

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    VmcShareOptions options = {
        .readonly = (how & 15) == 15,
        .uid = 1000,
        .gid = 1000,
        .max_descriptors = how & 128 ? 5 : 64,
    };
    GError *error = NULL;

    if (!*base)
        make_base();
    make_folder();
    limit_files(FILE_MAX);
    VmcShare *share = vmc_share_new(inside, &options, &error);
    if (!share)
        fuzz_finding("%s", error->message);
    return vmc_virtio_fs_new(&m->host, share, "fuzz", (VmcShareCache)(how >> 4 & 3) % 3, 1 + (how >> 6 & 1));
}

static void unmake(FuzzMachine *m)
{
    if (host_lock >= 0)
        close(host_lock);
    host_lock = -1;
    limit_files(RLIM_INFINITY);
    nftw(inside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    check_secret();
}

/* ---- messages ---- */

typedef struct Message {
    uint8_t *buf;
    size_t len;
} Message;

static void add(Message *message, const void *data, size_t len)
{
    len = MIN(len, FUZZ_MESSAGE_MAX - message->len);
    memcpy(message->buf + message->len, data, len);
    message->len += len;
}

static const char *const names[] = {"a", "d", "l", "p", "b", "n", "m", "..", "d/b", "", "."};

static void add_name(Message *message, FuzzInput *in)
{
    uint8_t which = fuzz_u8(in);
    char name[300];

    if (which < 0xf0) {
        const char *known = names[which % (which & 64 ? G_N_ELEMENTS(names) : 7)];
        add(message, known, strlen(known) + 1);
        return;
    }
    size_t len = fuzz_below(in, sizeof(name));
    fuzz_take(in, name, len);
    add(message, name, len);
}

/* A number that is likely to be one: they count from 1. */
static uint64_t number(FuzzInput *in, unsigned n)
{
    uint8_t which = fuzz_u8(in);

    return which == 0xff ? fuzz_u64(in) : which % n + 1u;
}

/* Small, mostly. */
static uint64_t amount(FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    return how < 0xc0 ? how : how < 0xe0 ? fuzz_u16(in) : how < 0xfc ? fuzz_u32(in) : fuzz_u64(in);
}

static void add_u32(Message *message, uint64_t value)
{
    uint32_t word = (uint32_t)value;

    add(message, &word, sizeof(word));
}

static void add_u64(Message *message, uint64_t value)
{
    add(message, &value, sizeof(value));
}

/* What stands in a fixed part: w, a word; W, two; n, a node; f, a file; s, a name; d, data; x, an attribute's
 * name and value; the rest as it is here. */
static const struct {
    uint32_t opcode;
    const char *form;
} kinds[] = {
    {FUSE_INIT, "I"},
    {FUSE_LOOKUP, "s"},
    {FUSE_OPEN, "o0"},
    {FUSE_CREATE, "om00s"},
    {FUSE_READ, "fWw0W00"},
    {FUSE_WRITE, "fWDwW00d"},
    {FUSE_OPENDIR, "00"},
    {FUSE_READDIR, "fWb0W00"},
    {FUSE_READDIRPLUS, "fWb0W00"},
    {FUSE_SETLK, "fwwLLkpt0"},
    {FUSE_SETLKW, "fwwLLkpt0"},
    {FUSE_GETLK, "fwwLLkpt0"},
    {FUSE_FLUSH, "f00ww"},
    {FUSE_RELEASE, "fwtww"},
    {FUSE_RELEASEDIR, "fwtww"},
    {FUSE_GETATTR, "t0f"},
    {FUSE_SETATTR, "v0fWWWWWwwwm0ww0"},
    {FUSE_READLINK, ""},
    {FUSE_SYMLINK, "ss"},
    {FUSE_MKNOD, "m00s"},
    {FUSE_MKDIR, "m0s"},
    {FUSE_UNLINK, "s"},
    {FUSE_RMDIR, "s"},
    {FUSE_RENAME, "nss"},
    {FUSE_RENAME2, "nt0ss"},
    {FUSE_LINK, "ns"},
    {FUSE_STATFS, ""},
    {FUSE_FSYNC, "ft0"},
    {FUSE_FSYNCDIR, "ft0"},
    {FUSE_SETXATTR, "tx"},
    {FUSE_GETXATTR, "b0x"},
    {FUSE_LISTXATTR, "b0"},
    {FUSE_REMOVEXATTR, "x"},
    {FUSE_DESTROY, ""},
    {FUSE_ACCESS, "t0"},
    {FUSE_FALLOCATE, "fWWt0"},
    {FUSE_LSEEK, "fWt0"},
    {FUSE_COPY_FILE_RANGE, "fWnfWWt0"},
    {FUSE_SYNCFS, "W"},
    {FUSE_TMPFILE, "om00s"},
    {FUSE_IOCTL, "f00W00"},
    {FUSE_INTERRUPT, "U"},
    {FUSE_FORGET, "W"},
    {FUSE_BATCH_FORGET, "t0nWnWnW"},
    {0, "ss"},
};

static void add_attribute(Message *message, FuzzInput *in, bool with_value)
{
    static const char *const attributes[] = {
        "user.a",     "trusted.b", "security.capability", "user.espalier.owner", "system.posix_acl_access",
        "com.apple.x"};
    const char *name = attributes[fuzz_below(in, G_N_ELEMENTS(attributes))];
    uint32_t len = fuzz_below(in, 60);
    char value[60];

    if (with_value) {
        /* size before flags, which came from the form */
        uint32_t flags;
        memcpy(&flags, message->buf + message->len - 4, 4);
        message->len -= 4;
        add_u32(message, len);
        add_u32(message, flags);
    }
    add(message, name, strlen(name) + 1);
    fuzz_take(in, value, len);
    if (with_value)
        add(message, value, len);
}

static void add_init(Message *message, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    struct fuse_init_in init = {.major = 7, .minor = 31, .flags = ~0u};

    if (how & 0x80) {
        init.major = 5 + (how & 3);
        init.minor = fuzz_u8(in);
        init.flags = fuzz_u32(in);
    }
    add(message, &init, sizeof(init));
}

static void add_field(Message *message, FuzzInput *in, char form, uint32_t opcode, uint32_t *data)
{
    static const uint32_t open_flags[] = {O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_EXCL,
                                          O_RDWR | O_APPEND};
    static const uint32_t modes[] = {0644, 0755,           04755,          02775,   0444,
                                     0,    S_IFREG | 0600, S_IFIFO | 0600, S_IFCHR, S_IFDIR};
    uint8_t bytes[128];

    switch (form) {
    case 'I':
        add_init(message, in);
        break;
    case 's':
        add_name(message, in);
        break;
    case 'x':
        add_attribute(message, in, opcode == FUSE_SETXATTR);
        break;
    case 'o':
        add_u32(message, open_flags[fuzz_below(in, G_N_ELEMENTS(open_flags))]);
        break;
    case 'm':
        add_u32(message, modes[fuzz_below(in, G_N_ELEMENTS(modes))]);
        break;
    case 'f':
        add_u64(message, number(in, FILES));
        break;
    case 'n':
        add_u64(message, number(in, NODES));
        break;
    case 'U':
        add_u64(message, fuzz_below(in, 16));
        break;
    case 'k':
        add_u32(message, fuzz_below(in, 4));
        break;
    case 't':
        add_u32(message, fuzz_below(in, 8));
        break;
    case 'v':
        add_u32(message, fuzz_u16(in));
        break;
    case 'b':
        add_u32(message, 64u * fuzz_u8(in));
        break;
    case 'L':
        add_u64(message, fuzz_u8(in) & 1 ? INT64_MAX : amount(in));
        break;
    case 'W':
        add_u64(message, amount(in));
        break;
    case 'w':
    case 'p':
        add_u32(message, amount(in));
        break;
    case 'D':
        *data = fuzz_below(in, sizeof(bytes));
        add_u32(message, fuzz_u8(in) == 0xff ? amount(in) : *data);
        break;
    case 'd':
        fuzz_take(in, bytes, *data);
        add(message, bytes, *data);
        break;
    default:
        add_u32(message, 0);
    }
}

static size_t request(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    Message message = {buf, 0};
    struct fuse_in_header header = {.unique = fuzz_below(in, 16)};
    unsigned kind = fuzz_below(in, G_N_ELEMENTS(kinds));
    uint8_t spoil = fuzz_u8(in);
    uint32_t data = 0;

    header.opcode = spoil == 1 ? fuzz_u32(in) : kinds[kind].opcode;
    header.nodeid = kinds[kind].opcode == FUSE_INIT ? 0 : number(in, NODES);
    header.uid = header.gid = spoil & 128 ? 0 : spoil & 64 ? 77 : 1000;
    add(&message, &header, sizeof(header));
    for (const char *form = kinds[kind].form; *form; form++)
        add_field(&message, in, *form, kinds[kind].opcode, &data);
    header.len = spoil == 2 ? fuzz_u32(in) : (uint32_t)message.len - (spoil == 3);
    memcpy(buf, &header, sizeof(header));
    return message.len;
}

static const FuzzMessage messages[] = {{FUZZ_ANY_QUEUE, request}};

/* ---- the host ---- */

/* Somebody works in the folder meanwhile. */
static void step_host(FuzzMachine *m, FuzzInput *in)
{
    char to[PATH_SIZE];
    const char *name = names[fuzz_below(in, 7)], *other = names[fuzz_below(in, 7)];

    snprintf(to, sizeof(to), "%s/%s", inside, other);
    switch (fuzz_below(in, 6)) {
    case 0:
        renameat2(AT_FDCWD, at(name), AT_FDCWD, to, RENAME_EXCHANGE);
        break;
    case 1:
        rename(at(name), to);
        break;
    case 2:
        unlink(at(name));
        break;
    case 3:
        unlink(at(name));
        (void)!symlink("..", at(name));
        break;
    case 4:
        if (host_lock < 0 && (host_lock = open(at("a"), O_RDWR | O_NOFOLLOW | O_NONBLOCK)) >= 0)
            flock(host_lock, LOCK_EX | LOCK_NB);
        break;
    default:
        if (host_lock >= 0)
            close(host_lock);
        host_lock = -1;
    }
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_host};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
    .drain = true,
};

FUZZ_DEVICE(target)
