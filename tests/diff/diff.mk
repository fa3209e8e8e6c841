# The differential test (tests/diff/diff.h). `make test` runs it for a bounded time; `make test-diff
# DIFF_SECONDS=600 DIFF_ENGINE=translator` for longer.
DIFF_SECONDS ?= 600
DIFF_SEED    ?=
DIFF_ENGINE  ?=
DIFF_SRC     := $(wildcard tests/diff/*.c)
DIFF_OBJ     := $(DIFF_SRC:%.c=$(B)/obj/%.o)

# The oracle's signal handler runs with the snippet's FS base: no thread-local storage, hence neither of these.
$(B)/obj/tests/diff/native.o: BASE_CFLAGS += -fno-stack-protector -fno-sanitize=all

$(B)/difftest: $(DIFF_OBJ) $(B)/libvmcore.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ -lZydis $(CORE_LIBS)

.PHONY: difftest
difftest: $(B)/difftest

# `make test` finds it through tests/diff/test_diff.sh.
unit-tests: $(B)/difftest

.PHONY: test-diff
test-diff: $(B)/difftest
	$(Q)$(B)/difftest --corpus tests/diff/corpus --seconds $(DIFF_SECONDS) $(if $(DIFF_SEED),--seed $(DIFF_SEED)) \
		$(if $(DIFF_ENGINE),--engine $(DIFF_ENGINE))

# The engines against each other on random programs (fuzz/fuzz.h). `make test` runs it for some seconds.
FUZZ_CPU_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/diff/fuzz/*.c)) \
	$(addprefix $(B)/obj/tests/diff/,judge.o generate.o registers.o aim.o sequence.o memory.o)

$(B)/fuzzcpu: $(FUZZ_CPU_OBJ) $(B)/libvmcore.a
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ -lZydis $(CORE_LIBS)

unit-tests: $(B)/fuzzcpu

.PHONY: fuzz-cpu
fuzz-cpu: $(B)/fuzzcpu
	$(Q)$(B)/fuzzcpu --seconds $(if $(filter command environment,$(firstword $(origin FUZZ_SECONDS))),$(FUZZ_SECONDS),1800)
