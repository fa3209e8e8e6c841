/*
 * qcow2: the header, its extensions and the name of the image below; read, checked, and changed.
 *
 * Every number is checked against the file before it is used, and what we do not know is refused by its
 * name where the image brings one (the feature name table).
 */
#include <errno.h>
#include <string.h>

#include "base/i18n.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

bool vmc_qcow2_damaged(const Qcow2 *q, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    /* Translators: a disk, and why: the sentences about headers, tables and clusters of this folder, which
     * begin with “it”. */
    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("Disk “%s” cannot be used: %s"), q->path, what);
    return false;
}

/* ---- features ---- */

static const char *const known_features[] = {
    "dirty", "corrupt", "external data file", "compression type", "extended L2 entries",
};

/* The name an image gives its incompatible feature `bit`, into `name`; false: none. */
static bool name_in_table(const uint8_t *table, size_t length, unsigned bit, char name[64])
{
    for (; length >= sizeof(Qcow2FeatureName);
         table += sizeof(Qcow2FeatureName), length -= sizeof(Qcow2FeatureName)) {
        const Qcow2FeatureName *entry = (const void *)table;
        if (entry->type != 0 || entry->bit != bit || !entry->name[0])
            continue;
        memcpy(name, entry->name, sizeof(entry->name));
        name[sizeof(entry->name)] = '\0';
        for (char *c = name; *c; c++)
            if (*c < ' ' || *c > '~')
                *c = '?';
        return true;
    }
    return false;
}

static bool refuse_feature(const Qcow2 *q, const uint8_t *names, size_t names_length, uint64_t bits,
                           GError **error)
{
    unsigned bit = (unsigned)__builtin_ctzll(bits);
    char name[64];

    if (bit < G_N_ELEMENTS(known_features))
        g_strlcpy(name, known_features[bit], sizeof(name));
    else if (!name_in_table(names, names_length, bit, name))
        g_snprintf(name, sizeof(name), "number %u", bit);
    return vmc_qcow2_damaged(
        q, error,
        _("it has the feature “%s”, which is not supported; convert it with “qemu-img convert -O qcow2”"),
        name);
}

static bool check_features(const Qcow2 *q, const uint8_t *names, size_t names_length, GError **error)
{
    uint64_t fine = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_COMPRESSION;

    if (q->incompatible & ~fine)
        return refuse_feature(q, names, names_length, q->incompatible & ~fine, error);
    if (q->incompatible & QCOW2_INCOMPAT_CORRUPT && !q->readonly)
        return vmc_qcow2_damaged(
            q, error,
            _("it is marked as corrupt, so that it can only be read; repair it with “qemu-img check -r "
              "all”, or attach it read-only"));
    return true;
}

/* ---- extensions ---- */

typedef struct Extensions {
    const uint8_t *names; /* feature name table */
    size_t names_length;
    bool unknown;
} Extensions;

static bool take_extension(Qcow2 *q, uint32_t type, const uint8_t *data, uint32_t length, Extensions *found,
                           GError **error)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        g_free(q->backing_format);
        q->backing_format = g_strndup((const char *)data, length);
        break;
    case QCOW2_EXT_FEATURE_NAMES:
        found->names = data;
        found->names_length = length;
        break;
    case QCOW2_EXT_ENCRYPTION:
        return vmc_qcow2_damaged(
            q, error,
            _("it is encrypted (LUKS), which is not supported; convert it with “qemu-img convert”"));
    case QCOW2_EXT_DATA_FILE:
        return vmc_qcow2_damaged(
            q, error,
            _("its data is in another file, which is not supported; convert it with “qemu-img convert”"));
    default:
        found->unknown = true;
    }
    return true;
}

