/*
 * Saving a paused machine and bringing it back: what is in the state, when it may be used, and who works on
 * it when.
 *
 * The work is done by the machine's I/O thread, which is how nothing else happens to the devices meanwhile;
 * vCPUs are held, and the owner's thread only begins and ends it. Before, every device is asked to let what
 * it has begun come back (vmc_board_hold). A machine that is stopped meanwhile gives up the work and waits
 * for it.
 *
 * A restored machine is put together like one that starts, but for the boot image, and then filled. Whatever
 * is wrong with the file, what has been built is thrown away, and the machine is as stopped as before.
 *
 * The state says what the machine was made of, in phrases that are compared one by one, so that a refusal can
 * name the one that differs. It belongs to its disks as they were: what the guest has of them in memory would
 * not fit others.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "machine/saved_state.h"

#define PARTS_MAX   1024u
#define PHRASE_MAX  1024u
#define AWAY_MAX_NS (10ull * 365 * 24 * 3600 * 1000000000)

typedef struct VmcSaving {
    VmcMachine *machine;
    GTask *task;
    GCancellable *cancellable; /* ours, and chained to the caller's */
    GCancellable *callers;
    gulong chain;
    VmcGuest *guest;      /* of a restore: not the machine's yet */
    VmcSavedState *saved; /* of a restore */
    char *path;
    GError *error; /* how it ended, once `finished` */
    GMutex lock;
    GCond cond;
    bool finished; /* the I/O thread has done with it */
    bool abandoned;
} VmcSaving;

/* ---- what the machine is made of ---- */

/* A part: what it is called in the file, and the phrase that has to be the same. */
typedef struct Part {
    char *key, *phrase;
} Part;

static void free_part(gpointer data)
{
    Part *part = data;

    g_free(part->key);
    g_free(part->phrase);
    g_free(part);
}

static void add_part(GPtrArray *parts, char *key, char *phrase)
{
    Part *part = g_new(Part, 1);

    *part = (Part){key, phrase};
    g_ptr_array_add(parts, part);
}

static char *phrase_of_device(const VmcGuest *guest, guint index)
{
    const char *name = vmc_device_kind_name(vmc_guest_config(guest, index)->kind);
    const VmcPciDevice *pci = guest->pci_devices[index];

    if (!pci)
        return g_strdup_printf("a %s as device %u", name, index);
    return g_strdup_printf("a %s as device %u, at PCI %02x.%u", name, index, pci->devfn >> 3, pci->devfn & 7);
}

static GPtrArray *parts_of(const VmcGuest *guest)
{
    const VmcConfig *config = guest->config;
    const VmcMemory *memory = guest->memory;
    GPtrArray *parts = g_ptr_array_new_with_free_func(free_part);

    add_part(parts, g_strdup("cpus"),
             g_strdup_printf(config->cpus == 1 ? "%u CPU" : "%u CPUs", config->cpus));
    add_part(parts, g_strdup("memory"),
             g_strdup_printf("%" G_GUINT64_FORMAT " MiB of memory", config->memory >> 20));
    add_part(parts, g_strdup("firmware"),
             g_strdup(config->boot.kind == VMC_BOOT_EFI ? "UEFI firmware" : "no firmware"));
    add_part(parts, g_strdup("model"),
             g_strdup_printf("CPUs of the model %s", vmc_cpu_model_name(config->cpu_model)));
    add_part(parts, g_strdup("processor"), guest->backend->describe(guest->vm));
    for (guint i = 0; i < config->devices->len; i++)
        add_part(parts, g_strdup_printf("device %u", i), phrase_of_device(guest, i));
    for (unsigned i = 0; i < memory->n_slots; i++)
        add_part(parts, g_strdup_printf("memory %u", i),
                 g_strdup_printf("%" G_GUINT64_FORMAT " KiB of memory in place %u",
                                 memory->slots[i].size >> 10, i));
    return parts;
}

static void save_parts(const VmcGuest *guest, VmcStateWriter *w)
{
    g_autoptr(GPtrArray) parts = parts_of(guest);

    vmc_state_begin(w, "parts", 1);
    vmc_state_put_u32(w, parts->len);
    for (guint i = 0; i < parts->len; i++) {
        const Part *part = g_ptr_array_index(parts, i);
        vmc_state_put_string(w, part->key);
        vmc_state_put_string(w, part->phrase);
    }
    vmc_state_end(w);
}

