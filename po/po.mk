# Translations. Included by the Makefile.
#
# A catalogue becomes build/locale/LANGUAGE/LC_MESSAGES/espalier.mo, where the programs of a source tree find it; the
# desktop entry and the metainfo get their translations written in. `make po` brings the catalogues up to date with the
# sources; strings that changed are marked fuzzy, and tests/ui/test_languages.py fails until somebody has looked at them.

LINGUAS := $(shell sed /^\#/d po/LINGUAS)
MO := $(LINGUAS:%=$(B)/locale/%/LC_MESSAGES/espalier.mo)
PO_SRC = $(sort $(shell git ls-files -co --exclude-standard 'app/*.c' 'ui/*.c' 'vmcore/*.c' 'resources/*.ui' 'resources/gtk/*.ui'))
PO_DATA := data/org.espalier.Espalier.desktop data/org.espalier.Espalier.metainfo.xml data/org.espalier.Espalier.gschema.xml

.PHONY: translations pot po
translations: $(MO) $(B)/share/org.espalier.Espalier.desktop $(B)/share/org.espalier.Espalier.metainfo.xml

$(B)/locale/%/LC_MESSAGES/espalier.mo: po/%.po
	@mkdir -p $(@D)
	$(Q)msgfmt -c -o $@ $<

$(B)/share/%.desktop: data/%.desktop po/LINGUAS $(wildcard po/*.po)
	@mkdir -p $(@D)
	$(Q)msgfmt --desktop --template=$< -d po -o $@

$(B)/share/%.metainfo.xml: data/%.metainfo.xml po/LINGUAS $(wildcard po/*.po)
	@mkdir -p $(@D)
	$(Q)msgfmt --xml --template=$< -d po -o $@

ifdef WAY
# Everything a person may read.
pot:
	@mkdir -p $(B)/gen
	$(Q)xgettext --from-code=UTF-8 --package-name=Espalier --copyright-holder='The Espalier authors' \
		--keyword=_ --keyword=N_ --keyword=C_:1c,2 --keyword=NC_:1c,2 --keyword=ngettext:1,2 \
		--flag=_:1:pass-c-format --add-comments=Translators --sort-by-file -o $(B)/gen/espalier.pot $(PO_SRC) $(PO_DATA)
	$(Q)sed -i 's|^"POT-Creation-Date: .*|"POT-Creation-Date: \\n"|' $(B)/gen/espalier.pot

po: pot
	$(Q)for language in $(LINGUAS); do \
		if [ -f po/$$language.po ]; then \
			msgmerge --quiet --update --backup=none --no-fuzzy-matching po/$$language.po $(B)/gen/espalier.pot; \
			msgattrib --no-obsolete -o po/$$language.po po/$$language.po; \
		else \
			msginit --no-translator -l $$language.UTF-8 -i $(B)/gen/espalier.pot -o po/$$language.po; \
		fi; done
endif
