/*
 * The port of the guest's agent, and what can be done with it without a front end: a clipboard that is set
 * and looked at by name, files, monitors.
 */
#include <stdio.h>
#include <string.h>

#include "agent/webdav.h"
#include "base/i18n.h"
#include "machine/devices/kind.h"

static void check_agent(VmcCheck *check, const VmcDeviceConfig *device)
{
    for (guint i = 0; i < check->index; i++)
        if (vmc_check_device(check, i)->kind == VMC_DEVICE_SPICE_AGENT) {
            vmc_check_fault(check, NULL, _("devices[%u] is already the guest's agent; remove one of them"),
                            i);
            return;
        }
    vmc_check_port_name(check, NULL, VMC_AGENT_PORT_NAME);
}

static bool make_port(VmcGuest *guest, guint index, VmcConsolePort *port, GError **error)
{
    port->name = VMC_AGENT_PORT_NAME;
    port->port = vmc_agent_port_new(guest->machine->agent, guest->io);
    return true;
}

/* ---- actions ---- */

enum {
    SET_TEXT,
    SET_IMAGE,
    SET_FILES,
    GET_TEXT,
    GET_IMAGE,
    GET_FILES,
    SEND_FILE,
    CANCEL_FILE,
    MONITORS,
    STATUS
};

static const VmcAction actions[] = {
    [SET_TEXT] = {"clipboard-set", "TEXT", 1, 1, N_("puts a text into the clipboard")},
    [SET_IMAGE] = {"clipboard-set-image", "FILE", 1, 1, N_("puts a PNG image into the clipboard")},
    [SET_FILES] = {"clipboard-set-files", "copy|cut FILE...", 2, VMC_AGENT_FILES_MAX + 1,
                   N_("puts files and folders into the clipboard, through the WebDAV port")},
    [GET_TEXT] = {"clipboard-get", "", 0, 0, N_("says the text that the guest's clipboard has")},
    [GET_IMAGE] = {"clipboard-get-image", "FILE", 1, 1, N_("writes the guest's clipboard to a PNG file")},
    [GET_FILES] = {"clipboard-get-files", "", 0, 0,
                   N_("says copy or cut, and what of the shared folder the guest's clipboard has")},
    [SEND_FILE] = {"send-file", "FILE", 1, 1, N_("sends a file to the guest, and says its number")},
    [CANCEL_FILE] = {"cancel-file", "NUMBER", 1, 1, N_("ends the sending of a file")},
    [MONITORS] = {"monitors", "WIDTHxHEIGHT[+X+Y]...", 1, VMC_AGENT_MONITORS_MAX,
                  N_("tells the guest the sizes of its monitors")},
    [STATUS] = {"status", "", 0, 0, N_("says whether the agent is there, and how far files are")},
};

static bool offer(VmcAgent *agent, VmcClipType type, GBytes *data, GError **error)
{
    if (vmc_agent_offer(agent, VMC_SELECTION_CLIPBOARD, type, data))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_STATE,
                _("Nothing can be put into the guest's clipboard: it has more than %u bytes, or the device's "
                  "“clipboard” setting does not allow it"),
                VMC_CLIP_MAX);
    return false;
}

static bool set_text(VmcAgent *agent, const char *text, GError **error)
{
    g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));

    return offer(agent, VMC_CLIP_TEXT, data, error);
}

static bool set_image(VmcAgent *agent, const char *path, GError **error)
{
    static const char magic[] = "\x89PNG\r\n\x1a\n";
    char *contents;
    gsize len;

    if (!g_file_get_contents(path, &contents, &len, error))
        return false;
    g_autoptr(GBytes) data = g_bytes_new_take(contents, len);
    if (len < sizeof(magic) - 1 || memcmp(contents, magic, sizeof(magic) - 1) != 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("“%s” is not a PNG image"), path);
        return false;
    }
    return offer(agent, VMC_CLIP_PNG, data, error);
}

static bool get_text(VmcAgent *agent, GString *reply, GError **error)
{
    g_autoptr(GBytes) data = vmc_agent_peek(agent, VMC_SELECTION_CLIPBOARD, VMC_CLIP_TEXT, error);
    gsize len;

    if (!data)
        return false;
    const char *text = g_bytes_get_data(data, &len);
    g_string_append_len(reply, text, (gssize)strnlen(text ? text : "", len));
    return true;
}

static bool get_image(VmcAgent *agent, const char *path, GError **error)
{
    g_autoptr(GBytes) data = vmc_agent_peek(agent, VMC_SELECTION_CLIPBOARD, VMC_CLIP_PNG, error);

    return data &&
           g_file_set_contents(path, g_bytes_get_data(data, NULL), (gssize)g_bytes_get_size(data), error);
}

static bool set_files(VmcAgent *agent, const char *const *words, GError **error)
{
    bool cut = strcmp(words[0], "cut") == 0;

    if (cut || strcmp(words[0], "copy") == 0)
        return vmc_agent_offer_files(agent, VMC_SELECTION_CLIPBOARD, cut ? VMC_FILES_CUT : VMC_FILES_COPY,
                                     words + 1, error);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("“%s” is not what can be done with files; say copy or cut"), words[0]);
    return false;
}

