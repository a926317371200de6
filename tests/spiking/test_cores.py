"""Work on all cores: the order of results, what is raised, and the precision that threads are to work in."""

import threading

import jax
import jax.numpy as jnp
import pytest

from jnm.spiking.cores import on_all_cores


def test_results_come_in_the_order_of_the_arguments():
    assert on_all_cores(lambda a, b: 10 * a + b, [1, 2, 3], [4, 5, 6]) == [14, 25, 36]
    assert on_all_cores(lambda _: threading.current_thread() is threading.main_thread(), [0]) == [True]
    assert not any(on_all_cores(lambda _: threading.current_thread() is threading.main_thread(), [0, 1]))


def test_what_one_raises_is_raised():
    def work(k):
        if k == 2:
            raise RuntimeError("member 2 failed")
        return k

    with pytest.raises(RuntimeError, match="member 2 failed"):
        on_all_cores(work, range(4))


@pytest.mark.parametrize("precise", [False, True])
def test_threads_work_in_the_precision_of_who_asks(precise):
    with jax.enable_x64(precise):
        kinds = {str(x) for x in on_all_cores(lambda k: jnp.asarray(0.5 * k).dtype, range(3))}
    assert kinds == {"float64" if precise else "float32"}
