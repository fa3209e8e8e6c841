/*
 * A command is written to the command port; then go, one byte at a time through the data port, four bytes
 * that name what it is about, a length, and the value, which the controller sends or takes. Status says
 * before each byte what is to happen; a driver polls it. What went wrong is in the result register, which a
 * command that succeeds clears.
 *
 * OSK0 and OSK1 cannot be found by counting through the keys, on real ones neither.
 */
#include "pc/smc.h"

#include <string.h>

#include "pc/byteport.h"

#define PORT_DATA    0x00
#define PORT_COMMAND 0x04
#define PORT_RESULT  0x1e

#define COMMAND_NONE     0x00
#define COMMAND_READ     0x10
#define COMMAND_WRITE    0x11
#define COMMAND_BY_INDEX 0x12
#define COMMAND_TYPE     0x13

#define STATUS_READY       0x01 /* a byte can be read */
#define STATUS_BUSY        0x04 /* a command is under way and goes on */
#define STATUS_NEW_COMMAND 0x08

#define RESULT_OK            0x00
#define RESULT_INTERRUPTED   0x80
#define RESULT_SPURIOUS      0x81
#define RESULT_BAD_COMMAND   0x82
#define RESULT_NOT_FOUND     0x84
#define RESULT_NOT_WRITABLE  0x86
#define RESULT_SIZE_MISMATCH 0x87
#define RESULT_BAD_INDEX     0xb8

#define ATTRIBUTE_READ     0x80
#define ATTRIBUTE_WRITE    0x40
#define ATTRIBUTE_FUNCTION 0x10 /* worked out when asked for */

#define VALUE_MAX 32u
#define NAME_SIZE 4u
#define TYPE_INFO 6u /* bytes: size, type, attributes */

typedef struct Key {
    char name[NAME_SIZE + 1], type[NAME_SIZE + 1];
    uint8_t size, attributes;
    uint8_t value[VALUE_MAX];
} Key;

/* In the order of their names, which drivers search by halves; then those that are not counted. */
static const Key power_on[] = {
    {"#KEY", "ui32", 4, ATTRIBUTE_READ, {0}},
    {"FNum", "ui8 ", 1, ATTRIBUTE_READ, {0}},                   /* fans */
    {"MSSD", "si8 ", 1, ATTRIBUTE_READ | ATTRIBUTE_WRITE, {3}}, /* why it was shut down */
    {"MSSP", "ui8 ", 1, ATTRIBUTE_READ, {0}},
    {"NATJ", "ui8 ", 1, ATTRIBUTE_READ | ATTRIBUTE_WRITE, {0}},
    {"REV ", "{rev", 6, ATTRIBUTE_READ, {0x01, 0x13, 0x0f, 0x00, 0x00, 0x03}},
    {"OSK0", "ch8*", VALUE_MAX, ATTRIBUTE_READ | ATTRIBUTE_FUNCTION, {0}},
    {"OSK1", "ch8*", VALUE_MAX, ATTRIBUTE_READ | ATTRIBUTE_FUNCTION, {0}},
};
#define N_KEYS     G_N_ELEMENTS(power_on)
#define N_COUNTED  (N_KEYS - 2)
#define INDEX_OSK0 (N_KEYS - 2)
#define INDEX_OSK1 (N_KEYS - 1)
G_STATIC_ASSERT(VMC_SMC_OSK_SIZE == 2 * VALUE_MAX);

struct VmcSmc {
    GMutex lock;
    VmcBus *pio;
    Key keys[N_KEYS];
    uint8_t command, status, result;
    uint8_t argument[NAME_SIZE + 1]; /* the last is the length */
    uint8_t n_argument;
    uint8_t data[VALUE_MAX]; /* on its way out or in */
    uint8_t n_data, data_at;
    Key *target;  /* of a write under way */
    uint8_t last; /* what the data port shows */
};

static void finish(VmcSmc *smc, uint8_t result)
{
    smc->command = COMMAND_NONE;
    smc->status = 0;
    smc->result = result;
}

static Key *find_key(VmcSmc *smc)
{
    for (unsigned i = 0; i < N_KEYS; i++)
        if (memcmp(smc->keys[i].name, smc->argument, NAME_SIZE) == 0)
            return &smc->keys[i];
    return NULL;
}

/* ---- commands, once they have their arguments ---- */

