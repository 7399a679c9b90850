//! The Python runtime, carried in this binary and laid out in a directory where an interpreter can import it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

macro_rules! files {
    ($($path:literal)*) => {
        [$(($path, include_str!(concat!("../../python/src/cerebros_worker/", $path)))),*]
    };
}

/// The script that makes one call, below the directory the package lies in.
pub const SCRIPT: &str = "cerebros_worker/script.py";

/// Every file of the package; a test holds the list against the directory.
const FILES: &[(&str, &str)] = &files!(
    "__init__.py" "__main__.py" "artifacts.py" "calls.py" "channel.py" "datasets/__init__.py"
    "datasets/allowed_paths.py" "datasets/bundled.py" "datasets/catalogue.py" "datasets/content.py"
    "datasets/csv_file.py" "datasets/labels.py" "datasets/npz_file.py" "datasets/parquet_file.py" "datasets/table.py" "descriptors.py"
    "entries.py" "failures.py" "frames.py" "garbage.py" "lifeline.py" "limits.py" "opaque.py" "orphans.py" "plain.py"
    "py.typed" "remarks.py" "script.py" "session.py" "stops.py" "streams.py"
    "trainers/__init__.py" "trainers/mlp.py" "trainers/mlp_parameters.py" "trainers/mlp_scores.py"
    "trainers/noop.py" "trial.py"
);

/// Makes sure that the package lies under `root` and returns the directory to put on the import path.
///
/// Its name carries a hash of the content, so that two versions never mix, and it appears whole or not at all.
///
/// # Errors
/// When the directory cannot be written.
pub fn lay_out(root: &Path) -> std::io::Result<PathBuf> {
    let home = root.join(format!("python-{}", &digest()[..16]));
    if home.join("cerebros_worker").is_dir() {
        return Ok(home);
    }
    let fresh = root.join(format!(".python-{}", uuid::Uuid::now_v7()));
    for (path, text) in FILES {
        let file = fresh.join("cerebros_worker").join(path);
        std::fs::create_dir_all(file.parent().expect("a file in a directory has a parent"))?;
        std::fs::write(file, text)?;
    }
    match std::fs::rename(&fresh, &home) {
        Ok(()) => Ok(home),
        // Another process was faster; its copy is the same.
        Err(_) if home.join("cerebros_worker").is_dir() => std::fs::remove_dir_all(&fresh).map(|()| home),
        Err(error) => Err(error),
    }
}

fn digest() -> String {
    let mut hash = Sha256::new();
    for (path, text) in FILES {
        hash.update(path);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn collect(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                if name != "__pycache__" {
                    collect(&entry.path(), &format!("{prefix}{name}/"), found);
                }
            } else {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }

    #[test]
    fn the_binary_carries_every_file_of_the_package() {
        let mut found = BTreeSet::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/src/cerebros_worker");
        collect(&source, "", &mut found);
        let carried: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, found);
    }

    #[test]
    fn it_is_laid_out_once_and_whole() {
        let scratch = testkit::Scratch::new();
        let home = lay_out(scratch.path()).unwrap();
        assert_eq!(lay_out(scratch.path()).unwrap(), home);
        assert!(home.join("cerebros_worker/__main__.py").is_file());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
