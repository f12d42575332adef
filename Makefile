# make run [PORT=8000]   from a bare checkout to a working demo
# make test              every check and test; make lint, make lock: parts of the same
# make soak              the long forms of the tests, once, on SQLite
# make bench [ROUNDS=3 CALLERS=24 SECONDS=6 CAPACITY=1]   what a call costs, beside a bare byte pump
# make bench BROWSER=1 [CALLS=20]   what a patient in Chromium waits for, and whose share it is
.PHONY: run test soak bench lint lock python demo-environment dev-environment
MAKEFLAGS += --no-print-directory

PORT ?= 8000
VENV := .venv/bin
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
# The tests' own settings: those of a developer's .env must not reach them. The second database is the one that a
# PostgreSQL and a Redis on this machine offer.
TEST_ENV := DEBUG=true OPENAI_API_KEY= OPENAI_BASE_URL= REDIS_URL=
# Much of a test is waiting for a browser or a process: several at once, on two cores. tests/order.py says in what order.
PARALLEL := --dist loadfile --no-loadscope-reorder
AT_ONCE := -n 4
SECOND_AT_ONCE := -n 3  # with the pools of their servers four of them need more than PostgreSQL's 100 connections
SECOND_DATABASE := postgres://postgres@127.0.0.1:5432/test
SECOND_REDIS := redis://127.0.0.1:6379/0

run: demo-environment
	@exec env DEBUG=true $(VENV)/python manage.py demo --port "$(PORT)"

test: lint
	$(TEST_ENV) DATABASE_URL= $(VENV)/pytest $(AT_ONCE) $(PARALLEL)
	@if DATABASE_URL=$(SECOND_DATABASE) REDIS_URL=$(SECOND_REDIS) $(VENV)/python -m tests.services; then \
		set -x; $(TEST_ENV) DATABASE_URL=$(SECOND_DATABASE) REDIS_URL=$(SECOND_REDIS) \
			$(VENV)/pytest $(SECOND_AT_ONCE) $(PARALLEL) -m 'not soak and not once'; fi

soak: dev-environment
	$(TEST_ENV) DATABASE_URL= $(VENV)/pytest -m soak

# The pump and our server under Daphne and uvicorn, in interleaved rounds.
ROUNDS ?= 3
CALLERS ?= 24
CAPACITY ?=
SECONDS ?= 6
# Or the talk page in Chromium.
BROWSER ?=
CALLS ?= 20
bench: dev-environment
	$(VENV)/python -m $(if $(BROWSER),bench.browser --calls $(CALLS),bench --rounds $(ROUNDS) --callers $(CALLERS) \
		--seconds $(SECONDS) $(if $(CAPACITY),--capacity))

lint: dev-environment
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(TEST_ENV) $(VENV)/mypy
	$(TEST_ENV) $(VENV)/python manage.py makemigrations --check --dry-run
	$(TEST_ENV) $(VENV)/python manage.py check

# Needs uv (pip install uv). Each file is held to the versions of the one before.
lock:
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/base.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra demo \
		-c requirements/base.txt -o requirements/demo.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra demo --extra dev \
		-c requirements/demo.txt -o requirements/dev.txt

demo-environment dev-environment: python
	@$(PYTHON) scripts/prepare.py $(@:-environment=)

python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Frontdesk needs Python 3.11 or newer; here is $$($(or $(PYTHON),python3) --version 2>/dev/null || echo none)."; \
		exit 1; }
