# Benchmarks; included by the Makefile, whose VENV, BIN and PIP it uses.

.PHONY: bench
bench: $(VENV)/.bench ## measure everything and write docs/benchmarks.md (ARGS='--only contenders' for a part)
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/.bench: requirements-bench.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements-bench.lock
	@touch $@
