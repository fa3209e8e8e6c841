/*
 * The 16550A's registers. Sending is instant: a byte written to THR is in the line's ring, and THR counts as
 * empty while the ring has space for another FIFO's worth.
 */
#include "pc/uart.h"

#include <string.h>

#include "pc/byteport.h"
#include "pc/serial_line.h"

#define FIFO_SIZE  16u
#define UART_CLOCK 1843200u
/* The receiver's time-out is four characters at the speed that is set, but a guest's odd divisor shall not
 * keep a key press for longer than this. */
#define TIMEOUT_MAX_NS 5000000u

/* More than a driver needs to find out what the chip is. */
#define POLLS 16u

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX    0x01
#define IER_TX    0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_TX      0x02
#define IIR_RX      0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* lets the interrupt out, on a PC */
#define MCR_LOOP 0x10

#define LSR_DATA     0x01
#define LSR_OVERRUN  0x02
#define LSR_ERRORS   0x1e
#define LSR_TX_EMPTY 0x60 /* holding register and shifter */

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI  0x40
#define MSR_DCD 0x80

struct VmcUart {
    GMutex lock;
    VmcBus *pio;
    uint16_t port;
    VmcIrq irq;
    VmcClock *clock;
    VmcClockTimer *timer; /* receiver time-out */
    VmcSerialLine *line;

    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr_errors;
    uint8_t modem, modem_delta; /* MSR bits 7:4 and 3:0 */
    uint16_t divisor;
    uint8_t fifo[FIFO_SIZE];
    unsigned first, count;
    bool timed_out;  /* bytes have waited below the trigger level */
    bool tx_pending; /* the transmitter's interrupt */
    bool uses_rts;   /* it has been raised since the last reset */
    unsigned polls;  /* reads of LSR that found nothing and had no output before them, up to POLLS */
    bool irq_level;
};

