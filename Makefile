# The whole interface of the project; `make` alone explains it, from the "##" lines in here.

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help setup train resume evaluate baselines record plot export enjoy runs compare sync tune tune-best dashboard benchmark push pull leaderboard test test-all lint clean FORCE

# The stamp is written last, and only by an installation that succeeded. It is void when the
# interpreter has gone, as realpath tells: it finds nothing at the end of a dangling link. Other
# builds of PyTorch than the usual one are found by uv.
ready := .venv/.ready
pip := .venv/bin/python -m pip --disable-pip-version-check --no-input
packages := -q -c constraints.txt -e '.[dev]'
$(ready): pyproject.toml constraints.txt $(if $(realpath .venv/bin/python),,FORCE)
	@command -v "$$PYTHON" >/dev/null || { printf 'error: there is no "%s" here: make PYTHON=%s\n' \
	  "$$PYTHON" 'python3.12 setup, or any Python from 3.10 to 3.13' >&2; exit 127; }
	@[ ! -L .venv ] || { echo 'error: .venv is a symbolic link: this would install into another' \
	  'checkout; remove it' >&2; exit 2; }
	@$(pip) --version >/dev/null 2>&1 || "$$PYTHON" -m venv --clear .venv
	@echo 'installing the packages into .venv; this may take some minutes'
	@uv=$$(command -v uv); if [ -n "$$TORCH$$uv" ]; then \
	  { [ -n "$$uv" ] || $(pip) install -q uv; } && "$${uv:-.venv/bin/uv}" pip install \
	  --python .venv/bin/python $${TORCH:+--torch-backend "$$TORCH"} $(packages) && exit; \
	  echo 'uv cannot install it (is the network there, TORCH right?); pip does'; fi; \
	$(pip) install $(packages)
	@touch $@

