/* The table of settings (see settings.h), and what the kinds of devices are for people. */
#include <glib/gi18n.h>

#include "app/settings_needs.h"

#define BIT(kind) (1u << VMC_DEVICE_##kind)

#define DISKS     (BIT(VIRTIO_BLOCK) | BIT(NVME) | BIT(USB_STORAGE))
#define HARD      (BIT(VIRTIO_BLOCK) | BIT(NVME))
#define CARDS     (BIT(VIRTIO_NET) | BIT(E1000))
#define SHARES    (BIT(VIRTIO_FS) | BIT(VIRTIO_9P))
#define DISPLAYS  (BIT(VIRTIO_GPU) | BIT(VGA))
#define LINES     (BIT(UART) | BIT(VIRTIO_CONSOLE))
#define KEYBOARDS (BIT(VIRTIO_KEYBOARD) | BIT(USB_KEYBOARD))
#define POINTERS  (BIT(VIRTIO_TABLET) | BIT(USB_TABLET) | BIT(USB_MOUSE))

/* ---- what words of choices mean ---- */

#define CHOICES(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

CHOICES(cpu_choices, N_("The faster one that works"), N_("KVM, this computer’s CPU"),
        N_("Espalier’s software CPU"));
CHOICES(model_choices, N_("All this computer offers"), N_("x86-64-v2, the same on every computer"),
        N_("x86-64-v3, the same on every computer with AVX2"), N_("One that macOS knows"));
CHOICES(engine_choices, N_("The better one"), N_("Interpreter"), N_("Translator"));
CHOICES(boot_choices, N_("Nothing"), N_("A Linux kernel"), N_("UEFI firmware"));
CHOICES(system_choices, N_("Another system"), N_("Linux"), N_("macOS"));
CHOICES(close_choices, N_("Ask what to do"), N_("Let the machine run on"), N_("Save its state"),
        N_("Shut it down"));
CHOICES(format_choices, N_("Raw"), N_("qcow2, with snapshots"));
CHOICES(cache_choices, N_("Safe when the guest says so"), N_("Safe after every write"),
        N_("Not safe, but fast: for what may be lost"));
CHOICES(share_cache_choices, N_("For a second"), N_("Not at all"),
        N_("As if the folder were the guest’s alone"));
CHOICES(layout_choices, N_("ANSI, as in America"), N_("ISO, as in Europe"), N_("JIS, as in Japan"));
CHOICES(clipboard_choices, N_("Both ways"), N_("Into the guest only"), N_("Out of the guest only"),
        N_("Off"));
CHOICES(sound_choices, N_("This computer’s speakers and microphone"), N_("Nowhere"), N_("Files"));

/* ---- the table ---- */

#define CONFIG(name_, group_, ...)                                                                           \
    {                                                                                                        \
        .name = (name_), .field = (name_), .scope = ESP_SCOPE_CONFIG, .group = ESP_GROUP_##group_,           \
        __VA_ARGS__                                                                                          \
    }
#define INFO(name_, group_, ...)                                                                             \
    {                                                                                                        \
        .name = (name_), .field = (name_), .scope = ESP_SCOPE_INFO, .group = ESP_GROUP_##group_,             \
        .live = ESP_LIVE_AT_ONCE, __VA_ARGS__                                                                \
    }
#define DEVICE(name_, field_, kinds_, group_, ...)                                                           \
    {                                                                                                        \
        .name = (name_), .field = (field_), .kinds = (kinds_), .scope = ESP_SCOPE_DEVICE,                    \
        .group = ESP_GROUP_##group_, __VA_ARGS__                                                             \
    }
#define KIND(name_, kinds_, group_, ...)                                                                     \
    {                                                                                                        \
        .name = (name_), .field = "kind", .kinds = (kinds_), .scope = ESP_SCOPE_KIND,                        \
        .group = ESP_GROUP_##group_, __VA_ARGS__                                                             \
    }
#define SAYS(label_, help_) .label = (label_), .help = (help_)

