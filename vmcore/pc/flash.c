/*
 * The chip is in one of a few modes that say what a read gives: the array, the status register, the
 * identifier or the CFI query table. A write is a command, or what a command before it waits for.
 *
 * There are two deviations from the data sheet, which firmware made for QEMU's chip relies on: clearing the
 * status register clears its ready bit as well (OVMF tells the chip from RAM and ROM by it), and programming
 * stores bytes as they are instead of clearing bits.
 */
#include "pc/flash.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define CMD_PROGRAM       0x10u
#define CMD_ERASE         0x20u
#define CMD_PROGRAM_OTHER 0x40u
#define CMD_CLEAR_STATUS  0x50u
#define CMD_READ_STATUS   0x70u
#define CMD_READ_ID       0x90u
#define CMD_QUERY         0x98u
#define CMD_CONFIRM       0xd0u
#define CMD_BUFFER        0xe8u
#define CMD_READ_ARRAY    0xffu

#define STATUS_READY       0x80u
#define STATUS_ERASE_FAULT 0x20u
#define STATUS_WRITE_FAULT 0x10u

#define ID_MAKER  0x89u /* Intel */
#define ID_DEVICE 0x18u

#define BUFFER_BYTES 32u /* of CMD_BUFFER */
#define BUFFER_LOG2  5u

#define WRITE_BACK_NS (50u * 1000000ull)   /* from the first change to the file */
#define RETRY_NS      (1000u * 1000000ull) /* after it could not be written */

typedef enum Mode { READ_ARRAY, READ_STATUS, READ_ID, READ_QUERY } Mode;

/* What the next write is. */
typedef enum Wait { COMMAND, PROGRAM_DATA, ERASE_CONFIRM, BUFFER_COUNT, BUFFER_DATA, BUFFER_CONFIRM } Wait;

struct VmcFlash {
    VmcBus *mmio;
    uint64_t base, size;
    int fd;
    char *path;
    const VmcHostHooks *hooks;
    VmcTimer *timer;

    GMutex lock; /* for all below */
    uint8_t *array;
    Mode mode;
    Wait wait;
    uint8_t status;
    unsigned expected; /* bytes still to come into the buffer */
    uint64_t at[BUFFER_BYTES];
    uint8_t buffer[BUFFER_BYTES];
    unsigned buffered;
    uint64_t dirty_from, dirty_to; /* to be written to the file; from == to: nothing, and the timer rests */
    bool failed;                   /* it has been told that the file cannot be written */
};

/* ---- the file ---- */

static bool write_all(int fd, const uint8_t *data, uint64_t size, uint64_t offset)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, data + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            return false;
        }
        done += (uint64_t)n;
    }
    return true;
}

/* Lock held. Whoever makes the first bytes dirty sees to it that they are written in `delay` ns. */
static void mark_dirty(VmcFlash *flash, uint64_t from, uint64_t size, uint64_t delay)
{
    bool first = flash->dirty_from == flash->dirty_to;

    flash->dirty_from = first ? from : MIN(flash->dirty_from, from);
    flash->dirty_to = first ? from + size : MAX(flash->dirty_to, from + size);
    if (first && flash->timer)
        vmc_timer_arm(flash->timer, vmc_now_ns() + delay);
}

static void note_change(VmcFlash *flash, uint64_t from, uint64_t size)
{
    mark_dirty(flash, from, size, WRITE_BACK_NS);
}

/* A copy of what has changed, which counts as written from now on. */
static uint8_t *take_dirty(VmcFlash *flash, uint64_t *from, uint64_t *size)
{
    g_mutex_lock(&flash->lock);
    *from = flash->dirty_from;
    *size = flash->dirty_to - flash->dirty_from;
    uint8_t *copy = *size ? g_memdup2(flash->array + *from, *size) : NULL;
    flash->dirty_from = flash->dirty_to = 0;
    g_mutex_unlock(&flash->lock);
    return copy;
}

