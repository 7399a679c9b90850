"""Trainer mlp, in a real child, on real data. Needs scikit-learn (see `tests`)."""

import hashlib
import unittest
from typing import Any

from .driver import Child, Message, Outcome

# Few epochs are enough to tell learning from guessing.
QUICK = {"layers": [32], "epochs": 3}


class Mlp(unittest.TestCase):
    child: Child

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.child.set_up_with_trainers()

    def train(self, params: Message, **trial: Any) -> Outcome:
        return self.child.train("mlp", params, **trial)

    def succeed(self, params: Message, **trial: Any) -> Outcome:
        outcome = self.train(params, **trial)
        self.assertEqual(outcome.result["status"], "succeeded", outcome.failure)
        return outcome

    def test_it_learns_to_read_digits(self) -> None:
        outcome = self.succeed({"layers": [64]})
        metrics = outcome.result["metrics"]
        for name in ("accuracy", "f1", "test_accuracy", "test_f1"):
            self.assertGreater(metrics[name], 0.93, name)
        self.assertEqual(metrics["val_accuracy"], metrics["accuracy"])
        self.assertEqual(metrics["val_loss"], metrics["loss"])
        self.assertEqual(outcome.result["value"], metrics["accuracy"])
        self.assertEqual(outcome.result["warnings"], [])

    def test_every_bundled_classification_set_beats_guessing(self) -> None:
        for name in ("iris", "wine", "breast_cancer"):
            with self.subTest(name=name):
                metrics = self.succeed({"layers": [32]}, dataset_id=name).result["metrics"]
                self.assertGreater(metrics["test_accuracy"], 0.6)

    def test_a_regression_explains_some_of_the_spread(self) -> None:
        outcome = self.succeed({"layers": [32]}, dataset_id="diabetes", objective="rmse")
        metrics = outcome.result["metrics"]
        self.assertGreater(metrics["r2"], 0.2)
        self.assertGreater(metrics["test_r2"], 0.2)
        self.assertLess(metrics["rmse"], 70)
        self.assertLess(metrics["mae"], metrics["rmse"])
        self.assertEqual(set(outcome.of_type("report")[0]["metrics"]), {"loss", "rmse"})

    def test_every_epoch_is_reported_with_the_objective(self) -> None:
        for objective, names in [
            ("accuracy", {"loss", "accuracy"}),
            ("f1", {"loss", "accuracy", "f1"}),
            ("val_loss", {"loss", "accuracy", "val_loss"}),
            ("test_accuracy", {"loss", "accuracy"}),
        ]:
            with self.subTest(objective=objective):
                outcome = self.succeed(QUICK, dataset_id="iris", objective=objective)
                reports = outcome.of_type("report")
                self.assertEqual([report["step"] for report in reports], [0, 1, 2])
                self.assertEqual(set(reports[0]["metrics"]), names)
                last = reports[-1]["metrics"]
                final = outcome.result["metrics"]
                self.assertEqual({name: final[name] for name in last}, last)

    def test_the_same_seed_gives_the_same_trial_and_another_seed_another(self) -> None:
        runs = [self.succeed(QUICK, seed=seed).result["metrics"] for seed in (1, 1, 2)]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0]["loss"], runs[2]["loss"])

    def test_every_activation_and_optimizer_trains(self) -> None:
        for activation in ("relu", "tanh", "logistic", "sigmoid", "identity", "linear"):
            for optimizer in ("adam", "sgd"):
                with self.subTest(activation=activation, optimizer=optimizer):
                    params = {**QUICK, "activation": activation, "optimizer": optimizer}
                    self.succeed(params, dataset_id="iris")

    def test_the_model_file_scores_what_the_event_said(self) -> None:
        for name, objective, metric in [
            ("digits", "accuracy", "test_accuracy"),
            ("diabetes", "r2", "test_r2"),
        ]:
            with self.subTest(name=name):
                trained = self.succeed(QUICK, dataset_id=name, objective=objective)
                (artifact,) = trained.of_type("artifact")
                self.assertEqual(artifact["name"], "model.joblib")
                with open(artifact["path"], "rb") as file:
                    content = file.read()
                self.assertEqual(len(content), artifact["bytes"])
                self.assertEqual(hashlib.sha256(content).hexdigest(), artifact["sha256"])
                self.assertNotIn(b"cerebros", content)
                scored = self.child.train(
                    "probes:scores_a_model", {"path": artifact["path"]}, dataset_id=name
                )
                said = trained.result["metrics"][metric]
                self.assertAlmostEqual(scored.result["value"], said, places=9)

    def test_the_spectral_norm_is_measured_and_constrained_on_request(self) -> None:
        for applied in (False, True):
            with self.subTest(applied=applied):
                outcome = self.succeed({**QUICK, "layers": [32, 16], "spectral_norm": applied})
                result = outcome.result
                self.assertIs(result["spectral_norm"], applied)
                self.assertIs(result["spectral_norm_value"] <= 1.0, applied)
                (artifact,) = outcome.of_type("artifact")
                measured = self.child.train("probes:measures_a_model", {"path": artifact["path"]})
                self.assertEqual(measured.result["value"], result["spectral_norm_value"])

    def test_the_parameters_in_effect_are_told_and_unused_ones_named(self) -> None:
        outcome = self.succeed({"epochs": 1, "dropout": 0.1}, dataset_id="iris")
        self.assertEqual(
            outcome.result["parameters"],
            {
                "layers": [64],
                "activation": "relu",
                "optimizer": "adam",
                "learning_rate": 0.001,
                "alpha": 0.0001,
                "batch_size": 32,
                "epochs": 1,
                "spectral_norm": False,
            },
        )
        (warning,) = outcome.result["warnings"]
        self.assertIn("parameter 'dropout' is not used by trainer mlp", warning)

    def test_what_cannot_be_trained_is_refused_by_name(self) -> None:
        for params, trial, words in [
            ({"layers": [0]}, {}, "parameter 'layers'"),
            ({"layers": [8192, 8192]}, {}, "makes 67715072 weights; the limit is 50000000"),
            ({}, {"objective": "rmse"}, "objective 'rmse' is not measured by trainer mlp"),
            ({}, {"objective": "accuracy", "dataset_id": "diabetes"}, "there is rmse, mae, r2"),
            ({}, {"dataset_id": None}, "dataset_id is missing"),
            ({}, {"dataset_id": "mnist"}, "there is digits, iris, wine, breast_cancer, diabetes"),
        ]:
            with self.subTest(params=params, trial=trial):
                outcome = self.train(params, **trial)
                self.assertEqual(outcome.failure["class"], "validation")
                self.assertIn(words, outcome.failure["message"])
                self.assertEqual(outcome.before, [])

    def test_training_that_diverges_has_no_objective(self) -> None:
        outcome = self.train(
            {"learning_rate": 10, "optimizer": "sgd", "activation": "linear"},
            dataset_id="diabetes",
            objective="rmse",
        )
        self.assertEqual(outcome.failure["class"], "nan_objective")
        self.assertIn("training diverged in epoch", outcome.failure["message"])
        self.assertIn("learning_rate 10", outcome.failure["message"])

    def test_it_stops_within_an_epoch_and_leaves_no_model(self) -> None:
        call_id = self.child.start_train("mlp", {"epochs": 10_000})
        self.assertEqual(self.child.receive()["type"], "report")
        self.child.stop(call_id, "pruned")
        outcome = self.child.outcome(call_id)
        self.assertEqual(outcome.result["status"], "pruned")
        self.assertEqual(set(outcome.result["metrics"]), {"loss", "accuracy"})
        self.assertEqual(outcome.of_type("artifact"), [])

    def test_numpy_values_of_an_opaque_run_become_numbers_and_lists(self) -> None:
        value = self.child.run_nas("opaque_runs:returns_numpy_values").result["value"]
        self.assertEqual(
            value,
            {
                "status": "success",
                "scalar": 0.5,
                "whole": 3,
                "flag": True,
                "text": "t",
                "array": [[0, 1, 2], [3, 4, 5]],
                "nan": [1.0, "NaN"],
                "7": "key",
            },
        )


class WithoutScikitLearn(unittest.TestCase):
    def test_a_preload_says_which_package_is_missing_where(self) -> None:
        absent = "import sys; sys.modules['sklearn'] = None"
        with Child(prelude=absent) as child:
            fatal = child.set_up(preload=["mlp"])
            self.assertEqual(fatal["type"], "fatal")
            self.assertEqual(fatal["failure"]["class"], "dependency")
            self.assertRegex(
                fatal["failure"]["message"], "'mlp' needs the package '(joblib|sklearn)"
            )