/* Takes the part of that name out of the list; NULL: there is none. The caller frees the phrase. */
static char *take_part(GPtrArray *parts, const char *key)
{
    for (guint i = 0; i < parts->len; i++) {
        Part *part = g_ptr_array_index(parts, i);
        if (strcmp(part->key, key) == 0) {
            char *phrase = g_steal_pointer(&part->phrase);
            g_ptr_array_remove_index(parts, i);
            return phrase;
        }
    }
    return NULL;
}

static bool compare_part(GPtrArray *parts, const char *key, const char *saved, GError **error)
{
    g_autofree char *here = take_part(parts, key);

    if (!here)
        return vmc_machine_refuse(
            error, VMC_ERROR_CONFIG,
            _("The saved state is of a machine with %s, and this one has no such thing"), saved);
    return strcmp(here, saved) == 0 ||
           vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                              _("The saved state is of a machine with %s, and this one has %s"), saved, here);
}

static bool load_parts(const VmcGuest *guest, VmcStateReader *r, GError **error)
{
    g_autoptr(GPtrArray) parts = parts_of(guest);
    bool same = true;

    vmc_state_enter(r, "parts", 1);
    uint32_t n = vmc_state_get_u32_max(r, PARTS_MAX);
    for (uint32_t i = 0; i < n && same && vmc_state_ok(r); i++) {
        g_autofree char *key = vmc_state_get_string(r, PHRASE_MAX);
        g_autofree char *phrase = vmc_state_get_string(r, PHRASE_MAX);
        if (vmc_state_check(r, key && phrase, "a part"))
            same = compare_part(parts, key, phrase, error);
    }
    if (same && vmc_state_leave(r) && parts->len) {
        const Part *part = g_ptr_array_index(parts, 0);
        return vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                                  _("This machine has %s, and the saved state is of one without that"),
                                  part->phrase);
    }
    return same && vmc_state_reader_finish(r, error);
}

/* ---- its disks ---- */

/* Of a block device the time says nothing. */
static bool look_at_disk(const char *path, uint64_t *size, int64_t *time_ns)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    *size = (uint64_t)st.st_size;
    *time_ns = S_ISBLK(st.st_mode) ? 0 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return true;
}

static void save_disks(const VmcGuest *guest, VmcStateWriter *w)
{
    unsigned n = 0;

    for (guint i = 0; i < guest->config->devices->len; i++)
        n += vmc_device_is_disk(vmc_guest_config(guest, i));
    vmc_state_begin(w, "disks", 1);
    vmc_state_put_u32(w, n);
    for (guint i = 0; i < guest->config->devices->len; i++) {
        const VmcDeviceConfig *device = vmc_guest_config(guest, i);
        uint64_t size = 0;
        int64_t time_ns = 0;
        if (!vmc_device_is_disk(device))
            continue;
        if (!look_at_disk(device->block.path, &size, &time_ns))
            vmc_state_refuse(w, _("The disk “%s” cannot be looked at: %s"), device->block.path,
                             g_strerror(errno));
        vmc_state_put_u32(w, i);
        vmc_state_put_u64(w, size);
        vmc_state_put_u64(w, (uint64_t)time_ns);
    }
    vmc_state_end(w);
}

static bool check_disk(const char *path, uint64_t size, int64_t time_ns, GError **error)
{
    uint64_t size_now;
    int64_t time_now;

    if (!look_at_disk(path, &size_now, &time_now))
        return vmc_machine_refuse(error, VMC_ERROR_RESOURCE, _("The disk “%s” cannot be looked at: %s"), path,
                                  g_strerror(errno));
    return (size == size_now && time_ns == time_now) ||
           vmc_machine_refuse(
               error, VMC_ERROR_CONFIG,
               _("The disk “%s” has changed since the machine was saved, so the saved state does not fit "
                 "it any more; start the machine anew, or bring the disk back as it was"),
               path);
}

