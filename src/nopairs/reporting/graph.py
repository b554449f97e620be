"""The workflow's graph of rules as an SVG picture, drawn from what ``snakemake --rulegraph`` prints."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

import networkx as nx

from nopairs.errors import NopairsError

_NODE = re.compile(r'^\s*(\d+)\s*\[.*?label\s*=\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.MULTILINE)

# Pixels. A character of the 13-pixel monospace font is 7.8 wide; the rest is padding.
_CHARACTER, _PADDING, _HEIGHT, _LAYER, _GAP, _MARGIN = 7.8, 24.0, 30.0, 62.0, 22.0, 8.0
_SWEEPS = 60

Layers = list[list[str]]


def parse_rulegraph(dot: str) -> nx.DiGraph:
    """Read Graphviz dot text as printed by ``snakemake --rulegraph`` into a graph with labelled nodes.

    An edge runs from the rule that makes a file to the rule that reads it.

    Jobs never run in a circle, but rules may: one degradation's strength is chosen on another's pairs. The edge that closes
    a circle is left out. Raises NopairsError where the text holds no rule.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node, label in _NODE.findall(dot):
        graph.add_node(node, label=label.replace("\\n", " "))
    graph.add_edges_from((a, b) for a, b in _EDGE.findall(dot) if a in graph and b in graph)
    if not graph:
        raise NopairsError("rule graph: no rule in it; write it with `snakemake --rulegraph`")
    while not nx.is_directed_acyclic_graph(graph):
        graph.remove_edge(*nx.find_cycle(graph)[-1][:2])
    return graph


def draw_svg(graph: nx.DiGraph) -> str:
    """Return the graph as SVG text, the first rules at the top; colours follow the page (``currentColor``).

    Edges that others imply are left out: with them, nearly every rule would hang on the first ones.

    Layers as in Sugiyama, Tagawa and Toda (1981): rules by topological generation, invisible points where an
    edge passes a layer, and few crossings by sweeps that order each layer by its neighbours' mean position.
    """
    graph = _reduced(graph)
    routed, layers = _layered(graph)
    _reduce_crossings(routed, layers)
    widths = {node: _width(routed.nodes[node].get("label", "")) for node in routed}
    x = _horizontal(routed, layers, widths)
    y = {node: _MARGIN + _HEIGHT / 2 + index * _LAYER for index, layer in enumerate(layers) for node in layer}
    width = max(x[node] + widths[node] / 2 for node in routed) + _MARGIN
    height = _MARGIN * 2 + _HEIGHT + (len(layers) - 1) * _LAYER
    edges = [_edge_path(route, x, y) for route in routed.graph["routes"]]
    nodes = [_node_box(graph.nodes[node]["label"], x[node], y[node], widths[node]) for node in graph]
    names = ", ".join(
        escape(graph.nodes[node]["label"]) for layer in layers for node in layer if node in graph
    )
    return (
        f'<svg class="rulegraph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="Rules of the workflow: {names}">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0.5 8 4 0 7.5z" fill="currentColor"/></marker></defs>'
        f'<g class="edges" fill="none" stroke="currentColor" stroke-width="1.2">{"".join(edges)}</g>'
        '<g class="rules" font-family="ui-monospace, monospace" font-size="13" text-anchor="middle">'
        f"{''.join(nodes)}</g></svg>"
    )


def _reduced(graph: nx.DiGraph) -> nx.DiGraph:
    """Return the transitive reduction with the labels, which networkx drops."""
    reduced = nx.transitive_reduction(graph)
    reduced.add_nodes_from(graph.nodes(data=True))
    return reduced


def _layered(graph: nx.DiGraph) -> tuple[nx.DiGraph, Layers]:
    """Return the graph with edges cut at the layers that they pass, listed as `routes`, and the layers."""
    layers = [sorted(layer, key=int) for layer in nx.topological_generations(graph)]
    level = {node: index for index, layer in enumerate(layers) for node in layer}
    routed: nx.DiGraph[str] = nx.DiGraph(routes=[])
    routed.add_nodes_from(graph.nodes(data=True))
    for start, end in graph.edges:
        points = [f"{start}>{end}@{index}" for index in range(level[start] + 1, level[end])]
        for index, point in enumerate(points, level[start] + 1):
            layers[index].append(point)
        route = [start, *points, end]
        nx.add_path(routed, route)
        routed.graph["routes"].append(route)
    return routed, layers


