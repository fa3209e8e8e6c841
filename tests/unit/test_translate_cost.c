/*
 * What the translator makes of fixed pieces of guest code, in host instructions, pinned: a regression shows
 * the same number on any machine.
 *
 * Each snippet is guest code for 64-bit mode that a jump makes go round. Once it is warm, all blocks
 * translated, jumps linked and pages in the TLB, one time round is run with the host's trap flag set, and the
 * trap's handler counts the instructions that lie in the code memory, thunks included. The jump back has a
 * row of its own and is not in the others; what an instruction at the end of a block owes to the next one,
 * such as flags, is.
 *
 * The look-up of an address takes fewer instructions with RORX, so there are two numbers: with BMI2, and
 * without, which every host can count. tests/README.md says when a number may be changed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>
#include <x86intrin.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>
#include <glib.h>

#include "cpu/cpu.h"
#include "cpu/soft/features.h"
#include "cpu/soft/translate/context.h"

/* The snippets: name, instructions of the guest in one time round without the jump back, of the host with and
 * without BMI2, VMC_HAS_* it takes, and the text. It finds RBX, RSI, R12: page A; RDI, R13: page B; RBP: page
 * A + 80h, where the address of a lone RET in another page of code lies; R14: that address; GS: page C; RSP:
 * page D; RAX 1, RDX 2, RCX 3. "9b" is its beginning. */
