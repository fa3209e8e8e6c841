/*
 * virtio-console (VIRTIO 1.2 s5.3): all serial lines of a machine in one device, consoles and named ports.
 *
 * A device with one console and nothing else does not offer MULTIPORT: every driver can use it, and sizes go
 * by the configuration, about which there is no disagreement. Any other offers it; a driver that does not
 * take it gets port 0 alone.
 *
 * An emergency write (s5.3.4) comes on a vCPU, before there are any queues; the byte is left for the I/O
 * thread, which passes it to port 0. What the host's side does not take at once is lost: there is nowhere for
 * it to wait.
 *
 * The other two files are described in console.h.
 */
#include "virtio/console.h"

#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

/* s5.3.4, little-endian. */
typedef struct __attribute__((packed)) ConsoleConfig {
    uint16_t cols, rows;
    uint32_t max_nr_ports, emerg_wr;
} ConsoleConfig;

_Static_assert(sizeof(ConsoleConfig) == 12, "as in s5.3.4");

/* ---- configuration ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    const VmcConsole *console = (VmcConsole *)dev;
    uint16_t columns, rows;

    vmc_port_get_size(console->ports[0].port, &columns, &rows);
    ConsoleConfig config = {
        .cols = GUINT16_TO_LE(columns),
        .rows = GUINT16_TO_LE(rows),
        .max_nr_ports = GUINT32_TO_LE(console->n_ports),
    };
    memcpy(buf, (uint8_t *)&config + offset, len);
}

static void pass_emergency(void *data)
{
    VmcConsole *console = data;
    uint8_t bytes[sizeof(console->emergency)];

    g_mutex_lock(&console->emergency_lock);
    unsigned len = console->emergency_len;
    memcpy(bytes, console->emergency, len);
    console->emergency_len = 0;
    g_mutex_unlock(&console->emergency_lock);
    vmc_port_receive(console->ports[0].port, bytes, len);
}

/* The low byte of emerg_wr, the write to which may be of any size. */
static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    VmcConsole *console = (VmcConsole *)dev;

    if (offset != offsetof(ConsoleConfig, emerg_wr))
        return;
    g_mutex_lock(&console->emergency_lock);
    bool first = !console->emergency_len;
    if (console->emergency_len < sizeof(console->emergency))
        console->emergency[console->emergency_len++] = *(const uint8_t *)buf;
    g_mutex_unlock(&console->emergency_lock);
    if (first)
        vmc_io_call(dev->io, pass_emergency, console);
}

/* ---- queues ---- */

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    VmcConsole *console = (VmcConsole *)dev;

    if (queue == VMC_CONSOLE_QUEUE_CONTROL_IN || queue == VMC_CONSOLE_QUEUE_CONTROL_OUT) {
        vmc_console_control_notified(console, queue);
        return;
    }
    unsigned port = queue < VMC_CONSOLE_QUEUE_CONTROL_IN ? 0 : queue / 2 - 1;
    vmc_console_port_notified(&console->ports[port], queue);
}

/* A driver that cannot say that it has port 0 open has. */
static void driver_ok(VmcVirtioDevice *dev)
{
    VmcConsole *console = (VmcConsole *)dev;

    if (!vmc_console_multiport(console))
        vmc_port_set_guest_open(console->ports[0].port, true);
}

/* ---- lifecycle ---- */

static bool reset(VmcVirtioDevice *dev)
{
    VmcConsole *console = (VmcConsole *)dev;

    for (unsigned i = 0; i < console->n_ports; i++)
        vmc_console_port_reset(&console->ports[i]);
    return true;
}

static VmcConsolePortState *sender_of(VmcConsole *console, unsigned queue)
{
    for (unsigned i = 0; i < console->n_ports; i++)
        if (console->ports[i].tx == queue)
            return &console->ports[i];
    return NULL;
}

static unsigned kept(VmcVirtioDevice *dev, unsigned queue)
{
    const VmcConsolePortState *state = sender_of((VmcConsole *)dev, queue);

    return state && state->out_held;
}

