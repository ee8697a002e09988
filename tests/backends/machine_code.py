"""Reading assembly: functions, innermost loops, and what they spill."""

from __future__ import annotations

import re

import networkx as nx

# Conditional and unconditional jumps of x86 and AArch64, with their labels.
_JUMP = re.compile(r"(j\w+|b|b\.\w+|cbn?z|tbn?z)\s(?:.*\s)?(\.L\w+)$")
_ALWAYS = ("jmp", "b")
_STACK = re.compile(r"\(%rsp|\[sp\b")
_STORE = re.compile(r"v?mov\w+\s[^,(]+,.*\(|st\w*\s")
_FLOATS = re.compile(r"v?(add|sub|mul|div|max|min|sqrt|cmp\w*|fn?m\w*)[ps][sd]\s|f(?!mov)\w+\s")


def functions(assembly: str) -> dict[str, str]:
    """The body of every function, by name."""
    found = re.findall(
        r"^\t\.type\t(\S+),[@%]function\n(.*?)^\.Lfunc_end", assembly, re.MULTILINE | re.DOTALL
    )
    return dict(found)


def instructions(assembly: str) -> list[str]:
    """All instructions, without comments."""
    lines = (re.sub(r"\s*(#|//)\s.*", "", line).strip() for line in assembly.splitlines())
    return [line for line in lines if line and not re.match(r"[.#]|\S+:$", line)]


def innermost_loops(body: str) -> list[list[str]]:
    """The instructions of each loop that has no other within it.

    A loop is what lies between a label and a jump back to it: the blocks from which the jump is
    reached without passing the label, wherever they stand. Only such jumps count whose label cannot
    be avoided on the way to them, so that blocks may stand in any order.
    """
    blocks, flow = _blocks(body)
    above = nx.immediate_dominators(flow, "")

    def avoids(block: str, head: str) -> bool:
        while block != head and block:
            block = above[block]
        return block != head

    loops: dict[str, set[str]] = {}
    for source, head in flow.edges:
        if source in above and not avoids(source, head):
            loop = loops.setdefault(head, {head})
            if source != head:
                loop |= {source} | nx.ancestors(flow.subgraph(flow.nodes - {head}), source)
    return [
        [line for block in blocks if block in loop for line in blocks[block]]
        for head, loop in loops.items()
        if not loop & (loops.keys() - {head})
    ]


def _blocks(body: str) -> tuple[dict[str, list[str]], nx.DiGraph]:
    """The basic blocks, in the order they stand in, and where each may go on; the first is ""."""
    blocks: dict[str, list[str]] = {"": []}
    flow = nx.DiGraph()
    flow.add_node("")
    here, falls = "", True
    for line in body.splitlines():
        label = re.match(r"(\.L\w+):", line)
        jump = None
        if not label:
            own = instructions(line)
            blocks[here] += own
            jump = _JUMP.match(own[0]) if own else None
            if jump:
                flow.add_edge(here, jump[2])
            if not jump and not (own and own[0].startswith("ret")):
                continue
            falls = jump is not None and jump[1] not in _ALWAYS
        following = label[1] if label else f"after {len(blocks)}"
        if falls:
            flow.add_edge(here, following)
        here, falls = following, True
        blocks.setdefault(here, [])
        flow.add_node(here)
    return blocks, flow


def computing_loops(body: str) -> list[list[str]]:
    """The innermost loops that compute with floats."""
    return [loop for loop in innermost_loops(body) if any(map(_FLOATS.match, loop))]


def spills(loop: list[str]) -> list[str]:
    """The instructions of a loop that go to the stack."""
    return [line for line in loop if _STACK.search(line)]


def stores(loop: list[str]) -> list[str]:
    """The instructions of a loop that write to memory, but for the stack."""
    return [line for line in loop if _STORE.match(line) and not _STACK.search(line)]