/* clang-format off */
#define SNIPPETS(X) \
    X(jump_back, 1, 3, 3, 0, "") \
    X(register_arithmetic, 8, 10, 10, 0, \
      "add rax, rcx; sub rdx, rax; xor r8, rdx; lea rcx, [rax + rdx*4 + 8]; imul rax, rcx; shl rdx, 3;" \
      "and r8, rax; or rax, 1") \
    X(registers_kept_in_memory, 4, 15, 15, 0, "add r10, r11; mov r9, r10; xor r15d, r9d; add r11, 5") \
    X(compare_and_jump_loop, 25, 70, 70, 0, "xor ecx, ecx; 1: add rcx, 1; cmp rcx, 8; jne 1b") \
    X(count_down_loop, 17, 70, 70, 0, "mov ecx, 8; 1: dec ecx; jnz 1b") \
    X(load, 1, 8, 9, 0, "mov rax, [rbx]") \
    X(load_by_index, 1, 8, 9, 0, "mov eax, [rbx + rcx*4]") \
    X(load_by_rip, 1, 9, 10, 0, "mov rax, 9b[rip]") \
    X(load_by_gs, 1, 10, 11, 0, "mov rax, gs:[0x10]") \
    X(store, 1, 8, 9, 0, "mov [rbx], rax") \
    X(read_modify_write, 1, 13, 14, 0, "add [rbx], rax") \
    X(read_modify_write_flags_dead, 2, 11, 12, 0, "add [rbx], rax; xor ecx, ecx") \
    X(load_add_store_by_one_base, 3, 13, 14, 0, "mov rax, [rbx]; add rax, 5; mov [rbx], rax") \
    X(struct_copy_by_one_base, 8, 15, 16, 0, \
      "mov rax, [rbx]; mov [rbx + 64], rax; mov rax, [rbx + 8]; mov [rbx + 72], rax;" \
      "mov rax, [rbx + 16]; mov [rbx + 80], rax; mov rax, [rbx + 24]; mov [rbx + 88], rax") \
    X(struct_copy_by_two_bases, 8, 30, 32, 0, \
      "mov rax, [rsi]; mov [rdi], rax; mov rax, [rsi + 8]; mov [rdi + 8], rax;" \
      "mov rax, [rsi + 16]; mov [rdi + 16], rax; mov rax, [rsi + 24]; mov [rdi + 24], rax") \
    X(two_pages_by_turns, 3, 19, 21, 0, "mov [rsi], rax; mov [rdi], rdx; mov [rsi + 8], rcx") \
    X(prologue_and_epilogue, 9, 26, 27, 0, \
      "push rbp; mov rbp, rsp; push rbx; push r12; sub rsp, 32;" \
      "add rsp, 32; pop r12; pop rbx; pop rbp") \
    X(call_and_return_in_page, 2, 38, 40, 0, "call 1f; jmp 9b; 1: ret") \
    X(call_and_return_across_pages, 2, 47, 49, 0, "call 9b + 0x1000") \
    X(call_by_register, 2, 53, 55, 0, "call r14") \
    X(call_by_memory, 2, 62, 65, 0, "call [rbp]") \
    X(jump_by_register, 2, 13, 13, 0, "lea rax, 1f[rip]; jmp rax; 1:") \
    X(string_length, 35, 159, 168, 0, \
      "lea rax, [rsi + 16]; 1: cmp byte ptr [rax], 0; je 2f; inc rax; jmp 1b; 2:") \
    X(copy_words_by_index, 41, 198, 214, 0, \
      "xor ecx, ecx; 1: mov rax, [rsi + rcx*8]; mov [rdi + rcx*8], rax; inc rcx; cmp rcx, 8; jne 1b") \
    X(copy_words_by_pointers, 51, 208, 224, 0, \
      "mov rdx, r12; mov r8, r13; mov ecx, 8;" \
      "1: mov rax, [rdx]; mov [r8], rax; add rdx, 8; add r8, 8; dec ecx; jnz 1b") \
    X(flags_across_a_load, 3, 14, 15, 0, "cmp rax, rdx; mov r8, [rbx]; jb 1f; 1:") \
    X(set_and_move_by_condition, 3, 6, 6, 0, "cmp rax, rdx; sete cl; cmovb r8, rdx") \
    X(add_with_carry_chain, 4, 11, 11, 0, "add rax, rsi; adc rdx, rdi; adc r8, rbx; adc rcx, 0") \
    X(add_with_carry_to_memory, 4, 32, 34, 0, \
      "mov rax, [rsi]; add [rdi], rax; mov rax, [rsi + 8]; adc [rdi + 8], rax") \
    X(store_past_the_caches, 2, 9, 10, 0, "movnti [rbx], rax; movnti [rbx + 8], edx") \
    X(fences, 3, 3, 3, 0, "lfence; mfence; sfence") \
    X(cache_line_flush, 2, 7, 8, 0, "clflush [rbx]; prefetcht0 [rbx]") \
    X(divide, 2, 7, 7, 0, "xor edx, edx; div rcx") \
    X(divide_by_memory_signed, 3, 18, 19, 0, "mov [rbx], rcx; cqo; idiv qword ptr [rbx]") \
    X(flags_pushed_interrupts_off_and_on, 4, 36, 37, 0, "pushfq; pop r8; cli; sti") \
    X(flags_pushed_after_a_compare, 3, 21, 22, 0, "cmp rax, rdx; pushfq; pop r8") \
    X(compare_and_exchange_16_bytes, 1, 28, 29, 0, "lock cmpxchg16b [rsi]") \
    X(segment_register_read, 1, 1, 1, 0, "mov r8d, ds") \
    X(sse_registers, 5, 7, 7, 0, \
      "movaps xmm0, xmm1; addps xmm0, xmm2; mulps xmm3, xmm0; pxor xmm4, xmm3; paddd xmm5, xmm4") \
    X(sse_memory, 3, 16, 17, 0, "movups xmm0, [rbx]; addps xmm0, [rbx + 16]; movaps [rbx + 32], xmm0") \
    X(aes_round, 2, 13, 14, VMC_HAS_AES, "aesenc xmm0, xmm1; aesenclast xmm0, [rbx]") \
    X(avx_add, 3, 12, 13, VMC_HAS_AVX2, \
      "vaddps ymm0, ymm1, [rbx]; vpaddd ymm2, ymm0, ymm1; vmovups [rbx + 32], ymm2") \
    X(sha256_four_rounds, 185, 331, 339, 0, \
      "xor edi, edi; mov r13, r12; jmp 2f;" \
      "1: mov r10d, r11d; mov r8d, r9d; mov r11d, ecx; mov r9d, esi; mov ecx, r14d; mov esi, eax;" \
      "2: mov eax, ecx; mov r14d, ecx; mov r15d, ecx; ror r14d, 11; ror eax, 6; and r15d, r11d;" \
      "xor eax, r14d; mov r14d, ecx; rol r14d, 7; xor eax, r14d; mov r14d, [r12 + rdi];" \
      "add r14d, [r13 + rdi]; add rdi, 4; add eax, r14d; mov r14d, ecx; not r14d; and r14d, r10d;" \
      "xor r14d, r15d; mov r15d, r9d; add eax, r14d; mov r14d, esi; and r15d, r8d; add eax, edx;" \
      "mov edx, esi; ror r14d, 13; ror edx, 2; xor edx, r14d; mov r14d, esi; rol r14d, 10; xor edx, r14d;" \
      "mov r14d, r9d; xor r14d, r8d; and r14d, esi; xor r14d, r15d; add edx, r14d; lea r14d, [rax + rbx];" \
      "mov ebx, r8d; add eax, edx; mov edx, r10d; cmp rdi, 16; jne 1b")
