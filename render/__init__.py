"""Output for a person: quotes, evaluations, counts and progress. Only the commands use it; it imports nothing heavy.

Results go to stdout, progress to stderr. Product text is data: no markup in it is obeyed, no control character shown.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from commands.streams import show, tell
from index.visible import money, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from engine.evaluation.price_changes import PriceChanges
    from engine.finetune.run import FinetuneResult
    from engine.lifecycle.update import UpdateResult
    from engine.serving.arguing.explain import Explanation
    from engine.serving.audit.audit_file import AuditResult
    from engine.serving.price_file import PriceFileResult
    from engine.serving.quote import Quote
    from index.catalogue.inspection import Inspection
    from index.encoders import EncoderSpec
    from index.photographs.fetch_all import FetchReport
    from index.photographs.formats import Reason

PROGRESS_EVERY = {False: 10.0, True: 0.1}  # seconds; by whether stderr is a terminal
ERASED = "\r\x1b[K"  # the terminal's line, and the cursor at its start
SHOWN_COMPARABLES = SHOWN_CHANGES = 10
SHOWN_GROUPS = 20
SHOWN_FAULTS, SHORT_NAME = 10, 40
LONGEST_NAME = 70  # characters shown of a comparable's name
LONGEST_TEXT = 100  # characters shown of an example's text
SHOWN_REJECTS = 3  # of an inspection


def print_counts(what: str, counts: Counter[str]) -> None:
    if counts:
        show(f"{counts.total():,} {what}:")
    for reason, count in counts.most_common():
        show(f"  {count:>7,}  {reason}")


def open_console() -> Console:
    """Open a console that prints data as it is: no markup, no emoji codes, no highlighting of numbers or paths."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for `cli` to judge; Rich would end the process with exit code 1

    return PlainConsole(markup=False, emoji=False, highlight=False)


