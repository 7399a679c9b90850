//! Files of the one directory the operator allowed.

use std::path::{Path, PathBuf};

use schemas::dataset::FILE_TYPES;

use super::{MAX_BYTES, there_is};

/// Names in a message at most: a listing is no inventory.
const MAX_LISTED: usize = 50;
/// Entries looked at for a listing.
const MAX_VISITED: usize = 2_000;
/// Directories below one another that are looked into.
const MAX_DEPTH: usize = 4;

/// The directory.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The real path of a file and its name within the directory, or what is wrong with it.
    pub(super) fn resolve(&self, name: &str) -> Result<(PathBuf, String), String> {
        let missing = || {
            format!(
                "there is no data set \"{name}\" in {}: there is {}",
                self.root.display(),
                there_is(&self.list())
            )
        };
        let root = self.root.canonicalize().map_err(|_| missing())?;
        let path = root.join(name).canonicalize().map_err(|_| missing())?;
        let Ok(within) = path.strip_prefix(&root) else {
            return Err(format!(
                "data set \"{name}\" leads out of the data set directory: only files of that directory, links \
                 followed, can be used"
            ));
        };
        let facts =
            path.metadata().map_err(|error| format!("data set \"{name}\" cannot be read: {error}"))?;
        if !facts.is_file() {
            return Err(format!("data set \"{name}\" is not a regular file"));
        }
        if facts.len() > MAX_BYTES {
            return Err(format!("data set \"{name}\" has {} bytes; the limit is {MAX_BYTES}", facts.len()));
        }
        let within = within.to_string_lossy().into_owned();
        Ok((path, within))
    }

    /// Names of data files, sorted, bounded; links to directories are not followed.
    fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut budget = MAX_VISITED;
        self.walk(&self.root, MAX_DEPTH, &mut budget, &mut found);
        found.sort();
        found.truncate(MAX_LISTED);
        found
    }

    fn walk(&self, place: &Path, depth: usize, budget: &mut usize, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(place) else { return };
        for entry in entries.flatten() {
            if *budget == 0 || depth == 0 {
                return;
            }
            *budget -= 1;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&path, depth - 1, budget, found);
            } else if let (true, Ok(name)) = (is_data(&path), path.strip_prefix(&self.root)) {
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
}

fn is_data(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| FILE_TYPES.contains(&extension.as_str()))
}
