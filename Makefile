# The one door. `make` lists the targets; `make check` is exactly what CI runs.
#
# Every target prints for people, exits non-zero on a wrong result, and ends with one JSON line of figures.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
# The datapath of labs and stories: netdev (userspace) or system (the kernel's; in a VM where the host has no module).
DATAPATH ?= netdev
export DATAPATH
LAB = target/debug/lab
ARGUMENTS = $(if $(SEED),--seed $(SEED))

.PHONY: help setup binaries build check test lint tidy trace e2e bless demo try sandbox oracle mutants openflow-cases bad-input cni-conformance crash bench restart fuzz format

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 24

setup: ## install what the lab and the tests need (Debian 12, root)
	@e2e/setup

binaries: setup
	@$(CARGO) build --locked --workspace --quiet

build: binaries ## build every binary
	@echo '{"seed":0,"datapath":"none","skipped":0}'

check: ## everything CI runs: format, lint, unit, scenarios, traces, stories on both datapaths, oracle, demo
	@e2e/check

test: setup ## quick: unit tests, scenarios, traces
	@e2e/test

lint: setup ## format, clippy, tidy (crate edges, licences, sizes, links)
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	@$(CARGO) test --locked --quiet -p tidy
	@echo '{"seed":0,"datapath":"none","skipped":0}'

fuzz: setup ## garbage into everything that reads from outside   (SECONDS=30 for each target, T=names)
	@fuzz/run $(or $(SECONDS),30) $(T)

format: ## format the code
	@$(CARGO) fmt --all

trace: setup ## scenarios against a dummy switch (ofproto/trace)
	@$(CARGO) test --locked --quiet -p ovs-pipeline --test trace
	@echo '{"seed":0,"datapath":"dummy","skipped":0}'

openflow-cases: setup ## every OpenFlow field and action, round-tripped through ovs-ofctl
	@$(CARGO) test --locked --quiet -p openflow --test cases -- --nocapture

bless: setup ## rewrite golden and generated files; review the diff
	@BLESS=1 $(CARGO) test --locked --quiet -p ovs-pipeline -p controller
	@BLESS=1 $(CARGO) test --locked --quiet -p agent --lib page_lists
	@BLESS=1 $(CARGO) test --locked --quiet -p antctl --test commands page_is

demo: binaries ## three nodes, a handful of pods, policies one by one (the README's first command)
	@$(LAB) demo $(ARGUMENTS)

try: binaries ## the lab from your own YAML: make try DIR=… [PROBES=…]
	@test -n "$(DIR)" || { echo "make try: say which directory of YAML: make try DIR=path [PROBES=file]" >&2; exit 2; }
	@$(LAB) try --dir "$(DIR)" $(if $(PROBES),--probes "$(PROBES)")

sandbox: binaries ## the demo's lab left running, with a shell inside and things to try
	@$(LAB) sandbox

e2e: binaries ## user stories in namespaces   (T=name for one, DATAPATH=system for the kernel datapath, ONCE=1 without the sensitivity runs)
	@$(LAB) stories $(ARGUMENTS) $(if $(ONCE),--once) $(T)

oracle: binaries ## draw clusters, policies and packets; compare the system with the evaluator   (N=20000 SEED=…)
	@$(LAB) oracle --verdicts $(or $(N),20000) $(ARGUMENTS)

mutants: binaries ## break the system on purpose; every break must be caught
	@$(LAB) mutants $(ARGUMENTS) $(T)

bad-input: binaries ## YAML, CNI standard input and flags that are wrong
	@$(LAB) bad-input $(ARGUMENTS)

restart: setup ## kill a daemon under traffic: nothing forbidden, nothing lost that is promised   (KIND=agent|vswitchd|ovsdb|controller|node, DATAPATH=system, RATE=packets a second)
	@case "$(KIND)" in agent|vswitchd|ovsdb|controller|node) ;; \
	*) echo "make restart: say what dies: make restart KIND=agent|vswitchd|ovsdb|controller|node" >&2; exit 2 ;; esac
	@$(CARGO) build --locked --release --workspace --quiet
	@target/release/lab restart $(KIND) $(ARGUMENTS) $(if $(RATE),--rate $(RATE))

crash: binaries ## stop the agent or the plugin at any line; nothing may be left of it   (N=200 SEED=… POINT=… EVENTS=…)
	@$(LAB) crash --draws $(or $(N),200) $(ARGUMENTS) $(if $(POINT),--point "$(POINT)") $(if $(EVENTS),--events "$(EVENTS)")

cni-conformance: binaries ## the CNI plugin against the specification, called as runtimes call it
	@$(LAB) cni-conformance $(ARGUMENTS)

bench: setup ## figures beside their targets   (B=flows, file-to-packet, cni, vswitchd, rule-cost or agents N=1000)
	@case "$(B)" in flows|file-to-packet|cni|vswitchd|rule-cost|agents) ;; \
	*) echo "make bench: say which: make bench B=flows, B=file-to-packet, B=cni, B=vswitchd, B=rule-cost or B=agents" >&2; exit 2 ;; esac
	@$(CARGO) build --locked --release --workspace --quiet
	@target/release/lab bench $(B) $(ARGUMENTS) $(if $(filter agents,$(B)),$(if $(N),--agents $(N)))