static void answer(VmcSmc *smc, const void *data, uint8_t size)
{
    memcpy(smc->data, data, size);
    smc->n_data = size;
    smc->data_at = 0;
    smc->status = STATUS_BUSY | STATUS_READY;
    smc->result = RESULT_OK;
}

static void name_by_index(VmcSmc *smc)
{
    const uint8_t *a = smc->argument;
    uint32_t index = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];
    if (index < N_COUNTED)
        answer(smc, smc->keys[index].name, NAME_SIZE);
    else
        finish(smc, RESULT_BAD_INDEX);
}

static void tell_type(VmcSmc *smc, const Key *key)
{
    uint8_t info[TYPE_INFO];
    info[0] = key->size;
    memcpy(info + 1, key->type, NAME_SIZE);
    info[TYPE_INFO - 1] = key->attributes;
    answer(smc, info, sizeof(info));
}

static void begin_write(VmcSmc *smc, Key *key)
{
    if (!(key->attributes & ATTRIBUTE_WRITE)) {
        finish(smc, RESULT_NOT_WRITABLE);
    } else if (smc->argument[NAME_SIZE] != key->size) {
        finish(smc, RESULT_SIZE_MISMATCH);
    } else {
        smc->target = key;
        smc->data_at = 0;
    }
}

static void execute(VmcSmc *smc)
{
    Key *key = find_key(smc);
    if (smc->command == COMMAND_BY_INDEX)
        name_by_index(smc);
    else if (!key)
        finish(smc, RESULT_NOT_FOUND);
    else if (smc->command == COMMAND_READ)
        answer(smc, key->value, key->size); /* whatever length was asked for, as later ones do */
    else if (smc->command == COMMAND_TYPE)
        tell_type(smc, key);
    else
        begin_write(smc, key);
}

/* ---- ports ---- */

static void write_command(VmcSmc *smc, uint8_t command)
{
    bool interrupted = smc->status & STATUS_BUSY;
    smc->command = COMMAND_NONE;
    smc->target = NULL;
    smc->n_argument = 0;
    smc->status = STATUS_NEW_COMMAND;
    if (interrupted) {
        smc->result = RESULT_INTERRUPTED;
    } else if (command < COMMAND_READ || command > COMMAND_TYPE) {
        smc->result = RESULT_BAD_COMMAND;
    } else {
        smc->command = command;
        smc->status |= STATUS_BUSY;
    }
}

static void take_value(VmcSmc *smc, uint8_t byte)
{
    Key *key = smc->target;
    smc->data[smc->data_at++] = byte;
    if (smc->data_at < key->size)
        return;
    memcpy(key->value, smc->data, key->size);
    smc->target = NULL;
    finish(smc, RESULT_OK);
}

static void write_data(VmcSmc *smc, uint8_t byte)
{
    if (smc->command == COMMAND_NONE || smc->status & STATUS_READY) {
        finish(smc, RESULT_SPURIOUS);
        return;
    }
    smc->status = STATUS_BUSY;
    if (smc->target) {
        take_value(smc, byte);
        return;
    }
    smc->argument[smc->n_argument++] = byte;
    if (smc->n_argument == sizeof(smc->argument))
        execute(smc);
}

static uint8_t read_data(VmcSmc *smc)
{
    if (!(smc->status & STATUS_READY))
        return smc->last;
    smc->last = smc->data[smc->data_at++];
    if (smc->data_at == smc->n_data)
        finish(smc, RESULT_OK);
    return smc->last;
}

static uint8_t smc_byte_read(void *opaque, unsigned offset)
{
    VmcSmc *smc = opaque;
    uint8_t value = 0xff;
    g_mutex_lock(&smc->lock);
    if (offset == PORT_DATA)
        value = read_data(smc);
    else if (offset == PORT_COMMAND)
        value = smc->status;
    else if (offset == PORT_RESULT)
        value = smc->result;
    g_mutex_unlock(&smc->lock);
    return value;
}

static void smc_byte_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcSmc *smc = opaque;
    g_mutex_lock(&smc->lock);
    if (offset == PORT_DATA)
        write_data(smc, value);
    else if (offset == PORT_COMMAND)
        write_command(smc, value);
    g_mutex_unlock(&smc->lock);
}

static uint64_t smc_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(smc_byte_read, opaque, offset, size);
}

static void smc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(smc_byte_write, opaque, offset, size, value);
}

/* ---- saving ---- */

