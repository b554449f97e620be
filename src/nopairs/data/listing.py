"""The catalogue as tables: for the terminal, and for docs/datasets.md."""

from __future__ import annotations

from collections.abc import Sequence

from nopairs.data import entries
from nopairs.data.entries import Entry, RemoteFile
from nopairs.data.photos import PAIRED_ROLES
from nopairs.data.store import Store

UNITS = ("B", "KB", "MB", "GB")


def terminal_table(store: Store) -> str:
    """Name, size, what is there already, licence and title of every dataset."""
    header = ("dataset", "size", "here", "title", "licence")
    rows = [
        (entry.name, size_of(entry.files), _here(entry, store), entry.title, entry.licence)
        for entry in map(entries.load, entries.names())
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows))
    return "\n".join(lines)


def markdown_table() -> str:
    """What docs/datasets.md says of every dataset."""
    header = ("`source:`", "what", "size", "roles", "tile", "paper's crop, blur", "licence")
    rows = [header, ("---",) * len(header)]
    for entry in map(entries.load, entries.names()):
        title = f"[{entry.title}]({entry.home})" if entry.home else entry.title
        what = f"**{title}.** {entry.about} *{entry.citation}*"
        size = size_of(entry.files) if entry.files else "yours"
        tile = str(entry.defaults.get("tile", ""))
        rows.append((f"`{entry.name}`", what, size, _roles(entry), tile, _training(entry), entry.licence))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def size_of(files: Sequence[RemoteFile]) -> str:
    """Sum of the published sizes; ">" where some are not known."""
    known = [file.size for file in files if file.size is not None]
    if not known:
        return "unknown" if files else "-"
    size, unit = float(sum(known)), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{'' if len(known) == len(files) else '> '}{size:.3g} {UNITS[unit]}"


def _here(entry: Entry, store: Store) -> str:
    if not entry.files:
        return "your own"
    there = len(store.present(entry.name, entry.files))
    return {0: "no", len(entry.files): "yes"}.get(there, f"{there} of {len(entry.files)} files")


def _roles(entry: Entry) -> str:
    """Roles that the dataset has; those with one side only say so."""
    if entry.name == entries.FOLDER:
        return "clean, degraded; as you name them"
    if entry.weights:
        return "weights"
    roles = [role for role in ("clean", "degraded") if entry.sides(role)]
    for role in PAIRED_ROLES:
        sides = entry.sides(role)
        roles += [role if len(sides) == 2 else f"{role} ({', '.join(sides)} only)"] if sides else []
    return ", ".join(roles) + ("; dealt by scene" if entry.split else "")


def _training(entry: Entry) -> str:
    crop, blur = entry.defaults.get("crop"), entry.defaults.get("blur")
    words = [str(crop)] if crop else []
    words += [f"{blur['size']}, sigma {blur['sigma']}"] if blur else []
    words += ["channels normalised"] if entry.defaults.get("normalise_channels") else []
    return "; ".join(words)
