/* The sound card and where its sound goes. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "sound/sound.h"

/* Neither word means both. */
static void directions(const VmcSoundConfig *sound, bool *output, bool *input)
{
    *output = sound->output || !sound->input;
    *input = sound->input || !sound->output;
}

static void check_files(VmcCheck *check, const VmcSoundConfig *sound)
{
    g_autofree char *folder = sound->play_path ? g_path_get_dirname(sound->play_path) : NULL;
    struct stat st;

    if (sound->backend != VMC_SOUND_FILE) {
        if (sound->play_path || sound->record_path)
            vmc_check_fault(check, sound->play_path ? "playFile" : "recordFile",
                            _("files are for the file backend; add backend=file, or leave them out"));
        return;
    }
    if (!sound->play_path && !sound->record_path)
        vmc_check_fault(check, "backend",
                        _("the file backend has no file; add playFile=FILE or recordFile=FILE"));
    if (folder && access(folder, W_OK) < 0)
        vmc_check_fault(check, "playFile", _("nothing can be created in “%s”; give another path"), folder);
    if (sound->play_path && stat(sound->play_path, &st) == 0 && !S_ISREG(st.st_mode))
        vmc_check_fault(check, "playFile", _("“%s” is not a file; give another path"), sound->play_path);
    if (sound->record_path && (stat(sound->record_path, &st) < 0 || !S_ISREG(st.st_mode)))
        vmc_check_fault(check, "recordFile", _("there is no file “%s”; give a WAV file"), sound->record_path);
}

static void check_sound(VmcCheck *check, const VmcDeviceConfig *device)
{
    check_files(check, &device->sound);
}

/* On the I/O thread; the guest's log takes lines from any. */
static void on_log(void *opaque, const char *line)
{
    const VmcHostHooks *hooks = opaque;

    if (hooks)
        hooks->log(hooks->opaque, line);
}

static VmcSound *make_backend(const VmcVirtioHost *host, const VmcSoundConfig *sound, GError **error)
{
    switch (sound->backend) {
    case VMC_SOUND_FILE:
        return vmc_sound_file_new(host->io, sound->play_path, sound->record_path, error);
    case VMC_SOUND_SILENT:
        return vmc_sound_silent_new(host->io);
    case VMC_SOUND_PULSE:
        break;
    }
    return vmc_sound_pulse_new(host->io, "Espalier", on_log, (void *)host->hooks);
}

static bool make_sound(VmcGuest *guest, guint index, GError **error)
{
    const VmcSoundConfig *config = &vmc_guest_config(guest, index)->sound;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcSound *backend = make_backend(&host, config, error);
    bool output, input;

    if (!backend)
        return false;
    directions(config, &output, &input);
    return vmc_guest_add_pci(guest, index, vmc_virtio_sound_new(&host, backend, output, input), error);
}

static const char *const backends[] = {"pulse", "silent", "file", NULL};

static const VmcField fields[] = {
    VMC_FIELD("output", "Output", FLAG, sound.output),
    VMC_FIELD("input", "Input", FLAG, sound.input),
    VMC_FIELD("backend", "Backend", CHOICE, sound.backend, .choices = backends),
    VMC_FIELD("playFile", "PlayFile", PATH, sound.play_path, .value = "FILE"),
    VMC_FIELD("recordFile", "RecordFile", PATH, sound.record_path, .value = "FILE"),
};

const VmcDeviceKindOps vmc_kind_sound = {
    .info = {.name = "virtio-sound",
             .key = "VirtioSound",
             .help = N_("sound card, playback and recording unless only one is named"),
             VMC_FIELDS(fields)},
    .pci = true,
    .check = check_sound,
    .make = make_sound,
};
