/* What a software CPU has beyond x86-64-v2: decided once per machine, as far as the host's CPU has it too. */
#pragma once

#include <stdint.h>

#include "cpu/model.h"

enum {
    VMC_HAS_MOVBE = 1 << 0,
    VMC_HAS_LZCNT = 1 << 1,
    VMC_HAS_BMI1 = 1 << 2, /* with TZCNT */
    VMC_HAS_BMI2 = 1 << 3,
    VMC_HAS_XSAVE = 1 << 5,
    VMC_HAS_AVX = 1 << 6,  /* implies XSAVE */
    VMC_HAS_AVX2 = 1 << 7, /* this and the next two imply AVX */
    VMC_HAS_FMA = 1 << 8,
    VMC_HAS_F16C = 1 << 9,
    VMC_HAS_AES = 1 << 10,
    VMC_HAS_PCLMUL = 1 << 11,
    VMC_HAS_SHA = 1 << 12,
    VMC_HAS_RDRAND = 1 << 13,
    VMC_HAS_RDSEED = 1 << 14,
};

/* Registers of CPUID in which they are shown. */
enum vmc_feature_word { VMC_CPUID_1_ECX, VMC_CPUID_7_EBX, VMC_CPUID_EXT1_ECX, VMC_FEATURE_WORDS };

/* VMC_HAS_* of this host, AVX only with an operating system that keeps its registers. Thread-safe. */
uint32_t vmc_features_of_host(void);
/* Those of `features` that a guest of the model sees and so may use. */
uint32_t vmc_features_of_model(uint32_t features, const VmcCpuModelParams *model);
/* The bits that show `features` in a register of CPUID. */
uint32_t vmc_features_shown(uint32_t features, enum vmc_feature_word word);