/* Before anything is opened. Other disks than were saved are for load_parts to find. */
static bool check_disks(const VmcConfig *config, VmcStateReader *r, GError **error)
{
    vmc_state_enter(r, "disks", 1);
    uint32_t n = vmc_state_get_u32_max(r, PARTS_MAX);
    for (uint32_t i = 0; i < n && vmc_state_ok(r); i++) {
        uint32_t index = vmc_state_get_u32(r);
        uint64_t size = vmc_state_get_u64(r);
        int64_t time_ns = (int64_t)vmc_state_get_u64(r);
        if (!vmc_state_ok(r) || index >= config->devices->len)
            continue;
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, index);
        if (vmc_device_is_disk(device) && !check_disk(device->block.path, size, time_ns, error))
            return false;
    }
    vmc_state_leave(r);
    return vmc_state_reader_finish(r, error);
}

/* ---- the state ---- */

static void save_cpus(const VmcGuest *guest, VmcStateWriter *w)
{
    const VmcCpuBackend *backend = guest->backend;

    vmc_state_begin(w, "cpus", 1);
    backend->save_vm(guest->vm, w);
    for (unsigned i = 0; i < guest->vcpus.n; i++)
        backend->save_cpu(guest->vcpus.vcpus[i].cpu, w);
    vmc_state_end(w);
}

static bool load_cpus(VmcGuest *guest, uint64_t away_ns, VmcStateReader *r)
{
    const VmcCpuBackend *backend = guest->backend;

    if (!vmc_state_enter(r, "cpus", 1) || !backend->load_vm(guest->vm, away_ns, r))
        return false;
    for (unsigned i = 0; i < guest->vcpus.n; i++)
        if (!backend->load_cpu(guest->vcpus.vcpus[i].cpu, r))
            return false;
    return vmc_state_leave(r);
}

/* Disks first, so that they can be looked at before anything else is; but their times are taken last, when
 * devices have written what they had to write. */
static GBytes *save_state(VmcGuest *guest, GError **error)
{
    VmcStateWriter *machine = vmc_state_writer_new(), *w = vmc_state_writer_new();
    g_autoptr(GBytes) inside = NULL;
    GBytes *state = NULL;

    vmc_state_begin(machine, "machine", 1);
    save_parts(guest, machine);
    vmc_state_put_u64(machine, (uint64_t)g_get_real_time());
    save_cpus(guest, machine);
    vmc_board_save(guest->board, machine);
    vmc_state_end(machine);
    inside = vmc_state_writer_take(machine, error);
    if (inside) {
        gsize n;
        const void *bytes = g_bytes_get_data(inside, &n);
        save_disks(guest, w);
        vmc_state_put_bytes(w, bytes, n);
        state = vmc_state_writer_take(w, error);
    }
    vmc_state_writer_free(machine);
    vmc_state_writer_free(w);
    return state;
}

static uint64_t away_since(uint64_t saved_at_us)
{
    uint64_t now = (uint64_t)g_get_real_time(), ns;

    if (now <= saved_at_us || __builtin_mul_overflow(now - saved_at_us, 1000, &ns))
        return 0;
    return MIN(ns, AWAY_MAX_NS);
}

/* Up to where the state of the parts begins. */
static bool compare_parts(const VmcGuest *guest, GBytes *state, VmcStateReader *r, GError **error)
{
    gsize n;
    const void *bytes = g_bytes_get_data(state, &n);

    vmc_state_reader_init(r, bytes, n);
    bool same = check_disks(guest->config, r, error);
    vmc_state_enter(r, "machine", 1);
    return same && load_parts(guest, r, error);
}

static bool does_fit(const VmcGuest *guest, GBytes *state, GError **error)
{
    VmcStateReader r;
    bool fits = compare_parts(guest, state, &r, error);

    vmc_state_reader_clear(&r);
    return fits;
}

static bool load_state(VmcGuest *guest, GBytes *state, GError **error)
{
    VmcStateReader r;
    bool good = compare_parts(guest, state, &r, error);

    if (good) {
        uint64_t away = away_since(vmc_state_get_u64(&r));
        good = load_cpus(guest, away, &r) && vmc_board_load(guest->board, &r) && vmc_state_leave(&r);
        vmc_state_reader_finish(&r, error);
    }
    vmc_state_reader_clear(&r);
    return good;
}

