/*
 * virtio-9p: 9P2000.L messages on a real folder, most of them as a driver would write them, while the host
 * changes the folder, too.
 *
 * covers: vmcore/virtio/p9.c vmcore/virtio/share_device.c vmcore/fs/p9.c vmcore/fs/p9_fid.c
 * vmcore/fs/p9_node.c vmcore/fs/p9_file.c vmcore/fs/p9_xattr.c
 *
 * The folder is in memory where that keeps extended attributes. Beside it lies a file that nothing may
 * change. Files cannot grow beyond FILE_MAX: the process's limit sees to that, so that no input fills the
 * host.
 */
#include "tests/fuzz/device.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILE_MAX  (256u << 10)
#define SECRET    "nobody may change this"
#define FIDS      8u
#define TAGS      16u
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

/* Whether extended attributes can be kept there; in memory they can since Linux 6.6. */
static bool keeps_attributes(const char *where)
{
    char *path = g_build_filename(where, "fuzz-p9-XXXXXX", NULL);
    int fd = g_mkstemp(path);
    bool keeps = fd >= 0 && !fsetxattr(fd, "user.a", "b", 1, 0);

    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    g_free(path);
    return keeps;
}

/* Once for the process. */
static void make_base(void)
{
    const char *where = keeps_attributes("/dev/shm") ? "/dev/shm" : g_get_tmp_dir();

    snprintf(base, sizeof(base), "%s/fuzz-p9-XXXXXX", where);
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
    if (mkdir(inside, 0755))
        fuzz_finding("%s cannot be made", inside);
    put(at("a"), "text");
    if (mkdir(at("d"), 0755) || mkfifo(at("p"), 0644) || symlink(secret, at("l")))
        fuzz_finding("%s cannot be filled", inside);
    put(at("d/b"), "more");
    setxattr(at("a"), "user.a", "value", 5, 0); /* where that is kept */
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
    return vmc_virtio_p9_new(&m->host, share, "fuzz", (VmcShareCaller){1000, 1000});
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

static void add_number(Message *message, uint64_t value, unsigned bytes)
{
    value = GUINT64_TO_LE(value);
    add(message, &value, bytes);
}

static void add_string(Message *message, FuzzInput *in, const char *text, size_t len)
{
    add_number(message, fuzz_u8(in) == 0xff ? fuzz_u16(in) : len, 2);
    add(message, text, len);
}

static const char *const names[] = {"a", "d", "l", "p", "b", "n", "m", "..", "d/b", "", "."};

static void add_name(Message *message, FuzzInput *in)
{
    uint8_t which = fuzz_u8(in);
    char name[300];

    if (which < 0xf0) {
        const char *known = names[which % (which & 64 ? G_N_ELEMENTS(names) : 7)];
        add_string(message, in, known, strlen(known));
        return;
    }
    size_t len = fuzz_below(in, sizeof(name));
    fuzz_take(in, name, len);
    add_string(message, in, name, len);
}

static void add_attribute(Message *message, FuzzInput *in)
{
    static const char *const attributes[] = {
        "user.a",      "trusted.b", "security.capability", "user.espalier.owner", "system.posix_acl_access",
        "com.apple.x", ""};
    const char *name = attributes[fuzz_below(in, G_N_ELEMENTS(attributes))];

    add_string(message, in, name, strlen(name));
}

/* Small, mostly. */
static uint64_t amount(FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    return how < 0xc0 ? how : how < 0xe0 ? fuzz_u16(in) : how < 0xfc ? fuzz_u32(in) : fuzz_u64(in);
}

/* What stands in a message: f, a fid; s, a name; x, an attribute's name; w, a walk's names; o, open flags; m,
 * a mode; v, a version; k, t, b: one byte of few values, four of few, four up to a page; W, eight bytes,
 * mostly small; L, the same, often the end of a file; D, data with its length; T, a tag; 0, four bytes of 0.
 */
static const struct {
    uint8_t type;
    const char *form;
} kinds[] = {
    {100, "v"},      {104, "f0ss0"}, {110, "ffw"}, {12, "fo"},    {14, "fsom0"},      {116, "fWb"},
    {118, "fWD"},    {120, "f"},     {40, "fWb"},  {24, "fW"},    {26, "fVmttWWWWW"}, {16, "fss0"},
    {18, "fsm000"},  {20, "ffs"},    {22, "f"},    {30, "ffx"},   {32, "fxWt"},       {50, "ft"},
    {52, "fktLLtc"}, {54, "fkLLtc"}, {70, "ffs"},  {72, "fsm0"},  {74, "fsfs"},       {76, "fsu"},
    {108, "T"},      {122, "f"},     {8, "f"},     {102, "fss0"}, {52, "fkKLLtc"},    {118, "fWD"},
    {30, "ffx"},     {32, "fxdt"},
};

static void add_walk(Message *message, FuzzInput *in)
{
    uint8_t n = fuzz_u8(in);

    n = n < 0xf8 ? n % 4 : n % 20;
    add_number(message, n, 2);
    for (unsigned i = 0; i < n; i++)
        add_name(message, in);
}

static void add_version(Message *message, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    const char *version = how & 0x80 ? "9P2000.u" : "9P2000.L";

    add_number(message, how & 0x40 ? fuzz_u32(in) : 8192u << (how & 7), 4);
    add_string(message, in, version, strlen(version));
}

static void add_data(Message *message, FuzzInput *in)
{
    uint8_t bytes[128];
    uint32_t len = fuzz_below(in, sizeof(bytes));

    add_number(message, fuzz_u8(in) == 0xff ? amount(in) : len, 4);
    fuzz_take(in, bytes, len);
    add(message, bytes, len);
}

static void add_field(Message *message, FuzzInput *in, char form)
{
    static const uint32_t open_flags[] = {
        O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_EXCL, 02002, 0200000u, O_RDWR, 04010003};
    static const uint32_t modes[] = {0644, 0755,           04755,          02775,   0444,
                                     0,    S_IFREG | 0600, S_IFIFO | 0600, S_IFCHR, S_IFDIR};
    uint8_t which;

    switch (form) {
    case 'f':
        which = fuzz_u8(in);
        add_number(message, which == 0xff ? fuzz_u32(in) : which % FIDS, 4);
        break;
    case 's':
        add_name(message, in);
        break;
    case 'x':
        add_attribute(message, in);
        break;
    case 'c':
        add_string(message, in, "guest", 5);
        break;
    case 'w':
        add_walk(message, in);
        break;
    case 'v':
        add_version(message, in);
        break;
    case 'o':
        add_number(message, open_flags[fuzz_below(in, G_N_ELEMENTS(open_flags))], 4);
        break;
    case 'm':
        add_number(message, modes[fuzz_below(in, G_N_ELEMENTS(modes))], 4);
        break;
    case 'k':
        add_number(message, fuzz_below(in, 4), 1);
        break;
    case 'K':
        add_number(message, 1, 4);
        break;
    case 't':
        add_number(message, fuzz_below(in, 8), 4);
        break;
    case 'u':
        add_number(message, fuzz_u8(in) & 1 ? AT_REMOVEDIR : fuzz_below(in, 3), 4);
        break;
    case 'V':
        add_number(message, fuzz_u16(in), 4);
        break;
    case 'b':
        add_number(message, fuzz_u8(in) == 0xff ? amount(in) : 64u * fuzz_u8(in), 4);
        break;
    case 'd':
        add_number(message, fuzz_below(in, 16), 8);
        break;
    case 'L':
        add_number(message, fuzz_u8(in) & 1 ? 0 : amount(in), 8);
        break;
    case 'W':
        add_number(message, amount(in), 8);
        break;
    case 'D':
        add_data(message, in);
        break;
    case 'T':
        add_number(message, fuzz_below(in, TAGS), 2);
        break;
    default:
        add_number(message, 0, 4);
    }
}

static size_t request(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    Message message = {buf, 0};
    unsigned kind = fuzz_below(in, G_N_ELEMENTS(kinds));
    uint8_t spoil = fuzz_u8(in);

    add_number(&message, 0, 4);
    add_number(&message, spoil == 1 ? fuzz_u8(in) : kinds[kind].type, 1);
    add_number(&message, fuzz_below(in, TAGS), 2);
    for (const char *form = kinds[kind].form; *form; form++)
        add_field(&message, in, *form);
    uint32_t size = spoil == 2 ? fuzz_u32(in) : (uint32_t)message.len - (spoil == 3);
    size = GUINT32_TO_LE(size);
    memcpy(buf, &size, sizeof(size));
    return message.len;
}

static const FuzzMessage messages[] = {{FUZZ_ANY_QUEUE, request}};

/* ---- steps ---- */

/* What a driver does first, so that the rest need not guess it: a version, the root as fid 0, an open file as
 * 1, an attribute that is written as 3 and one that is read as 4, an open folder as 2, a link as 5. */
static void step_mount(FuzzMachine *m, FuzzInput *in)
{
    static const char version[] = "\x15\0\0\0\x64\0\0\0\0\1\0\x08\0"
                                  "9P2000.L",
                      attach[] = "\x17\0\0\0\x68\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
                      walk_a[] = "\x14\0\0\0\x6e\0\0\0\0\0\0\1\0\0\0\1\0\1\0"
                                 "a",
                      open_a[] = "\x0f\0\0\0\x0c\0\0\1\0\0\0\2\0\0\0",
                      walk_d[] = "\x14\0\0\0\x6e\0\0\0\0\0\0\2\0\0\0\1\0\1\0"
                                 "d",
                      open_d[] = "\x0f\0\0\0\x0c\0\0\2\0\0\0\0\0\0\0",
                      walk_x[] = "\x14\0\0\0\x6e\0\0\0\0\0\0\3\0\0\0\1\0\1\0"
                                 "a",
                      create_x[] = "\x1f\0\0\0\x20\0\0\3\0\0\0\6\0"
                                   "user.a\2\0\0\0\0\0\0\0\0\0\0\0",
                      write_x[] = "\x19\0\0\0\x76\0\0\3\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0"
                                  "xy",
                      read_x[] = "\x17\0\0\0\x1e\0\0\1\0\0\0\4\0\0\0\6\0"
                                 "user.a",
                      walk_l[] = "\x14\0\0\0\x6e\0\0\0\0\0\0\5\0\0\0\1\0\1\0"
                                 "l";
    static const FuzzChain chains[] = {
        {.out = version, .len = sizeof(version) - 1}, {.out = attach, .len = sizeof(attach) - 1},
        {.out = walk_a, .len = sizeof(walk_a) - 1},   {.out = open_a, .len = sizeof(open_a) - 1},
        {.out = walk_x, .len = sizeof(walk_x) - 1},   {.out = create_x, .len = sizeof(create_x) - 1},
        {.out = write_x, .len = sizeof(write_x) - 1}, {.out = walk_d, .len = sizeof(walk_d) - 1},
        {.out = open_d, .len = sizeof(open_d) - 1},   {.out = read_x, .len = sizeof(read_x) - 1},
        {.out = walk_l, .len = sizeof(walk_l) - 1},
    };
    unsigned n = 2 + fuzz_below(in, G_N_ELEMENTS(chains) - 1);

    for (unsigned i = 0; i < n; i++) {
        FuzzChain chain = chains[i];
        chain.in_len = 256;
        chain.n_out = chain.n_in = 1;
        fuzz_send(m, 0, &chain);
        fuzz_kick(m, 0);
        fuzz_settle(m);
    }
}

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
            fcntl(host_lock, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK});
        break;
    default:
        if (host_lock >= 0)
            close(host_lock);
        host_lock = -1;
    }
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_host, step_mount};

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