/* clang-format on */

#define TEXT(name, guest, host, plain, needs, text)                                                          \
    __asm__(".pushsection .rodata\n.intel_syntax noprefix\nsnippet_" #name ": 9: " text                      \
            "\njmp snippet_" #name "\nsnippet_" #name "_end:\n.att_syntax\n.popsection\n");                  \
    extern const uint8_t snippet_##name[], snippet_##name##_end[];
SNIPPETS(TEXT)

struct snippet {
    const char *name;
    unsigned guest, host[2]; /* with and without BMI2 */
    uint32_t needs;
    const uint8_t *text, *end;
};
#define ROW(name, guest, host, plain, needs, text)                                                           \
    {#name, guest, {host, plain}, needs, snippet_##name, snippet_##name##_end},
static const struct snippet snippets[] = {SNIPPETS(ROW)};

#define RAM    (4u << 20)
#define TABLES 0x1000u
#define CODE   0x8000u
#define PAGE_A 0x100000u
#define PAGE_B 0x103000u
#define PAGE_C 0x105000u
#define PAGE_D 0x108000u

#define WARM       8    /* times round before it counts */
#define TRACE_MAX  4096 /* host instructions of one time round */
#define ROUNDS     2    /* that count, and agree */
#define TRAP_FLAG  0x100u
#define STACK_SIZE (64u << 10)

/* ---- counting ---- */

/* Of the one CPU that runs with the trap flag; written by the trap's handler. */
struct trace {
    VmcCpu *cpu;
    void (*enter)(VmcCpu *c, const uint8_t *code); /* the translator's own */
    const uint8_t *head;                           /* code of the snippet's first block */
    unsigned rounds;                               /* how often it was entered */
    unsigned n[ROUNDS], outside;                   /* outside: instructions of C code, while it counts */
    const uint8_t *rip[ROUNDS][TRACE_MAX];
    bool done;
};
static struct trace trace;

static void on_trap(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    const uint8_t *rip = (const uint8_t *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    const struct vmc_translator *t = trace.cpu->translator;
    bool ours = rip >= t->rx && rip < t->rx + t->size;

    if (rip == trace.head)
        trace.rounds++;
    if (trace.rounds <= WARM)
        return;
    unsigned round = trace.rounds - WARM - 1;
    if (round == ROUNDS) {
        trace.done = true;
        atomic_fetch_or(&trace.cpu->request, REQ_KICK);
        u->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    } else if (!ours) {
        trace.outside++;
    } else if (trace.n[round] < TRACE_MAX) {
        trace.rip[round][trace.n[round]++] = rip;
    }
}

/* In the place of the translator's own thunk, so that translating is not stepped through. */
static void enter_stepping(VmcCpu *c, const uint8_t *code)
{
    if (c->rip == CODE)
        trace.head = code;
    if (!trace.done)
        __writeeflags(__readeflags() | TRAP_FLAG);
    trace.enter(c, code);
    __writeeflags(__readeflags() & ~(unsigned long long)TRAP_FLAG);
}

static int catch_traps(void **state)
{
    static uint8_t room[STACK_SIZE];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    return sigaltstack(&stack, NULL) || sigaction(SIGTRAP, &action, NULL);
}

/* ---- the guest ---- */

struct machine {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
};

static void put64(struct machine *m, uint64_t at, uint64_t value)
{
    assert_true(vmc_memory_write(m->memory, at, &value, sizeof value));
}

/* Linear addresses are physical ones, by pages of 4 KiB. */
static void make_paging(struct machine *m)
{
    put64(m, TABLES, (TABLES + 0x1000) | 3);
    put64(m, TABLES + 0x1000, (TABLES + 0x2000) | 3);
    put64(m, TABLES + 0x2000, (TABLES + 0x3000) | 3);
    for (uint64_t page = 0; page < 512; page++)
        put64(m, TABLES + 0x3000 + page * 8, page << VMC_PAGE_SHIFT | 3);
}

static void set_registers(struct machine *m)
{
    VmcCpuState s;

    vmc_cpu_state_reset(&s);
    s.cr0 = 0x80010033; /* PG WP NE ET MP PE */
    s.cr3 = TABLES;
    s.cr4 = 0x620; /* OSXMMEXCPT OSFXSR PAE */
    if (m->vm->features & VMC_HAS_AVX) {
        s.cr4 |= 1u << 18; /* OSXSAVE */
        s.xcr0 = 7;
    }
    s.efer = 0xd00; /* NXE LMA LME */
    s.seg[VMC_CS] = (VmcSegment){.limit = 0xffffffff, .selector = 8, .attr = 0xa09b};
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        if (i != VMC_CS)
            s.seg[i] = (VmcSegment){.limit = 0xffffffff, .selector = 16, .attr = 0xc093};
    s.seg[VMC_GS].base = PAGE_C;
    s.idt.limit = 0; /* any exception is a shutdown */
    s.rip = CODE;
    s.gpr[VMC_RAX] = 1;
    s.gpr[VMC_RDX] = 2;
    s.gpr[VMC_RCX] = 3;
    s.gpr[VMC_RBX] = s.gpr[VMC_RSI] = s.gpr[12] = PAGE_A;
    s.gpr[VMC_RDI] = s.gpr[13] = PAGE_B;
    s.gpr[VMC_RBP] = PAGE_A + 0x80;
    s.gpr[VMC_RSP] = PAGE_D + 0x800;
    s.gpr[14] = CODE + VMC_PAGE_SIZE;
    assert_true(vmc_cpu_soft.set_state(m->cpu, &s, NULL));
}

static void machine_init(struct machine *m, const struct snippet *s)
{
    static const uint8_t ret = 0xc3, string[] = "eight by";
    GError *error = NULL;

    *m = (struct machine){vmc_memory_new(), vmc_bus_new("pio"), vmc_bus_new("mmio"), NULL, NULL};
    assert_true(vmc_memory_add(m->memory, "ram", 0, RAM, false, NULL));
    VmcCpuVmParams params = {.memory = m->memory,
                             .pio = m->pio,
                             .mmio = m->mmio,
                             .n_cpus = 1,
                             .engine = VMC_ENGINE_TRANSLATOR,
                             .code_cache_mib = 8};
    m->vm = vmc_cpu_soft.vm_new(&params, &error);
    assert_null(error);
    m->vm->translate_after = 0;
    m->cpu = vmc_cpu_soft.cpu_new(m->vm, 0, NULL, &error);
    assert_null(error);
    make_paging(m);
    assert_true((size_t)(s->end - s->text) < VMC_PAGE_SIZE);
    assert_true(vmc_memory_write(m->memory, CODE, s->text, (size_t)(s->end - s->text)));
    assert_true(vmc_memory_write(m->memory, CODE + VMC_PAGE_SIZE, &ret, 1));
    assert_true(vmc_memory_write(m->memory, PAGE_A + 16, string, sizeof string));
    put64(m, PAGE_A + 0x80, CODE + VMC_PAGE_SIZE);
    set_registers(m);
}

static void machine_clear(struct machine *m)
{
    vmc_cpu_soft.cpu_free(m->cpu);
    vmc_cpu_soft.vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
}

/* Instructions of the guest in one time round, the jump back among them, by the debugger's single steps. */
static unsigned guest_instructions(const struct snippet *s)
{
    static const VmcCpuDebug step = {.single_step = true};
    VmcCpuState now;
    struct machine m;
    unsigned n = 0;

    machine_init(&m, s);
    do {
        assert_true(vmc_cpu_soft.set_debug(m.cpu, &step, NULL));
        assert_int_equal(vmc_cpu_soft.run(m.cpu, NULL), VMC_EXIT_DEBUG);
        vmc_cpu_soft.get_state(m.cpu, &now);
    } while (++n < TRACE_MAX && now.rip != CODE);
    machine_clear(&m);
    return n;
}

/* Runs the snippet in `m` until `trace` is full. */
static void run_stepping(struct machine *m, bool bmi2)
{
    struct vmc_translator *t = m->cpu->translator;

    t->bmi2 = bmi2;
    memset(&trace, 0, sizeof trace);
    trace.cpu = m->cpu;
    trace.enter = t->enter;
    t->enter = enter_stepping;
    assert_int_equal(vmc_cpu_soft.run(m->cpu, NULL), VMC_EXIT_KICKED);
    assert_true(trace.done);
}

/* ---- what a failure shows ---- */

static void disassemble(const uint8_t *code, size_t size, uint64_t address, const char *note)
{
    ZydisDisassembledInstruction z;

    if (ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, address, code, size, &z)))
        print_message("    %8" G_GINT64_MODIFIER "x  %s%s\n", address, z.text, note);
}

/* The guest's code, and the host's in the order in which it ran; addresses are from the start of the code
 * memory. */
static void show(const struct snippet *s, const struct machine *m)
{
    const struct vmc_translator *t = m->cpu->translator;
    ZydisDisassembledInstruction z;

    print_message("  %s, guest:\n", s->name);
    for (const uint8_t *p = s->text; p < s->end; p += z.info.length) {
        disassemble(p, (size_t)(s->end - p), CODE + (uint64_t)(p - s->text), "");
        if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, p, (size_t)(s->end - p), &z)))
            break;
    }
    print_message("  %s, host%s:\n", s->name, t->bmi2 ? "" : " without BMI2");
    for (unsigned i = 0; i < trace.n[0]; i++) {
        size_t at = (size_t)(trace.rip[0][i] - t->rx);
        disassemble(trace.rip[0][i], t->size - at, at, at < t->thunks_end ? "   ; thunk" : "");
    }
}

