/* What cloud-init is told: the disc read back by other programs, texts that try to be syntax, and the lists
 * of regions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <string.h>

#include "app/create/seed.h"
#include "app/region.h"
#include "folder.h"

static const char *const nasty[] = {
    "\"",   "\\",  "a\nb: c",      "\"\nruncmd: [reboot]\n#", "{{ds}}",        "%YAML", "- x", "null",
    "true", "1e3", "é ü 日本語 🎉", "\u2028\u2029\xc2\x85",    "#cloud-config", "'",     "\t"};

/* Python's own reader of YAML. */
static bool has_yaml(void)
{
    return system("python3 -c 'import yaml' 2> /dev/null") == 0;
}

static void test_texts_are_never_syntax(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("espalier-seed-XXXXXX", NULL);
    g_autofree char *yaml = g_build_filename(folder, "text.yaml", NULL),
                    *text = g_build_filename(folder, "text", NULL);
    g_autofree char *command =
        g_strdup_printf("python3 -c 'import yaml; a = yaml.safe_load(open(\"%s\", \"rb\").read()); "
                        "assert a == {\"k\": open(\"%s\", newline=\"\", encoding=\"utf-8\").read()}, a'",
                        yaml, text);

    for (size_t i = 0; i < G_N_ELEMENTS(nasty); i++) {
        g_autofree char *quoted = esp_yaml_quote(nasty[i]);
        for (const char *p = quoted; *p; p++)
            assert_true(*p >= ' ' && *p < 0x7f);
        if (!has_yaml())
            continue;
        g_autofree char *line = g_strdup_printf("k: %s\n", quoted);
        g_file_set_contents(yaml, line, -1, NULL);
        g_file_set_contents(text, nasty[i], -1, NULL);
        if (system(command))
            fail_msg("%s is read as something else", quoted);
    }
    remove_folder(folder);
}

static void fill(EspCreation *creation)
{
    creation->kind = ESP_CREATION_LINUX;
    creation->name = g_strdup("Büro\nruncmd: [reboot]");
    creation->user.name = g_strdup("ada");
    creation->user.full_name = g_strdup("Ada \"Love\" Lovelace\\");
    creation->user.password_hash = g_strdup("$6$salt$hash");
    creation->user.ssh_key = g_strdup("ssh-ed25519 AAAA ada@host");
    creation->region.locale = g_strdup("de_CH.UTF-8");
    creation->region.keyboard_layout = g_strdup("ch");
    creation->region.keyboard_variant = g_strdup("fr");
    creation->region.time_zone = g_strdup("Europe/Zurich");
    creation->keyboard_type = VMC_KEYBOARD_ISO;
}

static void test_what_is_chosen_is_told(void **state)
{
    static const char *const wanted[] = {"name: \"ada\"",
                                         "gecos: \"Ada \\\"Love\\\" Lovelace\\\\\"",
                                         "passwd: \"$6$salt$hash\"",
                                         "- \"ssh-ed25519 AAAA ada@host\"",
                                         "locale: \"de_CH.UTF-8\"",
                                         "timezone: \"Europe/Zurich\"",
                                         "layout: \"ch\"",
                                         "variant: \"fr\"",
                                         "model: \"pc105\"",
                                         "lock_passwd: false"};
    EspCreation creation = {0};
    EspSeed seed;

    fill(&creation);
    esp_seed_init(&seed, &creation, "espalier-1");
    assert_true(g_str_has_prefix(seed.user_data, "#cloud-config\n"));
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        if (!strstr(seed.user_data, wanted[i]))
            fail_msg("“%s” is not in:\n%s", wanted[i], seed.user_data);
    assert_string_equal(seed.meta_data,
                        "instance-id: \"espalier-1\"\nlocal-hostname: \"buro-runcmd-reboot\"\n");
    assert_null(strstr(seed.user_data, "\nruncmd"));
    esp_seed_clear(&seed);
    /* What is no locale is quoted, and never gets near a shell. */
    g_free(creation.region.locale);
    creation.region.locale = g_strdup("x'; reboot #.UTF-8");
    esp_seed_init(&seed, &creation, "espalier-1");
    assert_null(strstr(seed.user_data, "bootcmd"));
    esp_seed_clear(&seed);
    esp_creation_clear(&creation);
}

