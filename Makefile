# cubhttpd: `make` builds it, `make run` shows it, `make test` proves it, `make help` tells the rest.
#
# Objects live in build/BUILD/.  The default build leaves its program at ./cubhttpd, every other one at
# build/BUILD/cubhttpd: BUILD=asan and BUILD=static are known, any other name is yours to go with flags of yours,
# as in  make BUILD=tiny CPPFLAGS='-DCONFIG_FCGI=0 -DCONFIG_LISTING=0'.

BUILD  ?= default
PREFIX ?= /usr/local
STRIP  ?= $(patsubst %ar,%strip,$(AR:%gcc-ar=%ar))
OUT     = build/$(BUILD)
SRC     = $(filter-out $(if $(TLS),,$(TLS_ROOMS)),$(wildcard *.c))
OBJ     = $(SRC:%.c=$(OUT)/%.o)
ROOMS   = $(OUT)/rooms.a
PROGRAM = $(if $(filter default,$(BUILD)),cubhttpd,$(OUT)/cubhttpd)

WARN    = -Wall -Wextra -Wundef -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
FLAGS   = -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -std=c11 $(WARN) -ffunction-sections -fdata-sections
LINK    = -Wl,--gc-sections

# The static build is the one that ships: every switch here takes bytes off it and none of them speed.  Those that not
# every compiler or processor has are tried first: the program seen whole, and data aligned as the ABI asks, no wider.
TRY     = $(shell echo 'int main(void) { return 0; }' | $(CC) -Werror $1 -x c -o /dev/null - 2>/dev/null && echo '$1')
SMALL   = $(TRIED) -DNDEBUG -fno-asynchronous-unwind-tables -fno-stack-protector -fno-ident -fno-pie -fno-pic
SMALLER = -static -no-pie -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--build-id=none -Wl,--sort-section=alignment \
	  -Wl,-z,common-page-size=64
SAN     = -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=address,undefined

CFLAGS_static  = $(OPT)
CFLAGS_asan    = -O1 -g
CFLAGS_fuzz    = -O1 -g
MORE_static    = $(SMALL)
# The sanitizers have a crypt() of their own, around one that is not there.
MORE_asan      = $(SAN) -DCONFIG_CHECKS=1 -DCONFIG_CRYPT=0 -DCONFIG_TLS_LEGACY=1
MORE_fuzz      = $(SAN),fuzzer-no-link -DCONFIG_CHECKS=1 -DCONFIG_CRYPT=0
LINK_static    = $(SMALLER) $(SCRIPT)
LINK_asan      = $(SAN)
LINK_fuzz      = $(SAN)
CC_static      = musl-gcc
CC_fuzz        = clang

ifeq ($(origin CC),default)
CC := $(or $(CC_$(BUILD)),cc)
endif
ifeq ($(BUILD),static)
OPT    := $(or $(call TRY,-Oz),-Os)
SCRIPT := $(call TRY,-static -T contrib/small.ld)
TRIED  := $(call TRY,-flto -flto-partition=none) $(call TRY,-malign-data=abi)
# Not for what TLS computes with: fewer bytes here, and fewer instructions a request, but not in loops over numbers.
OWN    := $(call TRY,-fno-jump-tables -fno-move-loop-invariants -fno-tree-tail-merge)
endif
CFLAGS ?= $(or $(CFLAGS_$(BUILD)),-O2 -g)
FLAGS  += $(MORE_$(BUILD)) $(OWN) $(CFLAGS) $(CPPFLAGS) $(CRYPT:1=-DCONFIG_CRYPT=1) $(BEARSSL:%=-isystem %/inc)
LINK   += $(LINK_$(BUILD)) $(CRYPT:1=-Wl,-u,crypt -Wl,--no-as-needed -lcrypt) $(LDFLAGS)

# TLS: BearSSL from its source tree, built along (make BEARSSL=DIR; test/bearssl fetches one to build/bearssl), else the
# library that the compiler finds, else none, and no TLS then.  Rooms that name BearSSL compile only where it is.
TLS_ROOMS = tls.c handshake.c offer.c https.c certificate.c selfmade.c sha2.c prf.c verify.c
# A compiler for another processor may find the header of a library that it cannot link.
FINDS   = $(shell echo 'int main(void) { return 0; }' | $(CC) $(CPPFLAGS) $(LDFLAGS) -include bearssl.h -x c $1 \
	  2>/dev/null && echo yes)
ifneq ($(filter static,$(BUILD)),)
BEARSSL ?= $(wildcard build/bearssl)
endif
ifneq ($(BEARSSL),)
TLS     = $(OUT)/bearssl.a
BEAR    = $(wildcard $(BEARSSL)/src/*.c $(BEARSSL)/src/*/*.c)
LINK   += $(TLS)
else ifeq ($(call FINDS,-o /dev/null - -lbearssl),yes)
TLS     = -lbearssl
LINK   += -Wl,--as-needed $(TLS)
else ifeq ($(call FINDS,-fsyntax-only -),yes)
FLAGS  += -DCONFIG_TLS=0
endif

all: $(PROGRAM)