static bool get_files(VmcAgent *agent, GString *reply, GError **error)
{
    VmcFileAction action;
    g_auto(GStrv) paths = vmc_agent_peek_files(agent, VMC_SELECTION_CLIPBOARD, &action, error);

    if (!paths)
        return false;
    g_string_append(reply, action == VMC_FILES_CUT ? "cut\n" : "copy\n");
    for (char **path = paths; *path; path++)
        g_string_append_printf(reply, "%s\n", *path);
    return true;
}

static bool send_file(VmcAgent *agent, const char *path, GString *reply, GError **error)
{
    unsigned id = vmc_agent_send_file(agent, path, error);

    if (id)
        g_string_append_printf(reply, "%u\n", id);
    return id;
}

static bool cancel_file(VmcAgent *agent, const char *word, GError **error)
{
    guint64 id;

    if (!g_ascii_string_to_unsigned(word, 10, 1, G_MAXUINT32, &id, error))
        return false;
    vmc_agent_cancel_file(agent, (unsigned)id);
    return true;
}

static bool set_monitors(VmcAgent *agent, const char *const *words, GError **error)
{
    VmcMonitor monitors[VMC_AGENT_MONITORS_MAX] = {0};
    unsigned n = 0;
    bool good = true;
    int x = 0;

    for (; words[n] && good; n++) {
        VmcMonitor *monitor = &monitors[n];
        int end = 0, end_at = 0;
        monitor->x = x;
        good = sscanf(words[n], "%5ux%5u%n%d%d%n", &monitor->width, &monitor->height, &end, &monitor->x,
                      &monitor->y, &end_at) >= 2 &&
               !words[n][MAX(end, end_at)];
        x = monitor->x + (int)monitor->width;
    }
    if (good && vmc_agent_set_monitors(agent, monitors, n))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("“%s” is no size of a monitor; give such as 1280x800 or 1280x800+1280+0"),
                words[n - !good] ? words[n - !good] : words[0]);
    return false;
}

static bool act_on_agent(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                         GString *reply, GError **error)
{
    VmcAgent *agent = guest->machine->agent;

    switch (action) {
    case SET_TEXT:
        return set_text(agent, arguments[0], error);
    case SET_IMAGE:
        return set_image(agent, arguments[0], error);
    case SET_FILES:
        return set_files(agent, arguments, error);
    case GET_FILES:
        return get_files(agent, reply, error);
    case GET_TEXT:
        return get_text(agent, reply, error);
    case GET_IMAGE:
        return get_image(agent, arguments[0], error);
    case SEND_FILE:
        return send_file(agent, arguments[0], reply, error);
    case CANCEL_FILE:
        return cancel_file(agent, arguments[0], error);
    case MONITORS:
        return set_monitors(agent, arguments, error);
    default:
        vmc_agent_describe(agent, reply);
        return true;
    }
}

static const char *const directions[] = {"both", "to-guest", "to-host", "off", NULL};

static const VmcField fields[] = {
    VMC_FIELD("clipboard", "Clipboard", CHOICE, agent.clipboard, .choices = directions),
};

const VmcDeviceKindOps vmc_kind_agent = {
    .info = {.name = "spice-agent",
             .key = "SpiceAgent",
             .help = N_("clipboard, files and monitors, through spice-vdagent in the guest"),
             VMC_FIELDS(fields),
             VMC_ACTIONS(actions)},
    .pci = true,
    .check = check_agent,
    .make = vmc_guest_make_serial,
    .port = make_port,
    .act = act_on_agent,
};

/* ---- the folder ---- */

static void check_webdav(VmcCheck *check, const VmcDeviceConfig *device)
{
    GError *error = NULL;
    GFile *folder;

    if (!device->share.path || !*device->share.path) {
        vmc_check_fault(check, "sharedDir", _("no folder is given; give the path of the folder to share"));
        return;
    }
    folder = vmc_webdav_folder_new(device->share.path, device->share.readonly, NULL, &error);
    if (!folder)
        vmc_check_error(check, "sharedDir", error);
    g_clear_object(&folder);
    vmc_check_port_name(check, NULL, VMC_WEBDAV_PORT_NAME);
}

static bool make_webdav(VmcGuest *guest, guint index, VmcConsolePort *port, GError **error)
{
    const VmcShareConfig *config = &vmc_guest_config(guest, index)->share;
    VmcAgent *agent = guest->machine->agent;

    port->name = VMC_WEBDAV_PORT_NAME;
    port->port = vmc_webdav_port_new(guest->io, config->path, config->readonly,
                                     agent ? vmc_agent_exports(agent) : NULL, error);
    return port->port;
}

static const VmcField webdav_fields[] = {
    VMC_FIELD("sharedDir", "SharedDir", PATH, share.path, .value = "FOLDER", .required = true),
    VMC_FIELD("readonly", "ReadOnly", FLAG, share.readonly),
};

const VmcDeviceKindOps vmc_kind_webdav = {
    .info = {.name = "spice-webdav",
             .key = "SpiceWebDAV",
             .help = N_("folder, through spice-webdavd in the guest"),
             VMC_FIELDS(webdav_fields)},
    .pci = true,
    .check = check_webdav,
    .make = vmc_guest_make_serial,
    .port = make_webdav,
};
