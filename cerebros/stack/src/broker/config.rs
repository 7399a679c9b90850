//! The two files between us and the server: the configuration we write, the ports it reports.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{BrokerConfig, Member, PROGRAM};
use crate::readiness::StartError;

/// The ports the server really listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) monitoring: u16,
}

/// Where the files of one start are.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: PathBuf,
    pub(super) ports_dir: PathBuf,
}

/// Writes the configuration and empties the directory of the ports file.
pub(super) fn write(
    config: &BrokerConfig,
    port: Option<u16>,
    monitoring: Option<u16>,
) -> Result<Files, StartError> {
    let ports_dir = config.store_dir.join("ports");
    let files = Files { config: config.store_dir.join("nats-server.conf"), ports_dir };
    let failed = |path: &Path, source| StartError::Write { program: PROGRAM, path: path.to_owned(), source };
    match std::fs::remove_dir_all(&files.ports_dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed(&files.ports_dir, source));
        }
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(&files.ports_dir).map_err(|source| failed(&files.ports_dir, source))?;
    let text = render(config, port, monitoring);
    std::fs::write(&files.config, text).map_err(|source| failed(&files.config, source))?;
    Ok(files)
}

/// A port of -1 means: choose one.
fn render(config: &BrokerConfig, port: Option<u16>, monitoring: Option<u16>) -> String {
    let number = |port: Option<u16>| port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    // A JSON string is a valid quoted string of the server's configuration language.
    let store = serde_json::Value::from(config.store_dir.to_string_lossy()).to_string();
    let sync = if config.sync_always { "\n  sync_interval: always" } else { "" };
    let name = config.member.as_ref().map_or("cerebros-local", |member| &member.name);
    let cluster = config.member.as_ref().map(cluster).unwrap_or_default();
    format!(
        "# Written at every start of the local stack; changes are lost.\n\
         server_name: {name}\n\
         listen: \"127.0.0.1:{}\"\n\
         http: \"127.0.0.1:{}\"\n\
         max_payload: {}\n\
         jetstream {{\n  store_dir: {store}{sync}\n}}\n{cluster}",
        number(port),
        number(monitoring),
        config.max_payload_bytes,
    )
}

fn cluster(member: &Member) -> String {
    let routes: Vec<String> =
        member.others.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "cluster {{\n  name: cerebros\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n",
        member.port,
        routes.join(", ")
    )
}

/// What the server reported, or `None` while it has not (completely) written it.
pub(super) fn read_ports(dir: &Path) -> Option<Ports> {
    #[derive(Deserialize)]
    struct PortsFile {
        nats: Vec<String>,
        monitoring: Vec<String>,
    }
    let mut entries = std::fs::read_dir(dir).ok()?.flatten();
    let file =
        entries.find(|entry| entry.path().extension().is_some_and(|extension| extension == "ports"))?;
    let ports: PortsFile = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    let port_of = |urls: &[String]| urls.first()?.rsplit_once(':')?.1.parse().ok();
    Some(Ports { client: port_of(&ports.nats)?, monitoring: port_of(&ports.monitoring)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_listens_on_loopback_only_and_quotes_the_store() {
        let mut config = BrokerConfig::new("nats-server", "/data/a \"b\"", "/data/log");
        config.sync_always = true;
        let text = render(&config, Some(4222), None);
        assert!(text.contains("listen: \"127.0.0.1:4222\"\nhttp: \"127.0.0.1:-1\""), "{text}");
        assert!(text.contains(r#"store_dir: "/data/a \"b\"""#), "{text}");
        assert!(text.contains("sync_interval: always"), "{text}");
        assert!(!text.contains("0.0.0.0"), "{text}");
    }

    #[test]
    fn a_half_written_ports_file_is_not_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_ports(dir.path()), None);
        let file = dir.path().join("nats-server_7.ports");
        std::fs::write(&file, r#"{"nats":["nats://127.0.0.1:34"#).unwrap();
        assert_eq!(read_ports(dir.path()), None);
        std::fs::write(&file, r#"{"nats":["nats://127.0.0.1:3482"],"monitoring":["http://127.0.0.1:4467"]}"#)
            .unwrap();
        assert_eq!(read_ports(dir.path()), Some(Ports { client: 3482, monitoring: 4467 }));
    }
}
