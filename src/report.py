"""Write the report, one HTML file without network: tables, figures, a before/after slider, what was run."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from nopairs import command
from nopairs.config import from_pairs
from nopairs.errors import NopairsError
from nopairs.files import atomic_file, read_json
from nopairs.reporting import graph, provenance, report
from nopairs.reporting.headline import headline
from nopairs.reporting.reading import named_path, read_table
from nopairs.reporting.slider import slider_images
from nopairs.reporting.transport import alpha_images

TEMPLATES = Path(__file__).resolve().parents[1] / "workflow" / "report"


def main(args: argparse.Namespace) -> None:
    captions = TEMPLATES / "captions"
    tables = {name: read_table(path) for name, path in args.table}
    paired = from_pairs(read_json(args.config))
    usage = provenance.usage(args.benchmarks)
    page = report.render(
        TEMPLATES / "page.html.j2",
        datasets=list(dict.fromkeys(dataset for table in tables.values() for dataset in table["dataset"])),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        headline=next(filter(None, (headline(table, paired) for table in tables.values())), None),
        tables=[
            report.table_view(name, table, report.read_caption(captions, name))
            for name, table in tables.items()
        ],
        slider=slider(dict(args.dataset_dir), args.restored),
        alphas=[one for name, folder in args.transport for one in alpha_images(name, folder)],
        figures=[one for name, path in args.figure for one in report.pictures(name, path, captions)],
        config=report.readable_config(args.config),
        versions=provenance.versions(TEMPLATES),
        hardware=provenance.hardware(),
        usage=usage,
        total=sum(rule.seconds or 0 for rule in usage),
        duration=provenance.duration,
        rulegraph=graph.draw_svg(graph.parse_rulegraph(args.rulegraph.read_text())),
        measurement=report.read_text(TEMPLATES / "measurement.rst"),
    )
    with atomic_file(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def slider(datasets: dict[str, Path], restored: list[tuple[str, Path]]) -> list[dict]:
    """Return the slider's images of all datasets; `restored` holds (dataset/method, folder)."""
    methods: dict[str, dict[str, Path]] = {dataset: {} for dataset in datasets}
    for name, folder in restored:
        dataset, _, method = name.partition("/")
        if dataset not in methods or not method:
            raise NopairsError(
                f"--restored {name}: expected DATASET/METHOD=FOLDER of a dataset given by --dataset-dir"
            )
        methods[dataset][method] = folder
    return [
        {"dataset": dataset, **image}
        for dataset, folder in datasets.items()
        for image in slider_images(folder, methods[dataset])
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)

    def several(flag: str, metavar: str, text: str) -> None:
        parser.add_argument(flag, nargs="*", default=[], type=named_path, metavar=metavar, help=text)

    parser.add_argument("--config", required=True, type=Path, metavar="JSON", help="the config that was run")
    several("--table", "NAME=CSV", "tables; the first gives the headline")
    several("--figure", "KIND[/DETAIL]=PNG", "figures or folders of them; KIND chooses its caption")
    several("--dataset-dir", "DATASET=FOLDER", "datasets whose test images to show")
    several("--restored", "DATASET/METHOD=FOLDER", "restored test images")
    several("--transport", "METHOD=FOLDER", "transports over alpha, with curve.csv and crops")
    parser.add_argument(
        "--benchmarks", required=True, type=Path, help="folder of Snakemake's benchmark files"
    )
    parser.add_argument(
        "--rulegraph", required=True, type=Path, metavar="DOT", help="from `snakemake --rulegraph`"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="HTML", help="the report")
    sys.exit(command.run(main, parser))
