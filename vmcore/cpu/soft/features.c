/*
 * Which extensions to offer (features.h). Handlers run the guest's vector instructions as the host's own, so
 * what the host lacks cannot be offered; the rest follows the same rule, so that a machine is like its host.
 *
 * Not offered is ADX: a program that has it prefers code in which the carries of ADCX and ADOX are alive
 * across every access to memory, where the look-up of the address needs the flags. openssl's RSA signed 25
 * times slower.
 *
 * Source: Intel SDM vol. 2 "CPUID", vol. 1 section 14.3 (how AVX is detected).
 */
#include "cpu/soft/features.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stddef.h>

#define XCR0_AVX 0x6u /* XMM and upper halves of YMM */

static const struct {
    uint8_t word, bit; /* enum vmc_feature_word */
    bool needs_avx;
    uint32_t feature;
} bits[] = {
    {VMC_CPUID_1_ECX, 1, false, VMC_HAS_PCLMUL}, {VMC_CPUID_1_ECX, 12, true, VMC_HAS_FMA},
    {VMC_CPUID_1_ECX, 22, false, VMC_HAS_MOVBE}, {VMC_CPUID_1_ECX, 25, false, VMC_HAS_AES},
    {VMC_CPUID_1_ECX, 26, false, VMC_HAS_XSAVE}, {VMC_CPUID_1_ECX, 28, true, VMC_HAS_AVX},
    {VMC_CPUID_1_ECX, 29, true, VMC_HAS_F16C},   {VMC_CPUID_1_ECX, 30, false, VMC_HAS_RDRAND},
    {VMC_CPUID_7_EBX, 3, false, VMC_HAS_BMI1},   {VMC_CPUID_7_EBX, 5, true, VMC_HAS_AVX2},
    {VMC_CPUID_7_EBX, 8, false, VMC_HAS_BMI2},   {VMC_CPUID_7_EBX, 18, false, VMC_HAS_RDSEED},
    {VMC_CPUID_7_EBX, 29, false, VMC_HAS_SHA},   {VMC_CPUID_EXT1_ECX, 5, false, VMC_HAS_LZCNT},
};

static uint32_t xgetbv(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t vmc_features_of_host(void)
{
    uint32_t words[VMC_FEATURE_WORDS] = {0}, other[3], features = 0;
    bool avx;

    __get_cpuid(1, &other[0], &other[1], &words[VMC_CPUID_1_ECX], &other[2]);
    __get_cpuid_count(7, 0, &other[0], &words[VMC_CPUID_7_EBX], &other[1], &other[2]);
    __get_cpuid(0x80000001, &other[0], &other[1], &words[VMC_CPUID_EXT1_ECX], &other[2]);
    avx = (words[VMC_CPUID_1_ECX] & bit_OSXSAVE) && (words[VMC_CPUID_1_ECX] & bit_AVX) &&
          (xgetbv() & XCR0_AVX) == XCR0_AVX;
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if ((words[bits[i].word] >> bits[i].bit & 1) && (avx || !bits[i].needs_avx))
            features |= bits[i].feature;
    return features;
}

uint32_t vmc_features_of_model(uint32_t features, const VmcCpuModelParams *model)
{
    VmcCpuidRegs one = {.c = UINT32_MAX}, seven = {.b = UINT32_MAX}, extended = {.c = UINT32_MAX};
    uint32_t kept = 0;

    vmc_cpu_model_cpuid(model, 0, 1, 0, &one);
    vmc_cpu_model_cpuid(model, 0, 7, 0, &seven);
    vmc_cpu_model_cpuid(model, 0, 0x80000001, 0, &extended);
    const uint32_t words[VMC_FEATURE_WORDS] = {
        [VMC_CPUID_1_ECX] = one.c, [VMC_CPUID_7_EBX] = seven.b, [VMC_CPUID_EXT1_ECX] = extended.c};
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if (words[bits[i].word] >> bits[i].bit & 1)
            kept |= bits[i].feature;
    return features & kept;
}

uint32_t vmc_features_shown(uint32_t features, enum vmc_feature_word word)
{
    uint32_t shown = 0;

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if (bits[i].word == word && (features & bits[i].feature))
            shown |= 1u << bits[i].bit;
    return shown;
}
