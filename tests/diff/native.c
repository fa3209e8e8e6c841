/*
 * The host's CPU as the oracle.
 *
 * A child process maps code, data and stack where the snippets expect them, loads every register a user
 * may load, and enters with IRET (which sets flags and code size too). The snippet leaves by an exception,
 * if by nothing else then by the INT3 that fills the code pages; the signal frame has all that is asked:
 * registers, FXSAVE image, trap number, error code and CR2. The handler leaves by putting back the stack of
 * native_enter, not by returning.
 *
 * A snippet may do what it likes: a seccomp filter lets no system call through that comes from its pages,
 * a timer ends endless loops, and if it kills the child by writing where it should not, the parent counts
 * that case as crashed and starts another child.
 *
 * Inside the handler FS may point anywhere: nothing there may use thread-local storage until native_leave has
 * put it back, so this file is compiled without stack protector and sanitizers.
 */
#include <asm/ldt.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "diff.h"

#define TICK_US 10000 /* of the child's own CPU time */
#define FLAG_NT 0x4000

/* IRET to a 16-bit stack segment leaves the upper half of ESP as it was, so 16-bit code is entered from a few
 * instructions of 32-bit code here: LSS ESP and a far jump, whose pointers lie behind. */
#define TRAMPOLINE 0x6b7d5000u /* where no snippet is likely to point */

/* Shared between parent and child. */
struct batch {
    _Atomic uint32_t done; /* cases with an outcome */
    uint32_t count;
    struct diff_case cases[NATIVE_BATCH];
    struct diff_outcome outcomes[NATIVE_BATCH];
};

struct native {
    pid_t child;
    int to_child, from_child;
    struct batch *batch;
    uint32_t cpu_limit;
};

/* ---- the child ---- */

/* What native_enter loads and what the handler fills in. Used by the assembly below. */
__attribute__((used)) static struct {
    uint8_t area[832]
        __attribute__((aligned(64))); /* FXSAVE image, or XSAVE area with AVX in the standard format */
    uint64_t gpr[16];
    uint64_t frame[5]; /* for IRET: RIP, CS, RFLAGS, RSP, SS */
    uint64_t fs_base, gs_base;
    uint16_t ds, es, fs, gs;
    uint64_t saved_rsp, saved_fs_base, saved_gs_base;
    uint64_t has_fsgsbase; /* the instructions may be used; the kernel is asked otherwise */
    uint64_t has_avx;
} n_in;

#define AREA_BV  512 /* XSTATE_BV of the area's header */
#define AREA_AVX 576
#define BV_ALL   7u /* x87, SSE, AVX */
#define BV_AVX   4u

static struct diff_outcome *volatile n_outcome; /* where the handler reports; NULL outside snippets */
static volatile unsigned n_ticks;
static volatile bool n_again;

void native_enter(void);
void native_signal(int sig, siginfo_t *info, void *context);

#define OFF(field) [field] "i"(offsetof(__typeof__(n_in), field))

/* Bases of FS and GS, to and from RCX; all other registers are kept. */
#define SET_BASE(name, wrbase, code)                                                                         \
#name ":\n    cmpq $0, %c[has_fsgsbase](%%rax)\n    je 1f\n    " #wrbase " %%rcx\n    ret\n"             \
          "1:  push %%rax\n push %%rcx\n push %%rsi\n push %%rdi\n push %%r11\n"                             \
          "    mov $158, %%eax\n mov $" #code ", %%edi\n mov %%rcx, %%rsi\n syscall\n"                       \
          "    pop %%r11\n pop %%rdi\n pop %%rsi\n pop %%rcx\n pop %%rax\n    ret\n"
#define GET_BASE(name, rdbase, code)                                                                         \
#name ":\n    cmpq $0, %c[has_fsgsbase](%%rax)\n    je 1f\n    " #rdbase " %%rcx\n    ret\n"             \
          "1:  push %%rax\n push %%rcx\n push %%rsi\n push %%rdi\n push %%r11\n"                             \
          "    mov $158, %%eax\n mov $" #code ", %%edi\n lea 24(%%rsp), %%rsi\n syscall\n"                   \
          "    pop %%r11\n pop %%rdi\n pop %%rsi\n pop %%rcx\n pop %%rax\n    ret\n"