static void test_the_disc_is_read_by_others(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("espalier-seed-XXXXXX", NULL);
    g_autofree char *disc = g_build_filename(folder, "seed.iso", NULL),
                    *out = g_build_filename(folder, "out", NULL);
    g_autofree char *label = g_strdup_printf("isoinfo -d -i '%s' | grep -qi '^Volume id: cidata$'", disc);
    g_autofree char *extract = g_strdup_printf(
        "xorriso -report_about FATAL -osirrox on -indev '%s' -extract / '%s' > /dev/null 2>&1", disc, out);
    static const char *const names[] = {"meta-data", "user-data", "network-config"};
    EspCreation creation = {0};
    GError *error = NULL;
    EspSeed seed;

    fill(&creation);
    esp_seed_init(&seed, &creation, "espalier-1");
    if (!esp_seed_write(&seed, disc, &error) ||
        !esp_seed_write(&seed, disc, &error)) /* over itself as well */
        fail_msg("%s", error->message);
    assert_int_equal(system(label), 0);
    assert_int_equal(system(extract), 0);
    const char *const texts[] = {seed.meta_data, seed.user_data, seed.network_config};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(out, names[i], NULL);
        g_autofree char *text = NULL;
        assert_true(g_file_get_contents(path, &text, NULL, NULL));
        assert_string_equal(text, texts[i]);
    }
    esp_seed_clear(&seed);
    esp_creation_clear(&creation);
    g_autofree char *mend = g_strdup_printf("chmod -R u+w '%s'", folder);
    assert_int_equal(system(mend), 0);
    remove_folder(folder);
}

static void test_names_of_hosts(void **state)
{
    static const char *const pairs[][2] = {
        {"Debian 12", "debian-12"}, {"日本", "espalier"}, {"--a--", "a"}, {"Ä", "a"}};

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *host = esp_host_name_of(pairs[i][0]);
        assert_string_equal(host, pairs[i][1]);
    }
    g_autofree char *many = g_strnfill(300, 'a'), *host = esp_host_name_of(many);
    assert_int_equal(strlen(host), 63);
}

/* ---- regions ---- */

static void test_regions_are_those_of_the_system(void **state)
{
    g_autoptr(GPtrArray) languages = esp_languages(), regions = esp_regions_of("de"),
                         zones = esp_time_zones();
    g_autoptr(GPtrArray) layouts = esp_keyboard_layouts(), variants = esp_keyboard_variants("ch");

    assert_non_null(esp_choices_find(languages, "de"));
    assert_non_null(esp_choices_find(languages, "ja"));
    assert_non_null(esp_choices_find(regions, "CH"));
    assert_null(esp_choices_find(regions, "JP"));
    assert_non_null(esp_choices_find(layouts, "ch"));
    assert_non_null(esp_choices_find(variants, ""));
    assert_non_null(esp_choices_find(variants, "fr"));
    assert_null(esp_choices_find(variants, "dvorak-l"));
    assert_non_null(esp_choices_find(zones, "Europe/Zurich"));
    assert_non_null(esp_choices_find(zones, "Etc/UTC"));
    g_autofree char *name = esp_locale_name("de_CH.UTF-8");
    assert_string_equal(name, "German (Switzerland)");
}

static void test_keyboards_follow_regions(void **state)
{
    static const struct {
        const char *locale, *layout;
        VmcKeyboardLayout type;
    } table[] = {{"de_DE.UTF-8", "de", VMC_KEYBOARD_ISO},    {"en_US.UTF-8", "us", VMC_KEYBOARD_ANSI},
                 {"ja_JP.UTF-8", "jp", VMC_KEYBOARD_JIS},    {"en_GB.UTF-8", "gb", VMC_KEYBOARD_ISO},
                 {"es_MX.UTF-8", "latam", VMC_KEYBOARD_ISO}, {"C", "us", VMC_KEYBOARD_ANSI}};

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        VmcKeyboardLayout type;
        assert_string_equal(esp_keyboard_for_locale(table[i].locale, &type), table[i].layout);
        assert_int_equal(type, table[i].type);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_never_syntax),
        cmocka_unit_test(test_what_is_chosen_is_told),
        cmocka_unit_test(test_the_disc_is_read_by_others),
        cmocka_unit_test(test_names_of_hosts),
        cmocka_unit_test(test_regions_are_those_of_the_system),
        cmocka_unit_test(test_keyboards_follow_regions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