static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    VmcConsole *console = (VmcConsole *)dev;

    vmc_state_put_u8(w, (uint8_t)console->n_ports);
    for (unsigned i = 0; i < console->n_ports; i++)
        vmc_console_port_save(&console->ports[i], w);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    VmcConsole *console = (VmcConsole *)dev;

    vmc_state_check(r, vmc_state_get_u8(r) == console->n_ports, "how many ports it has");
    for (unsigned i = 0; i < console->n_ports && vmc_state_ok(r); i++) {
        vmc_console_port_load(&console->ports[i], r);
        console->ports[i].resized = true; /* the terminal may be another one */
    }
    return vmc_state_ok(r);
}

static void console_free(VmcVirtioDevice *dev)
{
    VmcConsole *console = (VmcConsole *)dev;

    for (unsigned i = 0; i < console->n_ports; i++) {
        VmcConsolePortState *state = &console->ports[i];
        vmc_port_free(state->port);
        g_free(state->name);
        vmc_virtq_element_clear(&state->in);
        vmc_virtq_element_clear(&state->out);
    }
    vmc_virtq_element_clear(&console->control_in);
    vmc_virtq_element_clear(&console->control_out);
    g_mutex_clear(&console->emergency_lock);
    g_free(console);
}

static const VmcVirtioOps console_ops = {
    .name = "virtio-console",
    .type = VMC_VIRTIO_ID_CONSOLE,
    .pci_class = 0x078000,
    .config_size = sizeof(ConsoleConfig),
    .n_queues = 2,
    .queue_sizes = {VMC_CONSOLE_QUEUE_SIZE, VMC_CONSOLE_QUEUE_SIZE},
    .config_read = config_read,
    .config_write = config_write,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = console_free,
    .kept = kept,
    .save = save,
    .load = load,
};

static void add_port(VmcConsole *console, const VmcConsolePort *from)
{
    unsigned id = console->n_ports++;
    VmcConsolePortState *state = &console->ports[id];

    state->console = console;
    state->port = from->port;
    state->name = from->name && *from->name ? g_strdup(from->name) : NULL;
    state->is_console = from->console;
    state->id = id;
    state->rx = id ? 2 * id + 2 : 0;
    state->tx = state->rx + 1;
}

static void attach_ports(void *data)
{
    VmcConsole *console = data;

    for (unsigned i = 0; i < console->n_ports; i++)
        vmc_port_attach(console->ports[i].port, &vmc_console_port_guest, &console->ports[i]);
}

VmcPciDevice *vmc_virtio_serial_new(const VmcVirtioHost *host, const VmcConsolePort *ports, unsigned n)
{
    g_return_val_if_fail(n && n <= VMC_CONSOLE_PORTS_MAX, NULL);
    VmcConsole *console = g_new0(VmcConsole, 1);

    vmc_virtio_device_init(&console->dev, &console_ops, host->memory, host->io);
    g_mutex_init(&console->emergency_lock);
    for (unsigned i = 0; i < n; i++)
        if (ports[i].console)
            add_port(console, &ports[i]);
    for (unsigned i = 0; i < n; i++)
        if (!ports[i].console)
            add_port(console, &ports[i]);
    console->dev.offered = VMC_CONSOLE_F_SIZE | VMC_CONSOLE_F_MULTIPORT | VMC_CONSOLE_F_EMERG_WRITE;
    vmc_virtio_device_add_queues(&console->dev, 2 * n, VMC_CONSOLE_QUEUE_SIZE);
    VmcPciDevice *pci = vmc_virtio_pci_new(&console->dev);
    if (pci)
        vmc_io_call_sync(host->io, attach_ports, console);
    return pci;
}

VmcPciDevice *vmc_virtio_console_new(const VmcVirtioHost *host, int fd_in, int fd_out)
{
    VmcConsolePort port = {.port = vmc_port_fd_new(host->io, fd_in, fd_out), .console = true};

    return vmc_virtio_serial_new(host, &port, 1);
}

void vmc_virtio_console_set_size(VmcPciDevice *pci, unsigned number, unsigned columns, unsigned rows)
{
    VmcConsole *console = (VmcConsole *)vmc_virtio_pci_device(pci, &console_ops);

    if (console && number < console->n_ports)
        vmc_port_set_size(console->ports[number].port, columns, rows);
}