$(OUT)/bearssl.a: $(BEAR:$(BEARSSL)/src/%.c=$(OUT)/bearssl/%.o)
	rm -f $@ && $(AR) rcs $@ $^

$(OUT)/bearssl/%.o: $(BEARSSL)/src/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(CC) -I$(BEARSSL)/src -I$(BEARSSL)/inc -w -ffunction-sections -fdata-sections $(MORE_$(BUILD)) $(CFLAGS) \
	$(filter -mno-abicalls,$(CPPFLAGS)) $(BEARFLAGS) -c -o $@ $<

# What TLS computes with is to be fast; what it talks with takes the shorter instructions that the server has.
TALK    = ssl/% x509/% mac/% rand/% rsa/% ec/ecdsa_% hash/multihash
$(TALK:%=$(OUT)/bearssl/%.o): override BEARFLAGS += $(filter -m%,$(CPPFLAGS))
# Keys of ours are on P-256, so signing needs the numbers of no other curve.
$(OUT)/bearssl/ec/ecdsa_i31_sign_raw.o: override BEARFLAGS += -Dbr_secp384r1=br_secp256r1 -Dbr_secp521r1=br_secp256r1

$(PROGRAM): $(OBJ) $(filter %.a,$(TLS))
	$(CC) $(FLAGS) -o $@ $(OBJ) $(LINK)

# Everything but main, for the programs that have a main of their own.
$(ROOMS): $(filter-out $(OUT)/httpd.o,$(OBJ))
	rm -f $@ && $(AR) rcs $@ $^

$(OUT)/%.o: %.c $(OUT)/flags
	$(CC) $(FLAGS) -MMD -MP -c -o $@ $<

# Other flags, or a BearSSL or local.h that comes or goes, make every object old.
MADE_BY = '$(CC) $(FLAGS) $(TLS) $(LDFLAGS) $(wildcard local.h)'
$(OUT)/flags: FORCE
	@mkdir -p $(OUT)
	@echo $(MADE_BY) | cmp -s - $@ || echo $(MADE_BY) >$@

-include $(OBJ:.o=.d)

static asan:
	$(MAKE) BUILD=$@

# For other processors, into build/cross/ARCH/; all of them, or ARCH='mipsel armhf'.
cross:
	test/setup cross
	test/cross $(ARCH)

# -- installing ------------------------------------------------------------------------------------

TO      = '$(DESTDIR)$(PREFIX)'
install: $(PROGRAM)
	install -d $(TO)/sbin $(TO)/share/man/man8 $(TO)/share/man/man5
	install -m 755 $(PROGRAM) $(TO)/sbin/cubhttpd
	$(if $(STRIP),$(STRIP) $(TO)/sbin/cubhttpd)
	$(if $(STRIP),$(if $(filter static,$(BUILD)),contrib/bare $(TO)/sbin/cubhttpd))
	install -m 644 cubhttpd.8 $(TO)/share/man/man8
	install -m 644 cubhttpd.conf.5 $(TO)/share/man/man5

# A package of Debian with the static program, and the sources in one file.
VERSION := $(shell sed -n 's/^\#define VERSION "\(.*\)"/\1/p' httpd.h)
deb:
	contrib/debian/build $(ARCH)
dist:
	@mkdir -p build
	git archive --prefix=cubhttpd-$(VERSION)/ -o build/cubhttpd-$(VERSION).tar.gz HEAD
	contrib/packages build/cubhttpd-$(VERSION).tar.gz

# -- showing ---------------------------------------------------------------------------------------

run:
	test/setup run
	$(MAKE) all
	demo/run

wordpress:
	test/setup wordpress
	$(MAKE) all
	demo/wordpress

size:
	test/setup cross
	test/sizes --all $(ARCH)

# A whole router in qemu: mipsel and arm64, or ARCH=armhf.  Long, so not part of the test.
router:
	test/setup router
	test/bearssl || true
	test/router $(ARCH)

# -- proving ---------------------------------------------------------------------------------------