static bool read_extensions(Qcow2 *q, const uint8_t *cluster, uint64_t at, uint64_t end, Extensions *found,
                            GError **error)
{
    while (at + 8 <= end) {
        uint32_t type, length;
        memcpy(&type, cluster + at, 4);
        memcpy(&length, cluster + at + 4, 4);
        type = GUINT32_FROM_BE(type);
        length = GUINT32_FROM_BE(length);
        at += 8;
        if (type == QCOW2_EXT_END)
            return true;
        if (length > end - at)
            return vmc_qcow2_damaged(q, error, _("a header extension is longer than the header"));
        if (!take_extension(q, type, cluster + at, length, found, error))
            return false;
        at += ((uint64_t)length + 7) / 8 * 8;
    }
    return true;
}

/* ---- the fields ---- */

/* Whether a table of so many bytes can lie at this offset. */
static bool place_fits(const Qcow2 *q, uint64_t offset, uint64_t bytes)
{
    uint64_t end;

    return offset && !(offset & (q->cluster_size - 1)) && !__builtin_add_overflow(offset, bytes, &end) &&
           end <= q->file_end + q->cluster_size - 1 && offset < q->file_end && end <= QCOW2_HOST_MAX;
}

static bool check_geometry(Qcow2 *q, const Qcow2Header *h, GError **error)
{
    uint64_t l1_bytes = (uint64_t)q->l1.n * sizeof(uint64_t);
    uint64_t span = q->cluster_size << q->l2_bits;

    q->size = GUINT64_FROM_BE(h->size) / VMC_DISK_SECTOR * VMC_DISK_SECTOR;
    if (!q->size)
        return vmc_qcow2_damaged(q, error, _("it has no room: a disk has at least %u bytes"),
                                 VMC_DISK_SECTOR);
    if (l1_bytes > QCOW2_L1_BYTES_MAX || q->size / span + (q->size % span != 0) > q->l1.n)
        return vmc_qcow2_damaged(q, error,
                                 _("its L1 table does not have the size that belongs to the disk's"));
    if (!place_fits(q, q->l1.offset, l1_bytes))
        return vmc_qcow2_damaged(q, error, _("its L1 table does not lie in the file"));
    if (!q->reftable.clusters || q->reftable.clusters > QCOW2_REFTABLE_BYTES_MAX >> q->cluster_bits ||
        !place_fits(q, q->reftable.offset, q->reftable.clusters << q->cluster_bits))
        return vmc_qcow2_damaged(q, error, _("its refcount table does not lie in the file"));
    if (q->n_snapshots > QCOW2_SNAPSHOTS_MAX ||
        (q->n_snapshots && !place_fits(q, q->snapshots_offset, sizeof(Qcow2SnapshotEntry))))
        return vmc_qcow2_damaged(q, error, _("its table of snapshots does not lie in the file"));
    return true;
}

