"""What a wired machine may hold of the model's code: functions that are called as values, and generators.

A method can only have become a value where its name is read without being called, and a generator of the machine's own
can only have been made where one is called outside of `yield from`. That is looked up by name in all modules of the
world, in which the machine is wired, too.
"""

import ast
from collections.abc import Iterator

from iosim.compiled.compiler.world import FunctionInfo, World


def held_functions(world: World, functions: list[FunctionInfo]) -> list[FunctionInfo]:
    """Return those of *functions* that a machine may hold as values: lambdas, nested ones, and those read by name."""
    read: set[str] = set()
    for module in world.modules:
        read |= set(_names_read(module.tree))
    return [
        info
        for info in functions
        if info.role != "property"
        and (info.role in ("lambda", "nested") or info.name in read)
        and not _is_replaced(world, info)
    ]


def held_generators(world: World, functions: list[FunctionInfo]) -> list[FunctionInfo]:
    """Return those generator functions among *functions* whose generators a machine may hold."""
    made: set[str] = set()
    for module in world.modules:
        made |= set(_names_called(module.tree))
    return [info for info in functions if info.is_generator and info.name in made and not _is_replaced(world, info)]


def _is_replaced(world: World, info: FunctionInfo) -> bool:
    """Tell whether it is a member of a class that a twin stands for."""
    owner = info.owner
    return owner is not None and world.replaced.get(owner.type, owner.type) is not owner.type


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _names_read(tree: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that are read and not called at once; annotations and properties do no harm."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in called:
            yield _name(node)


def _names_called(tree: ast.AST) -> Iterator[str]:
    """Yield the names of what is called, except right behind `yield from`."""
    passed_on = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.YieldFrom)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in passed_on:
            yield _name(node.func)