### Targets
## print this
help:
	@echo 'Usage: make TARGET [VARIABLE=value ...]'; \
	while IFS= read -r line; do \
	  case $$line in \
	    '### '*) printf '\n%s\n' "$${line#* }" ;; \
	    '## '*) text=$${line#* } ;; \
	    [a-z]*:*) [ -z "$$text" ] || printf '  %-11s %s\n' "$${line%%:*}" "$$text"; text= ;; \
	    [A-Z]*' ?='*) \
	      name=$${line%% *}; default=$${line#*=}; default=$${default# }; \
	      printf '  %-11s %-13s %s\n' "$$name" "$${default:--}" "$$text"; text= ;; \
	  esac; \
	done < Makefile

## make .venv and install what constraints.txt pins; the targets below do it when needed
setup: $(ready)
	@echo '.venv is ready'

## train an agent, then evaluate, film and plot it
train: $(ready)
	$(call run,train,game recipe set from steps hours seed device logs episodes buffer envs track project dry_run)

## resume an interrupted training exactly where its state was last saved
resume: $(ready)
	$(call run,resume,game recipe run logs device episodes)

## play full games with a run's agent and report the scores
evaluate: $(ready)
	$(call run,evaluate,game recipe run logs episodes seed device)

## scores without learning: random actions, and every single action all the time
baselines: $(ready)
	$(call run,baselines,game recipe logs episodes seed)

## film a game of a run's agent
record: $(ready)
	$(call run,record,game recipe run logs seed device)

## plot a run's training and evaluation scores
plot: $(ready)
	$(call run,plot,game recipe run logs)

## write a run's agent as agent.onnx, checked against PyTorch; needs the extra "onnx"
export: $(ready)
	$(call run,export,game recipe run logs)

## list the runs of this machine: how far they are, what they score
runs: $(ready)
	$(call run,runs,logs)

## compare recipes over all their runs, with uncertainty: tables, pictures, report.html
compare: $(ready)
	$(call run,compare,game games recipes set source project out logs)

## upload to W&B what TRACK=offline or a lost connection left here
sync: $(ready)
	$(call run,sync,run logs)

## watch a run's agent play, in a window
enjoy: $(ready)
	$(call run,enjoy,game recipe run logs seed device)

## search for better hyperparameters than a recipe's
tune: $(ready)
	$(call run,tune,game recipe set trials steps seed jobs search study logs device envs cluster)

## write what make tune found as a recipe
tune-best: $(ready)
	$(call run,tune_best,game recipe study logs out)

## show a study of make tune in the browser, or without one all runs
dashboard: $(ready)
	$(call run,dashboard,game recipe study logs)

## train games x recipes x seeds, resuming what was interrupted, and compare them
benchmark: $(ready)
	$(call run,benchmark,games recipes set seeds steps jobs logs device envs cluster out)

## publish a run's agent on the Hugging Face Hub, scored, filmed and described
push: $(ready)
	$(call run,push,game recipe run logs episodes device repo private dry_run)

## bring in an agent of the Hub, or a folder with one of the zoo; nothing in it is run
pull: $(ready)
	$(call run,pull,repo revision logs)

## the Hub's agents for a game and your own, ranked
leaderboard: $(ready)
	$(call run,leaderboard,game logs)

# The tests start make themselves: that one must see none of these values.
## run the tests of what a change is likely to break, as many at once as there are cores
test: $(ready)
	@$(pytest) -m 'not long' "$$@"

# One more at once than there are cores, because some of them wait.
## run all tests; they need Chromium, PostgreSQL and the packages that .ci/run installs
test-all: $(ready)
	@n=$$(($$(getconf _NPROCESSORS_ONLN) + 1)); $(pytest) -n "$$n" -o addopts='-q --strict-markers' "$$@"

## check style, types and the direction of imports: ruff, mypy, import-linter
lint: $(ready)
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy
	@[ ! -x .venv/bin/lint-imports ] || .venv/bin/lint-imports --no-cache >/dev/null || .venv/bin/lint-imports --no-cache

## remove .venv, caches and build leftovers; logs/ stays
clean:
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@for folder in custom scripts tests benchmarks; do \
	  [ ! -d "$$folder" ] || find "$$folder" -name __pycache__ -prune -exec rm -rf {} +; \
	done

### Variables (- is empty)
## game to play: Pong, Breakout, ... or an environment id
GAME ?= SpaceInvaders
## recipe: a name in hyperparams/, or the path of a YAML file; empty: dqn; for a command on a run, any
RECIPE ?=
## training budget in steps of 4 frames; empty: the recipe's
STEPS ?=
## training budget in hours instead: the steps that are played and learnt in it, by a measurement at the start
HOURS ?=
## other values than the recipe's, e.g. "learning_rate=2.5e-4 policy_kwargs.dueling=true"
SET ?=
## train: run folder whose agent is trained further, in a new run
FROM ?=
## seed of all random numbers; empty: the command's choice
SEED ?=
## where PyTorch computes: auto, cpu, cuda, cuda:1, mps
DEVICE ?= auto
## folder of all runs
LOGS ?= logs
## run folder to work on; empty: the latest of GAME and RECIPE
RUN ?=
## full games of an evaluation; empty: the command's default
EPISODES ?=
## replay: frames (each frame once) or sb3 (eight times the memory)
BUFFER ?= frames
## games played at once, at the recipe's updates per step; empty: the recipe's number
ENVS ?=
## track a training on W&B: off, online (or wandb), offline
TRACK ?= off
## recipes that are compared, e.g. "dqn dqn-rmsprop"
RECIPES ?= dqn
## more games that are compared, e.g. "Pong Breakout"
GAMES ?=
## where compare reads the runs: logs, or wandb with PROJECT
SOURCE ?= logs
## trials of a study, all machines together; empty: 50
TRIALS ?=
## trainings at once, of tune and benchmark; empty: 1
JOBS ?=
## what a search changes, e.g. "learning_rate gamma"; empty: all that the recipe has
SEARCH ?=
## where a study is kept (read from the environment: it may hold a password): a file, or postgresql://USER@HOST/DATABASE; empty: in LOGS/tune
STORAGE ?=
## name of a study; empty: RECIPE-ENVIRONMENT
STUDY ?=
## seeds of each game and recipe in a benchmark; empty: 5
SEEDS ?=
## where trainings of tune and benchmark run: none, ray, slurm; empty: ray if RAY_ADDRESS is set
CLUSTER ?=
## project on W&B: entity/name; empty: WANDB_PROJECT, or sb3-atari-dqn
PROJECT ?=
## folder that compare writes; empty: LOGS/compare/GAME
OUT ?=
## agent on the Hub: user/name; for push also a name alone, empty: RECIPE-ENVIRONMENT; for pull also a folder
REPO ?=
## branch, tag or commit of REPO that is pulled; empty: main
REVISION ?=
## 1: push to a private repository
PRIVATE ?=
## 1: say what train would do and take, or build the folder that push would send, and end
DRY_RUN ?=
## build of PyTorch that make setup installs: cpu, auto, cu130, ... (through uv); empty: the usual one
TORCH ?=
## more flags, split at white space: for the script (--help lists them), or for pytest
ARGS ?=
## Python 3.10 to 3.13 that makes .venv; make clean before changing it
PYTHON ?= python3

# Values are data. Make would expand $(...) in a value from the command line or the environment, so
# each is replaced by its own unexpanded text; recipes then get it only through the environment,
# where the shell expands it once and inside quotes. The same for unknown names on the command line,
# which make exports, too. (No $(shell) above this: make 4.4 exports to that as well.)
variables := GAME RECIPE SET FROM STEPS HOURS SEED DEVICE LOGS RUN EPISODES BUFFER ENVS TRACK \
  RECIPES GAMES SOURCE PROJECT OUT TRIALS JOBS SEARCH STORAGE STUDY SEEDS CLUSTER REPO \
  REVISION PRIVATE DRY_RUN TORCH ARGS PYTHON
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
# FROM has a game of its own: the default must not take its place.
$(if $(value FROM),$(if $(filter file,$(origin GAME)),$(eval GAME =)))
unknown := $(filter-out $(variables) SHELL,$(given))
$(foreach name,$(variables) $(unknown),$(eval override $(name) := $$(value $(name))))
$(foreach name,$(unknown),$(error there is no variable $(name): make alone lists them))
export $(variables)
# Neither do the values travel on in MAKEFLAGS, nor another Python's settings from the user's shell.
MAKEOVERRIDES :=
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PYTHONSAFEPATH

# Both suites; ARGS has the last word: make test ARGS="-n 0 tests/test_hub.py".
pytest = set -f; set -- $$ARGS; unset MAKEFLAGS MFLAGS MAKELEVEL $(variables); \
  exec .venv/bin/python -m pytest -n auto --dist worksteal

# $(call run,train,game seed) runs scripts/train.py with a flag for each of these variables that is
# not empty. --game="x" and not --game "x": the value may start with a dash.
run = $(unread)@set -f; exec .venv/bin/python -m scripts.$1 $(flags) $$ARGS
flags = $(foreach flag,$2,$(flag_$(flag)))
# What the one target of a command line does not read is a mistake there.
unread = $(if $(word 2,$(MAKECMDGOALS)),,$(foreach name,$(filter-out STORAGE TORCH ARGS PYTHON,$(given)),\
  $(if $(value $(name)),$(if $(findstring $${$(name):,$(flags)),,$(error make $@ does not read $(name))))))
flag_game = $${GAME:+--game="$$GAME"}
flag_recipe = $${RECIPE:+--recipe="$$RECIPE"}
flag_set = $${SET:+--set="$$SET"}
flag_from = $${FROM:+--from="$$FROM"}
flag_steps = $${STEPS:+--steps="$$STEPS"}
flag_hours = $${HOURS:+--hours="$$HOURS"}
flag_seed = $${SEED:+--seed="$$SEED"}
flag_device = $${DEVICE:+--device="$$DEVICE"}
flag_logs = $${LOGS:+--logs="$$LOGS"}
flag_run = $${RUN:+--run="$$RUN"}
flag_episodes = $${EPISODES:+--episodes="$$EPISODES"}
flag_buffer = $${BUFFER:+--buffer="$$BUFFER"}
flag_envs = $${ENVS:+--envs="$$ENVS"}
flag_track = $${TRACK:+--track="$$TRACK"}
flag_recipes = $${RECIPES:+--recipes="$$RECIPES"}
flag_games = $${GAMES:+--games="$$GAMES"}
flag_source = $${SOURCE:+--source="$$SOURCE"}
flag_project = $${PROJECT:+--project="$$PROJECT"}
flag_trials = $${TRIALS:+--trials="$$TRIALS"}
flag_jobs = $${JOBS:+--jobs="$$JOBS"}
flag_search = $${SEARCH:+--search="$$SEARCH"}
flag_study = $${STUDY:+--study="$$STUDY"}
flag_seeds = $${SEEDS:+--seeds="$$SEEDS"}
flag_cluster = $${CLUSTER:+--cluster="$$CLUSTER"}
flag_out = $${OUT:+--out="$$OUT"}
flag_repo = $${REPO:+--repo="$$REPO"}
flag_revision = $${REVISION:+--revision="$$REVISION"}
flag_private = $${PRIVATE:+--private="$$PRIVATE"}
flag_dry_run = $${DRY_RUN:+--dry-run="$$DRY_RUN"}
