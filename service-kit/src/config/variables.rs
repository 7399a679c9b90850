//! Every variable the programs read.

/// What a variable holds; decides which TOML value is right in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text, a path or a list with commas.
    Text,
    /// A whole number.
    Whole,
    /// true or false.
    Switch,
}

/// One variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Its key in `cerebros.toml`: the name in lower case, without `cerebros_`.
    pub key: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Never to be printed.
    pub secret: bool,
    /// What holds when nobody sets it, as one would write it.
    pub default: Option<&'static str>,
    /// Another name of this variable.
    pub alias_of: Option<&'static str>,
    /// The flag that sets it where a program has one, without its dashes.
    flag: Option<&'static str>,
}

const fn text(name: &'static str, key: &'static str, help: &'static str) -> Variable {
    Variable { name, key, help, shape: Shape::Text, secret: false, default: None, alias_of: None, flag: None }
}

impl Variable {
    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn whole(mut self) -> Self {
        self.shape = Shape::Whole;
        self
    }

    const fn switch(mut self) -> Self {
        self.shape = Shape::Switch;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn flagged(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// The flag that sets the variable, without its dashes; none for the one that names the file.
    pub fn flag(&self) -> Option<&'static str> {
        self.flag
    }

    const fn alias_of(mut self, name: &'static str) -> Self {
        self.alias_of = Some(name);
        self
    }
}

/// Every variable, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    text("NATS_URL", "nats_url", "URL of the broker; several with commas")
        .flagged("nats-url")
        .or("nats://127.0.0.1:4222")
        .secret(),
    text("NATS_CREDS", "nats_creds", "credentials file for the broker").flagged("nats-creds"),
    text("NATS_NKEY", "nats_nkey", "file with the nkey seed for the broker").flagged("nats-nkey"),
    text("NATS_USER", "nats_user", "user at the broker").flagged("nats-user"),
    text("NATS_PASSWORD", "nats_password", "password at the broker").flagged("nats-password").secret(),
    text("NATS_CA", "nats_ca", "certificates that the broker's own is checked against (PEM)")
        .flagged("nats-ca"),
    text("NATS_CERT", "nats_cert", "our certificate for the broker (PEM)").flagged("nats-cert"),
    text("NATS_KEY", "nats_key", "key of our certificate (PEM)").flagged("nats-key"),
    text("NATS_CONTEXT", "nats_context", "context of the nats command line tool").flagged("nats-context"),
    text("CEREBROS_REPLICAS", "replicas", "copies of each stream and bucket that is created")
        .flagged("replicas")
        .or("1")
        .whole(),
    text("MLFLOW_TRACKING_URI", "mlflow_tracking_uri", "URL of MLflow").flagged("mlflow-url").secret(),
    text("MLFLOW_TRACKING_TOKEN", "mlflow_tracking_token", "bearer token for MLflow")
        .flagged("mlflow-token")
        .secret(),
    text("MLFLOW_TRACKING_USERNAME", "mlflow_tracking_username", "user at MLflow").flagged("mlflow-username"),
    text("MLFLOW_TRACKING_PASSWORD", "mlflow_tracking_password", "password at MLflow")
        .flagged("mlflow-password")
        .secret(),
    text(
        "MLFLOW_TRACKING_SERVER_CERT_PATH",
        "mlflow_tracking_server_cert_path",
        "certificates that MLflow's own is checked against (PEM, a file or a directory)",
    )
    .flagged("mlflow-ca"),
    text(
        "MLFLOW_TRACKING_CLIENT_CERT_PATH",
        "mlflow_tracking_client_cert_path",
        "our certificate for MLflow and its key (PEM)",
    )
    .flagged("mlflow-cert"),
    text("MLFLOW_TRACKING_INSECURE_TLS", "mlflow_tracking_insecure_tls", "take whoever answers for MLflow")
        .flagged("mlflow-insecure-tls")
        .or("false")
        .switch(),
    text("MLFLOW_WORKSPACE", "mlflow_workspace", "workspace of MLflow, of version 3.17 and later")
        .flagged("mlflow-workspace"),
    text("MLFLOW_EXPERIMENT_NAME", "mlflow_experiment_name", "experiment that runs are filed under")
        .flagged("mlflow-experiment"),
    text("MLFLOW_EXPERIMENT_ID", "mlflow_experiment_id", "the same by its id, where no name is given")
        .flagged("mlflow-experiment-id"),
    text(
        "CEREBROS_MLFLOW_PUBLIC_URL",
        "mlflow_public_url",
        "URL under which people open MLflow, where it is not the one the sink writes to",
    )
    .flagged("mlflow-public-url"),
    text("CEREBROS_DASHBOARD_URL", "dashboard_url", "URL of the dashboard that notes in MLflow lead to")
        .flagged("dashboard-url"),
    text("CEREBROS_ALERT_DEPTH", "alert_depth", "open dead letters that are too many")
        .flagged("alert-depth")
        .or("100")
        .whole(),
    text("CEREBROS_ALERT_AGE", "alert_age", "age of an open dead letter that is too old")
        .flagged("alert-age")
        .or("24h"),
    text("CEREBROS_ALERT_RATE", "alert_rate", "messages that die within a minute that are too many")
        .flagged("alert-rate")
        .or("60")
        .whole(),
    text(
        "CEREBROS_ALERT_NOTICE",
        "alert_notice",
        "how long before an open dead letter is dropped that is said",
    )
    .flagged("alert-notice")
    .or("3days"),
    text("CEREBROS_ENABLED", "enabled", "first gate of the worker").flagged("enabled").or("false").switch(),
    text("TL_ENABLE_CEREBROS_BRIDGE", "tl_enable_cerebros_bridge", "another name of CEREBROS_ENABLED")
        .flagged("tl-enable-cerebros-bridge")
        .switch()
        .alias_of("CEREBROS_ENABLED"),
    text("FEATURES", "features", "second gate of the worker: features with commas, open with ml_nas")
        .flagged("features"),
    text("CEREBROS_PYTHON", "python", "Python interpreter").flagged("python").or("python3"),
    text("CEREBROS_REPO", "repo", "directory added to Python's import path").flagged("repo"),
    text("CEREBROS_SCRIPT", "script", "script of the subprocess invoker").flagged("script"),
    text("CEREBROS_WORKDIR", "workdir", "working directory of the children").flagged("workdir"),
    text("CEREBROS_SLOTS", "slots", "trials that run at once").flagged("slots").whole(),
    text("CEREBROS_SPARES", "spares", "children that are ready before one has to be replaced")
        .flagged("spares")
        .or("1")
        .whole(),
    text("CEREBROS_INVOKER", "invoker", "how Python is called: pool or subprocess")
        .flagged("invoker")
        .or("pool"),
    text("CEREBROS_FALLBACK", "fallback", "what is done when no child starts: subprocess or none")
        .flagged("fallback")
        .or("subprocess"),
    text("CEREBROS_CHILD_MEMORY", "child_memory", "memory one trial may take").flagged("child-memory"),
    text("CEREBROS_CHILD_CPU_SECONDS", "child_cpu_seconds", "processor time one trial may take")
        .flagged("child-cpu-seconds")
        .whole(),
    text("CEREBROS_CHILD_OPEN_FILES", "child_open_files", "files one child may have open")
        .flagged("child-open-files")
        .or("4096")
        .whole(),
    text("CEREBROS_TIMEOUT_MS", "timeout_ms", "limit of one attempt of a subprocess call")
        .flagged("timeout-ms")
        .or("15000")
        .whole(),
    text("CEREBROS_MAX_RETRIES", "max_retries", "attempts after the first")
        .flagged("max-retries")
        .or("2")
        .whole(),
    text("CEREBROS_RETRY_BACKOFF_MS", "retry_backoff_ms", "pause before the first retry")
        .flagged("retry-backoff-ms")
        .or("750")
        .whole(),
    text("CEREBROS_CACHE_ENABLED", "cache_enabled", "keep results of equal requests")
        .flagged("cache-enabled")
        .or("true")
        .switch(),
    text("CEREBROS_CACHE_TTL_MS", "cache_ttl_ms", "how long a result is kept; 0: until others need its room")
        .flagged("cache-ttl-ms")
        .or("30000")
        .whole(),
    text("CEREBROS_CACHE_MAX_ENTRIES", "cache_max_entries", "results kept at most")
        .flagged("cache-max-entries")
        .or("512")
        .whole(),
    text(
        "CEREBROS_SWEEP_EVERY",
        "sweep_every",
        "how often the classifier compares consumers with the stream",
    )
    .flagged("sweep-every")
    .or("10s"),
    text(
        "CEREBROS_UNKNOWN_RUN_AFTER",
        "unknown_run_after",
        "how old a trial of a run nobody knows is before it becomes a dead letter",
    )
    .flagged("unknown-run-after")
    .or("10s"),
    text(
        "CEREBROS_STORM_CONSECUTIVE",
        "storm_consecutive",
        "malformed messages in a row that stop the classifier",
    )
    .flagged("storm-consecutive")
    .or("1000")
    .whole(),
    text(
        "CEREBROS_STORM_RATIO",
        "storm_ratio",
        "part of the last messages that stops the classifier when malformed",
    )
    .flagged("storm-ratio")
    .or("0.5"),
    text("CEREBROS_STORM_WINDOW", "storm_window", "how many the last messages are")
        .flagged("storm-window")
        .or("2000")
        .whole(),
    text("CEREBROS_DATA_DIR", "data_dir", "directory of everything that is written here")
        .flagged("data-dir")
        .or("./.cerebros"),
    text("CEREBROS_DATASET_DIR", "dataset_dir", "directory that data sets given by path must lie in")
        .flagged("dataset-dir")
        .or("<data dir>/datasets"),
    text("CEREBROS_CONFIG", "config", "the configuration file").or("./cerebros.toml"),
    text("CEREBROS_LOG_FORMAT", "log_format", "text or json").flagged("log-format"),
    text("RUST_LOG", "rust_log", "what is logged").flagged("log"),
];

