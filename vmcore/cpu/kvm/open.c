/*
 * Opening KVM's device, and why it cannot be: what is missing, in words that say what to do.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, sections 4.1 and 4.4; Intel SDM vol. 3 section 24.6
 * and AMD APM vol. 2 section 15.4 (how a processor says that it can virtualise); modules clear the flag in
 * /proc/cpuinfo when firmware has switched it off.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"
#include "cpu/kvm/open.h"
#include "vmcore/error.h"

/* What this backend cannot do without, and since when Linux has it. */
static const struct {
    int cap;
    const char *sentence;
} needed[] = {
    {KVM_CAP_USER_MEMORY, N_("this computer’s KVM lacks memory of our own; it takes Linux 2.6.25 or later")},
    {KVM_CAP_IRQCHIP, N_("this computer’s KVM lacks interrupt controllers; it takes Linux 2.6.21 or later")},
    {KVM_CAP_IRQ_ROUTING, N_("this computer’s KVM lacks interrupt routing; it takes Linux 2.6.30 or later")},
    {KVM_CAP_PIT2, N_("this computer’s KVM lacks a timer chip; it takes Linux 2.6.31 or later")},
    {KVM_CAP_MP_STATE,
     N_("this computer’s KVM lacks CPUs that wait to be started; it takes Linux 2.6.26 or later")},
    {KVM_CAP_IMMEDIATE_EXIT,
     N_("this computer’s KVM lacks leaving a CPU at once; it takes Linux 4.12 or later")},
    {KVM_CAP_SIGNAL_MSI,
     N_("this computer’s KVM lacks message-signalled interrupts; it takes Linux 3.5 or later")},
    {KVM_CAP_READONLY_MEM, N_("this computer’s KVM lacks read-only memory; it takes Linux 3.8 or later")},
    {KVM_CAP_GET_TSC_KHZ,
     N_("this computer’s KVM lacks the guest's clock rate; it takes Linux 2.6.39 or later")},
};

static bool refuse(GError **error, char *message)
{
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_CPU, message);
    g_free(message);
    return false;
}

/* ---- no device ---- */

static bool cpuinfo_has(const char *flag)
{
    g_autofree char *text = NULL, *wanted = g_strdup_printf(" %s", flag);
    char *line, *found, *end;

    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL) || !(line = strstr(text, "\nflags")))
        return false;
    end = strchr(line + 1, '\n');
    if (end)
        *end = 0;
    found = strstr(line, wanted);
    return found && (found[strlen(wanted)] == ' ' || found[strlen(wanted)] == 0);
}

static VmcKvmHost look_at_host(void)
{
    uint32_t a = 0, b = 0, c = 0, d = 0, basic = 0;
    VmcKvmHost host = {.module_loaded = g_file_test("/sys/module/kvm", G_FILE_TEST_IS_DIR)};

    __get_cpuid(0, &a, &basic, &c, &d);
    host.amd = basic == signature_AMD_ebx || basic == 0x6f677948;
    __get_cpuid(1, &a, &b, &c, &d);
    host.guest = c >> 31 & 1;
    host.capable = c >> 5 & 1;
    if (host.amd && __get_cpuid(0x80000001, &a, &b, &c, &d))
        host.capable = c >> 2 & 1;
    host.enabled = cpuinfo_has(host.amd ? "svm" : "vmx");
    return host;
}

char *vmc_kvm_why_missing(const char *path, const VmcKvmHost *host)
{
    const char *module = host->amd ? "kvm_amd" : "kvm_intel";
    const char *name = host->amd ? "AMD-V (SVM)" : "Intel VT-x";

    if (!host->capable && host->guest)
        return g_strdup_printf(
            _("there is no %s: this computer is itself a virtual machine, and its processor was "
              "not given virtualisation; switch “nested virtualisation” on where it runs"),
            path);
    if (!host->capable)
        return g_strdup_printf(
            _("there is no %s: this computer’s processor has no virtualisation, or none that its "
              "firmware shows; look for %s in the firmware’s setup"),
            path, name);
    if (!host->enabled)
        return g_strdup_printf(
            _("there is no %s: virtualisation is switched off; switch %s on in the setup of the "
              "computer’s firmware (BIOS)"),
            path, name);
    if (host->module_loaded && !host->node)
        return g_strdup_printf(
            _("the KVM module is loaded, but there is no %s here; if this is a container, start "
              "it with “--device /dev/kvm”"),
            path);
    return g_strdup_printf(_("there is no %s: the kernel’s module is not loaded; type “sudo modprobe %s”"),
                           path, module);
}

