/*
 * How a qcow2 image looks on disk: "Qcow2 Image File Format" (QEMU docs/interop/qcow2), versions 2 and 3. All
 * numbers are big-endian. The words here are those of that document.
 */
#pragma once

#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

typedef struct __attribute__((packed)) Qcow2Header {
    uint32_t magic, version;
    uint64_t backing_file_offset;
    uint32_t backing_file_size, cluster_bits;
    uint64_t size;
    uint32_t crypt_method, l1_size;
    uint64_t l1_table_offset, refcount_table_offset;
    uint32_t refcount_table_clusters, nb_snapshots;
    uint64_t snapshots_offset;
    /* Version 3: */
    uint64_t incompatible_features, compatible_features, autoclear_features;
    uint32_t refcount_order, header_length;
    uint8_t compression_type, padding[7];
} Qcow2Header;

_Static_assert(sizeof(Qcow2Header) == 112, "as in the specification");

#define QCOW2_V2_HEADER_LENGTH 72u
#define QCOW2_V3_HEADER_LENGTH 104u

#define QCOW2_INCOMPAT_DIRTY       (1ull << 0)
#define QCOW2_INCOMPAT_CORRUPT     (1ull << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (1ull << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ull << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (1ull << 4)
#define QCOW2_COMPAT_LAZY          (1ull << 0)

/* Header extensions: type, length, data padded to a multiple of 8. */
#define QCOW2_EXT_END            0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURE_NAMES  0x6803f857u
#define QCOW2_EXT_BITMAPS        0x23852875u
#define QCOW2_EXT_ENCRYPTION     0x0537be77u
#define QCOW2_EXT_DATA_FILE      0x44415441u

typedef struct __attribute__((packed)) Qcow2FeatureName {
    uint8_t type; /* 0 incompatible, 1 compatible, 2 autoclear */
    uint8_t bit;
    char name[46];
} Qcow2FeatureName;

/* The part of a snapshot table entry that is always there. */
typedef struct __attribute__((packed)) Qcow2SnapshotEntry {
    uint64_t l1_table_offset;
    uint32_t l1_size;
    uint16_t id_length, name_length;
    uint32_t seconds, nanoseconds;
    uint64_t vm_clock;
    uint32_t vm_state_size, extra_size;
} Qcow2SnapshotEntry;

_Static_assert(sizeof(Qcow2SnapshotEntry) == 40, "as in the specification");

/* Entries of L1 and L2 tables. */
#define QCOW2_OFFSET     0x00fffffffffffe00ull
#define QCOW2_COPIED     (1ull << 63) /* the refcount is exactly one: may be written in place */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO       (1ull << 0)
/* What has to be 0 in a standard cluster's entry, but for QCOW2_ZERO. */
#define QCOW2_RESERVED 0x3f000000000001feull
/* Where a cluster can lie: bits 9 to 55. */
#define QCOW2_HOST_MAX (1ull << 56)

/* What we accept, which is what QEMU accepts. */
#define QCOW2_CLUSTER_BITS_MIN   9u
#define QCOW2_CLUSTER_BITS_MAX   21u
#define QCOW2_REFCOUNT_ORDER_MAX 6u
#define QCOW2_L1_BYTES_MAX       (32u << 20)
#define QCOW2_REFTABLE_BYTES_MAX (8u << 20)
#define QCOW2_SNAPSHOTS_MAX      65536u
#define QCOW2_BACKING_NAME_MAX   1023u