/* clang-format off */
__attribute__((used, noinline)) static void native_assembly(void)
{
    __asm__ volatile(
        SET_BASE(native_set_fs, wrfsbase, 0x1002)
        SET_BASE(native_set_gs, wrgsbase, 0x1001)
        GET_BASE(native_get_fs, rdfsbase, 0x1003)
        GET_BASE(native_get_gs, rdgsbase, 0x1004)
        ".globl native_enter\n"
        "native_enter:\n"
        "    push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n"
        "    lea n_in(%%rip), %%rax\n"
        "    mov %%rsp, %c[saved_rsp](%%rax)\n"
        "    call native_get_fs\n mov %%rcx, %c[saved_fs_base](%%rax)\n"
        "    call native_get_gs\n mov %%rcx, %c[saved_gs_base](%%rax)\n"
        "    cmpq $0, %c[has_avx](%%rax)\n    jne 1f\n    fxrstor64 (%%rax)\n    jmp 2f\n"
        "1:  mov %%rax, %%rcx\n mov $7, %%eax\n xor %%edx, %%edx\n xrstor64 (%%rcx)\n mov %%rcx, %%rax\n2:\n"
        "    movw %c[ds](%%rax), %%ds\n movw %c[es](%%rax), %%es\n"
        "    movw %c[fs](%%rax), %%fs\n movw %c[gs](%%rax), %%gs\n"
        "    testw $-1, %c[fs](%%rax)\n jnz 1f\n"
        "    mov %c[fs_base](%%rax), %%rcx\n call native_set_fs\n"
        "1:  testw $-1, %c[gs](%%rax)\n jnz 2f\n"
        "    mov %c[gs_base](%%rax), %%rcx\n call native_set_gs\n"
        "2:  lea %c[frame](%%rax), %%rsp\n"
        "    mov %c[gpr]+8*1(%%rax), %%rcx\n mov %c[gpr]+8*2(%%rax), %%rdx\n"
        "    mov %c[gpr]+8*3(%%rax), %%rbx\n mov %c[gpr]+8*5(%%rax), %%rbp\n"
        "    mov %c[gpr]+8*6(%%rax), %%rsi\n mov %c[gpr]+8*7(%%rax), %%rdi\n"
        "    mov %c[gpr]+8*8(%%rax), %%r8\n  mov %c[gpr]+8*9(%%rax), %%r9\n"
        "    mov %c[gpr]+8*10(%%rax), %%r10\n mov %c[gpr]+8*11(%%rax), %%r11\n"
        "    mov %c[gpr]+8*12(%%rax), %%r12\n mov %c[gpr]+8*13(%%rax), %%r13\n"
        "    mov %c[gpr]+8*14(%%rax), %%r14\n mov %c[gpr]+8*15(%%rax), %%r15\n"
        "    mov %c[gpr](%%rax), %%rax\n"
        "    iretq\n"
        /* AC and NT may be set by the snippet: C code would fault on its own misaligned accesses, IRET on NT. */
        ".globl native_signal_entry\n"
        "native_signal_entry:\n"
        "    pushfq\n andl $~0x44000, (%%rsp)\n popfq\n"
        "    sub $8, %%rsp\n call native_signal\n add $8, %%rsp\n"
        "    ret\n"
        ".globl native_leave\n"
        "native_leave:\n"
        "    lea n_in(%%rip), %%rax\n"
        "    xor %%ecx, %%ecx\n"
        "    mov %%ecx, %%ds\n mov %%ecx, %%es\n mov %%ecx, %%fs\n mov %%ecx, %%gs\n"
        "    mov %c[saved_fs_base](%%rax), %%rcx\n call native_set_fs\n"
        "    mov %c[saved_gs_base](%%rax), %%rcx\n call native_set_gs\n"
        "    mov %c[saved_rsp](%%rax), %%rsp\n"
        "    pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
        "    ret\n"
        :
        : OFF(saved_rsp), OFF(saved_fs_base), OFF(saved_gs_base), OFF(ds), OFF(es), OFF(fs), OFF(gs), OFF(fs_base),
          OFF(gs_base), OFF(frame), OFF(gpr), OFF(has_fsgsbase), OFF(has_avx));
}
/* clang-format on */