static unsigned capacity(const VmcUart *uart)
{
    return uart->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned trigger_level(const VmcUart *uart)
{
    static const uint8_t levels[] = {1, 4, 8, 14};
    return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

static bool tx_empty(VmcUart *uart)
{
    return vmc_serial_line_space(uart->line, FIFO_SIZE);
}

/* The interrupt of the highest priority that is pending and enabled (data sheet, table IV). */
static uint8_t interrupt_id(const VmcUart *uart)
{
    if ((uart->ier & IER_LINE) && (uart->lsr_errors & LSR_ERRORS))
        return IIR_LINE;
    if ((uart->ier & IER_RX) && uart->count >= trigger_level(uart))
        return IIR_RX;
    if ((uart->ier & IER_RX) && uart->timed_out && uart->count)
        return IIR_TIMEOUT;
    if ((uart->ier & IER_TX) && uart->tx_pending)
        return IIR_TX;
    if ((uart->ier & IER_MODEM) && uart->modem_delta)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(VmcUart *uart)
{
    bool out = (uart->mcr & MCR_OUT2) && !(uart->mcr & MCR_LOOP);
    bool level = out && interrupt_id(uart) != IIR_NONE;
    if (level != uart->irq_level)
        vmc_irq_set(&uart->irq, level);
    uart->irq_level = level;
}

/* Four characters of ten bits. */
static void arm_timeout(VmcUart *uart)
{
    uart->timed_out = false;
    if (!uart->count || !(uart->fcr & FCR_ENABLE)) {
        vmc_clock_timer_disarm(uart->timer);
        return;
    }
    uint64_t divisor = uart->divisor ? uart->divisor : 65536;
    uint64_t wait = vmc_muldiv64(40 * 16 * divisor, VMC_NS_PER_S, UART_CLOCK);
    vmc_clock_timer_arm(uart->timer, vmc_clock_now(uart->clock) + MIN(wait, TIMEOUT_MAX_NS));
}

static void timeout_expired(void *data)
{
    VmcUart *uart = data;
    g_mutex_lock(&uart->lock);
    if (uart->count && (uart->fcr & FCR_ENABLE)) {
        uart->timed_out = true;
        update_irq(uart);
    }
    g_mutex_unlock(&uart->lock);
}

static void push_byte(VmcUart *uart, uint8_t byte)
{
    if (uart->count >= capacity(uart)) { /* only in loopback: the line waits for room */
        uart->lsr_errors |= LSR_OVERRUN;
        return;
    }
    uart->fifo[(uart->first + uart->count++) % FIFO_SIZE] = byte;
}

static uint8_t pop_byte(VmcUart *uart)
{
    if (!uart->count)
        return 0;
    uint8_t byte = uart->fifo[uart->first];
    uart->first = (uart->first + 1) % FIFO_SIZE;
    uart->count--;
    return byte;
}

static void clear_fifo(VmcUart *uart)
{
    uart->first = uart->count = 0;
    uart->timed_out = false;
    vmc_clock_timer_disarm(uart->timer);
}

/* Whether the line may send to us: RTS says so. UEFI firmware never raises that, nor DTR, and polls; so it is
 * let have what there is once it has looked for it often enough. */
static bool receiving(const VmcUart *uart)
{
    bool ready = uart->uses_rts ? uart->mcr & MCR_RTS : uart->polls == POLLS;
    return ready && !(uart->mcr & MCR_LOOP);
}

static size_t line_room(void *opaque)
{
    VmcUart *uart = opaque;
    g_mutex_lock(&uart->lock);
    size_t room = receiving(uart) ? capacity(uart) - MIN(uart->count, capacity(uart)) : 0;
    g_mutex_unlock(&uart->lock);
    return room;
}

static size_t line_received(void *opaque, const uint8_t *bytes, size_t n)
{
    VmcUart *uart = opaque;
    size_t taken = 0;
    g_mutex_lock(&uart->lock);
    while (taken < n && receiving(uart) && uart->count < capacity(uart))
        push_byte(uart, bytes[taken++]);
    arm_timeout(uart);
    update_irq(uart);
    g_mutex_unlock(&uart->lock);
    return taken;
}

static void line_drained(void *opaque)
{
    VmcUart *uart = opaque;
    g_mutex_lock(&uart->lock);
    if (tx_empty(uart)) {
        uart->tx_pending = true;
        update_irq(uart);
    }
    g_mutex_unlock(&uart->lock);
}

static const VmcSerialLineOps line_ops = {line_room, line_received, line_drained};

/* Modem inputs: a modem that is always there, or in loopback our own outputs (data sheet s8.6.4). */
static void update_modem(VmcUart *uart)
{
    uint8_t modem = MSR_CTS | MSR_DSR | MSR_DCD;
    if (uart->mcr & MCR_LOOP)
        modem = (uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                (uart->mcr & MCR_OUT1 ? MSR_RI : 0) | (uart->mcr & MCR_OUT2 ? MSR_DCD : 0);
    uint8_t changed = modem ^ uart->modem;
    /* RI counts when it goes away, the others on any change. */
    if (modem & MSR_RI)
        changed &= ~MSR_RI;
    uart->modem_delta |= changed >> 4;
    uart->modem = modem;
}

static void transmit(VmcUart *uart, uint8_t byte)
{
    if (uart->polls < POLLS)
        uart->polls = 0; /* it was the transmitter that was looked at */
    uart->tx_pending = false;
    if (uart->mcr & MCR_LOOP) {
        push_byte(uart, byte);
        arm_timeout(uart);
        uart->tx_pending = true;
        return;
    }
    vmc_serial_line_write(uart->line, byte);
    uart->tx_pending = tx_empty(uart);
}

static void write_fcr(VmcUart *uart, uint8_t value)
{
    if ((value ^ uart->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (value & FCR_CLEAR_RX)
        clear_fifo(uart);
    uart->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
}

static void write_ier(VmcUart *uart, uint8_t value)
{
    /* Enabling it while THR is empty interrupts at once; drivers start to send that way. */
    if ((value & ~uart->ier & IER_TX) && tx_empty(uart))
        uart->tx_pending = true;
    uart->ier = value & 0x0f;
}

static void write_register(VmcUart *uart, unsigned reg, uint8_t value)
{
    bool dlab = uart->lcr & LCR_DLAB;
    switch (reg) {
    case REG_DATA:
        if (dlab)
            uart->divisor = (uart->divisor & 0xff00) | value;
        else
            transmit(uart, value);
        break;
    case REG_IER:
        if (dlab)
            uart->divisor = (uart->divisor & 0xff) | value << 8;
        else
            write_ier(uart, value);
        break;
    case REG_IIR_FCR:
        write_fcr(uart, value);
        break;
    case REG_LCR:
        uart->lcr = value;
        break;
    case REG_MCR:
        uart->mcr = value & 0x1f;
        uart->uses_rts |= (value & (MCR_RTS | MCR_LOOP)) == MCR_RTS; /* with LOOP it is a test */
        update_modem(uart);
        break;
    case REG_SCR:
        uart->scr = value;
        break;
    default: /* LSR and MSR: factory tests only */
        break;
    }
}

static uint8_t read_data(VmcUart *uart)
{
    uint8_t byte = pop_byte(uart);
    arm_timeout(uart);
    return byte;
}

static uint8_t read_iir(VmcUart *uart)
{
    uint8_t id = interrupt_id(uart);
    if (id == IIR_TX)
        uart->tx_pending = false; /* reading it is the acknowledge */
    return id | (uart->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(VmcUart *uart)
{
    uint8_t value = uart->lsr_errors | (uart->count ? LSR_DATA : 0);
    if (uart->mcr & MCR_LOOP || tx_empty(uart))
        value |= LSR_TX_EMPTY;
    uart->lsr_errors = 0;
    if (!uart->count && uart->polls < POLLS)
        uart->polls++;
    return value;
}

static uint8_t read_register(VmcUart *uart, unsigned reg)
{
    bool dlab = uart->lcr & LCR_DLAB;
    uint8_t value;
    switch (reg) {
    case REG_DATA:
        return dlab ? uart->divisor & 0xff : read_data(uart);
    case REG_IER:
        return dlab ? uart->divisor >> 8 : uart->ier;
    case REG_IIR_FCR:
        return read_iir(uart);
    case REG_LCR:
        return uart->lcr;
    case REG_MCR:
        return uart->mcr;
    case REG_LSR:
        return read_lsr(uart);
    case REG_MSR:
        value = uart->modem | uart->modem_delta;
        uart->modem_delta = 0;
        return value;
    default:
        return uart->scr;
    }
}

static uint8_t uart_byte_read(void *opaque, unsigned offset)
{
    VmcUart *uart = opaque;
    g_mutex_lock(&uart->lock);
    uint8_t value = read_register(uart, offset & 7);
    update_irq(uart);
    bool room = receiving(uart) && uart->count < capacity(uart);
    g_mutex_unlock(&uart->lock);
    if (room)
        vmc_serial_line_room(uart->line);
    return value;
}

static void uart_byte_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcUart *uart = opaque;
    g_mutex_lock(&uart->lock);
    write_register(uart, offset & 7, value);
    update_irq(uart);
    bool room = receiving(uart) && uart->count < capacity(uart);
    g_mutex_unlock(&uart->lock);
    if (room)
        vmc_serial_line_room(uart->line);
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(uart_byte_read, opaque, offset, size);
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(uart_byte_write, opaque, offset, size, value);
}

static const VmcRegionOps uart_ops = {uart_read, uart_write};

void vmc_uart_reset(VmcUart *uart)
{
    g_mutex_lock(&uart->lock);
    uart->ier = uart->fcr = uart->lcr = uart->mcr = uart->scr = 0;
    uart->uses_rts = false;
    uart->polls = 0;
    uart->lsr_errors = 0;
    uart->divisor = 12; /* 9600 baud; undefined on hardware */
    uart->tx_pending = false;
    clear_fifo(uart);
    update_modem(uart);
    uart->modem_delta = 0;
    update_irq(uart);
    g_mutex_unlock(&uart->lock);
}

VmcUart *vmc_uart_new(const VmcUartParams *params, GError **error)
{
    VmcUart *uart = g_new0(VmcUart, 1);
    g_mutex_init(&uart->lock);
    uart->pio = params->pio;
    uart->port = params->port;
    uart->irq = params->irq;
    uart->clock = params->clock;
    uart->timer = vmc_clock_timer_new(params->clock, timeout_expired, uart);
    vmc_uart_reset(uart);
    uart->line = vmc_serial_line_new(params->io, params->fd_in, params->fd_out, &line_ops, uart, error);
    if (!uart->line) {
        vmc_uart_free(uart);
        return NULL;
    }
    vmc_bus_add(uart->pio, "uart", uart->port, 8, &uart_ops, uart);
    return uart;
}

void vmc_uart_free(VmcUart *uart)
{
    if (!uart)
        return;
    vmc_bus_remove(uart->pio, uart->port, &uart_ops, uart);
    vmc_serial_line_free(uart->line);
    vmc_clock_timer_free(uart->timer);
    g_mutex_clear(&uart->lock);
    g_free(uart);
}

/* What was sent has gone to the host, or goes there before this machine ends. */
void vmc_uart_save(VmcUart *uart, VmcStateWriter *w)
{
    g_mutex_lock(&uart->lock);
    vmc_state_begin(w, "uart", 1);
    const uint8_t bytes[] = {uart->ier, uart->fcr,        uart->lcr,   uart->mcr,
                             uart->scr, uart->lsr_errors, uart->modem, uart->modem_delta};
    vmc_state_put_bytes(w, bytes, sizeof bytes);
    vmc_state_put_u16(w, uart->divisor);
    vmc_state_put_bytes(w, uart->fifo, sizeof uart->fifo);
    vmc_state_put_u8(w, (uint8_t)uart->first);
    vmc_state_put_u8(w, (uint8_t)uart->count);
    vmc_state_put_bool(w, uart->timed_out);
    /* The transmitter of the machine this becomes is empty. */
    vmc_state_put_bool(w, uart->tx_pending || !tx_empty(uart));
    vmc_state_put_bool(w, uart->irq_level);
    vmc_state_put_bool(w, uart->uses_rts);
    vmc_state_put_u8(w, (uint8_t)uart->polls);
    vmc_clock_timer_save(uart->timer, w);
    g_mutex_unlock(&uart->lock);
    vmc_serial_line_save(uart->line, w);
    vmc_state_end(w);
}

static void load_registers(VmcUart *uart, VmcStateReader *r)
{
    uint8_t *bytes[] = {&uart->ier, &uart->fcr,        &uart->lcr,   &uart->mcr,
                        &uart->scr, &uart->lsr_errors, &uart->modem, &uart->modem_delta};

    for (unsigned i = 0; i < G_N_ELEMENTS(bytes); i++)
        *bytes[i] = vmc_state_get_u8(r);
    uart->divisor = vmc_state_get_u16(r);
    vmc_state_get_bytes(r, uart->fifo, sizeof uart->fifo);
    uart->first = vmc_state_get_u8_max(r, FIFO_SIZE - 1);
    uart->count = vmc_state_get_u8_max(r, FIFO_SIZE);
    uart->timed_out = vmc_state_get_bool(r);
    uart->tx_pending = vmc_state_get_bool(r);
    uart->irq_level = vmc_state_get_bool(r);
    uart->uses_rts = vmc_state_get_bool(r);
    uart->polls = vmc_state_get_u8_max(r, POLLS);
    vmc_clock_timer_load(uart->timer, r);
}

bool vmc_uart_load(VmcUart *uart, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "uart", 1))
        return false;
    g_mutex_lock(&uart->lock);
    load_registers(uart, r);
    if (vmc_state_ok(r))
        update_irq(uart);
    g_mutex_unlock(&uart->lock);
    vmc_serial_line_load(uart->line, r);
    return vmc_state_leave(r);
}
