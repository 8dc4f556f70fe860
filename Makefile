# The doors to the project; CMake does the work. `make help` lists them.

PRESET ?= dev
BUILD   = build/$(PRESET)
JOBS   ?= $(shell nproc)
ARGS   ?=
ONLY   ?=
PREFIX ?= /usr/local

folders = events projections storage actors api providers cli bench examples tests
sources = $(shell git ls-files -co --exclude-standard -- $(folders:%='%/*.cpp') $(folders:%='%/*.hpp'))

.DEFAULT_GOAL := build
.PHONY: help packages configure build serve test bench demo format format-check tidy asan tsan \
        debug check-debian13 check-docker install clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 18
	@echo
	@echo "PRESET=dev|release|debug|asan|tsan  JOBS=n  ONLY=regex (test, bench)  ARGS='...' (serve, bench)"

packages:
	@cmake/install-packages.sh build

configure: packages
	@test -f $(BUILD)/build.ninja || cmake --preset $(PRESET)

build: configure ## compile everything
	@cmake --build $(BUILD) -j $(JOBS)

serve: configure ## compile and run the server; ARGS are passed on
	@cmake --build $(BUILD) -j $(JOBS) --target recalld
	@exec $(BUILD)/recalld serve $(ARGS)

test: build ## compile and run the tests; ONLY=regex picks some
	@cd $(BUILD) && exec ctest --output-on-failure --no-tests=error -j 2 $(if $(ONLY),-R '$(ONLY)')

bench: PRESET = release
bench: configure ## compile and run the benchmarks; ONLY=regex picks some
	@cmake --build $(BUILD) -j $(JOBS) --target recalld_bench recalld
	@exec $(BUILD)/recalld_bench $(if $(ONLY),--only '$(ONLY)') $(ARGS)

demo: build ## a walk through the server
	@BUILD=$(BUILD) examples/demo.sh

asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test PRESET=asan

tsan: ## the tests under ThreadSanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

debug: ## compile without optimisation, for a debugger
	@$(MAKE) --no-print-directory build PRESET=debug

format: ## bring our C++ into its form
	@cmake/install-packages.sh develop
	@$(if $(sources),clang-format -i $(sources))

format-check: ## fail if `make format` would change something
	@cmake/install-packages.sh develop
	@$(if $(sources),clang-format --dry-run --Werror $(sources))

tidy: packages ## clang-tidy over our folders; ONLY=regex picks files
	@cmake/install-packages.sh develop
	@cmake/run-tidy.sh '$(ONLY)'

check-debian13: ## make test on Debian 13, in a chroot below build/; ONLY=regex picks
	@cmake/install-packages.sh bootstrap
	@ONLY='$(ONLY)' cmake/check-debian13.sh

check-docker: ## run the steps of docker/Dockerfile in chroots below build/, and the server in the image
	@cmake/install-packages.sh bootstrap
	@docker/check.py

install: PRESET = release
install: configure ## install the release build below PREFIX (and DESTDIR)
	@cmake --build $(BUILD) -j $(JOBS)
	@cmake --install $(BUILD) --prefix $(PREFIX) --strip

clean: ## remove the build trees (not the Debian 13 chroot)
	@rm -rf build/dev build/release build/debug build/asan build/tsan build/tidy
