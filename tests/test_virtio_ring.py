"""The virtqueue: who is told when, by event index and by flag, and that indices wrap."""

from iosim.model.records import Request
from iosim.model.virtio import Element, Vring, Where, vring_need_event


def element(number: int = 0) -> Element:
    return Element(Request(number, None, number, "W", 8 * number, 8, 0), "W", 8 * number, 8)


def add(ring: Vring, n: int) -> list[Element]:
    added = [element(number) for number in range(n)]
    for each in added:
        ring.add(each)
    return added


def test_an_event_is_wanted_if_the_index_passes_it() -> None:
    # vring_need_event of include/uapi/linux/virtio_ring.h: event in [old, new), modulo 65536.
    assert vring_need_event(5, 6, 5)
    assert vring_need_event(5, 9, 3)
    assert not vring_need_event(5, 5, 3)
    assert not vring_need_event(5, 8, 6)
    assert vring_need_event(65_535, 0, 65_535)
    assert vring_need_event(1, 3, 65_534)
    assert not vring_need_event(65_533, 3, 65_534)


def test_first_request_kicks_and_those_behind_it_do_not_until_the_device_asks_again() -> None:
    ring = Vring(8, event_idx=True)
    add(ring, 1)
    assert ring.kick_prepare()
    add(ring, 1)
    assert not ring.kick_prepare()
    while ring.pop():
        pass
    ring.set_notification(True)
    add(ring, 3)
    assert ring.kick_prepare()


def test_a_batch_is_one_kick() -> None:
    ring = Vring(8, event_idx=True)
    add(ring, 4)
    assert ring.kick_prepare()
    assert not ring.kick_prepare()


def test_with_event_index_a_kick_passes_once_after_notifications_were_switched_off() -> None:
    # set_notification(False) leaves avail_event where it is: at index 0, which the first request passes.
    ring = Vring(8, event_idx=True)
    ring.set_notification(False)
    add(ring, 1)
    assert ring.kick_prepare()
    ring.pop()
    add(ring, 1)
    assert not ring.kick_prepare()


def test_without_event_index_the_flag_decides() -> None:
    ring = Vring(8, event_idx=False)
    ring.set_notification(False)
    add(ring, 1)
    assert not ring.kick_prepare()
    ring.set_notification(True)
    add(ring, 1)
    assert ring.kick_prepare()


def test_a_device_that_leaves_notifications_on_asks_with_each_element_it_takes() -> None:
    # QEMU 1.6: virtqueue_pop moves avail_event along.
    ring = Vring(8, event_idx=True)
    for _ in range(3):
        add(ring, 1)
        assert ring.kick_prepare()
        ring.pop()


def test_used_elements_interrupt_once_until_the_driver_enables_callbacks() -> None:
    ring = Vring(8, event_idx=True)
    add(ring, 3)
    first, second, third = ring.pop(), ring.pop(), ring.pop()
    assert first is not None
    assert second is not None
    assert third is not None
    ring.push(first)
    assert ring.should_notify()
    ring.push(second)
    assert not ring.should_notify()
    ring.disable_cb()
    assert ring.get_buf() is first
    assert not ring.enable_cb()
    assert ring.get_buf() is second
    assert ring.get_buf() is None
    assert ring.enable_cb()
    ring.push(third)
    assert ring.should_notify()


def test_without_event_index_no_interrupt_while_callbacks_are_off() -> None:
    ring = Vring(8, event_idx=False)
    first, second = add(ring, 2)
    ring.pop(), ring.pop()
    ring.disable_cb()
    ring.push(first)
    assert not ring.should_notify()
    ring.enable_cb()
    ring.push(second)
    assert ring.should_notify()


def test_the_ring_is_full_until_the_driver_takes_an_element_back() -> None:
    ring = Vring(2, event_idx=True)
    first, second = add(ring, 2)
    assert ring.full
    ring.pop(), ring.pop()
    ring.push(second)
    assert ring.full
    assert ring.get_buf() is second
    assert not ring.full
    assert (first.where, second.where) == (Where.DEVICE, Where.DRIVER)


def test_notifications_go_on_when_the_indices_wrap() -> None:
    ring = Vring(2, event_idx=True)
    for number in range(65_536 + 3):
        add(ring, 1)
        assert ring.kick_prepare(), number
        taken = ring.pop()
        assert taken is not None
        ring.set_notification(True)
        ring.push(taken)
        assert ring.should_notify(), number
        ring.disable_cb()
        assert ring.get_buf() is taken
        assert ring.enable_cb()


def test_a_reset_begins_a_new_ring_whatever_was_on_the_old_one() -> None:
    # virtio_reset: with the index of an element that the old driver never took, the new one would wait for ever.
    ring = Vring(8, event_idx=True)
    add(ring, 3)
    assert ring.kick_prepare()
    for _ in range(2):
        popped = ring.pop()
        assert popped is not None
        ring.push(popped)
    ring.reset()
    assert (ring.n_in_use, ring.pop(), ring.get_buf()) == (0, None, None)
    add(ring, 1)
    assert ring.kick_prepare()
    again = ring.pop()
    assert again is not None
    ring.push(again)
    assert ring.should_notify()