static bool take_fields(Qcow2 *q, const Qcow2Header *h, uint32_t *header_length, GError **error)
{
    q->version = GUINT32_FROM_BE(h->version);
    q->cluster_bits = GUINT32_FROM_BE(h->cluster_bits);
    if (q->version != 2 && q->version != 3)
        return vmc_qcow2_damaged(q, error, _("it is of version %u of qcow2; only 2 and 3 are supported"),
                                 q->version);
    if (q->cluster_bits < QCOW2_CLUSTER_BITS_MIN || q->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return vmc_qcow2_damaged(q, error,
                                 _("its clusters have 2 to the power of %u bytes, but 9 to 21 is possible"),
                                 q->cluster_bits);
    q->cluster_size = 1ull << q->cluster_bits;
    q->l2_bits = q->cluster_bits - 3;
    *header_length = QCOW2_V2_HEADER_LENGTH;
    q->refcount_order = 4;
    if (q->version == 3) {
        *header_length = GUINT32_FROM_BE(h->header_length);
        q->refcount_order = GUINT32_FROM_BE(h->refcount_order);
        q->incompatible = GUINT64_FROM_BE(h->incompatible_features);
        q->compatible = GUINT64_FROM_BE(h->compatible_features);
        q->autoclear = GUINT64_FROM_BE(h->autoclear_features);
    }
    if (*header_length % 8 || *header_length > q->cluster_size ||
        *header_length < (q->version == 3 ? QCOW2_V3_HEADER_LENGTH : QCOW2_V2_HEADER_LENGTH))
        return vmc_qcow2_damaged(
            q, error,
            ngettext("its header cannot have %u byte", "its header cannot have %u bytes", *header_length),
            *header_length);
    if (q->refcount_order > QCOW2_REFCOUNT_ORDER_MAX)
        return vmc_qcow2_damaged(q, error, _("its refcounts cannot have 2 to the power of %u bits"),
                                 q->refcount_order);
    q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
    q->compression_type = *header_length > QCOW2_V3_HEADER_LENGTH ? h->compression_type : 0;
    q->l1.n = GUINT32_FROM_BE(h->l1_size);
    q->l1.offset = GUINT64_FROM_BE(h->l1_table_offset);
    q->l1.clusters = (q->l1.n * sizeof(uint64_t) + q->cluster_size - 1) >> q->cluster_bits;
    q->reftable.offset = GUINT64_FROM_BE(h->refcount_table_offset);
    q->reftable.clusters = GUINT32_FROM_BE(h->refcount_table_clusters);
    q->reftable.n = (q->reftable.clusters << q->cluster_bits) / sizeof(uint64_t);
    q->n_snapshots = GUINT32_FROM_BE(h->nb_snapshots);
    q->snapshots_offset = GUINT64_FROM_BE(h->snapshots_offset);
    return true;
}

static bool check_crypt(const Qcow2 *q, const Qcow2Header *h, GError **error)
{
    uint32_t method = GUINT32_FROM_BE(h->crypt_method);

    if (!method)
        return true;
    return vmc_qcow2_damaged(
        q, error,
        method == 1 ? _("it is encrypted (AES), which is not supported; convert it with “qemu-img convert”")
        : method == 2
            ? _("it is encrypted (LUKS), which is not supported; convert it with “qemu-img convert”")
            : _("it is encrypted in a way we do not know, which is not supported; convert it with “qemu-img "
                "convert”"));
}

static bool check_compression(const Qcow2 *q, GError **error)
{
    bool other = q->incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (q->compression_type <= 1 && other == (q->compression_type != 0))
        return true;
    return vmc_qcow2_damaged(
        q, error, _("its clusters are compressed in way number %u, but only zlib and zstd are supported"),
        q->compression_type);
}

static bool take_backing_name(Qcow2 *q, const Qcow2Header *h, const uint8_t *cluster, GError **error)
{
    uint64_t offset = GUINT64_FROM_BE(h->backing_file_offset), end;
    uint32_t length = GUINT32_FROM_BE(h->backing_file_size);

    if (!offset || !length)
        return true;
    if (length > QCOW2_BACKING_NAME_MAX || __builtin_add_overflow(offset, length, &end) ||
        end > q->cluster_size)
        return vmc_qcow2_damaged(q, error, _("the name of the image below it does not lie in the header"));
    q->backing_path = g_strndup((const char *)cluster + offset, length);
    return true;
}

bool vmc_qcow2_read_header(Qcow2 *q, GError **error)
{
    Extensions found = {0};
    Qcow2Header h;
    uint32_t header_length = 0;
    int err = vmc_qcow2_pread(q, 0, &h, sizeof(h));

    if (err)
        return vmc_qcow2_damaged(q, error, _("it cannot be read: %s"), g_strerror(-err));
    if (q->file_end < QCOW2_V2_HEADER_LENGTH || GUINT32_FROM_BE(h.magic) != QCOW2_MAGIC)
        return vmc_qcow2_damaged(q, error,
                                 _("it is not a qcow2 image; say which format it has, such as raw"));
    if (!take_fields(q, &h, &header_length, error))
        return false;
    g_autofree uint8_t *cluster = g_malloc(q->cluster_size);
    err = vmc_qcow2_pread(q, 0, cluster, q->cluster_size);
    if (err)
        return vmc_qcow2_damaged(q, error, _("it cannot be read: %s"), g_strerror(-err));
    uint64_t end = GUINT64_FROM_BE(h.backing_file_offset);
    if (!end || end > q->cluster_size)
        end = q->cluster_size;
    if (!check_crypt(q, &h, error) || !read_extensions(q, cluster, header_length, end, &found, error) ||
        !check_features(q, found.names, found.names_length, error) || !check_compression(q, error) ||
        !take_backing_name(q, &h, cluster, error))
        return false;
    q->foreign_tables = found.unknown;
    return check_geometry(q, &h, error);
}

char *vmc_qcow2_backing_path(const char *path, const char *name)
{
    if (g_path_is_absolute(name))
        return g_strdup(name);
    g_autofree char *folder = g_path_get_dirname(path);
    return g_build_filename(folder, name, NULL);
}

/* ---- changing fields; each in one write, all within the first sector ---- */

int vmc_qcow2_write_features(Qcow2 *q)
{
    uint64_t features[3] = {GUINT64_TO_BE(q->incompatible), GUINT64_TO_BE(q->compatible),
                            GUINT64_TO_BE(q->autoclear)};

    return q->version < 3 ? 0
                          : vmc_qcow2_pwrite(q, offsetof(Qcow2Header, incompatible_features), features,
                                             sizeof(features));
}

int vmc_qcow2_write_l1_place(Qcow2 *q)
{
    struct __attribute__((packed)) {
        uint64_t size;
        uint32_t crypt_method, l1_size;
        uint64_t l1_table_offset;
    } place = {GUINT64_TO_BE(q->size), 0, GUINT32_TO_BE((uint32_t)q->l1.n), GUINT64_TO_BE(q->l1.offset)};

    return vmc_qcow2_pwrite(q, offsetof(Qcow2Header, size), &place, sizeof(place));
}

int vmc_qcow2_write_reftable_place(Qcow2 *q)
{
    struct __attribute__((packed)) {
        uint64_t offset;
        uint32_t clusters;
    } place = {GUINT64_TO_BE(q->reftable.offset), GUINT32_TO_BE((uint32_t)q->reftable.clusters)};

    return vmc_qcow2_pwrite(q, offsetof(Qcow2Header, refcount_table_offset), &place, sizeof(place));
}

/* ---- a header as we make it ---- */

static uint8_t *put_extension(uint8_t *at, uint32_t type, const void *data, uint32_t length)
{
    uint32_t be[2] = {GUINT32_TO_BE(type), GUINT32_TO_BE(length)};

    memcpy(at, be, sizeof(be));
    if (length)
        memcpy(at + sizeof(be), data, length);
    return at + sizeof(be) + (length + 7) / 8 * 8;
}

bool vmc_qcow2_format_header(uint8_t *cluster, uint64_t cluster_size, const Qcow2Header *header,
                             const char *backing, const char *backing_format)
{
    uint32_t length = GUINT32_FROM_BE(header->version) == 2 ? QCOW2_V2_HEADER_LENGTH : sizeof(*header);
    Qcow2Header h = *header;
    uint8_t *at = cluster + length;

    memset(cluster, 0, cluster_size);
    h.header_length = GUINT32_TO_BE(length);
    h.backing_file_offset = h.backing_file_size = 0;
    if (backing) {
        size_t name = strlen(backing), format = strlen(backing_format);
        if (name > QCOW2_BACKING_NAME_MAX || format > 32 || length + 8 + 32 + 8 + name > cluster_size)
            return false;
        at = put_extension(at, QCOW2_EXT_BACKING_FORMAT, backing_format, (uint32_t)format);
        at = put_extension(at, QCOW2_EXT_END, NULL, 0);
        memcpy(at, backing, name);
        h.backing_file_offset = GUINT64_TO_BE((uint64_t)(at - cluster));
        h.backing_file_size = GUINT32_TO_BE((uint32_t)name);
    }
    memcpy(cluster, &h, length);
    return true;
}
