"""What the compiler of the model finds out about local variables: their classes behind tests, and whether they live."""

import ast

from llvmlite import ir

from iosim.compiled.compiler.hints import INT, Hint
from iosim.compiled.compiler.narrowing import Known
from iosim.compiled.compiler.suspension import live_at_start
from iosim.compiled.compiler.values import I64, Wait


def test_an_assignment_says_what_a_variable_is_until_the_next() -> None:
    known = Known()
    known.assign("n", INT.or_none(), INT)
    assert known.hints == {"n": INT}
    known.forget("n")
    known.assign("n", Hint("str"), INT)
    assert known.hints == {}


def test_a_type_is_forgotten_with_either_variable() -> None:
    for name in ("kind", "step"):
        known = Known()
        known.types["kind"] = "step"
        known.forget(name)
        assert known.types == {}


def test_behind_a_loop_only_what_it_does_not_assign_is_known() -> None:
    known = Known()
    known.hints = {"kept": INT, "changed": INT, "counted": INT}
    loop = ast.parse("for counted in kept:\n    if kept:\n        changed = 1\n")
    assert known.without(loop).hints == {"kept": INT}


def test_where_two_ways_meet_both_have_to_agree() -> None:
    one, other = Known(), Known()
    one.hints = {"same": INT, "differs": INT, "once": INT}
    other.hints = {"same": INT, "differs": Hint("str")}
    assert one.common(other).hints == {"same": INT}


def test_a_variable_lives_across_a_wait_if_it_is_read_behind_it_or_behind_the_next() -> None:
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), []), "f")
    names = ("entry", "leave", "resume", "leave2", "resume2")
    entry, leave, resume, leave_again, resume_again = (function.append_basic_block(name) for name in names)
    b = ir.IRBuilder(entry)
    first, second, written, unused = (b.alloca(I64) for _ in range(4))
    b.store(I64(1), unused)
    b.branch(leave)
    b.position_at_end(resume)
    b.load(first)
    b.branch(leave_again)
    b.position_at_end(resume_again)
    b.load(second)
    b.store(I64(1), written)
    b.load(written)
    b.ret_void()
    waits = [Wait(leave, resume, I64(0), None), Wait(leave_again, resume_again, I64(0), None)]
    assert live_at_start(waits, function, [first, second, written, unused]) == [{first, second}, {second}]
