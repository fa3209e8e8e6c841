/*
 * Files on the clipboard: what the agent says of the exports (exports.h), and what it was told by the guest.
 *
 * An export comes into being without the agent's lock, because its files are looked at; whether it was still
 * wanted is seen afterwards.
 */
#include "agent/internal.h"
#include "base/i18n.h"

VmcExports *vmc_agent_exports(VmcAgent *agent)
{
    return agent->exports;
}

static VmcExport *make_export(VmcAgent *agent, VmcSelection selection, VmcFileAction action,
                              const char *const *paths, GBytes **list, GError **error)
{
    g_return_val_if_fail((unsigned)selection < VMC_SELECTIONS, NULL);
    if (vmc_agent_clip_to_guest(agent))
        return vmc_exports_add(agent->exports, action, paths, list, error);
    g_set_error(
        error, VMC_ERROR, VMC_ERROR_STATE,
        _("Files cannot be put into the guest's clipboard: the device's “clipboard” setting does not allow "
          "it"));
    return NULL;
}

bool vmc_agent_offer_files(VmcAgent *agent, VmcSelection selection, VmcFileAction action,
                           const char *const *paths, GError **error)
{
    g_autoptr(GBytes) list = NULL;
    VmcExport *export = make_export(agent, selection, action, paths, &list, error);

    if (!export)
        return false;
    g_mutex_lock(&agent->lock);
    vmc_agent_clip_offer(agent, selection, VMC_CLIP_FILES, list, export);
    g_mutex_unlock(&agent->lock);
    return true;
}

bool vmc_agent_send_files(VmcAgent *agent, VmcSelection selection, VmcFileAction action,
                          const char *const *paths, GError **error)
{
    g_autoptr(GBytes) list = NULL;
    VmcExport *export = make_export(agent, selection, action, paths, &list, error);

    if (!export) {
        vmc_agent_send(agent, selection, VMC_CLIP_FILES, NULL);
        return false;
    }
    g_mutex_lock(&agent->lock);
    VmcAgentClip *clip = &agent->clips[selection];
    if (vmc_agent_clip_answer(agent, selection, VMC_CLIP_FILES, list)) {
        VmcExport *before = clip->files; /* of an earlier answer of the same grab */
        clip->files = export;
        export = before;
    }
    vmc_exports_end(agent->exports, export);
    vmc_agent_ring(agent);
    g_mutex_unlock(&agent->lock);
    return true;
}

char **vmc_agent_peek_files(VmcAgent *agent, VmcSelection selection, VmcFileAction *action, GError **error)
{
    g_autoptr(GBytes) list = NULL;

    if (!vmc_exports_served(agent->exports)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_STATE,
            _("The machine has no WebDAV port, into whose folder a guest puts files for its clipboard; add a "
              "spice-webdav device"));
        return NULL;
    }
    list = vmc_agent_peek(agent, selection, VMC_CLIP_FILES, error);
    return list ? vmc_exports_resolve(agent->exports, list, action, error) : NULL;
}
