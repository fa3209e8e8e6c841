/* The SMC of a Mac. */
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "pc/smc.h"

static void check_smc(VmcCheck *check, const VmcDeviceConfig *device)
{
    char osk[VMC_SMC_OSK_SIZE];
    GError *error = NULL;

    for (guint i = 0; i < check->index; i++)
        if (vmc_check_device(check, i)->kind == VMC_DEVICE_APPLE_SMC)
            vmc_check_fault(check, NULL,
                            _("the machine has an SMC already, devices[%u]; one is all there can be"), i);
    if (device->smc.key_file) {
        if (!vmc_smc_osk_from_file(device->smc.key_file, osk, &error))
            vmc_check_error(check, "keyFile", error);
    } else if (!g_file_test(VMC_SMC_HOST_FOLDER, G_FILE_TEST_IS_DIR)) {
        vmc_check_fault(
            check, "keyFile",
            _("this computer has no SMC to take a key from; give a file with the 64 characters of one"));
    }
    explicit_bzero(osk, sizeof(osk));
}

static bool make_smc(VmcGuest *guest, guint index, GError **error)
{
    const char *file = vmc_guest_config(guest, index)->smc.key_file;
    char osk[VMC_SMC_OSK_SIZE];
    bool good = file ? vmc_smc_osk_from_file(file, osk, error)
                     : vmc_smc_osk_from_host(VMC_SMC_HOST_FOLDER, osk, error);

    good = good && vmc_board_add_smc(guest->board, osk, error);
    explicit_bzero(osk, sizeof(osk));
    return good;
}

static const VmcField smc_fields[] = {
    VMC_FIELD("keyFile", "KeyFile", PATH, smc.key_file, .value = "FILE"),
};

const VmcDeviceKindOps vmc_kind_smc = {
    .info = {.name = "apple-smc",
             .key = "AppleSMC",
             .help = N_("system management controller of a Mac"),
             VMC_FIELDS(smc_fields)},
    .check = check_smc,
    .make = make_smc,
};