static void tell_failure(VmcFlash *flash, int err)
{
    g_autofree char *text = g_strdup_printf(
        _("The variable store “%s” cannot be written: %s; what the firmware stores will be lost "
          "unless that is mended before the machine stops"),
        flash->path, g_strerror(err));

    flash->hooks->log(flash->hooks->opaque, text);
}

/* Writes what has changed. What cannot be written is tried again a little later, as long as it takes, and
 * told once. */
static void write_back(VmcFlash *flash)
{
    uint64_t from, size;
    g_autofree uint8_t *copy = take_dirty(flash, &from, &size);

    if (!copy)
        return;
    bool ok = write_all(flash->fd, copy, size, from) && !fdatasync(flash->fd);
    int err = errno;
    g_mutex_lock(&flash->lock);
    bool tell = !ok && !flash->failed;
    flash->failed = !ok;
    if (!ok)
        mark_dirty(flash, from, size, RETRY_NS);
    g_mutex_unlock(&flash->lock);
    if (tell)
        tell_failure(flash, err);
}

static void timer_expired(void *data)
{
    write_back(data);
}

/* ---- the chip; the lock is held ---- */

static uint8_t query(const VmcFlash *flash, unsigned n)
{
    unsigned blocks = (unsigned)(flash->size / VMC_FLASH_BLOCK) - 1;

    switch (n) { /* JESD68.01 s4.3 */
    case 0x10:
        return 'Q';
    case 0x11:
        return 'R';
    case 0x12:
        return 'Y';
    case 0x13:
        return 0x01; /* Intel's command set */
    case 0x15:
        return 0x31; /* its table, which is not there */
    case 0x1b:
        return 0x45; /* Vcc 4.5 to 5.5 V */
    case 0x1c:
        return 0x55;
    case 0x1f:
        return 0x07; /* times, in powers of two */
    case 0x20:
        return 0x07;
    case 0x21:
        return 0x0a;
    case 0x23:
        return 0x04;
    case 0x24:
        return 0x04;
    case 0x25:
        return 0x04;
    case 0x27:
        return (uint8_t)g_bit_storage((gulong)(flash->size - 1));
    case 0x28:
        return 0x02; /* x8 and x16 */
    case 0x2a:
        return BUFFER_LOG2;
    case 0x2c:
        return 1; /* regions of equal blocks */
    case 0x2d:
        return (uint8_t)blocks;
    case 0x2e:
        return (uint8_t)(blocks >> 8);
    case 0x2f:
        return (uint8_t)(VMC_FLASH_BLOCK / 256);
    case 0x30:
        return (uint8_t)(VMC_FLASH_BLOCK / 256 >> 8);
    default:
        return 0;
    }
}

static uint8_t read_byte(const VmcFlash *flash, uint64_t offset)
{
    switch (flash->mode) {
    case READ_ARRAY:
        return flash->array[offset];
    case READ_STATUS:
        return flash->status;
    case READ_ID:
        return (offset & 0xff) == 0 ? ID_MAKER : (offset & 0xff) == 1 ? ID_DEVICE : 0;
    case READ_QUERY:
        return query(flash, offset & 0xff);
    }
    return 0;
}

static void program(VmcFlash *flash, uint64_t offset, uint8_t value)
{
    if (flash->array[offset] == value)
        return;
    flash->array[offset] = value;
    note_change(flash, offset, 1);
}

static void erase(VmcFlash *flash, uint64_t offset)
{
    uint64_t block = offset & ~(uint64_t)(VMC_FLASH_BLOCK - 1);

    memset(flash->array + block, 0xff, VMC_FLASH_BLOCK);
    note_change(flash, block, VMC_FLASH_BLOCK);
}