/* ---- no permission ---- */

static bool in_group(gid_t wanted)
{
    gid_t groups[1024];
    int n = getgroups(G_N_ELEMENTS(groups), groups);

    for (int i = 0; i < n; i++)
        if (groups[i] == wanted)
            return true;
    return getegid() == wanted;
}

/* Whether the next log-in will be in the group. */
static bool will_be_in_group(const struct group *group, const char *user)
{
    for (char **member = group->gr_mem; *member; member++)
        if (strcmp(*member, user) == 0)
            return true;
    return false;
}

/* On the owner's thread, as getgrgid asks for. */
static char *why_forbidden(const char *path)
{
    struct stat st;
    const struct group *group;
    const struct passwd *passwd = getpwuid(geteuid());
    /* Translators: the name of the user where none is known, in a command to be typed. */
    g_autofree char *user = passwd ? g_strdup(passwd->pw_name) : g_strdup(_("YOUR-NAME"));

    if (stat(path, &st) < 0)
        return g_strdup_printf(_("you may not use %s: %s"), path, g_strerror(errno));
    group = getgrgid(st.st_gid);
    if (!group || st.st_gid == 0 || (st.st_mode & 0060) != 0060 || in_group(st.st_gid))
        return g_strdup_printf(_("you may not use %s (its mode is %03o); type “sudo setfacl -m u:%s:rw %s”"),
                               path, st.st_mode & 0777, user, path);
    if (will_be_in_group(group, user))
        return g_strdup_printf(
            _("you may not use %s yet: you were added to the group “%s” after you logged in; log "
              "out and in again"),
            path, group->gr_name);
    return g_strdup_printf(
        _("you may not use %s, which is for the group “%s”; type “sudo usermod -aG %s %s”, then log "
          "out and in again"),
        path, group->gr_name, group->gr_name, user);
}

/* ---- a device ---- */

static bool check_interface(int fd, const char *path, GError **error)
{
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);

    if (version < 0)
        return refuse(error, g_strdup_printf(_("%s is not the device of KVM"), path));
    if (version != KVM_API_VERSION)
        return refuse(
            error, g_strdup_printf(
                       _("%s speaks version %d of KVM’s interface, not %d; it takes Linux 2.6.22 or later"),
                       path, version, KVM_API_VERSION));
    for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++)
        if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
            return refuse(error, g_strdup(_(needed[i].sentence)));
    return true;
}

int vmc_kvm_open(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        int err = errno;
        VmcKvmHost host = look_at_host();

        host.node = err != ENOENT;
        if (err == ENOENT || err == ENODEV || err == ENXIO)
            refuse(error, vmc_kvm_why_missing(path, &host));
        else if (err == EACCES || err == EPERM)
            refuse(error, why_forbidden(path));
        else
            refuse(error, g_strdup_printf(_("%s cannot be opened: %s"), path, g_strerror(err)));
        return -1;
    }
    if (!check_interface(fd, path, error)) {
        close(fd);
        return -1;
    }
    return fd;
}

int vmc_kvm_new_machine(int kvm_fd, GError **error)
{
    int fd = ioctl(kvm_fd, KVM_CREATE_VM, 0), err = errno;

    if (fd < 0 && err == EBUSY)
        refuse(error,
               g_strdup(_("KVM cannot make a machine: another hypervisor (VirtualBox, VMware) uses the "
                          "processor’s virtualisation; stop its machines first")));
    else if (fd < 0)
        refuse(error, g_strdup_printf(_("KVM cannot make a machine: %s"), g_strerror(err)));
    return fd;
}