FUZZ_TIME ?= 60
UNITS      = $(filter-out $(if $(TLS),,sha2),$(patsubst test/unit/%.c,%,$(wildcard test/unit/*.c)))
AIDS       = $(wildcard test/unit/*.h test/fuzz/*.h)
FUZZERS    = $(filter-out replay $(if $(TLS),,tls),$(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/*.c)))
CORPUS     = test/fuzz/corpus

test:
	test/setup test
	test/all

unit:
	$(MAKE) BUILD=asan run-units
replay:
	$(MAKE) BUILD=asan run-replay
fuzz:
	$(MAKE) BUILD=fuzz run-fuzz

run-units: $(UNITS:%=$(OUT)/unit-%)
	@for u in $^; do $$u || exit 1; done

$(OUT)/unit-%: test/unit/%.c $(ROOMS) $(AIDS) $(filter %.a,$(TLS))
	$(CC) $(FLAGS) -I. -MMD -MP -o $@ $< $(ROOMS) $(LINK)

# The corpora once through each fuzzer, without libFuzzer, so that any compiler will do.
run-replay: $(FUZZERS:%=$(OUT)/replay-%)
	@for f in $(FUZZERS); do $(OUT)/replay-$$f $(CORPUS)/$$f || exit 1; done

$(OUT)/replay-%: test/fuzz/%.c test/fuzz/replay.c $(ROOMS) $(AIDS)
	$(CC) $(FLAGS) -I. -o $@ $< test/fuzz/replay.c $(ROOMS) $(LINK)

# What is found goes to build/fuzz/NAME; what is worth keeping is copied to the corpus by hand.
run-fuzz: $(FUZZERS:%=$(OUT)/fuzz-%)
	@for f in $(FUZZERS); do mkdir -p $(OUT)/$$f $(CORPUS)/$$f; echo "fuzz $$f"; \
	$(OUT)/fuzz-$$f -max_total_time=$(FUZZ_TIME) -timeout=10 -verbosity=0 -print_final_stats=1 \
	-artifact_prefix=$(OUT)/$$f- $(OUT)/$$f $(CORPUS)/$$f || exit 1; done

$(OUT)/fuzz-%: test/fuzz/%.c $(ROOMS) $(AIDS)
	$(CC) $(FLAGS) -fsanitize=fuzzer -I. -o $@ $< $(ROOMS) $(LINK)

# The whole connection runs over sockets of test/fuzz/fake.h.
FAKED = $(addprefix call_,close connect epoll_create1 epoll_ctl epoll_wait getsockname getsockopt setsockopt shutdown \
	socket write) log_access pread recv send sendfile sendmsg
$(OUT)/fuzz-conn $(OUT)/replay-conn: LINK += $(FAKED:%=-Wl,--wrap=%)

-include $(UNITS:%=$(OUT)/unit-%.d)

# Every feature alone off and alone on: none may need another, and each tells what it weighs.  The words are those
# of config.h; one compiler call makes a whole program.
WORDS  := $(shell sed -n 's/^\#define \(CONFIG_[A-Z0-9_]*\) [01].*/\1/p' config.h | sort -u)
COMBOS  = shipped all-on all-off router $(WORDS:CONFIG_%=without-%) $(WORDS:CONFIG_%=only-%)
DEFINE  = $(if $(filter all-on,$1),$(WORDS:%=-D%=1)) $(if $(filter all-off only-%,$1),$(foreach w,$(WORDS), \
	  -D$w=$(if $(filter only-$(w:CONFIG_%=%),$1),1,0))) $(if $(filter without-%,$1),-D$(1:without-%=CONFIG_%)=0) \
	  $(if $(filter with-%,$1),-D$(1:with-%=CONFIG_%)=1) \
	  $(if $(filter router,$1),$(ROUTER:%=-D%=0))
ROUTER  = $(filter CONFIG_CLIENT_CERTS CONFIG_TLS_CLIENT CONFIG_HELP CONFIG_SHOW,$(WORDS))
MATRIX  = $(COMBOS:%=build/matrix/%)

matrix:
	@$(MAKE) -s -j$$(nproc) $(MATRIX) WERROR=1 BUILD=static
	@size $(MATRIX) | awk 'NR > 1 { sub(".*/", "", $$6); n = $$1 + $$2; if (NR == 2) base = n; \
	printf "%-24s %7d bytes %+7d, and %6d cleared at start\n", $$6, n, n - base, $$3 }'

build/matrix/%: $(SRC) $(wildcard *.h) Makefile $(filter %.a,$(TLS))
	@mkdir -p $(@D)
	$(CC) $(FLAGS) $(call DEFINE,$(notdir $*)) -o $@ $(SRC) $(LINK)

man:
	@! command -v mandoc >/dev/null || mandoc -Tlint -W warning cubhttpd.8 cubhttpd.conf.5

clean:
	rm -rf build cubhttpd

help:
	@echo 'make                  ./cubhttpd'
	@echo 'make static           build/static/cubhttpd: musl, small, the form that ships'
	@echo 'make BUILD=asan       build/asan/cubhttpd, with sanitizers and checks'
	@echo "make cross            build/cross/ARCH/cubhttpd for other processors; ARCH='mipsel armhf'"
	@echo 'make run              a demo site at http://localhost:8000 and https://localhost:8443'
	@echo 'make wordpress        WordPress at http://localhost:8000/wordpress, by https at 8443'
	@echo 'make test             everything: builds, units, corpora, matrix, end to end'
	@echo 'make unit replay fuzz matrix man        its parts; FUZZ_TIME=60 for each fuzzer'
	@echo 'make size             bytes of the static builds, by processor; writes the table of README'
	@echo 'make router           routers in qemu, with cubhttpd in their initramfs; ARCH=armhf'
	@echo 'make deb dist         build/cubhttpd_VERSION_ARCH.deb; build/cubhttpd-VERSION.tar.gz, and build/contrib with its sums'
	@echo 'make install          below DESTDIR, PREFIX=/usr/local'
	@echo 'Honoured: CC CFLAGS CPPFLAGS LDFLAGS WERROR=1 BUILD=NAME BEARSSL=DIR CRYPT=1'

FORCE:
.PHONY: all static asan cross router deb dist install run wordpress size test unit replay fuzz run-units run-replay
.PHONY: run-fuzz matrix man clean help FORCE
