"""The expression that describes the convolutions of a feature extractor, read without `eval`."""

import ast
from pathlib import Path

from ..errors import CheckpointError

_MOST_LAYERS = 64


def parse_conv_layers(expression: object, path: str | Path | None = None) -> list[tuple[int, int, int]]:
    """ "[(512,10,5)] + [(512,3,2)] * 4" -> [(512, 10, 5), (512, 3, 2), ...]: width, kernel, stride of each layer.

    Lists, tuples, integers, + and * are read; anything else raises CheckpointError, which names `path`.
    """

    def value(node):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.List):
            return [value(item) for item in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(value(item) for item in node.elts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Add) and type(left) is type(right) is list:
                return left + right
            if isinstance(node.op, ast.Mult) and type(left) is list and type(right) is int and right >= 0:
                if len(left) * right <= _MOST_LAYERS:
                    return left * right
        raise ValueError

    try:
        layers = value(ast.parse(str(expression), mode="eval").body)
        if not layers or any(len(layer) != 3 or min(layer) < 1 for layer in layers):
            raise ValueError
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        where = f"{path}: " if path else ""
        raise CheckpointError(
            f"{where}conv_feature_layers is {str(expression)[:200]!r}: it must be a list of (width, kernel, stride)"
        ) from None
    return layers
