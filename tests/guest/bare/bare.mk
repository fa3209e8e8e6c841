# The bare-metal guests of tests/unit/test_bare.c: flat binaries for 8000h.
BARE := $(patsubst tests/guest/bare/%.S,$(B)/bare/%.bin,$(wildcard tests/guest/bare/*.S))

$(B)/bare/%.bin: tests/guest/bare/%.S tests/guest/bare/bare.h
	@mkdir -p $(@D)
	$(Q)$(CC) -m64 -c -x assembler-with-cpp -Itests/guest/bare $< -o $(@:.bin=.o)
	$(Q)$(LD) -m elf_x86_64 -N -Ttext=0x8000 -e start --no-warn-rwx-segments --oformat binary $(@:.bin=.o) -o $@

$(B)/tests/test_bare: | $(BARE)
