/*
 * One port of the virtio console: its two queues (VIRTIO 1.2 s5.3.6), as the guest's side of a VmcPort.
 *
 * What the host's side does not take stays in the guest's chain, and the queue stands still until the host's
 * side says that there is room. In the other direction there is room when the guest has offered buffers and,
 * where it can say so, has opened the port.
 */
#include "virtio/console.h"

#define RUN_BYTES  (64 * 1024u) /* in one go, then others have their turn */
#define RUN_CHAINS 256u

/* ---- from the guest ---- */

/* Copies the front of a chain without taking it off; returns how much. */
static size_t peek(const VmcVirtqElement *elem, uint8_t *buf, size_t len)
{
    size_t done = 0;

    for (unsigned i = 0; i < elem->n_out && done < len; i++) {
        size_t here = MIN(elem->out[i].iov_len, len - done);
        memcpy(buf + done, elem->out[i].iov_base, here);
        done += here;
    }
    return done;
}

/* Passes some of `out` on; returns how much. The host's side may say that it has room again before it
 * returns, and that must not be forgotten. */
static size_t pass_on(VmcConsolePortState *state)
{
    VmcConsole *console = state->console;
    size_t len = peek(&state->out, console->bounce, sizeof(console->bounce));

    state->waiting = true;
    size_t taken = vmc_port_receive(state->port, console->bounce, len);
    if (taken == len)
        state->waiting = false;
    vmc_virtq_element_skip(&state->out, taken);
    return taken;
}

/* Takes a chain if none is being passed on. False: there is none. */
static bool have_output(VmcConsolePortState *state)
{
    if (state->out_held)
        return true;
    state->out_held = vmc_virtio_pop(&state->console->dev, state->tx, &state->out);
    if (!state->out_held)
        return false;
    state->out_total = state->out.out_len;
    vmc_virtq_element_skip(&state->out, state->stale ? state->out_total : state->out_skip);
    state->out_skip = 0;
    return true;
}

static void transmit(VmcConsolePortState *state)
{
    VmcVirtioDevice *dev = &state->console->dev;
    VmcVirtqueue *vq = &dev->queues[state->tx];
    size_t bytes = 0;
    unsigned chains = 0;

    while (!state->waiting && bytes < RUN_BYTES && chains < RUN_CHAINS && have_output(state)) {
        if (state->out.n_out) {
            size_t before = state->out.out_len, taken = pass_on(state);
            bytes += taken;
            if (taken < MIN(before, sizeof(state->console->bounce)))
                break; /* whoever has room again has rung the bell */
        }
        if (state->out.n_out)
            continue;
        vmc_virtio_push(dev, state->tx, &state->out, 0);
        state->out_held = false;
        chains++;
    }
    vmc_virtio_notify(dev, state->tx);
    vmc_virtqueue_set_notification(vq, !state->waiting);
    if (!state->waiting && (state->out_held || vmc_virtqueue_available(vq)))
        vmc_virtio_kick(dev, state->tx);
}

static void resume(void *opaque)
{
    VmcConsolePortState *state = opaque;

    state->waiting = false;
    vmc_virtio_kick(&state->console->dev, state->tx);
}

/* ---- to the guest ---- */

/* Takes the next buffer that has any room. Those without go back as they are. */
static bool pop_room(VmcConsolePortState *state)
{
    VmcVirtioDevice *dev = &state->console->dev;

    for (unsigned i = 0; i < RUN_CHAINS && vmc_virtio_pop(dev, state->rx, &state->in); i++) {
        if (state->in.in_len)
            return true;
        vmc_virtio_push(dev, state->rx, &state->in, 0);
    }
    return false;
}

/* There was no buffer: the guest shall say when there is, and may have put one there just now. A device that
 * may not use memory must not even ask; when it may again, all queues are notified. */
static void await_room(VmcConsolePortState *state)
{
    VmcVirtioDevice *dev = &state->console->dev;
    VmcVirtqueue *vq = &dev->queues[state->rx];

    if (!dev->running || !atomic_load(&dev->dma))
        return;
    vmc_virtqueue_set_notification(vq, true);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, state->rx);
}

