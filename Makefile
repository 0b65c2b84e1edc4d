# Every target sets up what it needs by itself, from python3 (3.11 or newer, with venv) and make alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

# What CI may keep from one run to the next.
SPARK_JARS ?= $(CURDIR)/.cache/spark-jars

# The tests start the program some thousand times, and would compile it each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-spark spark-packages demo test attacks privacy-year coverage test-slow test-readers test-spark test-spark-slow spark-beside spark-kills sanitize mutants torture recreated purging alerts powercut year soak fleet overview layouts thousand costs sources readme upgrade-fixture \
	test-image lint format docs site screens lock wheel wheels pythons arm64 release changelog workflows clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.dev ## make .venv with everything that development needs

demo: $(VENV)/.runtime $(VENV)/.demo ## show the main job on sample data, in a temporary folder; after it also .venv/bin/edge-delta demo --s3
	$(BIN)/edge-delta demo

test: $(VENV)/.dev ## run the tests
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow" $(ARGS)

setup-spark: $(VENV)/.spark

spark-packages: $(VENV)/.spark-packages

test-spark: $(VENV)/.spark ## run the tests with Spark; needs Java 17 and Maven
	SPARK_JARS=$(SPARK_JARS) $(VENV)/spark/bin/python -m pytest tests/spark -m "not slow"

test-spark-slow: $(VENV)/.spark ## a million rows, three minutes of streaming, and all that may happen to a source, two in a row
	SPARK_JARS=$(SPARK_JARS) $(VENV)/spark/bin/python -m pytest tests/spark -m slow

spark-beside: $(VENV)/.spark ## OPTIMIZE of Spark beside live devices; writes the figures into docs/databricks.md
	SPARK_JARS=$(SPARK_JARS) $(VENV)/spark/bin/python -m tests.spark.beside

spark-kills: $(VENV)/.spark ## the fleet job killed 50 times beside devices that go on (ARGS="--devices 1000", ARGS=--store)
	SPARK_JARS=$(SPARK_JARS) $(VENV)/spark/bin/python -m tests.spark.kills $(ARGS)

test-readers: $(VENV)/.dev ## let Daft, pyarrow 14, ClickHouse, DuckDB and Polars read every mode's table; says what could not be had
	@for reader in readers arrow14; do $(MAKE) --no-print-directory -s $(VENV)/.$$reader & done; wait
	$(BIN)/python -m pytest -rs tests/readers

attacks: $(VENV)/.dev ## attack displaced places of six simulated years; writes the figures into docs/privacy.md
	$(BIN)/python -m tests.attacks

privacy-year: $(VENV)/.dev ## deliver three simulated years of places through the program in all modes, and attack what is published
	$(BIN)/python -m pytest -q -m slow tests/modes/privacy/test_year.py

coverage: $(VENV)/.dev ## run the tests, and report which lines and branches they pass through, commands included
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --cov --cov-report=term:skip-covered

test-slow: $(VENV)/.dev ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev ## check style, spelling, types, the direction of imports, and the C part's warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m ziglang cc -std=c11 -Wall -Wextra -Wconversion -Werror -shared -fPIC -o $(VENV)/checked.so edge_delta/source/columns.c edge_delta/modes/privacy/places.c edge_delta/device/last_words.c -lm

# A compiler with the sanitizers' libraries, such as Debian's gcc; ziglang brings only the one for undefined behaviour, and
# without a message.
SANITIZED = $(VENV)/sanitized.so edge_delta/source/columns.c edge_delta/modes/privacy/places.c -lm
sanitize: $(VENV)/.dev ## try the C part under the sanitizers for addresses and undefined behaviour
	@if $(CC) -g -O1 -shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -o $(SANITIZED) 2>/dev/null; then \
		export LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)"; \
	else \
		echo "NOT TESTED FOR ADDRESSES: $(CC) has no sanitizers"; \
		$(BIN)/python -m ziglang cc -g -O1 -shared -fPIC -fsanitize=undefined -fsanitize-trap=undefined -o $(SANITIZED); \
	fi; \
	COLUMNS_LIBRARY=$(VENV)/sanitized.so ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		$(BIN)/python -m pytest -p tests.support.sanitized -k "not freed and not leaves_nothing and not ends_well" tests/source/test_columns.py tests/source/test_reader.py tests/modes/privacy/test_places.py

mutants: $(VENV)/.dev ## change the modules that decide in small ways, and see a test fail each time (ARGS=retry for one)
	nice -n 10 $(BIN)/python -m tools.mutants $(ARGS)

histories: $(VENV)/.dev ## try 10,000 random histories of a database, goes on where it was stopped (ARGS="--jobs 2 --anew")
	nice -n 10 $(BIN)/python -m tests.histories.run $(ARGS)

torture: $(VENV)/.dev ## kill it 500 times under 2,000 faults on the wire (about half an hour)
	$(BIN)/python -m tools.torture

