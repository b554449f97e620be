"""Follow a trained flow on test images: crops along the way, restorations with several auxiliary variables, the way back, and the time."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from nopairs import command
from nopairs.data.images import read_rgb, write_png
from nopairs.data.showing import choose_images, zoom_box
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, write_json
from nopairs.models import load_restorer
from nopairs.restorers.flow_paths import WAYS, grid
from nopairs.restorers.resflow import ResFlow, normal_field, round_trip_error
from nopairs.training import hardware

CROP = 128  # pixels a side, a multiple of what any network divides by
SHOWN = 1  # images whose crops are drawn
JUDGED = 4  # images that the numbers are from
STEPS = (1, 2, 4, 8, 16)
DRAWS = 4
TIMED = 3


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    model = load_restorer(args.model).to(device)
    if not isinstance(model, ResFlow):
        raise NopairsError(f"{args.model}: is no resflow; name the folder of one")
    clean, degraded = (
        [crop(args.dataset, side, name) for name in choose_images(args.dataset, JUDGED)]
        for side in ("clean", "degraded")
    )
    images = torch.cat([to_tensor(image[None]) for image in degraded]).to(next(model.parameters()).device)
    with atomic_folder(args.out) as folder, torch.inference_mode():
        write_png(folder / "clean.png", clean[0])
        write_trajectories(folder, model, images[:SHOWN])
        spread = write_draws(folder, model, images)
        facts = {"spread": spread, "steps": [judge(model, images, steps) for steps in STEPS]}
        write_json(folder / "flow.json", facts)


def crop(dataset: Path, side: str, name: str) -> np.ndarray:
    """Return the square of a test image that has most to see, chosen on its clean version."""
    box = zoom_box(read_rgb(dataset / "test" / "clean" / name), CROP)
    return np.ascontiguousarray(box.cut(read_rgb(dataset / "test" / side / name)))


def write_trajectories(folder: Path, model: ResFlow, image: torch.Tensor) -> None:
    """Write the states of few and of many steps at the times of the few: <steps>_<percent of t, three digits>.png."""
    noise = field(model, image, 0)
    wanted = grid(min(WAYS), model.options.last_step)
    for steps in WAYS:
        times = grid(steps, model.options.last_step)
        states = model.follow(image, noise, times)
        for place in (times - wanted[:, None]).abs().argmin(1).tolist():
            percent = round(100 * float(times[place]))
            write_png(folder / f"{steps:02d}_{percent:03d}.png", to_uint8(states[place])[0])


def write_draws(folder: Path, model: ResFlow, images: torch.Tensor) -> float:
    """Write restorations of the first image with several auxiliary variables; return all images' standard deviation, of 255."""
    times = grid(model.options.steps, model.options.last_step)
    drawn = [model.follow(images, field(model, images, draw), times)[-1] for draw in range(DRAWS)]
    for draw, restored in enumerate(drawn):
        write_png(folder / f"draw_{draw}.png", to_uint8(restored)[0])
    deviation = 255 * torch.stack(drawn).std(0)
    np.save(folder / "deviation.npy", deviation[0].mean(0).cpu().numpy())
    return float(deviation.square().mean().sqrt())


def judge(model: ResFlow, images: torch.Tensor, steps: int) -> dict[str, float]:
    """Return how far from the start the way there and back ends in equal steps (of 255), and the seconds of one restoration of a crop."""
    noise, times = field(model, images, 0), grid(steps, model.options.last_step)
    taken = []
    for _ in range(TIMED):
        start = time.perf_counter()
        model.follow(images[:1], noise, times)[-1].cpu()
        taken.append(time.perf_counter() - start)
    return {"steps": steps, "round_trip": 255 * round_trip_error(model, images, steps), "seconds": min(taken)}


def field(model: ResFlow, images: torch.Tensor, draw: int) -> torch.Tensor:
    """Return a draw of the auxiliary variable, the same for all images."""
    rows, columns = map(torch.arange, images.shape[2:])
    return normal_field(rows, columns, model.options.seed, draw).to(images.device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a trained resflow's folder")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the crops and flow.json")
    sys.exit(command.run(main, parser))
