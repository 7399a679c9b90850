//! Schemas and recorded bytes as they lie in folders. Bounded: a folder that is something else is refused, not read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use schemas::evolution::Candidate;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;

/// Largest file read. Schemas have 64 KiB at most, recorded events 512 KiB.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most files read from one state.
pub(super) const MAX_FILES: usize = 10_000;

/// The schemas of a folder; none if it is not there.
pub(super) fn schemas(dir: &Path) -> Result<Vec<Candidate>, CliError> {
    let mut candidates = Vec::new();
    for name in files(dir)? {
        candidates.extend(schema(&name, read(&dir.join(&name))?)?);
    }
    Ok(candidates)
}

/// The schema in a file of that name; another file is passed over and said.
pub(super) fn schema(name: &str, content: Vec<u8>) -> Result<Option<Candidate>, CliError> {
    let Some((record, version)) = parse(name) else {
        output::note(format!("{name} is passed over: no file of the form <record>.v<N>.avsc"));
        return Ok(None);
    };
    let text = String::from_utf8(content).map_err(|error| {
        CliError::new("schema-invalid", Exit::InvalidInput, format!("{name} is not UTF-8"))
            .because(error.utf8_error())
    })?;
    Ok(Some(Candidate { record: record.to_owned(), version, text }))
}

/// `trial_reported.v2.avsc` is version 2 of `trial_reported`. There is no version 0, and none is written `02`.
fn parse(name: &str) -> Option<(&str, u32)> {
    let (record, digits) = name.strip_suffix(".avsc")?.rsplit_once(".v")?;
    let version: u32 = digits.parse().ok()?;
    (version > 0 && version.to_string() == digits && !record.is_empty()).then_some((record, version))
}

/// The recorded bytes below a folder, by their path; none if it is not there.
pub(super) fn golden(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
    let mut golden = BTreeMap::new();
    for folder in names(dir)? {
        let inner = dir.join(&folder);
        if !inner.is_dir() {
            continue;
        }
        for name in files(&inner)? {
            golden.insert(format!("{folder}/{name}"), read(&inner.join(&name))?);
            if golden.len() > MAX_FILES {
                return Err(too_many(&dir.display().to_string()));
            }
        }
    }
    Ok(golden)
}

/// True for a file of the corpus: in the folder of a version.
pub(super) fn is_golden(place: &str) -> bool {
    place.matches('/').count() == 1
}

pub(super) fn too_many(place: &str) -> CliError {
    let what = format!("{place} holds more than {MAX_FILES} files");
    CliError::new("too-many-files", Exit::InvalidInput, what).help("is it the folder you meant?")
}

/// Names of the regular files in a folder: reading a pipe might never end.
fn files(dir: &Path) -> Result<Vec<String>, CliError> {
    let mut names = names(dir)?;
    names.retain(|name| dir.join(name).is_file());
    Ok(names)
}

fn names(dir: &Path) -> Result<Vec<String>, CliError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(dir, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(dir, &error))?.file_name();
        // Editors and systems leave hidden files; a name that is not UTF-8 is none of ours.
        names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
        if names.len() > MAX_FILES {
            return Err(too_many(&dir.display().to_string()));
        }
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| unreadable(path, &error))?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let what = format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display());
        return Err(CliError::new("file-too-large", Exit::InvalidInput, what));
    }
    Ok(content)
}

fn unreadable(path: &Path, error: &io::Error) -> CliError {
    let exit =
        if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::InvalidInput };
    CliError::new("file-unreadable", exit, format!("{} cannot be read", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_says_record_and_version() {
        assert_eq!(parse("trial_reported.v12.avsc"), Some(("trial_reported", 12)));
        for name in ["a.avsc", "a.v0.avsc", "a.v01.avsc", "a.v1.json", ".v1.avsc", "a.v-1.avsc", "a.v+1.avsc"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
