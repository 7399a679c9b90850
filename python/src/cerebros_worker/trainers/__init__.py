"""Trainers that come with the worker, one module each, all with `train(params, trial)`.

Whatever a trainer needs beyond the standard library it imports at its own top: a worker that
preloads it finds out at start, one that does not never pays for it.
"""