static const EspSetting table[] = {
    /* General */
    {.name = "name",
     .field = "name",
     .scope = ESP_SCOPE_NAME,
     .group = ESP_GROUP_GENERAL,
     .live = ESP_LIVE_AT_ONCE,
     SAYS(N_("Name"), N_("What the machine is called in the library and in its window."))},
    INFO("icon", GENERAL,
         SAYS(N_("Icon"),
              N_("The name of an icon of the desktop, or of a PNG or SVG file in the machine’s folder."))),
    INFO("notes", GENERAL, SAYS(N_("Notes"), N_("Whatever you want to remember about the machine.")),
         .flags = ESP_SETTING_LINES),
    INFO("system", GENERAL, .choices = system_choices,
         SAYS(N_("Operating system"),
              N_("What is installed in the machine. What it cannot use is not offered."))),
    INFO("osId", GENERAL, .flags = ESP_SETTING_RARE,
         SAYS(N_("Version"),
              N_("The system’s identifier in libosinfo, such as http://debian.org/debian/12."))),
    INFO("onClose", GENERAL, .choices = close_choices,
         SAYS(N_("When the window is closed"),
              N_("What becomes of a machine that runs when its window is closed."))),
    {.name = "isolated",
     .field = "isolated",
     .scope = ESP_SCOPE_INFO,
     .group = ESP_GROUP_GENERAL,
     SAYS(N_("Isolated"),
          N_("For looking at what you do not trust: no network, no shared folders, no clipboard, and "
             "what changes on its disks can be thrown away when it stops."))},

    /* System */
    CONFIG("cpus", SYSTEM, SAYS(N_("CPUs"), N_("More than this computer has make the machine slower."))),
    CONFIG("memory", SYSTEM,
           SAYS(N_("Memory"), N_("What the machine takes of this computer’s memory while it runs."))),
    CONFIG("cpu", SYSTEM, .choices = cpu_choices,
           SAYS(N_("Runs on"), N_("What executes the guest’s programs. KVM is faster, where there is one."))),
    CONFIG("cpu-model", SYSTEM, .choices = model_choices,
           SAYS(N_("CPU seen by the guest"), N_("A fixed one lets the machine move to another computer."))),
    CONFIG("boot", SYSTEM, .choices = boot_choices,
           SAYS(N_("Starts with"),
                N_("Firmware finds a system on the disks, as a computer does; a kernel is started "
                   "directly."))),
    CONFIG("boot.kernel", SYSTEM, .why_not = esp_needs_kernel_boot,
           SAYS(N_("Linux kernel"), N_("A bzImage file."))),
    CONFIG("boot.initrd", SYSTEM, .why_not = esp_needs_kernel,
           SAYS(N_("Initial RAM disk"), N_("What the kernel finds its drivers in."))),
    CONFIG("boot.cmdline", SYSTEM, .why_not = esp_needs_kernel,
           SAYS(N_("Kernel command line"), N_("Such as console=ttyS0 root=/dev/vda."))),
    CONFIG("boot.firmware", SYSTEM, .why_not = esp_needs_efi, .flags = ESP_SETTING_RARE,
           SAYS(N_("Firmware"), N_("A file with UEFI firmware; that of the distribution if none is given."))),
    CONFIG("boot.variableStore", SYSTEM, .why_not = esp_needs_efi,
           .flags = ESP_SETTING_RARE | ESP_SETTING_CREATED,
           SAYS(N_("Firmware’s memory"),
                N_("The file in which the firmware keeps its variables. It is made if it is not "
                   "there."))),

    /* Display, Input */
    KIND("display.kind", DISPLAYS, DISPLAY,
         SAYS(N_("Kind of display"), N_("What the guest needs a driver for."))),
    DEVICE("display.width", "width", DISPLAYS, DISPLAY, .unit = N_("pixels"), .live = ESP_LIVE_RESIZE,
           SAYS(N_("Width"), N_("Of the guest’s screen when it starts."))),
    DEVICE("display.height", "height", DISPLAYS, DISPLAY, .unit = N_("pixels"), .live = ESP_LIVE_RESIZE,
           SAYS(N_("Height"), N_("Of the guest’s screen when it starts."))),
    DEVICE("display.displays", "displays", BIT(VIRTIO_GPU), DISPLAY,
           SAYS(N_("Monitors"), N_("How many the guest can use at most; each gets a window."))),
    KIND("keyboard.kind", KEYBOARDS, INPUT, SAYS(N_("Kind of keyboard"), N_("How it is connected."))),
    DEVICE("keyboard.layout", "layout", BIT(USB_KEYBOARD), INPUT, .choices = layout_choices,
           SAYS(N_("Shape of the keyboard"), N_("By which macOS decides what some keys mean."))),
    DEVICE("keyboard.swap", "swap", BIT(USB_KEYBOARD), INPUT,
           SAYS(N_("Swap two keys"),
                N_("The key above Tab and the one right of the left Shift change places."))),
    KIND("pointer.kind", POINTERS, INPUT, SAYS(N_("Kind of pointer"), N_("How it is connected."))),

    /* Region: for whoever sets the guest up. */
    INFO("locale", REGION, SAYS(N_("Language and formats"), N_("As Linux names them: de_CH.UTF-8."))),
    INFO("keyboardLayout", REGION, SAYS(N_("Keyboard layout"), N_("As X11 names it: ch."))),
    INFO("keyboardVariant", REGION, SAYS(N_("Variant of the layout"), N_("As X11 names it: fr."))),
    INFO("timeZone", REGION, SAYS(N_("Time zone"), N_("Such as Europe/Zurich."))),

    /* Sharing */
    DEVICE("clipboard.direction", "clipboard", BIT(SPICE_AGENT), SHARING, .choices = clipboard_choices,
           SAYS(N_("Clipboard"), N_("Which way copied texts, pictures and files may go."))),
    INFO("clipboardFocusOnly", SHARING, .why_not = esp_needs_clipboard,
         SAYS(N_("Only while its window has the focus"),
              N_("The guest cannot read what you copy elsewhere."))),
    DEVICE("share.path", "sharedDir", SHARES | BIT(SPICE_WEBDAV), SHARING, .flags = ESP_SETTING_FOLDER,
           SAYS(N_("Folder"), N_("All that is in it can be seen by the guest."))),
    DEVICE(
        "share.tag", "mountTag", SHARES, SHARING,
        SAYS(N_("Tag"), N_("The name by which the guest mounts it: mount -t virtiofs TAG /mnt, or -t 9p."))),
    DEVICE("share.readonly", "readonly", SHARES | BIT(SPICE_WEBDAV), SHARING,
           SAYS(N_("Read-only"), N_("The guest cannot change anything in it."))),
    KIND("share.kind", SHARES, SHARING, SAYS(N_("Kind of share"), N_("What the guest needs a driver for."))),
    DEVICE("share.uid", "uid", SHARES, SHARING, .flags = ESP_SETTING_RARE,
           SAYS(N_("Owner"), N_("The number of the guest’s user that the files belong to."))),
    DEVICE("share.gid", "gid", SHARES, SHARING, .flags = ESP_SETTING_RARE,
           SAYS(N_("Group"), N_("The number of the guest’s group that the files belong to."))),
    DEVICE("share.cache", "cache", BIT(VIRTIO_FS), SHARING, .flags = ESP_SETTING_RARE,
           .choices = share_cache_choices,
           SAYS(N_("The guest remembers"), N_("How long it trusts what it has seen of the folder."))),
    DEVICE("share.queues", "queues", BIT(VIRTIO_FS), SHARING, .flags = ESP_SETTING_RARE,
           SAYS(N_("Queues"), N_("0 for as many as fit the CPUs."))),

    /* Network */
    DEVICE("network.nat", "nat", CARDS, NETWORK,
           SAYS(N_("Through this computer (NAT)"),
                N_("The guest reaches the network as a program of yours does."))),
    DEVICE("network.bridge", "bridge", CARDS, NETWORK,
           SAYS(N_("Bridge"),
                N_("The guest is on this computer’s network by itself, through a bridge such as br0."))),
    DEVICE("network.hostOnly", "hostOnly", CARDS, NETWORK,
           SAYS(N_("Host-only network"),
                N_("Its name: all your machines with this name reach each other, and nothing "
                   "else."))),
    DEVICE("network.tap", "tap", CARDS, NETWORK, .flags = ESP_SETTING_RARE,
           SAYS(N_("Tap interface"), N_("One that was made for you, such as tap0."))),
    DEVICE("network.socket", "unixSocketPath", CARDS, NETWORK,
           .flags = ESP_SETTING_RARE | ESP_SETTING_CREATED,
           SAYS(N_("Socket"), N_("A datagram socket on which another program takes the frames."))),
    DEVICE("network.forward", "forward", CARDS, NETWORK, .why_not = esp_needs_nat,
           SAYS(N_("Forwarded ports"), N_("Ports of this computer that lead into the guest: tcp:8080-80."))),
    DEVICE("network.mac", "mac", CARDS, NETWORK,
           SAYS(N_("Hardware address"), N_("Such as 52:54:00:12:34:56; made up if none is given."))),
    KIND("network.kind", CARDS, NETWORK, SAYS(N_("Kind of card"), N_("What the guest needs a driver for."))),
    DEVICE("network.mtu", "mtu", CARDS, NETWORK, .why_not = esp_needs_virtio_net, .unit = N_("bytes"),
           .flags = ESP_SETTING_RARE, SAYS(N_("Largest packet (MTU)"), N_("0 to leave it to the guest."))),
    DEVICE("network.queues", "queues", BIT(VIRTIO_NET), NETWORK, .flags = ESP_SETTING_RARE,
           SAYS(N_("Pairs of queues"), N_("More than one for many connections on many CPUs."))),
    DEVICE("network.tftp", "tftp", CARDS, NETWORK, .why_not = esp_needs_nat,
           .flags = ESP_SETTING_RARE | ESP_SETTING_FOLDER,
           SAYS(N_("Folder for booting"), N_("The guest can read its files by TFTP."))),
    DEVICE("network.bootFile", "bootFile", CARDS, NETWORK, .why_not = esp_needs_tftp,
           .flags = ESP_SETTING_RARE, SAYS(N_("File to boot"), N_("Its name in that folder."))),
    DEVICE("network.bootIndex", "bootIndex", CARDS, NETWORK, .why_not = esp_needs_efi,
           .flags = ESP_SETTING_RARE,
           SAYS(N_("Place in the boot order"), N_("1 is tried first; 0 leaves it to the firmware."))),

    /* Sound */
    DEVICE("sound.backend", "backend", BIT(VIRTIO_SOUND), SOUND, .choices = sound_choices,
           SAYS(N_("Sound goes to"), N_("And comes from."))),
    DEVICE("sound.output", "output", BIT(VIRTIO_SOUND), SOUND,
           SAYS(N_("Playback"), N_("The guest can be heard."))),
    DEVICE("sound.input", "input", BIT(VIRTIO_SOUND), SOUND,
           SAYS(N_("Recording"), N_("The guest can hear you."))),
    DEVICE("sound.playFile", "playFile", BIT(VIRTIO_SOUND), SOUND, .why_not = esp_needs_sound_file,
           .flags = ESP_SETTING_RARE | ESP_SETTING_CREATED,
           SAYS(N_("File for playback"), N_("A WAV file that is written."))),
    DEVICE("sound.recordFile", "recordFile", BIT(VIRTIO_SOUND), SOUND, .why_not = esp_needs_sound_file,
           .flags = ESP_SETTING_RARE, SAYS(N_("File for recording"), N_("A WAV file that the guest hears."))),

    /* Drives */
    DEVICE("disk.path", "path", DISKS, DRIVES,
           SAYS(N_("Image"), N_("A disk image, a CD image (ISO) or a block device."))),
    DEVICE("disk.format", "format", DISKS, DRIVES, .choices = format_choices,
           SAYS(N_("Format"), N_("What the image is. It is not converted by choosing another one."))),
    KIND("disk.kind", DISKS, DRIVES, SAYS(N_("Connected as"), N_("What the guest needs a driver for."))),
    DEVICE("disk.cdrom", "cdrom", BIT(USB_STORAGE), DRIVES,
           SAYS(N_("CD-ROM"), N_("A disc in a drive instead of a USB stick."))),
    DEVICE("disk.readonly", "readonly", DISKS, DRIVES,
           SAYS(N_("Read-only"), N_("The guest cannot write to it."))),
    DEVICE("disk.cache", "cache", HARD, DRIVES, .choices = cache_choices, .flags = ESP_SETTING_RARE,
           SAYS(N_("What is written is"), N_("How much a power failure may cost."))),
    DEVICE("disk.backing", "backing", HARD, DRIVES, .why_not = esp_needs_qcow2, .flags = ESP_SETTING_RARE,
           SAYS(N_("May lie on another image"), N_("Snapshots and linked duplicates need this."))),
    DEVICE("disk.id", "deviceId", DISKS, DRIVES, .flags = ESP_SETTING_RARE,
           SAYS(N_("Serial number"), N_("What the guest reads."))),
    DEVICE("disk.queues", "queues", HARD, DRIVES, .flags = ESP_SETTING_RARE,
           SAYS(N_("Queues"), N_("0 for as many as fit the CPUs."))),
    DEVICE("disk.bootIndex", "bootIndex", DISKS, DRIVES, .why_not = esp_needs_efi, .flags = ESP_SETTING_RARE,
           SAYS(N_("Place in the boot order"), N_("1 is tried first; 0 leaves it to the firmware."))),

    /* Serial */
    DEVICE("serial.log", "logFilePath", LINES, SERIAL, .flags = ESP_SETTING_CREATED,
           SAYS(N_("Log file"), N_("What the guest writes is put at its end."))),
    DEVICE("serial.socket", "socketPath", BIT(VIRTIO_CONSOLE), SERIAL, .flags = ESP_SETTING_CREATED,
           SAYS(N_("Socket"), N_("A Unix socket that is made, for a program to connect to."))),
    DEVICE("serial.name", "name", BIT(VIRTIO_CONSOLE), SERIAL, .flags = ESP_SETTING_RARE,
           SAYS(N_("Name of the port"), N_("It is a port in /dev/virtio-ports then, and no console."))),

    /* Advanced */
    CONFIG("cpu.engine", ADVANCED, .choices = engine_choices, .why_not = esp_needs_kvm_off,
           SAYS(N_("Software CPU works as"), N_("The translator is faster."))),
    CONFIG("cpu.codeCache", ADVANCED, .why_not = esp_needs_translator, .unit = N_("MiB"),
           SAYS(N_("Translated code"), N_("How much of it is kept; 0 for the usual amount."))),
    CONFIG("cpu.lockstep", ADVANCED, .why_not = esp_needs_translator,
           SAYS(N_("Compare with the interpreter"), N_("Slow; for finding faults of the translator."))),
    DEVICE("vsock.port", "port", BIT(VIRTIO_VSOCK), ADVANCED,
           SAYS(N_("Port"), N_("Its number between guest and host."))),
    DEVICE("vsock.socket", "socketURL", BIT(VIRTIO_VSOCK), ADVANCED, .flags = ESP_SETTING_CREATED,
           SAYS(N_("Socket"), N_("The Unix socket at this computer’s end."))),
    DEVICE("vsock.listen", "listen", BIT(VIRTIO_VSOCK), ADVANCED,
           SAYS(N_("The guest connects"), N_("What it connects to is passed on to the socket."))),
    DEVICE("vsock.connect", "connect", BIT(VIRTIO_VSOCK), ADVANCED,
           SAYS(N_("This computer connects"), N_("The socket is made, and leads to the guest’s port."))),
    DEVICE("smc.keyFile", "keyFile", BIT(APPLE_SMC), ADVANCED,
           SAYS(N_("Key file"), N_("With the 64 characters of its key; on a Mac none is needed."))),
    DEVICE("device.pciSlot", "pciSlot", ~0u, ADVANCED, .flags = ESP_SETTING_RARE,
           SAYS(N_("PCI slot"), N_("Where the guest finds the device; 0 for the first that is free."))),
};

