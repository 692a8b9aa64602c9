# One entry for people and for CI. `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo check test suite shipped configurations instructions layout adaptive lint build package rules tools bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work: nats-server, the daemon and a webhook, told step by step
	@tests/install-tools.sh nats
	cargo build --profile demo --locked --package broadcaster --package demo --bins
	@$(call program,demo/demo)

check: ## what is quick to say: formatting, clippy and the unit tests
	@$(step) formatting cargo fmt --all --check
	@$(step) clippy $(clippy)
	@$(step) 'unit tests' cargo test --locked --lib

test: lint ## all checks and all tests
	@$(call both,$(install_tools),$(call both,$(build_release),$(build_tests)))
	@$(MAKE) --no-print-directory suite shipped

suite: ## the tests of the development build
	@$(call both,$(install_tools),$(build_tests))
	@$(step) tests env RUST_TEST_THREADS=$(test_threads) cargo test --locked

shipped: ## the tests of the release build: its instructions, its memory, its image, its package, its configurations
	@$(call both,$(install_tools),$(build_release))
	@$(step) 'instructions per message' $(count)
	@$(step) 'idle memory' $(idle)
	@$(step) image $(image)
	@$(step) package $(MAKE) --no-print-directory package
	@$(step) 'tests of the package' env PACKAGES=$(call program,debian) \
		cargo test --locked --test package -- --ignored
	@$(step) configurations $(MAKE) --no-print-directory configurations

configurations:
	@for file in config/*.toml config/examples/*.toml; do \
		case $$file in */demo.toml | */examples/*) url=http://127.0.0.1:8080 ;; *) url= ;; esac; \
		echo "broadcaster check --config $$file"; \
		env BROADCASTER__ROUTES__TODOS__WEBHOOK__URL=$$url \
			BROADCASTER__ROUTES__TODOS__WEBHOOK__SECRETS__ROUTING_KEY=made-up \
			$(call program,release/broadcaster) check --config "$$file" >/dev/null || exit; \
	done

instructions: build ## renew tests/instructions.toml: what a message costs the daemon, which `make test` compares
	@tests/install-tools.sh nats valgrind
	env RENEW=1 $(count)

layout: build ## renew packaging/layout.ld: what lies side by side in the program
	@tests/install-tools.sh nats valgrind
	$(layout) write_the_layout

adaptive: ## renew the figures of docs/adaptive.md, which are of a simulation
	cargo test --locked --lib -- --ignored write_the_figures

lint: ## formatting, clippy, rustdoc, dependencies, scripts, Dockerfile and workflows, every warning an error
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || \
		{ echo 'rustfmt or clippy is missing: rustup component add rustfmt clippy' >&2; exit 1; }
	@$(step) formatting cargo fmt --all --check
	@$(call both,$(install_linters),$(step) clippy $(clippy))
	@$(step) rustdoc env RUSTDOCFLAGS='-D warnings' \
		cargo doc --locked --workspace --lib --examples --no-deps --document-private-items
	@$(step) dependencies .tools/bin/cargo-deny --locked check bans licenses sources
	@$(step) scripts shellcheck .ci/run .ci/step packaging/*.sh packaging/deb/*.sh packaging/deb/post* tests/*.sh
	@$(step) Dockerfile .tools/bin/hadolint Dockerfile
	@$(step) workflows .tools/bin/actionlint '.github/workflows/*'

build: ## the release binary: target/release/broadcaster
	cargo build --release --locked

package: build ## the Debian package: target/debian/broadcaster_*.deb
	@tests/install-tools.sh cargo-deb
	cargo run --locked --example assets -- target/assets
	@$(plain_rules) >target/assets/prometheus-rules.yml
	@rm -rf $(call program,debian)
	.tools/bin/cargo-deb --no-build

rules: ## print the recording rules and alerts as a rules file for a Prometheus without its operator
	@$(plain_rules)

tools: ## install what the checks and tests need, into .tools where that is possible
	@tests/install-tools.sh

bench: ## the benchmarks
	@tests/install-tools.sh nats
	cargo bench --locked

clean: ## remove what was built; .tools stays
	cargo clean

# Says what runs, how long it took, and what broke.
step = .ci/step
install_linters = $(step) 'tools for checks' tests/install-tools.sh hadolint actionlint shellcheck cargo-deny
install_tools = $(step) 'tools for tests' tests/install-tools.sh
build_tests = $(step) 'building the tests' cargo test --locked --no-run
build_release = $(step) 'release build' cargo build --release --locked
# Does both at once: tools come over the network meanwhile, and much of the release build is for one core alone.
both = ( $(1) ) & first=$$!; ( $(2) ); second=$$?; wait $$first && exit $$second
clippy = cargo clippy --locked --workspace --all-targets -- -D warnings
# The tests wait for parts and clocks more than they compute.
test_threads = $$((2 * $$(nproc)))
# What is below `spec` in a PrometheusRule is a rules file.
plain_rules = sed '1,/^spec:$$/d; s/^  //' k8s/components/prometheus-operator/rules.yaml
# What cargo built. (Not `cargo run`: without the tests' dependencies it would build everything anew.)
program = "$${CARGO_TARGET_DIR:-target}/$(1)"
# Counts the instructions of the release build as it is shipped. (Not `cargo test --release`: that would build the daemon
# with what only the tests want of its libraries.)
count = env BROADCASTER=$(call program,release/broadcaster) cargo test --locked --test instructions -- --ignored --nocapture
# What of the release build is in memory.
layout = env BROADCASTER=$(call program,release/broadcaster) cargo test --locked --test layout -- --ignored --nocapture
idle = $(layout) an_idle_daemon
# Runs the release build in what the image holds. Containers take root.
image = env BROADCASTER=$(call program,release/broadcaster) cargo test --locked --test image $(as_root) -- --ignored --nocapture
as_root = $(if $(filter-out 0,$(shell id -u)),--config "target.'cfg(unix)'.runner = 'sudo --preserve-env=BROADCASTER'")