/* The values of keys that can be written; all others are as ever, and OSK0 and OSK1 nobody's to keep. */
void vmc_smc_save(VmcSmc *smc, VmcStateWriter *w)
{
    vmc_state_begin(w, "smc", 1);
    for (unsigned i = 0; i < N_KEYS; i++)
        if (smc->keys[i].attributes & ATTRIBUTE_WRITE)
            vmc_state_put_bytes(w, smc->keys[i].value, smc->keys[i].size);
    vmc_state_put_u8(w, smc->command);
    vmc_state_put_u8(w, smc->status);
    vmc_state_put_u8(w, smc->result);
    vmc_state_put_bytes(w, smc->argument, sizeof(smc->argument));
    vmc_state_put_u8(w, smc->n_argument);
    vmc_state_put_u8(w, smc->data_at);
    vmc_state_put_bytes(w, smc->data, smc->target ? smc->data_at : 0);
    vmc_state_put_u8(w, smc->last);
    vmc_state_end(w);
}

/* What an answer or a write is about follows from the argument, as when it came. */
static void load_command(VmcSmc *smc, VmcStateReader *r)
{
    uint8_t command = vmc_state_get_u8(r), result, data_at,
            status = vmc_state_get_u8_max(r, STATUS_READY | STATUS_BUSY | STATUS_NEW_COMMAND);

    result = vmc_state_get_u8(r);
    vmc_state_get_bytes(r, smc->argument, sizeof(smc->argument));
    smc->n_argument = vmc_state_get_u8_max(r, sizeof(smc->argument));
    data_at = vmc_state_get_u8_max(r, VALUE_MAX);
    vmc_state_check(r, command == COMMAND_NONE || (command >= COMMAND_READ && command <= COMMAND_TYPE),
                    "a command");
    if (!vmc_state_ok(r))
        return;
    smc->command = command;
    if (command != COMMAND_NONE && smc->n_argument == sizeof(smc->argument)) {
        execute(smc);
        vmc_state_check(r, smc->status == status || smc->target, "how far a command is");
        vmc_state_check(r, data_at < (smc->target ? smc->target->size : smc->n_data), "how far a command is");
        smc->data_at = data_at;
    }
    if (smc->target && vmc_state_ok(r))
        vmc_state_get_bytes(r, smc->data, data_at);
    smc->status = status;
    smc->result = result;
    vmc_state_check(r, !(status & STATUS_READY) || smc->n_data > smc->data_at, "its answer");
}

bool vmc_smc_load(VmcSmc *smc, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "smc", 1))
        return false;
    for (unsigned i = 0; i < N_KEYS; i++)
        if (smc->keys[i].attributes & ATTRIBUTE_WRITE)
            vmc_state_get_bytes(r, smc->keys[i].value, smc->keys[i].size);
    load_command(smc, r);
    smc->last = vmc_state_get_u8(r);
    return vmc_state_leave(r);
}

/* ---- lifecycle ---- */

void vmc_smc_reset(VmcSmc *smc)
{
    g_mutex_lock(&smc->lock);
    for (unsigned i = 0; i < N_KEYS; i++)
        if (i != INDEX_OSK0 && i != INDEX_OSK1)
            smc->keys[i] = power_on[i];
    smc->keys[0].value[3] = N_COUNTED; /* high byte first */
    smc->target = NULL;
    smc->n_argument = 0;
    smc->last = 0;
    finish(smc, RESULT_OK);
    g_mutex_unlock(&smc->lock);
}

static const VmcRegionOps smc_ops = {smc_read, smc_write};

VmcSmc *vmc_smc_new(VmcBus *pio, const char osk[VMC_SMC_OSK_SIZE])
{
    VmcSmc *smc = g_new0(VmcSmc, 1);
    g_mutex_init(&smc->lock);
    smc->pio = pio;
    memcpy(smc->keys, power_on, sizeof(power_on));
    memcpy(smc->keys[INDEX_OSK0].value, osk, VALUE_MAX);
    memcpy(smc->keys[INDEX_OSK1].value, osk + VALUE_MAX, VALUE_MAX);
    vmc_smc_reset(smc);
    vmc_bus_add(pio, "smc", VMC_SMC_BASE, VMC_SMC_SIZE, &smc_ops, smc);
    return smc;
}

void vmc_smc_free(VmcSmc *smc)
{
    if (!smc)
        return;
    vmc_bus_remove(smc->pio, VMC_SMC_BASE, &smc_ops, smc);
    g_mutex_clear(&smc->lock);
    g_free(smc);
}
