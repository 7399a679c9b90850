"""A script that knows nothing of events: a question on stdin, chatter and a result on stdout."""

import json
import sys

question = json.load(sys.stdin)  # {"op": "run_nas", "payload": {"spec": ..., "opts": ...}}
spec, opts = question["payload"]["spec"], question["payload"]["opts"]
print("searching", spec["dataset_id"], "for", opts["run_id"])

trials = []
for number, layers in enumerate(spec["search_space"]["layers"]):
    print(f"trial {number}: {layers} layers")
    trials.append({"parameters": {"layers": layers}, "metrics": {"accuracy": 1 - 1 / layers}})
best = max(trials, key=lambda trial: trial["metrics"]["accuracy"])

result = {
    "status": "success",
    "best_architecture": best["parameters"],
    "best_metric": best["metrics"]["accuracy"],
    "completed_trials": len(trials),
    "trials": trials,  # if there is such a list, each becomes an event
}
print(json.dumps(result))
print("done")
