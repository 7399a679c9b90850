//! Records what this build writes for the JSON events of the golden corpus, as Avro bytes beside them, and lists all of
//! it with its digests. What is recorded already is never written again: it is what was published.
//!
//! ```text
//! cargo run -p schemas --example record_golden
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use schemas::cloudevents::Headers;
use schemas::record::Version;
use schemas::{Encoding, codec};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for version in Version::all().filter(|version| version.is_latest()) {
        let folder = corpus.join(format!("{}.v{}", version.record.file_name(), version.number));
        for json in
            files(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        {
            let avro = json.with_extension("avro");
            if !avro.exists() {
                let decoded =
                    codec::decode(version.record.subject(), &Headers::default(), &fs::read(&json)?)?;
                fs::write(avro, codec::encode(&decoded.event, Encoding::Avro)?)?;
            }
        }
    }
    fs::write(corpus.join("SHA256SUMS"), digests(&corpus)?)?;
    Ok(())
}

/// In the form `sha256sum --check` reads.
fn digests(corpus: &Path) -> std::io::Result<String> {
    let mut lines = String::new();
    for folder in files(corpus)?.into_iter().filter(|path| path.is_dir()) {
        for file in files(&folder)? {
            let digest: String =
                Sha256::digest(fs::read(&file)?).iter().map(|byte| format!("{byte:02x}")).collect();
            let place = file.strip_prefix(corpus).unwrap_or(&file).display().to_string();
            lines.push_str(&format!("{digest}  {place}\n"));
        }
    }
    Ok(lines)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}
