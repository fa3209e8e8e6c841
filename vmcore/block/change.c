/* Changes to a disk in use; see change.h. One is the stack of the thread that waits for it. */
#include "block/change.h"

#include <errno.h>

#include "base/i18n.h"
#include "block/layers.h"
#include "block/report.h"
#include "vmcore/error.h"

struct VmcDiskChange {
    VmcDiskChanges *changes;
    VmcBlockRequest io;
    bool begun, done;
    GMutex lock;
    GCond cond;
};

void vmc_disk_change_begin(VmcDiskChanges *changes)
{
    VmcDiskChange *change = changes->change;

    if (!change || change->begun || !changes->idle(changes->opaque))
        return;
    change->begun = true;
    vmc_block_engine_submit(changes->engine, &change->io);
}

/* The waiter may be gone as soon as the lock is. */
static void wake(VmcDiskChange *change, int err)
{
    g_mutex_lock(&change->lock);
    change->io.error = err;
    change->done = true;
    g_cond_signal(&change->cond);
    g_mutex_unlock(&change->lock);
}

bool vmc_disk_change_finish(VmcDiskChanges *changes, const VmcBlockRequest *io)
{
    VmcDiskChange *change = changes->change;

    if (!change || io != &change->io)
        return false;
    changes->change = NULL;
    changes->changed(changes->opaque);
    wake(change, io->error);
    return true;
}

static void ask(void *data)
{
    VmcDiskChange *change = data;
    VmcDiskChanges *changes = change->changes;

    if (changes->change) {
        wake(change, -EALREADY);
    } else if (change->io.op == VMC_BLOCK_GROW && change->io.length < changes->disk->size) {
        wake(change, -ERANGE);
    } else {
        changes->change = change;
        vmc_disk_change_begin(changes);
    }
}

/* Asks and waits; 0 or a negative errno value. */
static int ask_and_wait(VmcDiskChange *change)
{
    g_mutex_init(&change->lock);
    g_cond_init(&change->cond);
    vmc_io_call(change->changes->io, ask, change);
    g_mutex_lock(&change->lock);
    while (!change->done)
        g_cond_wait(&change->cond, &change->lock);
    g_mutex_unlock(&change->lock);
    g_cond_clear(&change->cond);
    g_mutex_clear(&change->lock);
    return change->io.error;
}

static bool size_error(const VmcDisk *disk, uint64_t size, int err, GError **error)
{
    if (!err)
        return true;
    if (err == -EALREADY)
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE,
                    _("Disk “%s” is being resized already; wait until that is done"), vmc_disk_name(disk));
    else if (err == -ERANGE)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("Disk “%s” cannot be made smaller, to %" PRIu64
                      " bytes: guests lose what lies behind; give more than it has"),
                    vmc_disk_name(disk), size);
    else
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Disk “%s” cannot be made %" PRIu64 " bytes large: %s"), vmc_disk_name(disk), size,
                    g_strerror(-err));
    return false;
}

bool vmc_disk_change_size(VmcDiskChanges *changes, uint64_t size, GError **error)
{
    VmcDiskChange change = {.changes = changes, .io = {.op = VMC_BLOCK_GROW, .length = size}};
    const VmcDisk *disk = changes->disk;

    g_return_val_if_fail(!vmc_io_on_thread(changes->io), false);
    if (!size || size % VMC_DISK_SECTOR || !vmc_disk_can_grow(disk)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    size && size % VMC_DISK_SECTOR == 0
                        ? _("Disk “%s” cannot be resized: it is read-only or of a format with a fixed size")
                        : _("Disk “%s” has to have a whole number of sectors of 512 bytes, at least one"),
                    vmc_disk_name(disk));
        return false;
    }
    return size_error(disk, size, ask_and_wait(&change), error);
}

typedef struct TakeSnapshot {
    const char *name;
    GError *error;
} TakeSnapshot;

/* On a worker thread, with nothing in flight. */
static int take_snapshot(VmcDisk *disk, void *data)
{
    TakeSnapshot *take = data;

    return vmc_disk_take_snapshot(disk, take->name, &take->error) ? 0 : -EIO;
}

bool vmc_disk_change_to_snapshot(VmcDiskChanges *changes, const char *name, GError **error)
{
    TakeSnapshot take = {.name = name};
    VmcDiskChange change = {.changes = changes,
                            .io = {.op = VMC_BLOCK_CALL, .call = take_snapshot, .call_data = &take}};

    g_return_val_if_fail(!vmc_io_on_thread(changes->io), false);
    if (!ask_and_wait(&change))
        return true;
    if (take.error)
        g_propagate_error(error, take.error);
    else
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE,
                    _("Disk “%s” is being changed already; wait until that is done"),
                    vmc_disk_name(changes->disk));
    return false;
}