def _reduce_crossings(graph: nx.DiGraph, layers: Layers) -> None:
    """Order each layer, in place, by the mean place of its neighbours in the layer before (then after) it.

    Sweeps can also make an order worse: the best one met is kept.
    """
    best, fewest = [list(layer) for layer in layers], _crossings(graph, layers)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = graph.predecessors if down else graph.successors
        for fixed, free in pairwise(layers if down else layers[::-1]):
            place = {node: index for index, node in enumerate(fixed)}
            means = {
                node: _mean([place[other] for other in neighbours(node)], index)
                for index, node in enumerate(free)
            }
            free.sort(key=means.__getitem__)
        if (count := _crossings(graph, layers)) < fewest:
            best, fewest = [list(layer) for layer in layers], count
    layers[:] = best


def _crossings(graph: nx.DiGraph, layers: Layers) -> int:
    count = 0
    for above, below in pairwise(layers):
        place = {node: index for index, node in enumerate(below)}
        ends = [[place[other] for other in graph.successors(node)] for node in above]
        flat = [(index, end) for index, group in enumerate(ends) for end in group]
        count += sum(a < c and b > d for a, b in flat for c, d in flat)
    return count


def _horizontal(graph: nx.DiGraph, layers: Layers, widths: dict[str, float]) -> dict[str, float]:
    """Return each node's centre: near the mean of its neighbours, in the layer's order, without overlap."""
    x: dict[str, float] = {}
    for layer in layers:
        _place(layer, {node: float(index) for index, node in enumerate(layer)}, widths, x)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 else layers[::-1]:
            wish = {
                node: _mean([x[other] for other in nx.all_neighbors(graph, node)], x[node]) for node in layer
            }
            _place(layer, wish, widths, x)
    left = min(x[node] - widths[node] / 2 for node in x)
    return {node: centre - left + _MARGIN for node, centre in x.items()}


def _place(layer: list[str], wish: dict[str, float], widths: dict[str, float], x: dict[str, float]) -> None:
    """Put a layer's nodes as near to their wishes as their order and widths allow.

    The mean of the packings from the left and from the right keeps all distances and shares the push.
    """
    step = [_GAP + (widths[a] + widths[b]) / 2 for a, b in pairwise(layer)]
    rightwards = [wish[layer[0]]]
    for node, distance in zip(layer[1:], step, strict=True):
        rightwards.append(max(wish[node], rightwards[-1] + distance))
    leftwards = [wish[layer[-1]]]
    for node, distance in zip(layer[-2::-1], step[::-1], strict=True):
        leftwards.append(min(wish[node], leftwards[-1] - distance))
    for node, a, b in zip(layer, rightwards, leftwards[::-1], strict=True):
        x[node] = (a + b) / 2


def _mean(values: list[float] | list[int], default: float = 0.0) -> float:
    return sum(values) / len(values) if values else default


def _width(label: str) -> float:
    return len(label) * _CHARACTER + _PADDING if label else 0.0


def _edge_path(route: list[str], x: dict[str, float], y: dict[str, float]) -> str:
    """Return a smooth path from the lower side of the first box to the upper side of the last one."""
    points = [(x[node], y[node]) for node in route]
    points[0] = (points[0][0], points[0][1] + _HEIGHT / 2)
    points[-1] = (points[-1][0], points[-1][1] - _HEIGHT / 2 - 1)
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    return f'<path d="{path}" marker-end="url(#arrow)"/>'


def _node_box(label: str, x: float, y: float, width: float) -> str:
    box = (
        f'x="{x - width / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}" height="{_HEIGHT:.0f}" rx="6"'
    )
    text = f'<text x="{x:.1f}" y="{y + 4.5:.1f}" fill="currentColor">{escape(label)}</text>'
    return f'<rect {box} fill="none" stroke="currentColor"/>{text}'
