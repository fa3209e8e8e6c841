/*
 * Vectors in a guest: several processes that keep all their YMM registers full while the kernel switches
 * between them and signals interrupt them, the C library's string functions, which choose AVX2 where it is,
 * and a product of matrices with FMA. Prints "avx: all right" at the end, or what was wrong.
 *
 *     avx PROCESSES ROUNDS
 */
#include <immintrin.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define AVX __attribute__((target("avx2,fma,bmi,bmi2,f16c,movbe,lzcnt")))

static volatile unsigned signals;

static int wrong(const char *what, unsigned a, unsigned b)
{
    printf("avx: wrong: %s %u %u\n", what, a, b);
    return 1;
}

/* Spoils every vector register; the kernel puts them back. */
AVX static void on_alarm(int signal)
{
    (void)signal;
    signals++;
    __asm__ volatile("vzeroall" ::: "memory");
}

#define EACH(M)  M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define LOAD(n)  "vmovdqu " #n "*32(%0), %%ymm" #n "\n\t"
#define STORE(n) "vmovdqu %%ymm" #n ", " #n "*32(%1)\n\t"

/* All sixteen registers full, a system call that lets others run, and a while of nothing. */
AVX static int keeps_registers(unsigned number, unsigned rounds)
{
    uint32_t in[16 * 8], out[16 * 8];

    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 16 * 8; i++)
            in[i] = number << 24 ^ round << 8 ^ i * 2654435761u;
        memset(out, 0, sizeof(out));
        __asm__ volatile(
            EACH(LOAD) "mov $24, %%eax\n\tsyscall\n\t"
                       "mov $20000, %%ecx\n1:\n\tdec %%ecx\n\tjnz 1b\n\t" EACH(STORE) "vzeroupper"
            :
            : "r"(in), "r"(out)
            : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
              "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
        if (memcmp(in, out, sizeof(in)) != 0)
            return wrong("registers of process, round", number, round);
    }
    return 0;
}

/* The string functions at every alignment and many lengths, against loops that no compiler makes better. */
static int strings(void)
{
    static char a[600], b[600];

    for (unsigned at = 0; at < 40; at++)
        for (unsigned n = 0; n < 300; n += 1 + n / 16) {
            volatile char *plain = a;

            for (unsigned i = 0; i < sizeof(a); i++)
                plain[i] = (char)('a' + (i * 7 + at) % 23);
            memset(b, 'z', sizeof(b));
            plain[at + n] = 0;
            if (strlen(a + at) != n)
                return wrong("strlen", at, n);
            if (memchr(a + at, 0, 400) != a + at + n || strchr(a + at, 0) != a + at + n)
                return wrong("memchr", at, n);
            memcpy(b + 1, a + at, n + 1);
            for (unsigned i = 0; i <= n; i++)
                if (b[1 + i] != a[at + i])
                    return wrong("memcpy", at, n);
            if (b[0] != 'z' || b[n + 2] != 'z')
                return wrong("memcpy around it", at, n);
            if (strcmp(b + 1, a + at) != 0 || memcmp(b + 1, a + at, n + 1) != 0)
                return wrong("strcmp", at, n);
            memmove(b + 9, b + 1, n + 1);
            if (strcmp(b + 9, a + at) != 0)
                return wrong("memmove", at, n);
        }
    return 0;
}

/* Small integers in floating point: the product is exact, however it is computed. */
AVX static int matrices(void)
{
    enum { N = 32 };
    static float a[N][N], b[N][N], c[N][N];

    for (unsigned i = 0; i < N * N; i++) {
        a[i / N][i % N] = (float)(i * 7 % 15) - 7;
        b[i / N][i % N] = (float)(i * 5 % 13) - 6;
    }
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j += 8) {
            __m256 sum = _mm256_setzero_ps();

            for (unsigned k = 0; k < N; k++)
                sum = _mm256_fmadd_ps(_mm256_set1_ps(a[i][k]), _mm256_loadu_ps(&b[k][j]), sum);
            _mm256_storeu_ps(&c[i][j], sum);
        }
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < N; j++) {
            int sum = 0;

            for (unsigned k = 0; k < N; k++)
                sum += (int)a[i][k] * (int)b[k][j];
            if (c[i][j] != (float)sum)
                return wrong("product of matrices at", i, j);
        }
    return 0;
}

static int work(unsigned number, unsigned rounds)
{
    struct itimerval often = {{0, 3000}, {0, 3000}};

    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    if (keeps_registers(number, rounds) || strings() || matrices())
        return 1;
    return signals ? 0 : wrong("no signal came to process", number, 0);
}

int main(int argc, char **argv)
{
    unsigned processes = argc > 1 ? (unsigned)atoi(argv[1]) : 4,
             rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 100;
    int status, failed = 0;

    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2")) {
        printf("avx: not here\n");
        return 0;
    }
    for (unsigned i = 0; i < processes; i++)
        if (fork() == 0)
            exit(work(i + 1, rounds));
    while (wait(&status) > 0)
        failed |= status;
    printf(failed ? "avx: failed\n" : "avx: all right\n");
    return failed != 0;
}
