"""`sightguard bench`: attacks against defenses, judged and counted, in one honest table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightguard.cli.console import Json, Seed, new_folder, print_json, print_rich, print_table, progress, say
from sightguard.errors import UsageError

if TYPE_CHECKING:
    from sightguard.evaluate.asking.purse import Prices


def bench(
    model: Annotated[
        str,
        typer.Argument(
            help="pocket, pocket-1, pocket-2, a checkpoint folder, or a hub id; with --remote, the endpoint's name."
        ),
    ],
    suite: Annotated[
        str, typer.Option("--suite", help="quick, vlm-guard-paper, safevlm-paper, full, or a YAML file.")
    ] = "quick",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run: a new one, or one to go on with.")
    ] = None,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", help="Who answers; may be repeated, and stacked as a+b. Default: the suite's."),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option("--judge", help="Who looks; may be repeated, the first decides. Default: refusal phrases."),
    ] = None,
    judge_price: Annotated[
        str | None,
        typer.Option("--judge-price", metavar="READ,WRITTEN", help="What judges charge for a million tokens."),
    ] = None,
    judge_max_spend: Annotated[
        float | None,
        typer.Option("--judge-max-spend", min=0, help="What judging may cost; then answers stay undecided."),
    ] = None,
    judge_rpm: Annotated[
        int | None, typer.Option("--judge-rpm", min=1, help="Questions to judges in a minute at most.")
    ] = None,
    judge_tpm: Annotated[
        int | None, typer.Option("--judge-tpm", min=1, help="Tokens of judges in a minute at most.")
    ] = None,
    judge_language: Annotated[
        str | None, typer.Option("--judge-language", help="Of refusals: auto, a language such as de, or a YAML file.")
    ] = None,
    judge_options: Annotated[
        Path | None,
        typer.Option("--judge-options", metavar="FILE", help="YAML or JSON with further options of judges."),
    ] = None,
    judge_again: Annotated[
        bool,
        typer.Option(
            "--judge-again", help="Judge once more what the judges of the run in --out could not; ask no answer twice."
        ),
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of benchmarks; default: where `sightguard pull` puts them.")
    ] = None,
    guard: Annotated[
        list[str] | None, typer.Option("--guard", metavar="NAME=DIR", help="A guard that is fitted already.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Prompts of each setting at most.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Prompts of one pass.")] = 32,
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = None,
    remote: Annotated[
        str | None,
        typer.Option("--remote", metavar="URL", help="Ask an OpenAI-compatible endpoint; no torch is loaded."),
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit of the hub repository.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="bfloat16, float16, float32; default: the checkpoint's.")
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            "--price", metavar="READ,WRITTEN", help="With --dry-run: what --remote charges for a million tokens."
        ),
    ] = None,
    seconds_per_answer: Annotated[
        float | None,
        typer.Option("--seconds-per-answer", help="With --dry-run: how long an answer of the model takes."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="RUN", help="With --dry-run: a run of the model that tells how long."),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out benchmarks that are not here, and say so.")
    ] = False,
    no_examples: Annotated[bool, typer.Option("--no-examples", help="No answers in the report.")] = False,
    no_measure: Annotated[
        bool,
        typer.Option("--no-measure", help="Take neither the time of each defense nor the perplexity of its answers."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked, and what that takes; ask nothing.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Bench a model under several defenses: attack success, over-refusal, utility and cost side by side; resumable."""
    from sightguard.bench.judges.given import judge_options as judges_are_made_with
    from sightguard.bench.options import Options
    from sightguard.bench.suite import read_suite

    found = read_suite(suite)
    options = Options(
        defenses=tuple(defense or ()),
        judges=tuple(judge or ()),
        judging=judges_are_made_with(
            judge_options,
            prices=_prices(judge_price, "--judge-price"),
            max_spend=judge_max_spend,
            requests_per_minute=judge_rpm,
            tokens_per_minute=judge_tpm,
            language=judge_language,
        ),
        data=data,
        guards=dict(_pair(one) for one in guard or ()),
        limit=limit,
        seed=seed,
        batch=batch,
        max_new_tokens=max_new_tokens,
        skip_missing=skip_missing,
        revision=revision,
        device=device,
        dtype=dtype,
        judge_again=judge_again,
        examples=not no_examples,
        measure=not no_measure,
    )
    if dry_run and judge_again:
        raise UsageError("--judge-again is of a run that there is, and --dry-run of one to come: leave one of them out")
    if dry_run:
        from sightguard.bench.dry import Known
        from sightguard.bench.dry import dry_run as estimated

        prices = _prices(price, "--price")
        told = estimated(
            model, found, options, Known(remote=remote, prices=prices, seconds=seconds_per_answer, like=like, out=out)
        )
        print_json(told) if json else _print_estimate(told)
        return
    if not (price is None and seconds_per_answer is None and like is None):
        raise UsageError(
            "--price, --seconds-per-answer and --like are of an estimate: add --dry-run, or leave them out"
        )
    if out is None:
        raise UsageError("expected --out FOLDER, the folder of the run")
    with new_folder(out), progress() as show:
        if remote is not None:
            from sightguard.bench.remote import bench_remote

            results = bench_remote(remote, model, found, out, options, progress=show)
        else:
            from sightguard.bench.run import bench as run

            results = run(model, found, out, options, progress=show)
    if json:
        print_json(results)
        return
    _print(results, out)


def _pair(text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    if not sign or not folder:
        raise UsageError(f"--guard takes NAME=DIR, a defense and the folder of its guard; got {text!r}")
    return name, Path(folder)


def _prices(text: str | None, option: str) -> Prices | None:
    from sightguard.evaluate.asking.purse import Prices

    return None if text is None else Prices.parse(text, option)


def _print_estimate(told: dict[str, Any]) -> None:
    print_table(
        ["setting", "prompts", "from"],
        [[name, n, told["sources"][name]] for name, n in told["settings"].items()],
        title="What would be asked",
    )
    from sightguard.report.bench_estimate import estimate_lines, not_in_it

    print_table(["what", "how much"], [list(line) for line in estimate_lines(told)], title="What it takes")
    for sentence in not_in_it(told):
        say(sentence)
    for name, why in told["left_out"].items():
        say(f"left out: {name}: {why}")


def _print(results: dict[str, Any], out: Path) -> None:
    from sightguard.report.bench_asking import asking, cap, undecided
    from sightguard.report.bench_scores import scores, unlabelled
    from sightguard.report.bench_terminal import bench_table, rich_table

    print_rich(bench_table(results))
    if (told := scores(results)).lines:
        print_rich(rich_table(told))
    for sentence in unlabelled(results):
        say(sentence)
    for name, counts in asking(results):
        say(f"asking the judges: {name}: {counts}")
    if spent := cap(results):
        say(f"warning: {spent}")
    if results["asking"] and (count := undecided(results)):
        say(f"{count} answers are undecided; the same command with --judge-again judges them once more")
    for name, why in results["manifest"]["about"]["left_out"].items():
        say(f"left out: {name}: {why}")
    say(f"results: {out / 'results.json'}   page: {out / 'report.html'}   answers: {out / 'samples.jsonl'}")
