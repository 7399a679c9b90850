//! A broker's URL, taken apart. The client ignores credentials inside a URL, so they are taken out of it here; what
//! is left can be shown.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::Credentials;
use crate::error::CliError;
use crate::exit::Exit;

/// The URL (or several with commas) without credentials, and the credentials of the first that has some.
pub(super) fn split(given: &str) -> Result<(String, Credentials), CliError> {
    let mut urls = Vec::new();
    let mut credentials = Credentials::None;
    for one in given.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (url, found) = split_one(one)?;
        urls.push(url);
        if credentials == Credentials::None {
            credentials = found;
        }
    }
    if urls.is_empty() {
        return Err(invalid("it is empty"));
    }
    Ok((urls.join(","), credentials))
}

fn split_one(given: &str) -> Result<(String, Credentials), CliError> {
    let (scheme, rest) = given.split_once("://").unwrap_or(("nats", given));
    if !matches!(scheme, "nats" | "tls") {
        return Err(invalid("it begins with neither nats:// nor tls://"));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    // The client would ignore it, and whoever shows the URL would show it.
    if [host, path].iter().any(|part| part.contains(['?', '#'])) {
        return Err(invalid("nothing may follow a question mark in it"));
    }
    let url = format!("{scheme}://{host}{path}");
    url.parse::<ServerAddr>()
        .ok()
        .filter(|server| !server.host().is_empty())
        .ok_or_else(|| invalid("it names no host and port"))?;
    Ok((url, login_of(login)?))
}

fn login_of(login: &str) -> Result<Credentials, CliError> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    match login.split_once(':') {
        None if login.is_empty() => Ok(Credentials::None),
        None => Err(invalid("a token in the URL is not supported")),
        Some((user, password)) => {
            Ok(Credentials::UserPassword { user: decoded(user), password: decoded(password) })
        }
    }
}

/// Does not quote what was given: it may hold a password.
fn invalid(because: &str) -> CliError {
    CliError::new("nats-url-invalid", Exit::Usage, "the URL of the broker is not valid")
        .because(because)
        .help("it looks like nats://127.0.0.1:4222, tls://broker.example:4222 or nats://user:password@broker.example:4222")
}