/* ---- the work, on the I/O thread ---- */

static gboolean finished(gpointer data);

/* `error` is taken over. */
static void tell_owner(VmcSaving *saving, GError *error)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, finished, saving, NULL);
    g_mutex_lock(&saving->lock);
    saving->error = error;
    saving->finished = true;
    g_cond_signal(&saving->cond);
    g_mutex_unlock(&saving->lock);
    g_source_attach(source, saving->machine->context); /* which frees all of it */
    g_source_unref(source);
}

static void do_save(void *data)
{
    VmcSaving *saving = data;
    VmcGuest *guest = saving->machine->guest;
    GError *error = NULL;
    g_autoptr(GBytes) state = save_state(guest, &error);

    if (state)
        vmc_saved_state_write(saving->path, state, guest->memory, saving->cancellable, &error);
    tell_owner(saving, error);
}

static void do_restore(void *data)
{
    VmcSaving *saving = data;
    VmcGuest *guest = saving->guest;
    GBytes *state = vmc_saved_state_get(saving->saved);
    GError *error = NULL;

    if (does_fit(guest, state, &error) &&
        vmc_saved_state_load_memory(saving->saved, guest->memory, saving->cancellable, &error))
        load_state(guest, state, &error);
    tell_owner(saving, error);
}

/* ---- the owner's thread ---- */

static void cancel_ours(GCancellable *callers, gpointer ours)
{
    g_cancellable_cancel(ours);
}

static VmcSaving *saving_new(VmcMachine *machine, const char *path, GCancellable *cancellable,
                             GAsyncReadyCallback callback, void *data)
{
    VmcSaving *saving = g_new0(VmcSaving, 1);

    saving->machine = machine;
    saving->path = g_strdup(path);
    saving->task = g_task_new(machine, NULL, callback, data);
    saving->cancellable = g_cancellable_new();
    g_mutex_init(&saving->lock);
    g_cond_init(&saving->cond);
    if (cancellable) {
        saving->callers = g_object_ref(cancellable);
        saving->chain =
            g_cancellable_connect(cancellable, G_CALLBACK(cancel_ours), saving->cancellable, NULL);
    }
    return saving;
}

/* Ends the task with `error`, which is taken over, or well. */
static void saving_end(VmcSaving *saving, GError *error)
{
    GTask *task = saving->task;

    if (saving->callers) {
        g_cancellable_disconnect(saving->callers, saving->chain);
        g_object_unref(saving->callers);
    }
    g_object_unref(saving->cancellable);
    vmc_saved_state_close(saving->saved);
    g_free(saving->path);
    g_cond_clear(&saving->cond);
    g_mutex_clear(&saving->lock);
    g_free(saving);
    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
    g_object_unref(task);
}

void vmc_saving_abandon(VmcMachine *machine)
{
    VmcSaving *saving = machine->saving;

    if (!saving)
        return;
    machine->saving = NULL;
    saving->abandoned = true;
    g_cancellable_cancel(saving->cancellable);
    g_mutex_lock(&saving->lock);
    while (!saving->finished)
        g_cond_wait(&saving->cond, &saving->lock);
    g_mutex_unlock(&saving->lock);
    g_clear_pointer(&saving->guest, vmc_guest_free);
}

static void end_save(VmcMachine *machine)
{
    vmc_board_release(machine->guest->board);
    vmc_machine_set_state(machine, VMC_MACHINE_PAUSED);
}

/* The guest becomes the machine's. */
static void end_restore(VmcMachine *machine, VmcGuest *guest, GError **error)
{
    if (!*error && vmc_guest_start_paused(guest, error)) {
        machine->engine = guest->backend->engine ? guest->backend->engine(guest->vm) : VMC_ENGINE_DEFAULT;
        vmc_machine_set_guest(machine, guest);
        vmc_board_release(guest->board);
        vmc_machine_set_state(machine, VMC_MACHINE_PAUSED);
        return;
    }
    vmc_guest_free(guest);
    vmc_machine_set_state(machine, VMC_MACHINE_STOPPED);
}

