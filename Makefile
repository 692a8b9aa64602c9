# One entry for people and for CI. `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test instructions lint build package rules tools bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work: nats-server, the daemon and a webhook, told step by step
	@tests/install-tools.sh nats
	cargo build --profile demo --locked --package broadcaster --package demo --bins
	@$(call program,demo/demo)

test: lint ## all checks and all tests
	@tests/install-tools.sh
	cargo test --locked
	cargo build --release --locked
	$(count)
	$(image)
	$(MAKE) package
	PACKAGES=$(call program,debian) cargo test --locked --test package -- --ignored
	@for file in config/*.toml; do \
		case $$file in */demo.toml) url=http://127.0.0.1:8080 ;; *) url= ;; esac; \
		echo "broadcaster check --config $$file"; \
		env BROADCASTER__ROUTES__TODOS__WEBHOOK__URL=$$url \
			$(call program,debug/broadcaster) check --config "$$file" >/dev/null || exit; \
	done

instructions: build ## renew tests/instructions.toml: what a message costs the daemon, which `make test` compares
	@tests/install-tools.sh nats valgrind
	RENEW=1 $(count)

lint: ## formatting, clippy, rustdoc, scripts, Dockerfile and workflows, every warning an error
	@tests/install-tools.sh hadolint actionlint shellcheck
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || \
		{ echo 'rustfmt or clippy is missing: rustup component add rustfmt clippy' >&2; exit 1; }
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	shellcheck .ci/run packaging/*.sh packaging/deb/*.sh packaging/deb/post* tests/*.sh
	.tools/bin/hadolint Dockerfile
	.tools/bin/actionlint '.github/workflows/*'

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

# What is below `spec` in a PrometheusRule is a rules file.
plain_rules = sed '1,/^spec:$$/d; s/^  //' k8s/components/prometheus-operator/rules.yaml
# What cargo built. (Not `cargo run`: without the tests' dependencies it would build everything anew.)
program = "$${CARGO_TARGET_DIR:-target}/$(1)"
# Counts the instructions of the release build as it is shipped. (Not `cargo test --release`: that would build the daemon
# with what only the tests want of its libraries.)
count = BROADCASTER=$(call program,release/broadcaster) cargo test --locked --test instructions -- --ignored --nocapture
# Runs the release build in what the image holds. Containers take root.
image = BROADCASTER=$(call program,release/broadcaster) cargo test --locked --test image $(as_root) -- --ignored --nocapture
as_root = $(if $(filter-out 0,$(shell id -u)),--config "target.'cfg(unix)'.runner = 'sudo --preserve-env=BROADCASTER'")