static void obey(VmcFlash *flash, uint8_t command)
{
    switch (command) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_OTHER:
        flash->wait = PROGRAM_DATA;
        flash->mode = READ_STATUS;
        break;
    case CMD_ERASE:
        flash->wait = ERASE_CONFIRM;
        flash->mode = READ_STATUS;
        break;
    case CMD_BUFFER:
        flash->wait = BUFFER_COUNT;
        flash->mode = READ_STATUS;
        flash->status |= STATUS_READY; /* the buffer is free */
        break;
    case CMD_CLEAR_STATUS:
        flash->status = 0;
        flash->mode = READ_STATUS;
        break;
    case CMD_READ_STATUS:
        flash->mode = READ_STATUS;
        break;
    case CMD_READ_ID:
        flash->mode = READ_ID;
        break;
    case CMD_QUERY:
        flash->mode = READ_QUERY;
        break;
    default: /* CMD_READ_ARRAY, and what the chip does not know */
        flash->mode = READ_ARRAY;
        break;
    }
}

static void finish(VmcFlash *flash, uint8_t status)
{
    flash->wait = COMMAND;
    flash->mode = READ_STATUS;
    flash->status |= STATUS_READY | status;
}

static void take_into_buffer(VmcFlash *flash, uint64_t offset, uint8_t value)
{
    flash->at[flash->buffered] = offset;
    flash->buffer[flash->buffered++] = value;
    if (flash->buffered == flash->expected)
        flash->wait = BUFFER_CONFIRM;
}

static void end_buffer(VmcFlash *flash, bool confirmed)
{
    for (unsigned i = 0; confirmed && i < flash->buffered; i++)
        program(flash, flash->at[i], flash->buffer[i]);
    finish(flash, confirmed ? 0 : STATUS_WRITE_FAULT);
}

static void write_byte(VmcFlash *flash, uint64_t offset, uint8_t value)
{
    switch (flash->wait) {
    case COMMAND:
        obey(flash, value);
        break;
    case PROGRAM_DATA:
        program(flash, offset, value);
        finish(flash, 0);
        break;
    case ERASE_CONFIRM:
        if (value == CMD_CONFIRM)
            erase(flash, offset);
        finish(flash, value == CMD_CONFIRM ? 0 : STATUS_ERASE_FAULT | STATUS_WRITE_FAULT);
        break;
    case BUFFER_COUNT: /* of bytes, less one */
        flash->buffered = 0;
        flash->expected = value + 1u;
        flash->wait = BUFFER_DATA;
        if (flash->expected > BUFFER_BYTES)
            finish(flash, STATUS_WRITE_FAULT);
        break;
    case BUFFER_DATA:
        take_into_buffer(flash, offset, value);
        break;
    case BUFFER_CONFIRM:
        end_buffer(flash, value == CMD_CONFIRM);
        break;
    }
}

/* ---- the bus ---- */

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcFlash *flash = opaque;
    uint64_t value = 0;

    g_mutex_lock(&flash->lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(flash, offset + i) << (8 * i);
    g_mutex_unlock(&flash->lock);
    return value;
}

/* A wide write is one command, or the data of as many bytes. */
static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcFlash *flash = opaque;

    g_mutex_lock(&flash->lock);
    Wait wait = flash->wait;
    bool data = wait == PROGRAM_DATA || wait == BUFFER_DATA;
    for (unsigned i = 0; i < (data ? size : 1); i++) {
        if (i && wait == PROGRAM_DATA)
            flash->wait = PROGRAM_DATA;
        if (flash->wait == wait)
            write_byte(flash, offset + i, (uint8_t)(value >> (8 * i)));
    }
    g_mutex_unlock(&flash->lock);
}

static const VmcRegionOps flash_ops = {flash_read, flash_write};

void vmc_flash_reset(VmcFlash *flash)
{
    g_mutex_lock(&flash->lock);
    flash->mode = READ_ARRAY;
    flash->wait = COMMAND;
    flash->status = 0;
    g_mutex_unlock(&flash->lock);
}

static bool read_file(VmcFlash *flash, GError **error)
{
    for (uint64_t done = 0; done < flash->size;) {
        ssize_t n = pread(flash->fd, flash->array + done, flash->size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("cannot read the variable store “%s”: %s"),
                        flash->path, n < 0 ? g_strerror(errno) : _("it has become shorter meanwhile"));
            return false;
        }
        done += (uint64_t)n;
    }
    return true;
}