/* The I/O thread has done its part. */
static gboolean finished(gpointer data)
{
    VmcSaving *saving = data;
    VmcMachine *machine = saving->machine;
    GError *error = saving->error;

    if (saving->abandoned) {
        g_clear_error(&error);
        g_set_error_literal(&error, VMC_ERROR, VMC_ERROR_STATE, _("The machine was stopped meanwhile"));
    } else {
        machine->saving = NULL;
        if (saving->guest)
            end_restore(machine, g_steal_pointer(&saving->guest), &error);
        else
            end_save(machine);
    }
    saving_end(saving, error);
    return G_SOURCE_REMOVE;
}

void vmc_machine_save(VmcMachine *machine, const char *path, GCancellable *cancellable,
                      GAsyncReadyCallback callback, void *data)
{
    VmcSaving *saving = saving_new(machine, path, cancellable, callback, data);
    GError *error = NULL;

    if (!vmc_machine_check_state(machine, VMC_MACHINE_PAUSED,
                                 N_("The machine cannot be saved: it is %s, not %s"), &error)) {
        saving_end(saving, error);
        return;
    }
    if (!machine->backend->save_vm) {
        vmc_machine_refuse(
            &error, VMC_ERROR_STATE,
            _("A machine whose CPUs are run by “%s” cannot be saved; run it with the software CPU "
              "(--cpu soft)"),
            machine->backend->name);
        saving_end(saving, error);
        return;
    }
    if (!vmc_machine_set_state(machine, VMC_MACHINE_SAVING)) {
        vmc_machine_refuse(&error, VMC_ERROR_STATE, _("The machine was stopped before it could be saved"));
        saving_end(saving, error);
        return;
    }
    machine->saving = saving;
    vmc_board_hold(machine->guest->board);
    vmc_io_call(machine->guest->io, do_save, saving);
}

static bool begin_restore(VmcSaving *saving, GError **error)
{
    VmcMachine *machine = saving->machine;
    VmcStateReader r;
    gsize n;
    const void *bytes;

    saving->saved = vmc_saved_state_open(saving->path, error);
    if (!saving->saved)
        return false;
    bytes = g_bytes_get_data(vmc_saved_state_get(saving->saved), &n);
    vmc_state_reader_init(&r, bytes, n);
    bool good = check_disks(machine->config, &r, error);
    vmc_state_reader_clear(&r);
    if (!good)
        return false;
    vmc_machine_begin_run(machine);
    if (!machine->backend->load_vm)
        return vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                                  _("A machine whose CPUs are run by “%s” cannot be restored"),
                                  machine->backend->name);
    saving->guest = vmc_guest_new_empty(machine, vmc_now_ns(), error);
    return saving->guest != NULL;
}

void vmc_machine_restore(VmcMachine *machine, const char *path, GCancellable *cancellable,
                         GAsyncReadyCallback callback, void *data)
{
    VmcSaving *saving = saving_new(machine, path, cancellable, callback, data);
    VmcMachineState state = vmc_machine_get_state(machine);
    GError *error = NULL;

    if (state != VMC_MACHINE_ERROR &&
        !vmc_machine_check_state(machine, VMC_MACHINE_STOPPED,
                                 N_("The machine cannot be restored: it is %s, not %s"), &error)) {
        saving_end(saving, error);
        return;
    }
    if (!vmc_machine_set_state(machine, VMC_MACHINE_RESTORING)) {
        vmc_machine_refuse(&error, VMC_ERROR_STATE, _("The machine was stopped before it could be restored"));
        saving_end(saving, error);
        return;
    }
    if (!begin_restore(saving, &error)) {
        vmc_machine_set_state(machine, VMC_MACHINE_STOPPED);
        saving_end(saving, error);
        return;
    }
    machine->saving = saving;
    vmc_io_call(saving->guest->io, do_restore, saving);
}

bool vmc_machine_save_finish(VmcMachine *machine, GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, machine), false);
    return g_task_propagate_boolean(G_TASK(result), error);
}

bool vmc_machine_restore_finish(VmcMachine *machine, GAsyncResult *result, GError **error)
{
    return vmc_machine_save_finish(machine, result, error);
}
