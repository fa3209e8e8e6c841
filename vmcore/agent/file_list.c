/*
 * The content of a clipboard that has files: VD_AGENT_CLIPBOARD_FILE_LIST of spice/vd_agent.h.
 *
 * The guest may write anything into it. A path that has something in it which no file manager would have put
 * there makes the whole list void: who pastes half of what was copied does not notice.
 */
#include <string.h>

#include "agent/exports.h"
#include "fs/internal.h"

#define PATH_BYTES_MAX 4095u

bool vmc_file_name_valid(const char *name)
{
    if (!vmc_walk_name_valid(name) || !g_utf8_validate(name, -1, NULL))
        return false;
    for (const char *at = name; *at; at = g_utf8_next_char(at))
        if (g_unichar_iscntrl(g_utf8_get_char(at)))
            return false;
    return true;
}

/* Below the top: names with single slashes between them. */
static bool path_valid(const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);

    for (char **name = names; *name; name++)
        if (!vmc_file_name_valid(*name))
            return false;
    return *names;
}

static bool take_action(const char *word, VmcFileAction *action)
{
    if (strcmp(word, "copy") != 0 && strcmp(word, "cut") != 0)
        return false;
    *action = strcmp(word, "cut") == 0 ? VMC_FILES_CUT : VMC_FILES_COPY;
    return true;
}

char **vmc_file_list_parse(GBytes *list, VmcFileAction *action)
{
    size_t len;
    const char *data = g_bytes_get_data(list, &len);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    VmcFileAction what = VMC_FILES_COPY;
    bool first = true;

    for (; len; first = false) {
        size_t word = strnlen(data, len), taken = word + (word < len); /* and its NUL */
        if (word > PATH_BYTES_MAX || paths->len == VMC_AGENT_FILES_MAX)
            return NULL;
        g_autofree char *text = g_strndup(data, word);
        data += taken;
        len -= taken;
        if (first && take_action(text, &what))
            continue;
        if (first || *text != '/' || !path_valid(text + 1))
            return NULL;
        g_ptr_array_add(paths, g_strdup(text + 1));
    }
    if (!paths->len)
        return NULL;
    g_ptr_array_add(paths, NULL);
    *action = what;
    return (char **)g_ptr_array_free(g_steal_pointer(&paths), FALSE);
}

GBytes *vmc_file_list_make(VmcFileAction action, const char *id, const GPtrArray *names)
{
    GString *list = g_string_new(action == VMC_FILES_CUT ? "cut" : "copy");

    g_string_append_c(list, 0);
    for (unsigned i = 0; i < names->len; i++) {
        g_string_append_printf(list, "/" VMC_EXPORTS_NAME "/%s/%s", id,
                               (const char *)g_ptr_array_index(names, i));
        g_string_append_c(list, 0);
    }
    return g_string_free_to_bytes(list);
}