void native_signal_entry(int sig, siginfo_t *info, void *context);
_Noreturn void native_leave(void);

static inline uint16_t read_segment(int which)
{
    uint16_t value;

    if (which == 0)
        __asm__ volatile("mov %%ds, %0" : "=r"(value));
    else if (which == 1)
        __asm__ volatile("mov %%es, %0" : "=r"(value));
    else if (which == 2)
        __asm__ volatile("mov %%fs, %0" : "=r"(value));
    else
        __asm__ volatile("mov %%gs, %0" : "=r"(value));
    return value;
}

static uint64_t read_base(bool gs)
{
    uint64_t value;

    if (gs)
        __asm__ volatile("call native_get_gs" : "=c"(value) : "a"(&n_in) : "memory");
    else
        __asm__ volatile("call native_get_fs" : "=c"(value) : "a"(&n_in) : "memory");
    return value;
}

/* The kernel lays down an XSAVE area in the standard format; what is in its initial state may not be written.
 */
static void collect_vectors(struct diff_outcome *o, const uint8_t *area)
{
    uint64_t bv;

    __builtin_memcpy(o->out.fx, area, 512);
    __builtin_memcpy(&bv, area + AREA_BV, 8);
    if (n_in.has_avx && bv & BV_AVX)
        __builtin_memcpy(o->out.ymm_high, area + AREA_AVX, sizeof(o->out.ymm_high));
}

static void collect(struct diff_outcome *o, const ucontext_t *uc)
{
    /* Our encoding order from the kernel's. */
    static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const greg_t *gregs = uc->uc_mcontext.gregs;
    uint64_t selectors = (uint64_t)gregs[REG_CSGSFS];

    for (unsigned i = 0; i < 16; i++)
        o->out.gpr[i] = (uint64_t)gregs[order[i]];
    o->out.rip = (uint64_t)gregs[REG_RIP];
    o->out.rflags = (uint64_t)gregs[REG_EFL];
    o->out.cs = (uint16_t)selectors;
    o->out.ss = (uint16_t)(selectors >> 48);
    o->out.ds = read_segment(0);
    o->out.es = read_segment(1);
    o->out.fs = read_segment(2);
    o->out.gs = read_segment(3);
    o->out.fs_base = read_base(false);
    o->out.gs_base = read_base(true);
    collect_vectors(o, (const uint8_t *)uc->uc_mcontext.fpregs);
}

__attribute__((used)) void native_signal(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    struct diff_outcome *o = n_outcome;

    (void)info;
    if (sig == SIGVTALRM) {
        if (!o || (uint64_t)uc->uc_mcontext.gregs[REG_RIP] >= 0x40000000)
            return; /* not in a snippet */
        if (n_ticks++ < 2) {
            if (!(uc->uc_mcontext.gregs[REG_EFL] & FLAG_NT))
                return; /* not for long */
            n_again = true;
            n_outcome = NULL;
            native_leave();
        }
    } else if (!o) {
        _exit(99); /* a fault of our own */
    }
    collect(o, uc);
    if (sig == SIGVTALRM) {
        o->vector = VECTOR_TIMEOUT;
    } else if (sig == SIGSYS) {
        o->vector = VECTOR_SYSCALL;
    } else {
        o->vector = (uint32_t)uc->uc_mcontext.gregs[REG_TRAPNO];
        o->error = (uint32_t)uc->uc_mcontext.gregs[REG_ERR];
        o->cr2 = (uint64_t)uc->uc_mcontext.gregs[REG_CR2];
    }
    n_outcome = NULL;
    native_leave();
}