def make_table(*columns: str) -> Table:
    """Table with words on the left, wrapped where the terminal is narrow, and figures on the right, never wrapped."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold", min_width=12)
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def show_quote(console: Console, quote: Quote, currency: str, coverage: float, settings: Mapping[str, Any]) -> None:
    currency = visible(currency)
    interval = f"{coverage:.0%} interval {money(quote.low)} to {money(quote.high)}"
    per_unit = f", {money(quote.per_unit.price)} a {quote.per_unit.unit}" if quote.per_unit else ""
    console.print(f"{money(quote.price)} {currency}{per_unit}   ({interval})")
    if before := quote.before:
        interval, moved_by = f"{money(before.low)} to {money(before.high)}", f"{quote.price / before.price - 1:+.1%}"
        console.print(f"By all comparables {money(before.price)} ({interval}): this choice moves it by {moved_by}.")
    such = f"{quote.within_20:.0%} of such items were within 20%"
    console.print(f"Confidence {quote.confidence}: {' '.join((f'{such}.', *map(visible, quote.why)))}")
    for note in quote.notes:
        console.print(f"Note: {visible(note)}")
    parts = {name: money(part) for name, part in quote.parts.items()}
    shift, blend, stacker = parts.pop("shift"), parts.pop("blend"), parts.pop("stacker", None)
    median = parts.pop("median", None)  # where the price is the mean
    stacked = f", {stacker} with the neighbours' prices" if stacker else ""
    moved = f", moved by {shift} for what they missed on the neighbours" if quote.comparables else ""
    raised = f": the median is {median}, the price the mean" if median else ""
    console.print(f"Models: {', '.join(map(' '.join, parts.items()))}.\nTheir blend {blend}{stacked}{moved}{raised}.")
    if quote.comparables:
        table = make_table("comparable", f"price, {currency}", "per unit", "similarity", "residual", "weight")
        for comparable in quote.comparables[:SHOWN_COMPARABLES]:
            figures = (
                money(comparable.price),
                f"{money(comparable.per_unit.price)}/{comparable.per_unit.unit}" if comparable.per_unit else "",
                f"{comparable.similarity:.3f}",
                f"{comparable.residual:+.2f}",
                f"{comparable.weight:.0%}",
            )
            name = visible(comparable.name)
            name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
            table.add_row(f"{visible(comparable.item_id)}: {name}", *figures)
        console.print(table)
        if len(quote.comparables) > SHOWN_COMPARABLES:
            console.print(f"And {len(quote.comparables) - SHOWN_COMPARABLES} more, which --json lists.")
        console.print("Residual: log price less what the models expected; +0.10 is about 10% dearer.")
    console.print(f"Settings: {', '.join(f'{name} {value:g}' for name, value in settings.items())}.")


def show_explanation(console: Console, explanation: Explanation, currency: str) -> None:
    """Show a line for each part of the item: what it says, and the price without it."""
    table = make_table("without its", "that says", f"price, {visible(currency)}", "change")
    table.columns[1].justify, table.columns[1].no_wrap, table.columns[1].overflow = "left", False, "fold"
    twice = [explanation.twice] if explanation.twice else []
    for effect in (*explanation.parts, *twice):
        part = f"with {effect.part}" if effect is explanation.twice else effect.part
        figures = ("nothing is left", "") if effect.price is None else (money(effect.price), f"{effect.change:+.1%}")
        table.add_row(visible(part), visible(effect.says), *figures)
    console.print(table)


def show_changes(console: Console, changes: PriceChanges) -> None:
    """Show how many prices a generation moves, and those that move most, with the reason where the evidence has one."""
    found = changes.to_json()
    rows = ", ".join(f"{count:,} {what}" for what, count in changes.rows.items() if what != "both" and count)
    models = "the same models" if changes.same_models else "other models"
    console.print(f"From generation {changes.old} to {changes.new}: {models}; rows {rows or 'as they were'}.")
    median = f"half of all by {found['median_change']:.2%} or more"
    console.print(f"{changes.moved:,} of {found['items']:,} prices move by 1% or more, {median} ({changes.method}).")
    table = make_table("item", "old", "new", "change", "by models", "by evidence")
    for row in found["changes"][:SHOWN_CHANGES]:
        if row["old"] != row["new"]:
            why = f" ({row['why']})" if row["why"] else ""
            amounts, shares = (money(row["old"]), money(row["new"])), ("change", "by_models", "by_evidence")
            name = f"{row['item_id']}: {row['name'][:LONGEST_NAME]}{why}"
            table.add_row(visible(name), *amounts, *(f"{row[share]:+.1%}" for share in shares))
    if table.row_count:
        console.print(table)


def show_price_to_set(console: Console, bounded: Mapping[str, Any], currency: str) -> None:
    """Show what the rules made of the price of a quote; nothing where there are no rules."""
    if not bounded:
        return
    to_set, by = bounded["price_to_set"], bounded["bound_by"]
    shown = "none" if to_set is None else f"{money(to_set)} {visible(currency)}"
    why = ", ".join(filter(None, (f"by {by}" if by else "", bounded["rule_note"])))
    console.print(f"Price to set: {shown}{f' ({visible(why)})' if why else ''}.")


def show_inspection(console: Console, found: Inspection) -> None:
    """Show how a file is understood: its columns, its items, what is left out, and what looks wrong."""
    from index.catalogue.inspection import examples

    read, roles = found.catalogue, found.catalogue.reading.roles
    console.print(f"{visible(read.reading.path.name)}: {visible(read.reading.kind)}")
    console.print(f"{found.rows:,} rows, {read.items.num_rows:,} items\n")
    for role, names in roles.named().items():
        for name in names if isinstance(names, list) else [names]:
            why = roles.why.get(role) or roles.why.get(f"{role}:{name}", "")
            console.print(f"  {role.replace('_', ' '):<16}  {visible(name)}  ({visible(why)})", soft_wrap=True)
    console.print()
    for item, price_of_item in examples(read):
        words = " ".join(item["text"].split())
        words = words if len(words) <= LONGEST_TEXT else f"{words[: LONGEST_TEXT - 1]}…"
        amount = "no price" if price_of_item is None else money(price_of_item)
        console.print(f"  {amount:>12}  {visible(item['item_id'])}  {visible(words)}", soft_wrap=True)
    console.print()
    if price := found.price:
        low, median, high = (money(price[name]) for name in ("low", "median", "high"))
        currency = read.reading.currency or "currency not stated"
        console.print(f"Prices from {low} to {high}, half of them below {median} ({currency}).", soft_wrap=True)
    console.print(
        f"An amount in {found.with_amount:.0%} of the texts, a photograph in {found.with_photograph:,} items; "
        f"{found.near_duplicates:,} items have variants or other near-duplicates.",
        soft_wrap=True,
    )
    print_counts("rows passed over, which are no items", read.passed_over)
    print_counts("rows rejected", read.rejected)
    for reject in read.rejects[:SHOWN_REJECTS]:
        column = f" in {reject.column!r}" if reject.column else ""
        console.print(f"  line {reject.line:,}{visible(column)}: {visible(reject.reason)}", soft_wrap=True)
    for note in read.notes:
        console.print(f"Note: {visible(note)}", soft_wrap=True)
    for warning in found.warnings:
        console.print(f"Warning: {visible(warning)}", soft_wrap=True)
    console.print(f"Next: {visible(found.command)}", soft_wrap=True)


def show_price_file(done: PriceFileResult) -> None:
    """Show how many rows of a file were priced, and where the time went."""
    resumed = f", {done.resumed:,} of them before" if done.resumed else ""
    show(
        f"{done.rows:,} rows in {done.output}: {done.priced:,} priced{resumed}; "
        f"{done.seconds:.0f} s, {done.items_per_second:,.1f} items/s."
    )
    if done.rejects:
        show(f"{done.rejected:,} rows have no price, listed in {done.rejects}.")
    print_counts("photographs that could not be used", done.photographs_absent)
    print_counts("values of columns that the index has never seen", done.unseen)
    whole = sum(done.stages.values()) or 1.0
    for stage, seconds in sorted(done.stages.items(), key=lambda item: -item[1]):
        show(f"  {seconds:>9.1f} s  {seconds / whole:>4.0%}  {stage}")


def show_review(console: Console, done: PriceFileResult) -> None:
    """Show what a review found, group by group, and where it is."""
    show_price_file(done)
    flags, currency = done.summary["flags"], visible(done.summary["currency"])
    console.print(", ".join(f"{count:,} {flag}" for flag, count in flags.items() if count) + ".")
    moved = ("too low", "too high")
    table = make_table("category", "rows", *moved, f"at stake, {currency}")
    for group in done.summary["groups"][:SHOWN_GROUPS]:
        counts = (f"{group[name]:,}" for name in ("rows", *moved))
        table.add_row(visible(group["category"]), *counts, money(group["stake_too_low"] + group["stake_too_high"]))
    console.print(table)


def show_audit(console: Console, done: AuditResult) -> None:
    """Show what an audit found, the worst first, and where the whole is."""
    audit = done.audit
    rows = f"{audit.table.num_rows:,} of {audit.rows:,} rows"
    show(f"{rows} lie outside their interval, the worst first, in {done.output}; {done.seconds:.0f} s.")
    if audit.added:
        show(f"{audit.added:,} rows were added since the build, and cannot be audited before the next.")
    table = make_table("item", f"price, {visible(audit.currency)}", "should be", "likely reason")
    for row in audit.table.slice(0, SHOWN_FAULTS).to_pylist():
        table.add_row(visible(row["name"])[:SHORT_NAME], money(row["price"]), money(row["should_be"]), row["reason"])
    console.print(table)
    print_counts("likely reasons", Counter(audit.reasons))


def show_update(result: UpdateResult, index_dir: Path) -> None:
    """Show in a line how the new generation differs from the one before; then what was left out, and what to do."""
    counts = {"added": result.added, "replaced": result.replaced, "removed": result.removed}
    done = [f"{count:,} {what}" for what, count in counts.items() if count] + ["compacted"] * result.compacted
    show(
        f"{', '.join(done) or 'nothing changed'}: {result.rows:,} rows in {index_dir} ({result.generation}), "
        f"{result.seconds:.1f} s."
    )
    print_counts(f"rows rejected, listed in {result.rejects_file}", result.rejected)
    print_counts("rows without a usable photograph", result.photographs_absent)
    if result.added or result.replaced:
        drift = result.drift
        assert drift is not None
        show(
            f"Half of the {drift.rows_added:,} rows added since the build are within {math.expm1(drift.added):.0%} of "
            f"what was expected of them, of those that the models know within {math.expm1(drift.built):.0%}."
        )
    if result.drift and result.drift.advice:
        show(f"Advice: {result.drift.advice}")


def show_finetuned(done: FinetuneResult) -> None:
    """Show the result of a fine-tuning, epoch by epoch, and what to type next."""
    show(f"{' and '.join(done.encoders)} written: {done.rows:,} rows, {done.seconds:.0f} s.")
    print_counts("rows rejected", done.rejected)
    for number, epoch in enumerate(done.state.curve):
        score = "" if epoch.smape is None else f", SMAPE {epoch.smape:.2f} on {done.validation_rows:,} rows kept aside"
        taken = ", taken" if number == done.state.best else ""
        show(f"Epoch {number + 1}: loss {epoch.loss:.4f}{score}{taken}.")
    show(f"Next: price build-index other.csv --text-encoder {done.encoders[0]}")


def show_fetched(fetched: FetchReport) -> None:
    """Show how many of a catalogue's links were fetched, and why others were not."""
    show(
        f"{fetched.urls:,} links: {fetched.fetched:,} fetched, {fetched.cached:,} here before, "
        f"{fetched.given_up.total() + fetched.remembered.total():,} given up; {fetched.seconds:.0f} s."
    )
    print_counts("given up", _plain(fetched.given_up))
    print_counts("given up by an earlier run, not asked again", _plain(fetched.remembered))
    print_counts("attempts repeated", _plain(fetched.retried))