VmcFlash *vmc_flash_new(const VmcFlashParams *params, GError **error)
{
    VmcFlash *flash = g_new0(VmcFlash, 1);

    g_mutex_init(&flash->lock);
    flash->base = params->base;
    flash->size = MIN(params->size, VMC_FLASH_MAX);
    flash->fd = params->fd;
    flash->path = g_strdup(params->path);
    flash->hooks = params->hooks;
    flash->timer = vmc_timer_new(params->io, timer_expired, flash);
    flash->array = g_malloc(flash->size);
    if (!read_file(flash, error)) {
        vmc_flash_free(flash);
        return NULL;
    }
    flash->mmio = params->mmio;
    vmc_bus_add(flash->mmio, "variable store", flash->base, flash->size, &flash_ops, flash);
    return flash;
}

void vmc_flash_free(VmcFlash *flash)
{
    if (!flash)
        return;
    if (flash->mmio)
        vmc_bus_remove(flash->mmio, flash->base, &flash_ops, flash);
    g_clear_pointer(&flash->timer, vmc_timer_free);
    write_back(flash);
    close(flash->fd);
    g_free(flash->array);
    g_free(flash->path);
    g_mutex_clear(&flash->lock);
    g_free(flash);
}

/* ---- saving ---- */

static char *sum_of(const VmcFlash *flash)
{
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, flash->array, flash->size);
}

/* The variables are in their file, to which the saved machine belongs as to its disks. */
void vmc_flash_save(VmcFlash *flash, VmcStateWriter *w)
{
    write_back(flash);
    g_mutex_lock(&flash->lock);
    g_autofree char *sum = sum_of(flash);
    vmc_state_begin(w, "flash", 1);
    if (flash->dirty_from != flash->dirty_to)
        vmc_state_refuse(w, _("The variable store “%s” cannot be written"), flash->path);
    vmc_state_put_string(w, sum);
    vmc_state_put_u8(w, (uint8_t)flash->mode);
    vmc_state_put_u8(w, (uint8_t)flash->wait);
    vmc_state_put_u8(w, flash->status);
    vmc_state_put_u8(w, (uint8_t)MIN(flash->expected, BUFFER_BYTES));
    vmc_state_put_u8(w, (uint8_t)flash->buffered);
    for (unsigned i = 0; i < BUFFER_BYTES; i++) {
        vmc_state_put_u64(w, flash->at[i]);
        vmc_state_put_u8(w, flash->buffer[i]);
    }
    vmc_state_end(w);
    g_mutex_unlock(&flash->lock);
}

static void load_chip(VmcFlash *flash, VmcStateReader *r)
{
    g_autofree char *saved = vmc_state_get_string(r, 64), *sum = sum_of(flash);

    if (vmc_state_ok(r) && g_strcmp0(saved, sum) != 0)
        vmc_state_fail(r, _("the variable store “%s” has changed since the machine was saved"), flash->path);
    flash->mode = (Mode)vmc_state_get_u8_max(r, READ_QUERY);
    flash->wait = (Wait)vmc_state_get_u8_max(r, BUFFER_CONFIRM);
    flash->status = vmc_state_get_u8(r);
    flash->expected = vmc_state_get_u8_max(r, BUFFER_BYTES);
    flash->buffered = vmc_state_get_u8_max(r, BUFFER_BYTES);
    for (unsigned i = 0; i < BUFFER_BYTES; i++) {
        flash->at[i] = vmc_state_get_u64_max(r, flash->size - 1);
        flash->buffer[i] = vmc_state_get_u8(r);
    }
    vmc_state_check(r, flash->wait != BUFFER_DATA || flash->buffered < flash->expected, "a buffer");
}

bool vmc_flash_load(VmcFlash *flash, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "flash", 1))
        return false;
    g_mutex_lock(&flash->lock);
    load_chip(flash, r);
    g_mutex_unlock(&flash->lock);
    return vmc_state_leave(r);
}
