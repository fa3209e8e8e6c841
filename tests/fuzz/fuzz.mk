# make fuzz, fuzz-corpus, fuzz-seeded, and the replay of the committed corpus in `make test` (README.md).
FUZZ_SECONDS ?= 30
FUZZ_JOBS    ?= 1
FUZZ_CC      ?= clang
FUZZERS      ?= $(FUZZ_ALL)
FUZZ_ALL     := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# What clang warns of and gcc does not: a table's entries may end before the fields that are 0.
FUZZ_WARN      := -Wno-gnu-variable-sized-type-not-at-end -Wno-missing-field-initializers
FUZZ_FLAGS     := $(FUZZ_WARN) -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
COVERAGE_FLAGS := $(FUZZ_WARN) -O1 -g -fprofile-instr-generate=$(CURDIR)/build-fuzz/coverage/default.profraw -fcoverage-mapping
FUZZ_BUILD      = $(MAKE) B=build-fuzz CC="$(FUZZ_CC)" CFLAGS="$(FUZZ_FLAGS)"
COVERAGE_BUILD  = $(MAKE) B=build-fuzz/coverage CC="$(FUZZ_CC)" CFLAGS="$(COVERAGE_FLAGS)"
# With its own compiler, so that what is built for one is not taken for the other.
FUZZ_RUN        = FUZZ_COMPILE="$(FUZZ_CC) -std=gnu17 $(FUZZ_FLAGS) -D_GNU_SOURCE -Ivmcore/include -Ivmcore -I. $(CORE_CFLAGS)" \
	FUZZ_LIBS="$(CORE_LIBS)" \
	$(foreach t,$(FUZZ_ALL) $(SEEDED_TESTS),$(if $(LIBS_$t),FUZZ_LIBS_$t="$(LIBS_$t)")) tests/fuzz/run.py

# Some seeded bugs are for unit tests to find; they are run with the sanitizers, too.
SEEDED_TESTS    = $(sort $(filter test_%,$(shell cat tests/fuzz/seeded.txt)))

.PHONY: fuzz fuzz-corpus fuzz-seeded fuzz-replay fuzz-programs
fuzz-replay: $(FUZZ_ALL:%=$(B)/fuzz-replay/%)
fuzz-programs: $(FUZZERS:%=$(B)/fuzz/%)

ifdef WAY
# Each fuzzer for FUZZ_SECONDS, from the committed corpus and what earlier runs left in build-fuzz/corpus.
fuzz:
	+$(Q)$(FUZZ_BUILD) FUZZERS="$(FUZZERS)" fuzz-programs
	+$(Q)$(COVERAGE_BUILD) FUZZ_ALL="$(FUZZERS)" fuzz-replay
	$(Q)$(FUZZ_RUN) fuzz --seconds $(FUZZ_SECONDS) --jobs $(FUZZ_JOBS) $(FUZZERS)

# What of build-fuzz/corpus adds coverage goes into tests/fuzz/corpus, the smallest inputs first.
fuzz-corpus:
	+$(Q)$(FUZZ_BUILD) FUZZERS="$(FUZZERS)" fuzz-programs
	$(Q)$(FUZZ_RUN) corpus $(FUZZERS)

# One bug of each kind of mistake (vmcore/base/seeded.h): do the fuzzers find it in FUZZ_SECONDS? BUGS=... for some.
fuzz-seeded:
	+$(Q)$(FUZZ_BUILD) fuzz-programs $(SEEDED_TESTS:%=build-fuzz/tests/%)
	$(Q)$(FUZZ_RUN) seeded --seconds $(FUZZ_SECONDS) $(BUGS)
endif

FUZZ_COMMON = $(B)/obj/tests/fuzz/device.o $(B)/libespalier.a $(B)/libvmcore.a

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(FUZZ_COMMON)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ -o $@ $(LIBS_$*) $(CORE_LIBS)

# The same without libFuzzer: runs each file it is given once.
$(B)/fuzz-replay/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(FUZZ_COMMON)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(LIBS_$*) $(CORE_LIBS)