static void child_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGSYS, SIGVTALRM};
    static uint8_t stack[65536] __attribute__((aligned(64)));
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = native_signal_entry,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigset_t none;

    sigaltstack(&ss, NULL);
    sigemptyset(&sa.sa_mask); /* as native_leave does not bring a mask back, there must be none */
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* No system call from the snippets' pages: they all lie below 1 GiB, nothing else does. */
static bool child_seccomp(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* The areas at their addresses, and all of them once more, writable, at the address returned. */
static uint8_t *child_memory(void)
{
    int fd = memfd_create("snippets", 0);
    uint8_t *alias;

    if (fd < 0 || ftruncate(fd, IMAGE_SIZE) < 0)
        return NULL;
    alias = mmap(NULL, IMAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    for (unsigned a = 0; a < AREA_COUNT; a++) {
        const struct area *area = &diff_areas[a];
        int prot = PROT_READ | (area->write ? PROT_WRITE : 0) | (area->exec ? PROT_EXEC : 0);

        if (mmap((void *)(uintptr_t)area->base, area->pages * PAGE, prot,
                 MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, area->first * PAGE) == MAP_FAILED)
            return NULL;
    }
    close(fd);
    return alias == MAP_FAILED ? NULL : alias;
}

static bool child_descriptors(void)
{
    static const uint8_t code[] = {
        0x2e, 0x0f, 0xb2, 0x25, 0x20, 0x50, 0x7d, 0x6b, /* lss esp, cs:[TRAMPOLINE + 20] */
        0x2e, 0xff, 0x2d, 0x28, 0x50, 0x7d, 0x6b};      /* jmp far cs:[TRAMPOLINE + 28] */
    void *page = mmap((void *)(uintptr_t)TRAMPOLINE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (page == MAP_FAILED)
        return false;
    memcpy(page, code, sizeof(code));
    for (unsigned i = 0; i < LDT_COUNT; i++) {
        const struct descriptor *d = &diff_ldt[i];
        struct user_desc u = {.entry_number = i,
                              .base_addr = d->base,
                              .limit = d->limit,
                              .seg_32bit = d->wide,
                              .contents = d->contents,
                              .read_exec_only = d->read_only,
                              .limit_in_pages = d->pages,
                              .seg_not_present = d->absent};

        if (syscall(SYS_modify_ldt, 0x11, &u, sizeof(u)) != 0)
            return false;
    }
    return true;
}

/* The frame for IRET: straight to the snippet, or to the trampoline for a 16-bit stack. */
static void child_entry(const struct diff_case *c)
{
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) *pointers = (void *)(uintptr_t)(TRAMPOLINE + 0x20);

    n_in.frame[0] = c->in.rip;
    n_in.frame[1] = c->in.cs;
    n_in.frame[2] = c->in.rflags;
    n_in.frame[3] = c->in.gpr[4];
    n_in.frame[4] = c->in.ss;
    if (c->mode != MODE_16)
        return;
    pointers[0].offset = (uint32_t)c->in.gpr[4];
    pointers[0].selector = c->in.ss;
    pointers = (void *)(uintptr_t)(TRAMPOLINE + 0x28);
    pointers[0].offset = (uint32_t)c->in.rip;
    pointers[0].selector = c->in.cs;
    n_in.frame[0] = TRAMPOLINE;
    n_in.frame[1] = 0x23;
    n_in.frame[4] = 0x2b;
}

static void child_case(const struct diff_case *c, struct diff_outcome *o, uint8_t *memory)
{
    memset(o, 0, offsetof(struct diff_outcome, image));
    memcpy(n_in.area, c->in.fx, sizeof(c->in.fx));
    memset(n_in.area + AREA_BV, 0, AREA_AVX - AREA_BV);
    n_in.area[AREA_BV] = BV_ALL;
    memcpy(n_in.area + AREA_AVX, c->in.ymm_high, sizeof(c->in.ymm_high));
    memcpy(n_in.gpr, c->in.gpr, sizeof(n_in.gpr));
    child_entry(c);
    n_in.fs_base = c->in.fs_base;
    n_in.gs_base = c->in.gs_base;
    n_in.ds = c->in.ds;
    n_in.es = c->in.es;
    n_in.fs = c->in.fs;
    n_in.gs = c->in.gs;
    n_ticks = 0;
    do { /* returning from a signal takes NT away: what a tick finds with it set begins anew */
        diff_image(c, true, memory);
        n_again = false;
        n_outcome = o;
        native_enter();
    } while (n_again);
    memcpy(o->image, memory, IMAGE_SIZE);
}

_Noreturn static void child_main(struct batch *batch, int commands, int replies)
{
    struct itimerval tick = {{0, TICK_US}, {0, TICK_US}};
    uint8_t *memory = child_memory();
    char byte = memory && child_descriptors() && child_seccomp() ? 'k' : 'x';

    child_signals();
    setitimer(ITIMER_VIRTUAL, &tick, NULL);
    if (write(replies, &byte, 1) != 1 || byte == 'x')
        _exit(1);
    for (;;) {
        ssize_t got = read(commands, &byte, 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got != 1)
            _exit(0);
        for (uint32_t i = atomic_load(&batch->done); i < batch->count; i++) {
            child_case(&batch->cases[i], &batch->outcomes[i], memory);
            atomic_store(&batch->done, i + 1);
        }
        while (write(replies, &byte, 1) < 0 && errno == EINTR)
            ;
    }
}

/* ---- the parent ---- */

static char wait_reply(struct native *n)
{
    char byte;
    ssize_t got;

    do
        got = read(n->from_child, &byte, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? byte : 0;
}

static bool start_child(struct native *n)
{
    int to[2], from[2];

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        return false;
    n->child = fork();
    if (n->child < 0)
        return false;
    if (n->child == 0) {
        close(to[1]);
        close(from[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_main(n->batch, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    n->to_child = to[1];
    n->from_child = from[0];
    return wait_reply(n) == 'k';
}

static void stop_child(struct native *n)
{
    close(n->to_child);
    close(n->from_child);
    kill(n->child, SIGKILL);
    waitpid(n->child, NULL, 0);
}

/* The CPU-number segment differs from CPU to CPU: stay on one. */
static uint32_t pin_and_ask(void)
{
    unsigned long limit = 0;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof(set), &set);
    __asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"(0x7bul) : "cc");
    return (uint32_t)limit;
}

bool native_is_flat(void)
{
    unsigned long rights = 0x23; /* 32-bit user code, as every Linux has it */
    bool there;

    __asm__("lar %0, %0" : "+r"(rights), "=@ccz"(there));
    return !there;
}

bool native_has_avx(void)
{
    return __builtin_cpu_supports("avx");
}

struct native *native_new(const char **why)
{
    struct native *n;

    n_in.has_fsgsbase = getauxval(AT_HWCAP2) & 2;
    n_in.has_avx = native_has_avx();
    n = calloc(1, sizeof(*n));
    n->batch = mmap(NULL, sizeof(*n->batch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n->batch == MAP_FAILED) {
        free(n);
        *why = "no memory to share with the child";
        return NULL;
    }
    n->cpu_limit = pin_and_ask();
    if (!start_child(n)) {
        *why =
            "the child that runs snippets cannot map its pages, set up its LDT or install its seccomp filter";
        stop_child(n);
        free(n);
        return NULL;
    }
    return n;
}

void native_free(struct native *n)
{
    stop_child(n);
    munmap(n->batch, sizeof(*n->batch));
    free(n);
}

uint32_t native_cpu_limit(const struct native *n)
{
    return n->cpu_limit;
}

void native_run(struct native *n, const struct diff_case *cases, struct diff_outcome *outcomes,
                unsigned n_cases)
{
    struct batch *b = n->batch;

    memcpy(b->cases, cases, n_cases * sizeof(cases[0]));
    b->count = n_cases;
    atomic_store(&b->done, 0);
    while (atomic_load(&b->done) < n_cases) {
        if (write(n->to_child, "r", 1) == 1 && wait_reply(n) == 'r')
            continue;
        /* It died of the case it was at. */
        b->outcomes[atomic_load(&b->done)].vector = VECTOR_CRASH;
        atomic_fetch_add(&b->done, 1);
        stop_child(n);
        if (!start_child(n))
            abort();
    }
    memcpy(outcomes, b->outcomes, n_cases * sizeof(outcomes[0]));
}
