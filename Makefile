# Two commands: `make demo` shows theLook live, `make test` runs every test. Both install what they lack.
.PHONY: demo test lint rust-test fuzz soak clients-test browser-test web bench bench-long bench-queries clean help

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## build what is missing, start the shop, print the address (ARGS="--http 127.0.0.1:9100")
	@xtask/demo.sh $(ARGS)

test: ## every test: lints, Rust, fuzzing, page, official clients, browser
	@xtask/test.sh all

lint: ## formatting, clippy, licences
	@xtask/test.sh lint

rust-test: ## Rust tests alone
	@xtask/test.sh rust

fuzz: ## what reads foreign bytes, against made-up ones (ARGS="3600 line": seconds, targets)
	@xtask/fuzz.sh $(ARGS)

soak: ## the long form: models, a thousand kills, hours of fuzzing (ARGS="2": hours of fuzzing)
	@xtask/soak.sh $(ARGS)

clients-test: ## the official clients against a real server
	@xtask/test.sh clients

browser-test: ## the page in Chromium
	@xtask/test.sh browser

web: ## the page, into web/dist
	@xtask/test.sh web

bench: ## ingest, the log, freshness and fan-out, the short form
	@xtask/bench.sh

bench-long: ## the same, ingest over 20 million rows, and in 1 GiB of memory
	@xtask/bench.sh --long

bench-queries: ## queries beside DataFusion and DuckDB, built with all optimisation: some 20 minutes the first time
	@xtask/bench.sh --queries $(ARGS)

clean: ## built pages and test leftovers; compiled dependencies stay in their cache
	rm -rf web/dist web/node_modules clients/js/node_modules tests/browser/node_modules
