/* `espalierctl check` (commands.h). */
#include <glib/gi18n.h>
#include <stdio.h>

#include "app/check.h"
#include "app/ctl/commands.h"
#include "app/ctl/output.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/library.h"
#include "app/words.h"

/* For programs, in this order of EspCheckLevel; and for people. */
static const char *const levels[] = {"good", "warning", "problem"};
static const char *const level_words[] = {N_("good"), N_("warning"), N_("problem")};

static void print_json(GPtrArray *lines)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();

    json_builder_begin_array(builder);
    for (guint i = 0; i < lines->len; i++) {
        const EspCheckLine *line = lines->pdata[i];
        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "id");
        json_builder_add_string_value(builder, line->id);
        json_builder_set_member_name(builder, "level");
        json_builder_add_string_value(builder, levels[line->level]);
        json_builder_set_member_name(builder, "finding");
        json_builder_add_string_value(builder, line->finding);
        json_builder_set_member_name(builder, "advice");
        if (line->advice)
            json_builder_add_string_value(builder, line->advice);
        else
            json_builder_add_null_value(builder);
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    esp_output_json(json_builder_get_root(builder));
}

static void print_words(GPtrArray *lines)
{
    int width = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(level_words); i++)
        width = MAX(width, esp_text_width(_(level_words[i])));
    for (guint i = 0; i < lines->len; i++) {
        const EspCheckLine *line = lines->pdata[i];
        esp_output_cell(_(level_words[line->level]), width);
        fputs(" ", stdout);
        /* Translators: what was looked at, such as “Processor”, and what was found. */
        printf(_("%s: %s"), line->name, line->finding);
        fputs("\n", stdout);
        if (line->advice)
            printf("%*s%s\n", width + 1, "", line->advice);
    }
}

int esp_ctl_check(int argc, char **argv)
{
    g_autofree char *library = esp_library_default_dir();
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, N_("for programs: an array of objects"), NULL},
        G_OPTION_ENTRY_NULL,
    };
    int status;
    g_auto(GStrv) words = esp_command_words(
        &(const EspCommand){
            "check", "",
            N_("Says whether this computer is fit for virtual machines, and what to do about it. The "
               "exit status\nis 1 if something keeps them from running, else 0."),
            0, 0},
        entries, argc, argv, &status);

    if (!words)
        return status;
    g_autoptr(GPtrArray) lines = esp_check_run(library);
    if (json)
        print_json(lines);
    else
        print_words(lines);
    return esp_check_worst(lines) == ESP_CHECK_PROBLEM ? ESP_EXIT_FAILED : ESP_EXIT_OK;
}