const EspSetting *esp_settings_table(unsigned *n)
{
    *n = G_N_ELEMENTS(table);
    return table;
}

const char *esp_setting_group_label(EspSettingGroup group)
{
    static const char *const labels[ESP_SETTING_GROUPS] = {
        [ESP_GROUP_GENERAL] = N_("General"),   [ESP_GROUP_SYSTEM] = N_("System"),
        [ESP_GROUP_DISPLAY] = N_("Display"),   [ESP_GROUP_INPUT] = N_("Input"),
        [ESP_GROUP_REGION] = N_("Region"),     [ESP_GROUP_SHARING] = N_("Sharing"),
        [ESP_GROUP_NETWORK] = N_("Network"),   [ESP_GROUP_SOUND] = N_("Sound"),
        [ESP_GROUP_DRIVES] = N_("Drives"),     [ESP_GROUP_SERIAL] = N_("Serial"),
        [ESP_GROUP_ADVANCED] = N_("Advanced"),
    };

    return (unsigned)group < ESP_SETTING_GROUPS ? labels[group] : "";
}

/* ---- kinds of devices ---- */

#define WORDS(kind_, prefix_, group_, icon_, label_, help_, ...)                                             \
    [VMC_DEVICE_##kind_] = {.prefix = (prefix_),                                                             \
                            .group = ESP_GROUP_##group_,                                                     \
                            .icon = (icon_),                                                                 \
                            .label = N_(label_),                                                             \
                            .help = N_(help_),                                                               \
                            ##__VA_ARGS__}

static const EspDeviceWords device_words[VMC_DEVICE_KINDS] = {
    WORDS(UART, "serial", SERIAL, "utilities-terminal-symbolic", N_("Serial Port"),
          N_("As every PC has one.")),
    WORDS(VIRTIO_CONSOLE, "serial", SERIAL, "utilities-terminal-symbolic", N_("Console"),
          N_("A faster terminal for Linux, or a named port for programs.")),
    WORDS(VIRTIO_BLOCK, "disk", DRIVES, "drive-harddisk-symbolic", N_("Disk"),
          N_("By virtio, the fastest for Linux."), .why_not = esp_needs_virtio_block),
    WORDS(NVME, "disk", DRIVES, "drive-harddisk-symbolic", N_("NVMe Disk"), N_("For guests without virtio.")),
    WORDS(USB_STORAGE, "disk", DRIVES, "drive-removable-media-symbolic", N_("USB Drive"),
          N_("A stick or a CD-ROM drive, which can come and go.")),
    WORDS(VIRTIO_RNG, "rng", ADVANCED, "system-run-symbolic", N_("Random Numbers"),
          N_("A source of them, for keys and certificates.")),
    WORDS(VIRTIO_KEYBOARD, "keyboard", INPUT, "input-keyboard-symbolic", N_("Keyboard"),
          N_("By virtio, for Linux."), .why_not = esp_needs_virtio_input),
    WORDS(VIRTIO_TABLET, "pointer", INPUT, "input-mouse-symbolic", N_("Pointer"), N_("By virtio, for Linux."),
          .why_not = esp_needs_virtio_input),
    WORDS(USB_KEYBOARD, "keyboard", INPUT, "input-keyboard-symbolic", N_("USB Keyboard"),
          N_("For every guest.")),
    WORDS(USB_TABLET, "pointer", INPUT, "input-mouse-symbolic", N_("USB Pointer"), N_("For every guest.")),
    WORDS(USB_MOUSE, "pointer", INPUT, "input-mouse-symbolic", N_("USB Mouse"),
          N_("For games and others that want to know how far it moves; the window keeps the pointer.")),
    WORDS(VIRTIO_GPU, "display", DISPLAY, "video-display-symbolic", N_("Display"),
          N_("For Linux: follows the size of its window."), .why_not = esp_needs_virtio_gpu),
    WORDS(VGA, "display", DISPLAY, "video-display-symbolic", N_("Plain Display"),
          N_("A framebuffer, for guests without a driver of their own.")),
    WORDS(VIRTIO_NET, "network", NETWORK, "network-wired-symbolic", N_("Network Card"),
          N_("By virtio, the fastest for Linux."), .why_not = esp_needs_virtio_network),
    WORDS(E1000, "network", NETWORK, "network-wired-symbolic", N_("Intel Network Card"),
          N_("An 82545EM, for guests without virtio.")),
    WORDS(VIRTIO_FS, "share", SHARING, "folder-remote-symbolic", N_("Shared Folder"),
          N_("By virtio-fs, for Linux and newer macOS."), .why_not = esp_needs_virtio_fs),
    WORDS(VIRTIO_9P, "share", SHARING, "folder-remote-symbolic", N_("Shared Folder by 9P"),
          N_("For guests without virtio-fs, such as older macOS."), .why_not = esp_needs_9p),
    WORDS(SPICE_WEBDAV, "share", SHARING, "folder-remote-symbolic", N_("Shared Folder by WebDAV"),
          N_("For guests with spice-webdavd and no driver for a better way.")),
    WORDS(VIRTIO_VSOCK, "vsock", ADVANCED, "network-wired-symbolic", N_("Port between Guest and Host"),
          N_("Of AF_VSOCK, for programs.")),
    WORDS(VIRTIO_BALLOON, "balloon", ADVANCED, "system-run-symbolic", N_("Memory Balloon"),
          N_("Gives memory that the guest does not need back.")),
    WORDS(VIRTIO_SOUND, "sound", SOUND, "audio-speakers-symbolic", N_("Sound Card"),
          N_("For playback and recording."), .why_not = esp_needs_virtio_sound),
    WORDS(SPICE_AGENT, "clipboard", SHARING, "edit-paste-symbolic", N_("Clipboard"),
          N_("Needs spice-vdagent, or another agent, in the guest.")),
    WORDS(APPLE_SMC, "smc", ADVANCED, "system-run-symbolic", N_("Apple’s System Management Controller"),
          N_("Which macOS wants to find."), .why_not = esp_needs_macos),
};

const EspDeviceWords *esp_device_words(VmcDeviceKind kind)
{
    bool known = (unsigned)kind < VMC_DEVICE_KINDS && device_words[kind].prefix;

    return known ? &device_words[kind] : NULL;
}
