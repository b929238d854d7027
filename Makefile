# Thin names over CMake. After `make deps` plain `cmake -S . -B build && cmake --build build` works.
BUILD ?= build
BUILD_TYPE ?= Release
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
PORT ?= 8000
CUDA_ARCHITECTURES ?= 90a-real;110a-real
export CTEST_PARALLEL_LEVEL ?= $(JOBS)
# Tests share the cores: a thread that waits must not spin.
export OMP_WAIT_POLICY ?= passive

# Ninja for a fresh folder; a folder someone configured keeps its generator.
configure = cmake -S . -B $(1) $(if $(wildcard $(1)/CMakeCache.txt),,-G Ninja)
compile = cmake --build $(1) -j $(JOBS)

.PHONY: help deps build demo serve soak test asan tsan cuda bundle bench format check fuzz clean

help:
	@echo "make demo    install, build, check one recorded case, run a small policy on pictures"
	@echo "make test    install, build, run all tests"
	@echo "make serve   install, build, serve a small policy on PORT=8000 until Ctrl-C"
	@echo "also: deps build soak asan tsan cuda bundle bench format check fuzz clean"

deps:
	tools/install_deps.sh build test sim training bindings client browser fuzz format

build:
	tools/install_deps.sh build sim
	$(call configure,$(BUILD)) -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) \
	  $(if $(wildcard $(BUILD)/CMakeCache.txt),,-DTENDON_TESTS=OFF)
	$(call compile,$(BUILD)) --target tendon

demo: build
	tools/demo.sh $(BUILD)

serve: build
	tools/install_deps.sh serve client
	tools/serve.sh $(BUILD) $(PORT)

# Mixed load on the server for SOAK_SECONDS, after which its memory must not have grown.
soak:
	tools/install_deps.sh build test
	$(call configure,$(BUILD)) -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) -DTENDON_TESTS=ON
	$(call compile,$(BUILD)) --target tendon serve_soak
	$(BUILD)/bin/serve_soak --tendon $(BUILD)/bin/tendon --work $(BUILD)/soak \
	  --seconds $(SOAK_SECONDS)

test:
	tools/install_deps.sh build test sim training bindings client browser
	$(call configure,$(BUILD)) -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) -DTENDON_TESTS=ON
	$(call compile,$(BUILD))
	ctest --test-dir $(BUILD) --output-on-failure

# Tests under the sanitizers; each takes a build of its own. Threads: the layers that share memory
# between threads; OpenMP's own runtime is not instrumented and would only raise false alarms.
asan:
	tools/install_deps.sh build test sim
	cmake --preset asan
	$(call compile,build-asan)
	ctest --preset asan

tsan:
	tools/install_deps.sh build test
	cmake --preset tsan
	$(call compile,build-tsan) --target test_base test_server
	ctest --preset tsan

# Compiles for the architectures of CUDA_ARCHITECTURES and runs what of the backend's tests needs no
# GPU; needs nvcc.
cuda: export PATH := $(PATH):/usr/local/cuda/bin
cuda:
	tools/install_deps.sh build test cuda
	cmake --preset cuda "-DTENDON_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)"
	$(call compile,build-cuda)
	build-cuda/bin/test_cuda --gtest_brief=1

bundle: cuda
	tools/bundle.sh build-cuda

# MODEL names a checkpoint; without it a small synthetic one is made.
MODEL ?= $(BUILD)/bench/pi05_mini
bench: build
	$(if $(wildcard $(MODEL)),,$(BUILD)/bin/tendon synth pi05 --size mini --out $(MODEL))
	$(BUILD)/bin/tendon bench $(MODEL)

format:
	tools/install_deps.sh format
	tools/format.sh -i

check:
	tools/install_deps.sh format
	tools/format.sh --dry-run -Werror
	python3 tools/check_layers.py
	python3 tools/size_report.py

fuzz:
	tools/install_deps.sh build fuzz
	cmake --preset fuzz
	$(call compile,build-fuzz) --target fuzzers
	tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

clean:
	rm -rf build build-asan build-tsan build-cuda build-fuzz