.PHONY: rotation
rotation: $(VENV)/.dev ## five minutes of a new file per second beside 10,000 finished ones, late rows, removals and kills (ARGS="--files 100 --seconds 20")
	$(BIN)/python -m tools.rotation $(ARGS)

.PHONY: forty
forty: $(VENV)/.dev ## 40 tables in one process: a backlog, alerts, a lock and a torn page beside each other, kills and faults (ARGS="--kills 10")
	nice -n 10 $(BIN)/python -m tools.forty $(ARGS)

recreated: $(VENV)/.dev ## ten minutes of a generator that deletes its database at each start, both sides killed
	$(BIN)/python -m tools.recreated $(ARGS)

purging: $(VENV)/.dev ## five minutes of purges next to a writer of 500 rows per second and a run, all killed (ARGS="--no-kills --minutes 2")
	$(BIN)/python -m tools.purging $(ARGS)

alerts: $(VENV)/.dev ## kill it 200 times while it alerts, then measure alerts with 100,000 groups open, and beside a backlog (docs/modes.md)
	$(BIN)/python -m tools.alerts --kills 200
	$(BIN)/python -m tools.alerts --groups 100000
	$(BIN)/python -m tools.alerts --backlog 1000000

powercut: $(VENV)/.dev ## pull the plug 200 times: images of a file system under load; needs root and loop devices
	$(BIN)/python -m tools.powercut

year: $(VENV)/.dev ## a year of a device by a moved clock, in a folder (some 10 minutes; ARGS=--store: on S3)
	$(BIN)/python -m tools.year $(ARGS)

soak: $(VENV)/.dev ## an hour of cycles back to back under faults; memory, descriptors and threads as a plot
	$(BIN)/python -m tools.soak

fleet: $(VENV)/.dev ## 1, 8 and 32 devices at once; writes the figures into docs/fleets.md
	$(BIN)/python -m tools.fleet

overview: $(VENV)/.dev ## edge-delta fleet over 1,000 devices in a folder and on S3: seconds, CPU, memory
	$(BIN)/python -m tools.overview

gathering: $(VENV)/.dev ## seconds for a round of edge-delta gather, first, with nothing new and with news (ARGS="--devices 1000")
	$(BIN)/python -m tools.gathering $(ARGS)

layouts: $(VENV)/.dev ## what a device costs in each layout for 10, 100 and 1,000 devices; writes the figures into docs/fleets.md
	$(BIN)/python -m tools.layouts $(ARGS)

thousand: $(VENV)/.dev ## a thousand devices by the real command, gathered through kills; writes the figures into docs/fleets.md
	$(BIN)/python -m tools.thousand --write $(ARGS)

gather-kills: $(VENV)/.dev ## kill edge-delta gather 50 times beside devices that compact, clean and correct
	$(BIN)/python -m pytest -m slow tests/gather/test_kills.py

costs: $(VENV)/.dev ## count what a device asks of S3; writes the figures into docs/databricks.md (four minutes)
	$(BIN)/python -m tools.costs

sources: $(VENV)/.dev ## databases written as Home Assistant, WeeWX, a ring and open sessions write theirs, beside verify (MINUTES=10)
	$(BIN)/python -m tools.sources --minutes $(or $(MINUTES),10)

upgrade-fixture: $(VENV)/.dev ## record what a released version writes (RECORDED=its interpreter), for tests/system/test_upgrade.py
	$(BIN)/python -m tools.upgrade_fixture $(RECORDED)

.PHONY: box bare
box: $(VENV)/.dev ## a million rows and a day on one core, 256 and 128 MiB and a slow disk, by limits of the kernel; needs root
	$(BIN)/python -m tools.box $(ARGS)

bare: $(VENV)/.dev ## type README.md's way with Python alone in a root that has nothing else; needs root and debootstrap
	$(BIN)/python -m tools.bare

readme: $(VENV)/.dev ## follow README.md word for word, in a clone in an empty folder
	$(BIN)/python -m tools.readme

test-image: $(VENV)/.dev ## build the image with docker or buildah and try it
	deploy/test-image.sh

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: $(VENV)/.dev ## write the generated pages of docs/ again
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/pictures.py

site: $(VENV)/.site ## make a site of docs/ in build/site, and check its links; SERVE=1 shows it on port 8000
	$(VENV)/site/bin/python docs/site.py $(if $(SERVE),serve,build)

screens: $(VENV)/.dev ## take the pictures of docs/screens again, from running programs
	$(BIN)/python docs/screens.py
	$(BIN)/python docs/dashboard/take.py

