"""The race: who starts when, with which seeds, and what stays apart. Workers are fake ones."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_launch import Recorder, fake

from fmnist import models, record
from fmnist.cli import main
from fmnist.options import PlanError
from fmnist.record import Record
from fmnist.session import race
from fmnist.session.plan import Plan
from fmnist.studies.race_rules import CHOOSING_SEED

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """One racer on both backends."""
    return make_plan(models="racer_92")


def run(
    plan: Plan, starts: Sequence[race.Start], *program: str, observer: Recorder | None = None
) -> list[Record]:
    """Run the trainings with fake workers."""
    return list(race.run_race(plan, starts, observer or Recorder(), program))


def test_seeds_take_turns_between_two_references(plan: Plan) -> None:
    """The reference comes first and last; between, entrants run A B, B A, A B."""
    starts = race.lineup(plan, 3)

    assert [s.role for s in starts] == ["reference", *["entrant"] * 6, "reference"]
    a, b = (cell.backend for cell in plan.cells)
    assert [(s.cell.backend, s.seed) for s in starts[1:-1]] == [
        *((a, 0), (b, 0)),
        *((b, 1), (a, 1)),
        *((a, 2), (b, 2)),
    ]
    assert len({(s.cell, s.process) for s in starts}) == len(starts)


def test_entrants_have_all_images_and_the_reference_four_fifths(plan: Plan) -> None:
    """Only the reference and choosing hold images back; both are told so by their job."""
    by_role = {s.role: s.job(plan) for s in race.lineup(plan, 1)}

    assert by_role["entrant"].validation_images == 0
    assert by_role["reference"].validation_images == 100
    assert by_role["reference"].recipe.epochs == by_role["reference"].epochs == 5


def test_choosing_and_racing_share_no_seed(plan: Plan) -> None:
    """Seeds of choosing begin where a race may not reach; it has no reference, and no test."""
    chosen = race.lineup(plan, 4, ["epochs=2,3"])

    assert {s.role for s in chosen} == {"choosing"}
    assert min(s.seed for s in chosen) == CHOOSING_SEED
    assert all(s.job(plan).validation_images == 100 for s in chosen)
    with pytest.raises(PlanError, match="--seeds must be from 1 to 999999, got 1000001"):
        race.lineup(plan, CHOOSING_SEED + 1)
    beyond = dataclasses.replace(plan, seed=CHOOSING_SEED)
    with pytest.raises(PlanError, match="--seed must be below 1000000"):
        race.lineup(beyond, 1, [])


def test_what_is_chosen_can_be_raced(plan: Plan) -> None:
    """A batch size that divides the images of choosing, but not those of a race, is refused."""
    job = race.lineup(plan, 1, [])[0].job(plan)
    fits = job.train_images - job.validation_images

    with pytest.raises(ValueError, match=f"batch size {fits} does not divide"):
        race.lineup(plan, 1, [f"batch_size={fits}"])


def test_all_combinations_are_tried(plan: Plan) -> None:
    """Each value of a field meets each value of the others, and every one is a recipe."""
    recipes = race.variants(plan.cells[0], ["epochs=2,4", "rise_share=none,0.5"])

    tried = [(r.epochs, r.rise_share) for r in recipes]
    assert tried == list(itertools.product((2, 4), (None, 0.5)))


@pytest.mark.parametrize(
    ("varied", "complaint"),
    [
        ("depth=3", "unknown field of a recipe in --vary 'depth'; there are: loss"),
        ("epochs=1", "(?s)--vary epochs=1: .*greater than or equal to 2"),
        ("batch_size=70", "batch size 70 does not divide"),
        ("stop_after=2", "stop_after, halve_after and keep_best"),
    ],
)
def test_nonsense_is_refused(plan: Plan, varied: str, complaint: str) -> None:
    """A field or value that no recipe has, or a batch that does not fit, starts nothing."""
    with pytest.raises(ValueError, match=complaint):
        race.lineup(plan, 1, [varied])


def test_recipe_that_watches_does_not_race(make_plan: MakePlan) -> None:
    """A rate that is halved by the validation loss wants images that a race does not hold back."""
    with pytest.raises(PlanError, match=r"conv_pool_dropout: .* fixed schedules"):
        race.lineup(make_plan(models="conv_pool_dropout"), 1)


def test_each_training_is_a_process_and_a_record(plan: Plan, trace: Path) -> None:
    """A record is on the disk for each training, with its own seed, recipe and role."""
    records = run(plan, race.lineup(plan, 2), *fake(trace))

    assert [r.failure for r in records] == [None] * 6
    assert record.read(plan.records_path)[0] == records
    entrants = [r for r in records if r.race is not None and r.race.role == "entrant"]
    assert sorted(r.seed for r in entrants) == [0, 0, 1, 1]
    assert {r.recipe.rise_share for r in entrants} == {models.card("racer_92").recipe.rise_share}
    assert trace.read_text().count(" race\n") == 6


def test_a_race_goes_on_where_it_was_interrupted(
    make_plan: MakePlan, plan: Plan, trace: Path
) -> None:
    """What is measured is not measured again; what failed is."""
    starts = race.lineup(plan, 2)
    first = run(plan, starts, *fake(trace, "jax=kill"))
    resumed = make_plan(
        models=None,
        preset="quick",
        data_dir=None,
        order_seed=None,
        results="results",
        resume=str(plan.records_path),
    )
    observer = Recorder()
    records = run(resumed, race.lineup(resumed, 2), *fake(trace), observer=observer)

    assert (len(observer.found_ids), observer.steps_before_found) == (4, 0)
    assert sum(r.failure is not None for r in first) == 2
    assert [r.failure for r in records] == [None] * 6
    assert trace.read_text().count(" race\n") == 6 + 2


def test_a_race_is_not_resumed_to_choose(make_plan: MakePlan, plan: Plan, trace: Path) -> None:
    """A session that raced and is asked to choose, or the reverse, is refused."""
    run(plan, race.lineup(plan, 1), *fake(trace))
    resumed = make_plan(
        models=None,
        preset="quick",
        data_dir=None,
        order_seed=None,
        results="results",
        resume=str(plan.records_path),
    )

    race.check_resumed(resumed, race.lineup(resumed, 1))
    with pytest.raises(ValueError, match="goes on with --choose, a race without"):
        race.check_resumed(resumed, race.lineup(resumed, 1, []))


def test_target_is_not_for_named_models() -> None:
    """Models that are named are those that run: a target beside them is refused."""
    result = CliRunner().invoke(main, ["race", "--models", "dense3", "--target", "0.9"])

    assert result.exit_code == 2
    assert "--target chooses among the racers" in result.output


def test_vary_needs_choose() -> None:
    """In a race proper no recipe is varied: the command line says so."""
    result = CliRunner().invoke(main, ["race", "--vary", "epochs=3"])

    assert result.exit_code == 2
    assert "--vary is for --choose" in result.output


def test_target_without_a_racer() -> None:
    """A target above every tier is refused with the highest one."""
    with pytest.raises(ValueError, match=r"no racer was made for 99\.90%"):
        models.racers(0.999)


@pytest.mark.slow
def test_a_race_of_one_racer(tmp_path: Path) -> None:
    """The command trains, prints a leaderboard, and says where the records are."""
    result = CliRunner().invoke(
        main,
        [
            *("race", "--preset", "smoke", "--models", "racer_92", "--seeds", "1"),
            *("--data-dir", "stand-in", "--results", str(tmp_path)),
        ],
        catch_exceptions=False,
    )

    assert result.exit_code == 0, result.output
    assert "Race: time to accuracy" in result.output
    assert "too few seeds" in result.output
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    assert {r.backend for r in record.read(path)[0]} == {"tensorflow", "jax"}