/* ---- the tests ---- */

/* Host instructions of one time round, the jump back among them. Two of them are the same, and none leaves
 * the code memory. `shown`: with the code. */
static unsigned host_instructions(const struct snippet *s, bool bmi2, bool shown)
{
    struct machine m;

    machine_init(&m, s);
    run_stepping(&m, bmi2);
    if (shown)
        show(s, &m);
    if (trace.outside)
        fail_msg("%s: %u instructions of C code ran in two times round; its hot path is to be translated "
                 "code alone",
                 s->name, trace.outside);
    if (trace.n[0] != trace.n[1] || trace.n[0] == TRACE_MAX)
        fail_msg("%s: %u host instructions once round, then %u; the same number below %u was to be", s->name,
                 trace.n[0], trace.n[1], TRACE_MAX);
    machine_clear(&m);
    return trace.n[0];
}

/* What is left for the snippet when the jump back is taken off; that one is the first row itself. */
static unsigned without_jump_back(const struct snippet *s, unsigned n, unsigned jump)
{
    return s == snippets ? n : n - jump;
}

static bool host_has_bmi2(void)
{
    return __builtin_cpu_supports("bmi2");
}

static unsigned host_cost(const struct snippet *s, bool bmi2, bool shown)
{
    unsigned jump = host_instructions(snippets, bmi2, false);

    return without_jump_back(s, host_instructions(s, bmi2, shown), jump);
}

