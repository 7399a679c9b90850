//! The command line of the worker.

use std::path::PathBuf;

use service_kit::config::{BrokerArgs, GateArgs};
use service_kit::health::HealthArgs;
use service_kit::output::Format;
use service_kit::program::{self, Kind};
use service_kit::wire::WireArgs;

use crate::cache::CacheArgs;
use crate::invoker::{FallbackTo, Way};
use crate::limits::Limits;
use crate::oneshot::RunArgs;
use crate::validate::ValidateArgs;

/// Takes run requests, trains candidates in warm Python processes, and emits every trial as an event.
#[derive(Debug, clap::Parser)]
#[command(name = "bridge-worker", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a worker can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve run requests until told to stop (two signals: drain, then now)
    Serve(Box<ServeArgs>),
    /// Carry out one search here, then exit with its result: the entry point of a Kubernetes Job
    Run(Box<RunArgs>),
    /// Check whether a worker with these flags could do its work, one line per check
    Validate(Box<ValidateArgs>),
    /// Ask a running worker for its health, for container health checks: exit 0 when ready
    Probe(ProbeArgs),
}

/// Flags of `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// The broker.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// The gates.
    #[command(flatten)]
    pub gates: GateArgs,
    /// The health endpoint.
    #[command(flatten)]
    pub health: HealthArgs,
    /// Trials trained at once [default: one per core]
    #[arg(long, env = "CEREBROS_SLOTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub slots: Option<u16>,
    /// Children kept ready for slots whose own had to be killed; each takes the memory of an idle child
    #[arg(long, env = "CEREBROS_SPARES", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=64))]
    pub spares: u16,
    /// What each child may take of the machine.
    #[command(flatten)]
    pub limits: Limits,
    /// Interpreter of the children
    #[arg(long, env = "CEREBROS_PYTHON", value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,
    /// Trainers to import when a child starts
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "mlp")]
    pub preload: Vec<String>,
    /// Directory to put on the children's import path
    #[arg(long, env = "CEREBROS_REPO", value_name = "DIR")]
    pub repo: Vec<PathBuf>,
    /// Directory that data set paths are looked for under [default: <data dir>/datasets]
    #[arg(long, env = "CEREBROS_DATASET_DIR", value_name = "DIR")]
    pub dataset_dir: Option<PathBuf>,
    /// Directory under which every trial gets one of its own [default: <data dir>/work]
    #[arg(long, env = "CEREBROS_WORKDIR", value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// How Python is called
    #[arg(long, env = "CEREBROS_INVOKER", value_enum, default_value_t = Way::Pool)]
    pub invoker: Way,
    /// What is done when the processes of the pool do not start
    #[arg(long, env = "CEREBROS_FALLBACK", value_enum, default_value_t = FallbackTo::Subprocess)]
    pub fallback: FallbackTo,
    /// Script for calls that have a process of their own [default: one that calls trainers and entry points]
    #[arg(long, env = "CEREBROS_SCRIPT", value_name = "PATH")]
    pub script: Option<PathBuf>,
    /// Longest a call by subprocess may take, in milliseconds [default: 15000, and what the request says in a fallback]
    #[arg(long, env = "CEREBROS_TIMEOUT_MS", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: Option<u64>,
    /// Functions requests may name, such as `mypackage.*:train`; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    pub allow_entrypoint: Vec<String>,
    /// Tries after the first of what a dependency has failed
    #[arg(long, env = "CEREBROS_MAX_RETRIES", value_name = "N", default_value_t = 2)]
    pub max_retries: u32,
    /// Pause before the second try in milliseconds; it doubles
    #[arg(long, env = "CEREBROS_RETRY_BACKOFF_MS", value_name = "MS", default_value_t = 750)]
    pub retry_backoff_ms: u64,
    /// What is kept of results.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// How events are written.
    #[command(flatten)]
    pub wire: WireArgs,
}

impl ServeArgs {
    /// How many slots there are.
    pub fn slots(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.slots.map_or_else(cores, usize::from)
    }

    /// Directory under which every trial gets one of its own, absolute because children run elsewhere.
    pub fn workdir(&self) -> PathBuf {
        let chosen = self.workdir.clone().unwrap_or_else(|| self.broker.data_dir.join("work"));
        std::path::absolute(&chosen).unwrap_or(chosen)
    }

    /// Directory that data sets given by path lie in, absolute because children run elsewhere.
    pub fn dataset_dir(&self) -> PathBuf {
        let chosen = self.dataset_dir.clone().unwrap_or_else(|| self.broker.data_dir.join("datasets"));
        std::path::absolute(&chosen).unwrap_or(chosen)
    }

    /// A name for this process in events.
    pub fn worker_id(&self) -> String {
        process_id("worker")
    }
}

/// A name for this process: unique on one machine and, by its random part, everywhere.
pub(crate) fn process_id(kind: &str) -> String {
    let random = uuid::Uuid::now_v7().simple().to_string();
    format!("{kind}-{}-{}", std::process::id(), &random[random.len() - 6..])
}

/// Flags of `probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    /// Address of the health endpoint
    #[arg(long = "http", value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub http: std::net::SocketAddr,
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        self.command.output()
    }

    fn kind(&self) -> Kind {
        self.command.kind()
    }
}

impl Command {
    /// How the command lives.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Serve(_) => Kind::Service,
            Self::Run(_) | Self::Validate(_) | Self::Probe(_) => Kind::Client,
        }
    }

    /// The output format that was asked for.
    pub fn output(&self) -> Option<Format> {
        match self {
            Self::Run(args) => args.format(),
            Self::Validate(args) => args.format(),
            Self::Serve(_) | Self::Probe(_) => None,
        }
    }
}