static size_t port_write(void *opaque, const void *data, size_t len)
{
    VmcConsolePortState *state = opaque;
    VmcVirtioDevice *dev = &state->console->dev;
    size_t done = 0;

    while (done < len && pop_room(state)) {
        size_t n = vmc_virtq_element_write(&state->in, (const uint8_t *)data + done, len - done);
        vmc_virtio_push(dev, state->rx, &state->in, (uint32_t)n);
        done += n;
    }
    vmc_virtio_notify(dev, state->rx);
    if (done < len)
        await_room(state);
    return done;
}

static size_t port_room(void *opaque)
{
    VmcConsolePortState *state = opaque;
    VmcVirtioDevice *dev = &state->console->dev;

    if (pop_room(state)) {
        size_t room = state->in.in_len;
        vmc_virtqueue_unpop(&dev->queues[state->rx], &state->in);
        return room;
    }
    vmc_virtio_notify(dev, state->rx);
    await_room(state);
    return 0;
}

/* ---- the rest of the guest's side ---- */

static void host_open(void *opaque, bool open)
{
    VmcConsolePortState *state = opaque;

    resume(state); /* nobody there: what waits goes nowhere */
    if (!state->ready)
        return;
    state->pending &= ~(unsigned)VMC_CONSOLE_TELL_OPEN;
    state->pending |= open ? VMC_CONSOLE_TELL_OPEN : VMC_CONSOLE_TELL_CLOSED;
    vmc_console_control_send(state->console);
}

static void resized(void *opaque)
{
    VmcConsolePortState *state = opaque;
    VmcVirtioDevice *dev = &state->console->dev;

    if (!state->is_console)
        return;
    if (!state->id)
        vmc_virtio_config_changed(dev);
    state->resized = true;
    vmc_virtio_kick(dev, VMC_CONSOLE_QUEUE_CONTROL_IN);
}

const VmcPortGuest vmc_console_port_guest = {
    .write = port_write,
    .room = port_room,
    .resume = resume,
    .host_open = host_open,
    .resized = resized,
};

void vmc_console_port_notified(VmcConsolePortState *state, unsigned queue)
{
    VmcVirtqueue *rx = &state->console->dev.queues[state->rx];

    if (queue == state->tx) {
        transmit(state);
        return;
    }
    vmc_virtqueue_set_notification(rx, false); /* until there is no room again */
    vmc_port_writable(state->port);
}

void vmc_console_port_reset(VmcConsolePortState *state)
{
    vmc_port_set_guest_open(state->port, false);
    state->out_held = state->waiting = false;
    state->out_skip = 0;
    state->stale = false;
    state->ready = false;
    state->pending = 0;
}

/* ---- saving ---- */

void vmc_console_port_save(VmcConsolePortState *state, VmcStateWriter *w)
{
    vmc_state_put_bool(w, state->ready);
    vmc_state_put_u8(w, (uint8_t)state->pending);
    vmc_state_put_bool(w, vmc_port_guest_open(state->port));
    vmc_state_put_bool(w, vmc_port_host_open(state->port));
    vmc_state_put_bool(w, state->stale);
    vmc_state_put_u64(w, state->out_held ? state->out_total - state->out.out_len : state->out_skip);
}

/* Whoever is on the host's side is not who it was. One that cannot go on with the conversation is closed and
 * opened, which makes the guest begin anew; of the others the guest is told if there is somebody now and was
 * not, or the other way round. */
void vmc_console_port_load(VmcConsolePortState *state, VmcStateReader *r)
{
    const unsigned all = VMC_CONSOLE_TELL_OPEN * 2 - 1;

    state->ready = vmc_state_get_bool(r);
    state->pending = vmc_state_get_u8_max(r, all);
    bool guest_open = vmc_state_get_bool(r), host_was = vmc_state_get_bool(r);
    bool host_is = vmc_port_host_open(state->port);
    state->stale = vmc_state_get_bool(r);
    state->out_skip = vmc_state_get_u64(r);
    if (!vmc_state_ok(r))
        return;
    if (vmc_port_begins_anew(state->port) && vmc_console_multiport(state->console)) {
        state->stale = guest_open;
        guest_open = false;
        if (state->ready)
            state->pending |= VMC_CONSOLE_TELL_CLOSED | (host_is ? VMC_CONSOLE_TELL_OPEN : 0u);
    } else if (state->ready && host_is != host_was) {
        state->pending |= host_is ? VMC_CONSOLE_TELL_OPEN : VMC_CONSOLE_TELL_CLOSED;
    }
    vmc_port_set_guest_open(state->port, guest_open);
}