/// The variable of that name in the environment.
pub fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The variable behind a key of the file; the prefix `cerebros_` may stand there.
pub(super) fn variable_of_key(key: &str) -> Option<&'static Variable> {
    VARIABLES
        .iter()
        .find(|variable| variable.key == key || variable.name.eq_ignore_ascii_case(key) && is_lower(key))
}

fn is_lower(key: &str) -> bool {
    !key.chars().any(char::is_uppercase)
}

/// The key that `key` was probably meant to be.
pub(super) fn nearest_key(key: &str) -> Option<&'static str> {
    /// More mistakes than this make another word.
    const MISTAKES: usize = 3;
    let key = key.to_lowercase().replace('-', "_");
    let key = key.strip_prefix("cerebros_").unwrap_or(&key);
    let candidates =
        VARIABLES.iter().map(|variable| (strsim::damerau_levenshtein(key, variable.key), variable.key));
    let (mistakes, nearest) = candidates.min()?;
    (mistakes <= MISTAKES.min(key.len() / 3)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_follows_from_its_name() {
        for variable in VARIABLES {
            let name = variable.name.to_lowercase();
            assert_eq!(variable.key, name.strip_prefix("cerebros_").unwrap_or(&name));
        }
        let keys: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.key).collect();
        assert_eq!(keys.len(), VARIABLES.len(), "keys are unique");
    }

    #[test]
    fn an_alias_names_an_existing_variable() {
        for name in VARIABLES.iter().filter_map(|variable| variable.alias_of) {
            assert!(variable(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_mistyped_key_finds_its_neighbour() {
        assert_eq!(nearest_key("nats_ulr"), Some("nats_url"));
        assert_eq!(nearest_key("NATS-URL"), Some("nats_url"));
        assert_eq!(nearest_key("cerebros_slot"), Some("slots"));
        assert_eq!(nearest_key("something_else"), None);
    }
}
