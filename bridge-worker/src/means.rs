//! What trials are trained with, as the flags of a worker say: children, scripts, directories.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::cache::code::Code;
use crate::child::ChildSettings;
use crate::cli::ServeArgs;
use crate::fitness::Fitness;
use crate::invoker::{FallbackTo, Invoker};
use crate::runtime;
use crate::script::ScriptSettings;
use crate::slots::Slots;
use crate::workdir::Workdirs;

/// Longest a call by subprocess may take when nobody says otherwise.
const DEFAULT_SUBPROCESS_LIMIT: Duration = Duration::from_secs(15);

/// What trials are trained with.
#[derive(Clone)]
pub(crate) struct Means {
    /// Who trains.
    pub(crate) id: Arc<str>,
    /// Room for trials, with children in it.
    pub(crate) slots: Arc<Slots>,
    /// The way Python is called.
    pub(crate) invoker: Arc<Invoker>,
    /// Directories for trials to work in.
    pub(crate) workdirs: Arc<Workdirs>,
    /// What trainers are imported from, as it was before the first child was started.
    pub(crate) code: Arc<Code>,
    /// Whether all that works; not known yet.
    pub(crate) fitness: Arc<Fitness>,
}

impl Means {
    /// Lays out what children and scripts run; none is started yet.
    ///
    /// # Errors
    /// The data directory cannot be written, or there is no such script.
    pub(crate) fn of(args: &ServeArgs, id: Arc<str>) -> Result<Self, CliError> {
        let settings = child_settings(args)?;
        // Without a cache nobody asks.
        let imported: &[PathBuf] = if args.cache.is_on() { &settings.extra_paths } else { &[] };
        Ok(Self {
            code: Arc::new(Code::look(imported, &[args.broker.data_dir.clone(), args.workdir()])),
            invoker: invoker(args, &settings)?,
            slots: Slots::with_spares(args.slots(), args.spares.into(), settings),
            workdirs: Workdirs::under(args.workdir().join(&*id)),
            fitness: Fitness::unproven(),
            id,
        })
    }
}

pub(crate) fn child_settings(args: &ServeArgs) -> Result<ChildSettings, CliError> {
    if args.limits.are_watched() && !cfg!(target_os = "linux") {
        tracing::warn!("CPU time, and memory of all processes of a trial, are watched on Linux alone");
    }
    let data_dir = &args.broker.data_dir;
    let runtime =
        runtime::lay_out(&data_dir.join("runtime")).map_err(|error| unwritable(data_dir, &error))?;
    let runtime = std::path::absolute(&runtime).map_err(|error| unwritable(&runtime, &error))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(ChildSettings {
        python: args.python.clone(),
        runtime,
        preload: args.preload.clone(),
        dataset_dir: Some(args.dataset_dir()),
        extra_paths: args
            .repo
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            .collect::<Vec<PathBuf>>(),
        threads: (cores / args.slots()).max(1),
        limits: args.limits,
    })
}

/// How Python is called, with a script of our own where the operator names none.
fn invoker(args: &ServeArgs, settings: &ChildSettings) -> Result<Arc<Invoker>, CliError> {
    let data_dir = &args.broker.data_dir;
    // A copy of its own: whatever keeps the children from starting is not to keep the fallback from it.
    let runtime = runtime::lay_out(&data_dir.join("runtime").join("subprocess"))
        .and_then(|runtime| std::path::absolute(&runtime))
        .map_err(|error| unwritable(data_dir, &error))?;
    let ours = ScriptSettings {
        python: settings.python.clone(),
        script: runtime.join(runtime::SCRIPT),
        is_the_operators: false,
        limit: args.timeout_ms.map(Duration::from_millis),
        import_paths: std::iter::once(runtime).chain(settings.extra_paths.iter().cloned()).collect(),
        dataset_dir: settings.dataset_dir.clone(),
        threads: settings.threads,
        limits: settings.limits,
    };
    let limit = ours.limit.or(Some(DEFAULT_SUBPROCESS_LIMIT));
    let script = match &args.script {
        Some(path) => {
            ScriptSettings { script: existing(path)?, is_the_operators: true, limit, ..ours.clone() }
        }
        None => ScriptSettings { limit, ..ours.clone() },
    };
    let reserve = match args.fallback {
        FallbackTo::Subprocess => Some(ours),
        FallbackTo::None => None,
    };
    Ok(Invoker::new(args.invoker, script, reserve))
}

fn existing(script: &Path) -> Result<PathBuf, CliError> {
    script.canonicalize().map_err(|error| {
        CliError::new("script-missing", Exit::Usage, format!("there is no script {}", script.display()))
            .because(error)
            .help("name an existing file with --script or CEREBROS_SCRIPT")
    })
}

pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new("data-dir-unwritable", Exit::LocalResource, format!("cannot write to {}", path.display()))
        .because(error)
        .help("choose another directory with --data-dir or CEREBROS_DATA_DIR")
}