/* Which snippets' code is to be seen although nothing is wrong with it. */
static bool asked_for(const struct snippet *s)
{
    const char *word = g_getenv("ESPALIER_SHOW_CODE");

    return word && strstr(s->name, word);
}

static void a_snippet_costs_what_is_pinned(void **state)
{
    const struct snippet *s = *state;
    unsigned guest, host[2] = {0};

    if (s->needs & ~vmc_features_of_host()) {
        print_message("%s: this host's CPU lacks what it needs\n", s->name);
        skip();
    }
    guest = without_jump_back(s, guest_instructions(s), 1);
    if (guest != s->guest)
        fail_msg("%s: %u guest instructions ran, the table says %u; correct the table", s->name, guest,
                 s->guest);
    bool wrong = false;
    for (unsigned plain = host_has_bmi2() ? 0 : 1; plain < 2; plain++) {
        host[plain] = host_cost(s, !plain, asked_for(s));
        if (host[plain] == s->host[plain])
            continue;
        wrong = true;
        host_cost(s, !plain, true);
        print_message("%s%s: %u host instructions ran for %u guest instructions, pinned are %u\n", s->name,
                      plain ? " without BMI2" : "", host[plain], guest, s->host[plain]);
    }
    if (wrong)
        fail();
    print_message("  %-30s %4u guest %5u host %6.2f", s->name, guest, host[1], host[1] / (double)guest);
    if (host[0])
        print_message(" %6u with BMI2 %6.2f\n", host[0], host[0] / (double)guest);
    else
        print_message(" (no BMI2 on this host)\n");
}

int main(void)
{
    struct CMUnitTest tests[G_N_ELEMENTS(snippets)];

    for (unsigned i = 0; i < G_N_ELEMENTS(snippets); i++)
        tests[i] = (struct CMUnitTest){.name = snippets[i].name,
                                       .test_func = a_snippet_costs_what_is_pinned,
                                       .initial_state = (void *)(uintptr_t)&snippets[i]};
    return cmocka_run_group_tests_name("host instructions per guest instruction", tests, catch_traps, NULL);
}
