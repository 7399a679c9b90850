"""A script as one finds them: it prints what it likes, and its result at the end."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--bridge-op", required=True)
op = parser.parse_args().bridge_op
text = sys.stdin.read()
question = json.loads(text)
payload = question["payload"]
print("loading ...", {"not": "json"}, flush=True)


def result(**more):
    return {
        "status": "success",
        "best_architecture": {"layers": [16]},
        "best_metric": 0.8,
        "completed_trials": 2,
        "population_history": [],
        "artifacts": [],
        "metadata": {},
        **more,
    }


def told():
    """What a script can see of how it was called."""
    in_environment = os.environ.get("CEREBROS_BRIDGE_PAYLOAD")
    return {
        "op": [op, question["op"], os.environ["CEREBROS_BRIDGE_OP"]],
        "bytes": len(text),
        "same_in_environment": None if in_environment is None else in_environment == text,
        "variables": sorted(name for name in os.environ if name.startswith("CEREBROS_BRIDGE_")),
        "secrets": [name for name in os.environ if "NATS" in name or "SECRET" in name],
        "unbuffered": os.environ.get("PYTHONUNBUFFERED"),
        "fields": sorted(payload),
    }


def chatter():
    print("epoch 1/2 {loss: 0.4}")
    json.dump(result(metadata=told()), sys.stdout, indent=2)
    print("\nbye")


def trials():
    listed = [{"trial_id": "a", "metrics": {"accuracy": 0.8}}, {"status": "failed", "error": "no"}]
    print(json.dumps(result(trials=listed)))


def keys_of_its_own():
    print(
        json.dumps(
            result(
                trials=2,
                reports={"url": "https://example.org/report"},
                failure={"rate": 0.1},
                warnings="none",
                duration_ms=1.5,
                metadata={"kept": True},
            )
        )
    )


def trials_of_its_own():
    print(json.dumps(result(trials=[{"score": 0.8}, {"score": 0.7}], reports=[1, 2])))


def failed():
    print(json.dumps({"status": "failed", "error": "the cluster said no", "metadata": {}}))


def exits_with_a_result():
    print("about to break", file=sys.stderr)
    print(json.dumps(result()))
    sys.exit(3)


def no_result():
    print("all is well")


def garbage():
    os.write(1, b'{"status": "success", \xff\xfe {{{')


def hangs_with_a_grandchild():
    """Deaf to SIGTERM, like the process it starts."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)


def leaves_a_helper():
    """Starts what leaves its group and its parent, and answers when it is let go: whether that was still there."""
    kind = payload["spec"]["search_space"]
    marks, helper = kind["marks"], kind["helper"]
    program = {
        "waits": "time.sleep(600)",
        "takes": "x = b'x' * int(sys.argv[2]); time.sleep(600)",
    }[helper]
    words = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); " + program
    if os.fork() == 0:
        os.setsid()
        subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", words, marks + "/new", str(600 << 20)],
            env=None if kind.get("keeps") else {},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os._exit(0)
    os.wait()
    while not (os.path.exists(marks + "/new") and os.path.getsize(marks + "/new")):
        time.sleep(0.01)
    os.rename(marks + "/new", marks + "/helper.pid")
    for _ in range(6000):
        if os.path.exists(marks + "/go"):
            break
        time.sleep(0.1)
    print(json.dumps(result()))


def loud():
    for _ in range(300):
        print("x" * 100_000)
    print(json.dumps(result()))


def train():
    print(json.dumps({"metrics": {"accuracy": payload["params"]["x"]}}), flush=True)
    answer = {
        "status": "success",
        "metrics": {"accuracy": payload["params"]["x"]},
        "warnings": ["w"],
    }
    answer["reports"] = [{"metrics": {"loss": 0.5}, "step": 0}]
    print(json.dumps(answer))


def fails_if_told():
    if payload["params"]["x"] == "own":
        own = {"artifacts": ["model.bin"], "failure": {"rate": 0.1}, "warnings": "none", "duration_ms": 1.5}
        print(json.dumps({"status": "success", "metrics": {"accuracy": 0.5}, "reports": 3, **own}))
    elif payload["params"]["x"] == "bad":
        print(json.dumps({"status": "failed", "error": "x is bad"}))
    else:
        print(json.dumps({"accuracy": 0.5}))


if op == "train":
    fails_if_told() if isinstance(payload["params"]["x"], str) else train()
else:
    globals()[payload["spec"]["search_space"]["kind"]]()
