"""Computing, once, what an exported program would compute at every call from constants alone."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


def folded(program: ExportedProgram) -> GraphModule:
    """Return a program as a module whose constant parts have been computed.

    In a forecaster these are location codes, learned graphs and the normalisation of a given
    graph. They make a forecast slower, and use operators that other runtimes lack.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        Without side effects on its constants.

    Returns
    -------
    torch.fx.GraphModule
        With the same results; weights that nothing reads any more are gone.

    Examples
    --------
    >>> class Slow(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x + torch.ones(2).cumsum(0)
    >>> program = torch.export.export(Slow(), (torch.zeros(2),))
    >>> module = folded(program)
    >>> [node.op for node in module.graph.nodes], module(torch.zeros(2)).tolist()
    (['placeholder', 'get_attr', 'call_function', 'output'], [1.0, 2.0])
    """
    module = program.module()
    known = _constants(module)
    if any(place in known for node in module.graph.nodes for place in _written(node)):
        # Decomposing nothing still turns operators that write in place into ones that do not.
        module = program.run_decompositions({}).module()
        known = _constants(module)
    graph = module.graph
    values: dict[str, Any] = {}
    for node, value in known.items():
        if node.op == "get_attr":
            values[str(node.target)] = value
        elif isinstance(value, Tensor) and any(user not in known for user in node.users):
            name = f"folded_{len(values)}"
            with graph.inserting_before(node):
                constant = graph.create_node("get_attr", name)
            constant.meta = node.meta
            node.replace_all_uses_with(constant)
            values[name] = value.contiguous()
            module.register_buffer(name, values[name])
    for node in reversed(graph.nodes):
        if node.op == "call_module" and not node.users:  # checks of the inputs
            graph.erase_node(node)
    graph.eliminate_dead_code()
    used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return GraphModule({name: values[name] for name in values if name in used}, graph)


@torch.no_grad()
def _constants(module: GraphModule) -> dict[Node, Any]:
    """Return the value of every node that depends on no input."""
    known: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = attrgetter(str(node.target))(module)
        elif node.op != "call_function" or node.is_impure() or _written(node):
            continue
        elif all(source in known for source in node.all_input_nodes):
            args, options = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **options)
    return known


def _written(node: Node) -> list[Any]:
    """Return the arguments that an operator writes to."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return []
    given = {
        **dict(zip((a.name for a in schema.arguments), node.args, strict=False)),
        **node.kwargs,
    }
    writes = (
        a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write
    )
    return [given[name] for name in writes if name in given]
