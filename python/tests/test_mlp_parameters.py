"""Parameters of trainer mlp."""

import unittest
from typing import Any

from cerebros_worker.failures import InvalidRequest
from cerebros_worker.trainers import mlp_parameters
from cerebros_worker.trainers.mlp_parameters import MlpParameters


class Parameters(unittest.TestCase):
    def test_nothing_given_means_the_defaults(self) -> None:
        parameters, ignored = mlp_parameters.read({})
        self.assertEqual(ignored, [])
        self.assertEqual(
            parameters, MlpParameters((64,), "relu", "adam", 0.001, 0.0001, 32, 12, False)
        )

    def test_what_is_in_effect_can_be_given_again(self) -> None:
        parameters, _ = mlp_parameters.read({"layers": [8, 4], "activation": "sigmoid"})
        again, ignored = mlp_parameters.read(parameters.as_dict())
        self.assertEqual((again, ignored), (parameters, []))
        self.assertEqual(parameters.activation, "logistic")

    def test_layers_have_three_forms(self) -> None:
        for given, layers in [
            ({"layers": [32, 16]}, (32, 16)),
            ({"layer_sizes": [32, 16]}, (32, 16)),
            ({"layers": 128}, (128,)),
            ({"layers": 3, "neurons": 32}, (32, 32, 32)),
            ({"layers": [16.0]}, (16,)),
        ]:
            with self.subTest(given=given):
                self.assertEqual(mlp_parameters.read(given)[0].layers, layers)

    def test_a_wrong_value_is_refused_by_name(self) -> None:
        wrong: dict[str, list[Any]] = {
            "layers": [[], [0], [-1], ["64"], [True], [2.5], None, "64", [8] * 17, [10**9], {}],
            "neurons": [0, "a", None],
            "activation": ["elu", 1, None, ["relu"]],
            "optimizer": ["rmsprop", ""],
            "learning_rate": [0, -1, "0.1", True, float("nan"), float("inf"), 11, None],
            "alpha": [-0.1, "x", float("nan")],
            "batch_size": [0, 1.5, "32", 10**9],
            "epochs": [0, -3, 10**6, True],
            "spectral_norm": ["true", 1, None],
        }
        for name, values in wrong.items():
            for value in values:
                with (
                    self.subTest(name=name, value=value),
                    self.assertRaisesRegex(InvalidRequest, f"parameter '{name}' is .* expected"),
                ):
                    mlp_parameters.read({name: value})

    def test_unknown_names_are_reported_not_refused(self) -> None:
        self.assertEqual(mlp_parameters.read({"dropout": 0.1, "b": 1})[1], ["b", "dropout"])