# One lock for each thing that is done: what is locked already stays as it is, unless UPGRADE is set. Then the locks go into
# one commit with whatever the newest versions that pyproject.toml allows break.
COMPILE = $(BIN)/uv pip compile --quiet $(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links

lock: $(VENV)/.dev ## lock what pyproject.toml asks for and the locks do not have (UPGRADE=1: the newest of everything)
	$(COMPILE) pyproject.toml --group dev --group build --output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements-build.lock
	$(COMPILE) pyproject.toml --group dev --group bench --group build --constraint requirements-dev.lock \
		--output-file requirements-bench.lock
	$(COMPILE) pyproject.toml --group dev --group spark --group build --constraint requirements-dev.lock \
		--output-file requirements-spark.lock
	$(COMPILE) --group release --output-file requirements-release.lock
	$(COMPILE) --group site --output-file requirements-site.lock
	$(COMPILE) --group demo --constraint requirements-dev.lock --output-file requirements-demo.lock
	$(COMPILE) --group readers --output-file requirements-readers.lock
	$(COMPILE) --group arrow14 --output-file requirements-arrow14.lock

wheel: $(VENV)/.dev ## build the wheel into dist/
	rm -rf dist
	$(BIN)/hatchling build -t wheel

wheels: $(VENV)/.dev $(VENV)/.release ## build the wheels of Linux and macOS, x86-64 and ARM64, into dist/, and look at them
	$(BIN)/python -m tools.wheels $(ARGS)

pythons: $(VENV)/.dev ## deliver 20,000 rows with the wheel on each Python from 3.11 to 3.14 that can be had
	$(BIN)/python -m tools.pythons $(ARGS)

arm64: $(VENV)/.dev ## run the ARM64 wheel under qemu, 20,000 rows in every mode; needs root and apt-get
	tools/arm64.sh

# With VERSION it is rehearsed as that version, before its tag is there.
release: $(VENV)/.dev $(VENV)/.release ## all of a release but the upload, into dist/ (VERSION=0.1.0 rehearses it without the tag)
	$(BIN)/python -m tools.release $(if $(VERSION),--version $(VERSION)) $(ARGS)

changelog: $(VENV)/.dev ## put what is unreleased in CHANGELOG.md under VERSION and today's date
	$(BIN)/python -m tools.release --changelog $(VERSION)

workflows: ## check .github/workflows with actionlint; needs Go
	cd tests/workflows && go tool actionlint -color ../../.github/workflows/*.yml

clean: ## remove what the other targets made
	rm -rf $(VENV) dist edge_delta/_version.py edge_delta/*/*.so edge_delta/*/*/*.so .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A stamp is renewed when its lock changes, or what the project is built from. The project itself is built with the locked
# hatchling and compiler, not with fetched ones.
BUILT_FROM := pyproject.toml hatch_build.py hatch_version.py $(wildcard edge_delta/*/*.c edge_delta/*/*.h edge_delta/*/*/*.c)

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements.lock requirements-build.lock $(BUILT_FROM) | $(VENV)/.created
	$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# The S3 server for edge-delta demo --s3. Where it cannot be had, everything else of the demonstration works without it.
$(VENV)/.demo: requirements-demo.lock | $(VENV)/.runtime
	$(PIP) --require-hashes -r requirements-demo.lock || echo "edge-delta demo --s3 will not work: requirements-demo.lock cannot be installed"
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(BUILT_FROM) | $(VENV)/.created
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

include benchmarks/bench.mk

# What looks at what is released, and what makes a site of docs/.
$(VENV)/.release $(VENV)/.site: $(VENV)/.%: requirements-%.lock | $(VENV)/.created
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python -m pip --quiet --disable-pip-version-check install --only-binary=:all: --require-hashes -r $<
	@touch $@

# Readers that other tests have no use for. Where one cannot be had, its test says so and is skipped.
$(VENV)/.readers $(VENV)/.arrow14: $(VENV)/.%: requirements-%.lock | $(VENV)/.created
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python -m pip --quiet --disable-pip-version-check install --no-compile --only-binary=:all: --require-hashes -r $< \
		&& touch $@ || { rm -rf $(VENV)/$*; echo "NOT TESTED: what is in $< cannot be installed"; }

# Spark brings the rest.
JARS_OF := io.delta,io.unitycatalog,org.apache.hadoop,org.reactivestreams,software.amazon.awssdk,software.amazon.eventstream,software.amazon.s3.analyticsaccelerator

# Spark has an environment of its own: it is large, and nothing else needs it.
$(VENV)/.spark-packages: requirements-spark.lock tests/spark/pom.xml | $(VENV)/.created
	$(PYTHON) -m venv $(VENV)/spark
	$(VENV)/spark/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements-spark.lock
	mvn -B -q -f tests/spark/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
		-DincludeGroupIds=$(JARS_OF) -DoutputDirectory=$(abspath $(SPARK_JARS))
	@touch $@

$(VENV)/.spark: $(VENV)/.spark-packages $(BUILT_FROM) | $(VENV)/.created
	$(VENV)/spark/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation --editable .
	@touch $@