def _plain(counts: Counter[Reason]) -> Counter[str]:
    return Counter({str(reason): count for reason, count in counts.items()})


def show_encoders(console: Console, specs: Iterable[EncoderSpec], here: Mapping[str, bool]) -> None:
    """Show the catalogue of encoders, a line each."""
    table = make_table("encoder", "reads", "numbers", "parameters", "licence", "here")
    for spec in specs:
        reads, parameters = " and ".join(spec.modalities), f"{spec.parameters / 1e6:,.0f} M" if spec.parameters else ""
        there = "" if spec.family == "none" else "yes" if here[spec.name] else "no"
        table.add_row(spec.name, reads, str(spec.dim or ""), parameters, spec.licence, there)
    console.print(table)


class Progress:
    """Progress of the work on stderr: one line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stderr is not None and sys.stderr.isatty()
        self._stage, self._first, self._done = "", 0, 0
        self._began, self._shown_at, self._over = 0.0, 0.0, True

    def __enter__(self) -> Progress:
        return self

    def update(self, stage: str, done: int, total: int | None) -> None:
        """Take a report (`index.progress.OnProgress`). A stage whose count falls has begun anew, on another column."""
        now, begins = time.monotonic(), stage != self._stage or done < self._done
        if begins:
            self._close_line()
            self._stage, self._first, self._began, self._over = stage, done, now, False
        self._done = done
        if not self._over and (begins or done == total or now - self._shown_at >= PROGRESS_EVERY[self._moves]):
            self._shown_at, self._over = now, done == total
            line = visible(stage) + _count(done, total, done - self._first, now - self._began)
            if self._moves:
                width = shutil.get_terminal_size().columns - 1
                tell(line[:width], start=ERASED, end="\n" if self._over else "")
            else:
                tell(line)

    def _close_line(self, *_: object) -> None:
        if self._moves and not self._over:
            tell("")

    __exit__ = _close_line


def _count(done: int, total: int | None, made: int, seconds: float) -> str:
    """Format `: 512 of 7,051, 40/s, 0:02:43 left`, as far as it is known; `made` of `done` took `seconds`."""
    if total is None:
        return f": {done:,}" if done else ""
    count = f": {done:,} of {total:,}"
    if not made or seconds <= 0 or done == total:
        return f"{count} in {seconds:.1f} s" if made else count
    rate, left = made / seconds, timedelta(seconds=round((total - done) * seconds / made))
    return f"{count}, {f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'}/s, {left} left"
