//! What children are started with, and what of our own environment they see.

use std::path::PathBuf;

use crate::limits::Limits;

/// How children are started.
#[derive(Debug, Clone)]
pub struct ChildSettings {
    /// The interpreter.
    pub python: PathBuf,
    /// Directory that holds the package `cerebros_worker`.
    pub runtime: PathBuf,
    /// Trainers to import at start.
    pub preload: Vec<String>,
    /// Directory data set paths are allowed under.
    pub dataset_dir: Option<PathBuf>,
    /// Directories to look for modules in.
    pub extra_paths: Vec<PathBuf>,
    /// Threads a numeric library may use.
    pub threads: usize,
    /// What each may take of the machine.
    pub limits: Limits,
}

/// Variables of our environment a child sees; everything else, credentials first of all, stays with the worker.
pub(crate) const ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
];

/// Variables by which numeric libraries take their number of threads, read at import.
pub(crate) const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];
