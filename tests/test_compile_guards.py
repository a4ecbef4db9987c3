"""Guards: what Python sees from a compiled function may change; each test is a stale answer that must not come."""

import functools
import types
import warnings

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import always_right, close, new, nothing
from tinyseq import nn

SETTINGS = types.SimpleNamespace(scale=1.0, flags={"on": True}, sizes={"first": [1, 2]})

GLOBAL = 1.0


class Config:
    scale = 1.0


def helper(x):
    return x * GLOBAL


def test_guard_closure_scalar():
    k = 1.0

    def function(x):
        return x * k

    compiled = ts.compile(function)
    x = new(3)
    for k in (1.0, 2.0, 2.0, 3.0, 1.0):
        close(compiled(x), x * k)
    assert compiled._captures == 3


@pytest.mark.parametrize("value", [2, 2.0, True, -0.0, 0.0, float("nan"), float("inf")])
def test_guard_types_of_scalars(value):
    box = [1]

    def function(x):
        return x * box[0]

    def change():
        box[0] = value

    x = ts.tensor([1, 2])
    always_right(function, (nothing, [x]), (change, [x]), (nothing, [x]))


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_guard_one_is_not_true_and_not_one_point_zero(dtype):
    compiled = ts.compile(lambda x, n: x * n)
    x = ts.tensor([1, 2], dtype=dtype)
    for n in (1, 1.0, True, 1, 0.0, -0.0, 0):
        got, wanted = compiled(x, n), x * n
        close(got, wanted)
        np.testing.assert_array_equal(np.signbit(got.numpy()), np.signbit(wanted.numpy()))


def test_guard_globals(monkeypatch):
    x = new(3)
    always_right(
        lambda x: helper(x) * GLOBAL,
        (nothing, [x]),
        (lambda: monkeypatch.setitem(globals(), "GLOBAL", 3.0), [x]),
        (nothing, [x]),
        (lambda: monkeypatch.setitem(globals(), "helper", lambda x: x * 7.0), [x]),
        (nothing, [x]),
        captures=3,
    )


def test_guard_attributes_dictionaries_and_lists(monkeypatch):
    x = new(3)
    always_right(
        lambda x: (
            x * SETTINGS.scale * (2.0 if SETTINGS.flags["on"] else 3.0) * SETTINGS.sizes["first"][0] * Config.scale
        ),
        (nothing, [x]),
        (lambda: monkeypatch.setattr(SETTINGS, "scale", 3.0), [x]),
        (lambda: monkeypatch.setitem(SETTINGS.flags, "on", False), [x]),
        (lambda: monkeypatch.setitem(SETTINGS.sizes, "first", [5]), [x]),
        (lambda: monkeypatch.setattr(Config, "scale", 9.0), [x]),
        (nothing, [x]),
        captures=5,
    )


def test_guard_small_arrays_in_the_closure():
    table = np.ones(3, np.float32)

    def double():
        table[:] = 2.0

    x = new(3)
    always_right(lambda x: x * ts.tensor(table), (nothing, [x]), (double, [x]), (nothing, [x]), captures=2)


def test_guard_defaults_and_partial():
    def function(x, scale=2.0):
        return x * scale

    x = new(3)
    compiled = ts.compile(function)
    close(compiled(x), x * 2.0)
    function.__defaults__ = (3.0,)
    close(compiled(x), x * 3.0)
    close(ts.compile(functools.partial(function, scale=5.0))(x), x * 5.0)


def test_guard_methods_of_an_object():
    class Model:
        factor = 2.0

        def __init__(self):
            self.scale, self.parts = 1.0, [lambda x: x + 1.0]

        def run(self, x):
            return self.parts[0](x) * self.scale * self.factor

    model = Model()
    x = new(3)
    always_right(
        model.run,
        (nothing, [x]),
        (lambda: setattr(model, "scale", 2.0), [x]),
        (lambda: model.parts.__setitem__(0, lambda x: x - 1.0), [x]),
        (lambda: setattr(Model, "factor", 5.0), [x]),
        (lambda: setattr(Model, "run", lambda self, x: x), [x]),
    )


def test_guard_training_flag():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    compiled = ts.compile(model)
    x = new(4, 3)
    for training in (True, False, False, True, False):
        model.train(training)
        ts.manual_seed(0)
        got = compiled(x)
        ts.manual_seed(0)
        close(got, model(x))
    assert compiled._captures == 2


def test_guard_a_flag_deep_inside():
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Dropout(0.5)))
    compiled = ts.compile(lambda x: model(x))
    x = new(4, 3)
    compiled(x)
    model[1][0].eval()
    close(compiled(x), model(x))


def test_guard_a_module_among_the_arguments():
    models = [nn.Linear(3, 3), nn.Dropout(0.9)]
    compiled = ts.compile(lambda model, x: model(x))
    x = new(4, 3)
    for model in models:
        ts.manual_seed(0)
        got = compiled(model, x)
        ts.manual_seed(0)
        close(got, model(x))
    models[1].eval()
    close(compiled(models[1], x), x)


def test_guard_a_layer_that_is_replaced():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    compiled = ts.compile(model)
    x = new(4, 3)
    compiled(x)
    model[1] = nn.ReLU()
    close(compiled(x), model(x))


def test_guard_a_hook_that_is_added():
    model = nn.Linear(3, 3)
    compiled = ts.compile(model)
    x = new(4, 3)
    compiled(x)
    handle = model.register_forward_hook(lambda module, args, out: out * 2.0)
    close(compiled(x), model(x))
    handle.remove()
    close(compiled(x), model(x))


def test_guard_an_attribute_that_hides_one_of_the_class():
    class Model:
        factor = 2.0

        def run(self, x):
            return x * self.factor

    model = Model()
    x = new(3)
    always_right(
        model.run,
        (nothing, [x]),
        (lambda: setattr(model, "factor", 3.0), [x]),
        (lambda: delattr(model, "factor"), [x]),
        captures=2,
    )


def test_guard_attributes_of_a_function():
    def function(x):
        return x * function.scale

    function.scale = 2.0
    x = new(3)
    always_right(function, (nothing, [x]), (lambda: setattr(function, "scale", 3.0), [x]), captures=2)


def test_guard_functions_among_the_arguments():
    compiled = ts.compile(lambda f, x: f(x))
    x = new(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for n in range(20):
            close(compiled(lambda x, n=n: x * float(n), x), x * float(n))


def test_what_is_not_mentioned_does_not_count():
    class Trainer:
        def __init__(self):
            self.weight, self.losses, self.steps = new(3), [], 0

        @ts.compile
        def step(self, x):
            return (x * self.weight).sum()

        def run(self):
            for i in range(12):
                self.losses.append(float(self.step(new(3, seed=i))))
                self.steps += 1

    trainer = Trainer()
    trainer.run()
    assert trainer.step._captures == 1
    np.testing.assert_allclose(trainer.losses[7], float((new(3, seed=7) * trainer.weight).sum()), rtol=1e-6)


def test_guard_slots_of_an_object():
    class Model:
        __slots__ = ("scale",)

    model = Model()
    model.scale = 2.0
    x = new(3)
    always_right(
        lambda x: x * model.scale,
        (nothing, [x]),
        (lambda: setattr(model, "scale", 3.0), [x]),
        (nothing, [x]),
        captures=2,
    )


def test_guard_keywords_of_a_partial_function():
    part = functools.partial(lambda x, scale: x * scale, scale=2.0)
    x = new(3)
    always_right(lambda x: part(x), (nothing, [x]), (lambda: part.keywords.update(scale=3.0), [x]), captures=2)
