/*
 * FUSE READDIR, and READDIRPLUS, which is READDIR and a LOOKUP of every entry at once.
 *
 * Records are made in a buffer as long as the guest's, at most REPLY_MAX, until the next does not fit. With
 * each record of READDIRPLUS the guest gets to know a node, so the lookup is done only once the record fits.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "fs/fuse_internal.h"

#define REPLY_MAX (256u << 10)

typedef struct Listing {
    FuseCall *call;
    VmcShareNode *dir;
    uint8_t *buf;
    size_t len, max;
    bool full; /* not one more record fits */
} Listing;

static bool is_dots(const VmcShareDirEntry *entry)
{
    return entry->name[0] == '.' && (!entry->name[1] || (entry->name[1] == '.' && !entry->name[2]));
}

/* A record's place, if it fits. */
static uint8_t *add(Listing *listing, const VmcShareDirEntry *entry, size_t name_offset)
{
    size_t len = FUSE_REC_ALIGN(name_offset + entry->name_len);
    uint8_t *at = listing->buf + listing->len;

    listing->full = len > listing->max - listing->len;
    if (listing->full)
        return NULL;
    memset(at, 0, len);
    memcpy(at + name_offset, entry->name, entry->name_len);
    listing->len += len;
    return at;
}

static void fill(const VmcShareDirEntry *entry, struct fuse_dirent *dirent)
{
    dirent->ino = entry->ino;
    dirent->off = entry->next;
    dirent->namelen = (uint32_t)entry->name_len;
    dirent->type = entry->type;
}

static bool add_name(void *opaque, const VmcShareDirEntry *entry)
{
    struct fuse_dirent dirent = {0};
    uint8_t *at = add(opaque, entry, FUSE_NAME_OFFSET);

    fill(entry, &dirent);
    if (at)
        memcpy(at, &dirent, FUSE_NAME_OFFSET);
    return at;
}

/* What is not to be found by now, and "." and "..", come without a node. */
static bool add_node(void *opaque, const VmcShareDirEntry *entry)
{
    Listing *listing = opaque;
    VmcFuse *fuse = listing->call->fuse;
    struct fuse_direntplus record = {0};
    uint8_t *at = add(listing, entry, FUSE_NAME_OFFSET_DIRENTPLUS);
    VmcShareNode *node;
    VmcShareAttr attr;

    if (!at)
        return false;
    fill(entry, &record.dirent);
    if (!is_dots(entry) && !vmc_share_lookup(listing->dir, entry->name, &node, &attr)) {
        fuse_fill_entry(fuse, vmc_share_node_id(node), &attr, &record.entry_out);
        fuse_remember(fuse, node);
    }
    memcpy(at, &record, FUSE_NAME_OFFSET_DIRENTPLUS);
    return true;
}

static int list(FuseCall *call, bool (*each)(void *opaque, const VmcShareDirEntry *entry))
{
    const struct fuse_read_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);

    if (!file)
        return -EBADF;
    Listing listing = {.call = call, .dir = vmc_share_file_node(file)};
    listing.max = MIN(MIN(in->size, fuse_room(call)), REPLY_MAX);
    listing.buf = fuse_reply_buffer(call, listing.max);
    int err = vmc_share_readdir(file, in->offset, each, &listing);
    vmc_share_file_unref(file);
    if (!listing.len && (err || listing.full))
        return err ? err : -EINVAL;
    call->reply_len = listing.len;
    return 0;
}

int fuse_readdir(FuseCall *call)
{
    return list(call, add_name);
}

int fuse_readdirplus(FuseCall *call)
{
    return list(call, add_node);
}
